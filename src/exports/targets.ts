import type { Sql } from '../db/client.ts';
import type { ClaimedExport } from '../db/exports.ts';
import { isNarrow, narrowed, oneLine } from '../formats/item_json.ts';
import type { Narrowing } from '../formats/members.ts';
import type { Send } from '../model/delivery.ts';
import type { Export, Webhook } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';
import { ExportError, type Target } from './target.ts';

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
  const job = { crawlId: row.crawl_id, n: row.n, spider: row.spider };
  switch (row.kind) {
    case 'webhook': {
      const { WebhookTarget } = await import('./webhook.ts');
      return new WebhookTarget(job, row.definition as Webhook, { sql: parts.sql, send: parts.send });
    }
    default:
      throw new ExportError('other', `this node knows no exports of the kind ${row.kind}`, { permanent: true });
  }
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
