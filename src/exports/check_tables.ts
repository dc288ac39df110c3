import pLimit from 'p-limit';
import type { Export, TableTarget } from '../model/export.ts';
import type { Problem } from '../model/spider.ts';
import { checkMysql } from './mysql.ts';
import { checkPostgres } from './postgres.ts';
import { ExportError } from './target.ts';
import { within } from './within.ts';

/** A table is looked at when its crawl is posted, where its database answers so soon. */
const CHECK_MS = 2000;
/** At once. */
const CHECKS = 4;

/** Finds what is wrong with the tables of a posted crawl's exports. Pointers start at the crawl. */
export type CheckExports = (exports: readonly Export[]) => Promise<Problem[]>;

/**
 * Compares the tables that are there with the columns that are asked for. Databases that do not answer within 2 s are left
 * out: the export says it then. @param urls of the operator's connections, by name
 */
export function tableChecks(urls: ReadonlyMap<string, string>): CheckExports {
  const limit = pLimit(CHECKS);
  return async (exports) => {
    const checks = exports.map(async ({ postgres, mysql }, i) => {
      if (postgres === undefined && mysql === undefined) return [];
      const [kind, target] = postgres === undefined ? (['mysql', mysql!] as const) : (['postgres', postgres] as const);
      const url = urls.get(target.connection);
      if (url === undefined) return [];
      const clock = AbortSignal.timeout(CHECK_MS);
      const checked = limit(async () => (clock.aborted ? [] : problemsOf(kind, target, url)));
      const problems = await within(checked, CHECK_MS, clock).catch(() => []);
      return problems.map((one) => ({ ...one, pointer: `/exports/${i}/${kind}${one.pointer}` }));
    });
    return (await Promise.all(checks)).flat();
  };
}

async function problemsOf(kind: 'postgres' | 'mysql', target: TableTarget, url: string): Promise<Problem[]> {
  try {
    return kind === 'postgres' ? await checkPostgres(target, url) : await checkMysql(target, url);
  } catch (error) {
    // What is for ever, as a table that is not to be made, is said at once.
    if (!(error instanceof ExportError) || !error.permanent) return [];
    return [{ pointer: '/table', code: 'bad_value', message: error.message }];
  }
}
