import type { Sql } from '../db/client.ts';
import { readItems } from '../db/items.ts';
import type { StoredItem } from '../model/item.ts';
import type { ChangeKind } from '../model/outcome.ts';

/** Bytes of data that are read at once, but for a single item that is larger. */
export const PAGE_BYTES = 1024 * 1024;
/** Offsets looked at in one statement when only items of a type, or with a change, are wanted. */
const FILTERED_SPAN = 10_000;

/** What of a crawl's items is read. */
export interface PageWish {
  /** First offset to look at. */
  from: number;
  /** Items committed so far. */
  total: number;
  type?: string | undefined;
  changes?: readonly ChangeKind[] | undefined;
  rows: number;
  bytes: number;
}

/** The next items. @returns `next`: every offset below has been looked at */
export async function readPage(
  sql: Sql,
  crawlId: string,
  { from, total, type, changes, rows, bytes }: PageWish,
): Promise<{ items: StoredItem[]; next: number }> {
  const span = type === undefined && changes === undefined ? rows : FILTERED_SPAN;
  const end = Math.min(total, from + span);
  const items = await readItems(sql, crawlId, { from, to: end - 1, type, changes, rows, bytes });
  const size = items.reduce((sum, item) => sum + item.size, 0);
  const last = items.at(-1);
  const isWhole = last === undefined || (items.length < rows && size < bytes);
  return { items, next: isWhole ? end : last.offset + 1 };
}
