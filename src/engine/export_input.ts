import type { NewExport } from '../db/exports.ts';
import type { ConnectionKind } from '../model/connection.ts';
import type { StartedWebhook } from '../model/crawl.ts';
import {
  EXPORT_KINDS,
  type Export,
  type FileTarget,
  keyPrefix,
  type RedisTarget,
  type S3Target,
  targetOf,
  type Webhook,
} from '../model/export.ts';
import { headerProblems } from '../model/headers.ts';
import { nearest } from '../model/nearest.ts';
import { pointerPart } from '../model/pointer.ts';
import { HIDDEN, hiddenInWebhook } from '../model/secrets.ts';
import type { Problem } from '../model/spider.ts';
import { makeSecret, secretFault } from '../model/webhook_secret.ts';
import { collectionProblems, tableInputProblems } from './table_input.ts';

/** Named connections of the operator, and what each leads to. */
export type Connections = ReadonlyMap<string, ConnectionKind>;

/** Why a webhook's URL may not be called, as far as it can be said without a name server; null: nothing speaks against it. */
export type RefusesWebhook = (url: URL) => string | null;

/** Headers of every message, which no header of the webhook's own takes the place of. */
const OF_MESSAGES = new Set(['content-type', 'webhook-id', 'webhook-timestamp', 'webhook-signature']);

/** As src/exports/redis.ts calls them. */
const CURSOR_KEY = /:orbweaver:[0-9a-f-]{36}:\d+$/;

/** The consumers of a posted crawl, as they are stored. */
export interface PlannedExports {
  exports: NewExport[];
  /** What the answer to the start says of the webhooks. */
  webhooks: StartedWebhook[];
  problems: Problem[];
}

/** The consumers of a posted crawl under their names, and what is wrong with them beyond their schemas. */
export function planExports(
  { exports = [], webhooks = [] }: { exports?: readonly Export[]; webhooks?: readonly Webhook[] },
  connections: Connections,
  refuses: RefusesWebhook = () => null,
): PlannedExports {
  const problems: Problem[] = [];
  const given = [
    ...exports.map((definition, i) => {
      problems.push(...exportProblems(definition, `/exports/${i}`, connections));
      return { definition, kind: targetOf(definition) ?? 'file', at: `/exports/${i}` };
    }),
    ...webhooks.map((definition, i) => {
      problems.push(...webhookProblems(definition, `/webhooks/${i}`, refuses));
      return {
        definition: { ...definition, secret: definition.secret ?? makeSecret() },
        kind: 'webhook',
        at: `/webhooks/${i}`,
      };
    }),
  ];
  problems.push(...sameObjects(exports));
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
  const started = named.slice(exports.length).map(({ name, definition }, i) => {
    const { url, secret } = definition as Required<Webhook>;
    return { name, url, secret: webhooks[i]!.secret === undefined ? secret : HIDDEN };
  });
  return { exports: named, webhooks: started, problems };
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
  if (kind === 'redis') problems.push(...streamProblems(definition.redis!, `${at}/redis`));
  if (kind === 's3') problems.push(...prefixProblems(definition.s3!, `${at}/s3`));
  if (kind === 'file' || kind === 's3') problems.push(...fileProblems(definition[kind]!, `${at}/${kind}`));
  if (kind === 'postgres' || kind === 'mysql')
    problems.push(...tableInputProblems(kind, definition[kind]!, definition, `${at}/${kind}`));
  if ((kind === 'postgres' || kind === 'mysql') && definition.flatten && definition[kind]!.columns !== undefined)
    problems.push({
      pointer: `${at}/flatten`,
      code: 'conflict',
      message: '`columns` name what lies inside of objects by its path, as `specs.weight`; leave `flatten` away',
    });
  if (kind === 'mongodb') problems.push(...collectionProblems(definition.mongodb!, definition, `${at}/mongodb`));
  return problems;
}

