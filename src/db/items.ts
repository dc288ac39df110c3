import type { StoredItem } from '../model/item.ts';
import type { ChangeKind } from '../model/outcome.ts';
import type { Db } from './client.ts';

export interface ItemRange {
  /** First and last offset to look at, inclusive. */
  from: number;
  to: number;
  type?: string | undefined;
  /** Only items with one of these. */
  changes?: readonly ChangeKind[] | undefined;
  /** At most this many rows. */
  rows: number;
  /** Stops after the row that reaches this many bytes of data: at least one row comes, however large. */
  bytes: number;
}

/** Items of an offset range in offset order, bounded by rows and by bytes. The data of rows left out is never read. */
export async function readItems(db: Db, crawlId: string, range: ItemRange): Promise<StoredItem[]> {
  return db<StoredItem[]>`
    select "offset", type, url, data::text as data, size, scraped_at, change::text as change
    from (
      select *, sum(size) over (order by "offset" rows unbounded preceding) - size as bytes_before
      from items
      where crawl_id = ${crawlId} and "offset" between ${range.from} and ${range.to}
        ${range.type === undefined ? db`` : db`and type = ${range.type}`}
        ${range.changes === undefined ? db`` : db`and change->>'kind' = any (${[...range.changes]}::text[])`}
      order by "offset"
      limit ${range.rows}
    ) page
    where bytes_before < ${range.bytes}
    order by "offset"`;
}

/** Bytes of data that are read at once, but for a single item that is larger. */
export const PAGE_BYTES = 1024 * 1024;
/** Offsets looked at in one statement when only items of a type, or with a change, are wanted. */
export const FILTERED_SPAN = 10_000;

/** Items of a range as far as its bounds let them. @returns `next`: every offset of the range below it has been looked at */
export async function readPage(
  db: Db,
  crawlId: string,
  range: ItemRange,
): Promise<{ items: StoredItem[]; next: number }> {
  const items = await readItems(db, crawlId, range);
  const size = items.reduce((sum, item) => sum + item.size, 0);
  const last = items.at(-1);
  const isWhole = last === undefined || (items.length < range.rows && size < range.bytes);
  return { items, next: isWhole ? range.to + 1 : last.offset + 1 };
}

/** How many items a range has, of a type or with a change. */
export async function countItems(
  db: Db,
  crawlId: string,
  { from, to, type, changes }: Pick<ItemRange, 'from' | 'to' | 'type' | 'changes'>,
): Promise<number> {
  const [row] = await db<{ n: number }[]>`
    select count(*) as n from items
    where crawl_id = ${crawlId} and "offset" between ${from} and ${to}
      ${type === undefined ? db`` : db`and type = ${type}`}
      ${changes === undefined ? db`` : db`and change->>'kind' = any (${[...changes]}::text[])`}`;
  return row?.n ?? 0;
}
