import type { NewExport } from '../db/exports.ts';
import type { ConnectionKind } from '../model/connection.ts';
import { EXPORT_KINDS, type Export, targetOf, type Webhook } from '../model/export.ts';
import { headerProblems } from '../model/headers.ts';
import { nearest } from '../model/nearest.ts';
import type { Problem } from '../model/spider.ts';

/** Named connections of the operator, and what each leads to. */
export type Connections = ReadonlyMap<string, ConnectionKind>;

/** The consumers of a posted crawl under their names, and what is wrong with them beyond their schemas. */
export function planExports(
  { exports = [], webhooks = [] }: { exports?: readonly Export[]; webhooks?: readonly Webhook[] },
  connections: Connections,
): { exports: NewExport[]; problems: Problem[] } {
  const problems: Problem[] = [];
  const given = [
    ...exports.map((definition, i) => {
      problems.push(...exportProblems(definition, `/exports/${i}`, connections));
      return { definition, kind: targetOf(definition) ?? 'file', at: `/exports/${i}` };
    }),
    ...webhooks.map((definition, i) => {
      problems.push(...webhookProblems(definition, `/webhooks/${i}`));
      return { definition, kind: 'webhook', at: `/webhooks/${i}` };
    }),
  ];
  const taken = new Set<string>();
  for (const { definition, at } of given) {
    const { name } = definition;
    if (name === undefined) continue;
    if (taken.has(name))
      problems.push({
        pointer: `${at}/name`,
        code: 'duplicate_name',
        message: `another one is called "${name}" already`,
      });
    taken.add(name);
  }
  const named = given.map(({ definition, kind }) => ({ name: nameOf(definition, kind, taken), kind, definition }));
  return { exports: named, problems };
}

function nameOf({ name }: { name?: string }, kind: string, taken: Set<string>): string {
  if (name !== undefined) return name;
  let free = kind;
  for (let i = 2; taken.has(free); i++) free = `${kind}-${i}`;
  taken.add(free);
  return free;
}

function exportProblems(definition: Export, at: string, connections: Connections): Problem[] {
  const kind = targetOf(definition);
  if (kind === null) {
    const found = EXPORT_KINDS.filter((one) => definition[one] !== undefined);
    const message = `expected exactly one of ${EXPORT_KINDS.join(', ')}; found ${found.join(' and ') || 'none'}`;
    return [{ pointer: at, code: found.length === 0 ? 'required' : 'conflict', message }];
  }
  const problems: Problem[] = [];
  if (kind !== 'file')
    problems.push(...connectionProblems(kind, definition[kind]!.connection, `${at}/${kind}`, connections));
  return problems;
}

function connectionProblems(kind: ConnectionKind, name: string, at: string, connections: Connections): Problem[] {
  const found = connections.get(name);
  const pointer = `${at}/connection`;
  if (found === kind) return [];
  if (found !== undefined)
    return [{ pointer, code: 'bad_value', message: `"${name}" is a ${found} connection; expected a ${kind} one` }];
  const fitting = [...connections].filter(([, of]) => of === kind).map(([one]) => one);
  const near = nearest(name, fitting);
  const hint = near === null ? `known: ${fitting.join(', ') || 'none'}` : `did you mean \`${near}\`?`;
  return [
    {
      pointer,
      code: 'unknown_connection',
      message: `there is no ${kind} connection "${name}" in CONNECTIONS; ${hint}`,
    },
  ];
}

function webhookProblems({ url, headers }: Webhook, at: string): Problem[] {
  const problems = headerProblems(headers, `${at}/headers`);
  const { protocol, username, password } = URL.parse(url) ?? {};
  if (protocol !== 'http:' && protocol !== 'https:')
    problems.push({ pointer: `${at}/url`, code: 'bad_url', message: 'expected an absolute http or https URL' });
  else if (username !== '' || password !== '')
    problems.push({ pointer: `${at}/url`, code: 'bad_url', message: 'a user name or password belongs into `headers`' });
  return problems;
}
