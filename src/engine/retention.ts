import { inTransaction, type Sql } from '../db/client.ts';
import { addWarning } from '../db/crawl_warnings.ts';
import { deleteCrawl, lockCrawl } from '../db/crawls.ts';
import { deleteLedger, dueCrawls, dueLedgers, isDue } from '../db/retention.ts';
import { Loop, reporter } from './loop.ts';

const INTERVAL_MS = 60_000;
const WAITS = 'it is kept longer than keepFor or RETENTION says: ';

interface RetentionOptions {
  sql: Sql;
  /** Seconds after a crawl's end that it and its ledger are kept, where its `keepFor` does not say so; null: for ever. */
  kept: { items: number | null; ledger: number | null };
  /** There are rows to be deleted in the background. */
  onDeleted: () => void;
  log: Parameters<typeof reporter>[0] & { info: (detail: object, message: string) => void };
}

/**
 * Deletes the crawls, and the ledgers, whose time is over. Every node looks for them, and each is deleted under its row lock. A
 * crawl whose exports or webhooks have not got everything yet waits for them, and says so among its warnings.
 */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #loop: Loop;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#loop = new Loop(INTERVAL_MS, () => this.#step(), reporter(options.log, 'the retention of crawls'));
  }

  start(): void {
    this.#loop.start();
  }

  /** Safe before `start` and twice. */
  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #step(): Promise<boolean> {
    const { log, onDeleted } = this.#options;
    const { crawls, ledgers } = await applyRetention(this.#options.sql, this.#options.kept);
    if (crawls + ledgers === 0) return false;
    log.info({ crawls, ledgers }, 'crawls and ledgers whose time was over were deleted');
    onDeleted();
    return true;
  }
}

/** Deletes some of what is due. @returns how much that was */
export async function applyRetention(
  sql: Sql,
  kept: RetentionOptions['kept'],
): Promise<{ crawls: number; ledgers: number }> {
  for (const id of await dueCrawls(sql, kept, true))
    await inTransaction(sql, (tx) =>
      addWarning(tx, id, { about: WAITS, text: `${WAITS}an export or a webhook of it has not got everything yet` }),
    );
  const crawls = await deleteDue(sql, await dueCrawls(sql, kept, false), 'items', kept);
  const ledgers = await deleteDue(sql, await dueLedgers(sql, kept), 'ledger', kept);
  return { crawls, ledgers };
}

async function deleteDue(
  sql: Sql,
  ids: readonly string[],
  what: 'items' | 'ledger',
  kept: RetentionOptions['kept'],
): Promise<number> {
  let deleted = 0;
  for (const id of ids)
    await inTransaction(sql, async (tx) => {
      const row = await lockCrawl(tx, id);
      // It may have been resumed, or deleted by another node.
      if (row === null || !(await isDue(tx, id, what, kept))) return;
      if (what === 'items') await deleteCrawl(tx, row);
      else await deleteLedger(tx, id, row.next_seq);
      deleted++;
    });
  return deleted;
}
