import { join } from 'node:path';
import type { Sql } from '../db/client.ts';
import type { ClaimedExport } from '../db/exports.ts';
import { readTableSources } from '../db/table_sources.ts';
import { isNarrow, narrowed, oneLine } from '../formats/item_json.ts';
import type { Narrowing } from '../formats/members.ts';
import type { Send } from '../model/delivery.ts';
import type { Export, FileTarget, Webhook } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';
import type { FileLayout } from './file_layout.ts';
import { ExportError, type ExportJob, type Target } from './target.ts';

/** What targets are made with. */
export interface TargetParts {
  sql: Sql;
  /** Absolute. */
  dataDir: string;
  /** URLs of the operator's connections, by name. */
  connections: ReadonlyMap<string, string>;
  send: Send;
}

/** What an export writes to, not opened yet. Its client is loaded with the first of its kind. @throws ExportError */
export async function makeTarget(row: ClaimedExport, parts: TargetParts): Promise<Target> {
  const job: ExportJob = { crawlId: row.crawl_id, n: row.n, spider: row.spider };
  if (row.kind === 'webhook') {
    const { WebhookTarget } = await import('./webhook.ts');
    return new WebhookTarget(job, row.definition as Webhook, { sql: parts.sql, send: parts.send });
  }
  const definition = row.definition as Export;
  const { postgres, mysql, mongodb, redis, file, s3 } = definition;
  const url = ({ connection }: { connection: string }) => urlOf(connection, parts);
  if (postgres !== undefined) return (await import('./postgres.ts')).postgresTarget(job, postgres, url(postgres));
  if (mysql !== undefined) return (await import('./mysql.ts')).mysqlTarget(job, mysql, url(mysql));
  if (mongodb !== undefined) return (await import('./mongodb.ts')).mongoTarget(job, mongodb, url(mongodb));
  if (redis !== undefined) return (await import('./redis.ts')).redisTarget(job, redis, url(redis));
  if (s3 !== undefined) {
    const layout = await layoutOf(s3, row, parts);
    return new (await import('./s3.ts')).S3Export({ url: url(s3), layout, ...s3 }, job);
  }
  if (file !== undefined) {
    const directory = join(parts.dataDir, 'exports', row.crawl_id);
    const layout = await layoutOf(file, row, parts);
    return new (await import('./files.ts')).FileExport({ directory, name: file.name ?? 'items', layout });
  }
  throw new ExportError('other', `this node knows no exports of the kind ${row.kind}`, { permanent: true });
}

/** @throws ExportError: the operator has taken the connection away since the crawl was started, or this node lacks it */
function urlOf(connection: string, { connections }: TargetParts): string {
  const url = connections.get(connection);
  if (url === undefined)
    throw new ExportError('gone', `there is no connection "${connection}" in the CONNECTIONS of the node that writes`);
  return url;
}

async function layoutOf(file: Omit<FileTarget, 'name'>, row: ClaimedExport, { sql }: TargetParts): Promise<FileLayout> {
  const { fileLayout } = await import('./file_layout.ts');
  return fileLayout(file, row.definition, async () => {
    const sources = await readTableSources(sql, row.crawl_id);
    if (sources === null) throw new ExportError('gone', 'the crawl was deleted', { permanent: true });
    return sources;
  });
}

/** Kinds whose targets narrow the items themselves: there it decides about columns, or about what is kept of a message. */
const NARROWING_KINDS: readonly string[] = ['file', 's3', 'webhook'];

/** The items with the fields alone that the export wants. */
export function narrowItems({ kind, definition }: ClaimedExport, items: readonly StoredItem[]): readonly StoredItem[] {
  const { fields, flatten = false } = definition as Export;
  const narrowing: Narrowing = { fields: fields === undefined ? null : new Set(fields), flatten };
  if (NARROWING_KINDS.includes(kind) || !isNarrow(narrowing)) return items;
  return items.map((item) => {
    const data = narrowed(oneLine(item.data), narrowing);
    return { ...item, data, size: Buffer.byteLength(data) };
  });
}