function fileProblems({ format, gzip }: Pick<FileTarget, 'format' | 'gzip'>, at: string): Problem[] {
  if (format !== 'parquet' || gzip !== true) return [];
  const message = 'a parquet file is compressed inside already; leave `gzip` out';
  return [{ pointer: `${at}/gzip`, code: 'conflict', message }];
}

/** Two that would write the same objects, or the same files. */
function sameObjects(exports: readonly Export[]): Problem[] {
  const seen = new Set<string>();
  return exports.flatMap(({ s3, file }, i) => {
    const target = s3 ?? file;
    if (target === undefined) return [];
    // There are disks that do not tell names by their case.
    const place =
      s3 === undefined
        ? ['files', (file?.name ?? 'items').toLowerCase()]
        : [s3.connection, keyPrefix(s3.prefix, '{crawl}', '{spider}')];
    const { format, gzip = false } = target;
    const names = JSON.stringify([...place, format, gzip && format !== 'parquet']);
    const isTaken = seen.has(names);
    seen.add(names);
    const [field, at] = s3 === undefined ? ['name', 'file'] : ['prefix', 's3'];
    const message = `another export writes ${s3 === undefined ? 'files' : 'objects'} of these names already; give one of them another \`${field}\``;
    return isTaken ? [{ pointer: `/exports/${i}/${at}/${field}`, code: 'conflict', message }] : [];
  });
}

/** A stream in the place of an export's cursor would end that export. */
function streamProblems({ stream }: RedisTarget, at: string): Problem[] {
  if (!CURSOR_KEY.test(stream)) return [];
  const message = 'keys of this form hold the cursors of exports; give the stream another name';
  return [{ pointer: `${at}/stream`, code: 'bad_value', message }];
}

/** Servers and proxies read `..` in a key as a way out of the bucket. */
function prefixProblems({ prefix = '' }: S3Target, at: string): Problem[] {
  if (!prefix.split('/').some((part) => part === '.' || part === '..')) return [];
  return [{ pointer: `${at}/prefix`, code: 'bad_value', message: 'a part of it is `.` or `..`' }];
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

/** What is wrong with a webhook, or with the part of one that a test call is given. @param at its pointer */
export function webhookProblems(
  webhook: Pick<Webhook, 'url' | 'secret' | 'headers'>,
  at: string,
  refuses: RefusesWebhook,
): Problem[] {
  const { url, secret, headers = {} } = webhook;
  const problems = [
    ...headerProblems(headers, `${at}/headers`),
    ...hiddenInWebhook({ headers }, at),
    ...secretProblems(secret, at),
  ];
  for (const name of Object.keys(headers))
    if (OF_MESSAGES.has(name.toLowerCase())) {
      const message = `\`${name}\` is a header of every message and cannot be given`;
      problems.push({ pointer: `${at}/headers/${pointerPart(name)}`, code: 'bad_header', message });
    }
  const wrong = urlFault(url, refuses);
  if (wrong !== null) problems.push({ pointer: `${at}/url`, ...wrong });
  return problems;
}

/** What is wrong with a webhook's secret, where one is given. @param at pointer of the object that it is in */
export function secretProblems(secret: string | undefined, at: string): Problem[] {
  if (secret === undefined) return [];
  const hidden = hiddenInWebhook({ secret }, at);
  const fault = hidden.length > 0 ? null : secretFault(secret);
  return fault === null ? hidden : [{ pointer: `${at}/secret`, code: 'bad_secret', message: fault }];
}

function urlFault(text: string, refuses: RefusesWebhook): Omit<Problem, 'pointer'> | null {
  const url = URL.parse(text);
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    return { code: 'bad_url', message: 'expected an absolute http or https URL' };
  if (url.username !== '' || url.password !== '')
    return { code: 'bad_url', message: 'a user name or password belongs into `headers`' };
  const refusal = refuses(url);
  return refusal === null ? null : { code: 'egress', message: refusal };
}
