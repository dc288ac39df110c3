import type { Db, Tx } from './client.ts';

// The last state of each item with a key, over the crawls of a spider. `space` stands for the spider.

/** An item as its spider's crawls remember it. */
export interface SeenItem {
  space: string;
  /** 32 hex digits. */
  key: string;
  pageFp: string;
  hash: string;
  /** Bytes of data. */
  size: number;
  /** `crawls.start_hash` of the crawl that saw it. */
  start: string;
  type: string;
  url: string;
  /** JSON text: hashes of values by path. */
  fields: string;
  /** JSON text. */
  data: string;
}

/** How an item differs from the state that is known of it. */
export interface Comparison {
  i: number;
  same: boolean;
  /** JSON list of the paths that differ, fifty at most. */
  fields: string;
}

const MAX_FIELDS = 50;

/** The paths at which two maps of hashes differ: done by the database, so that no item's size is the event loop's. */
const differing = (db: Db) => db`
  (select coalesce(json_agg(d.path), '[]')::text from (
    select coalesce(a.key, b.key) collate "C" as path
    from jsonb_each_text(before) a full join jsonb_each_text(after) b on a.key = b.key
    where a.value is distinct from b.value
    order by 1 limit ${MAX_FIELDS}) d)`;

/** Compares items with the states that are known of them; an item that is new is not returned. */
export async function compareWithKnown(
  tx: Tx,
  items: readonly Pick<SeenItem, 'space' | 'key' | 'hash' | 'fields'>[],
): Promise<Comparison[]> {
  if (items.length === 0) return [];
  const column = (key: 'space' | 'key' | 'hash' | 'fields') => items.map((item) => item[key]);
  return tx<Comparison[]>`
    select i, same, case when same then '[]' else ${differing(tx)} end as fields
    from (
      select u.i, s.hash = u.hash as same, s.fields as before, u.fields::jsonb as after
      from unnest(${items.map((_, i) => i)}::int[], ${column('space')}::uuid[], ${column('key')}::uuid[],
        ${column('hash')}::uuid[], ${column('fields')}::text[]) as u (i, space, key, hash, fields)
      join spider_items s on s.space = u.space and s.key = u.key
    ) pair`;
}

/** Compares two states each. */
export async function compareStates(
  tx: Tx,
  pairs: readonly { before: string; after: string }[],
): Promise<Comparison[]> {
  if (pairs.length === 0) return [];
  return tx<Comparison[]>`
    select i, before = after as same, ${differing(tx)} as fields
    from (
      select u.i, u.before::jsonb as before, u.after::jsonb as after
      from unnest(${pairs.map((_, i) => i)}::int[], ${pairs.map((p) => p.before)}::text[],
                  ${pairs.map((p) => p.after)}::text[]) as u (i, before, after)
    ) pair`;
}

/** @param items in the order of the primary key, each key once, so that two transactions meet in the same order */
export async function keepItems(tx: Tx, items: readonly SeenItem[]): Promise<void> {
  if (items.length === 0) return;
  const column = <K extends keyof SeenItem>(key: K) => items.map((item) => item[key]);
  await tx`
    insert into spider_items (space, key, page_fp, seen_at, hash, size, start, type, url, fields, data)
    select space, key, page_fp, now(), hash, size, start, type, url, fields::jsonb, data::json
    from unnest(${column('space')}::uuid[], ${column('key')}::uuid[], ${column('pageFp')}::uuid[],
      ${column('hash')}::uuid[], ${column('size')}::int[], ${column('start')}::uuid[], ${column('type')}::text[],
      ${column('url')}::text[], ${column('fields')}::text[], ${column('data')}::text[])
      as u (space, key, page_fp, hash, size, start, type, url, fields, data)
    on conflict (space, key) do update set page_fp = excluded.page_fp, seen_at = excluded.seen_at, hash = excluded.hash,
      size = excluded.size, start = excluded.start, type = excluded.type, url = excluded.url, fields = excluded.fields,
      data = excluded.data`;
}

/** Items that were found and not stored (a pipeline's `dedupe`) are not gone. */
export async function touchItems(tx: Tx, items: readonly Pick<SeenItem, 'space' | 'key'>[]): Promise<void> {
  if (items.length === 0) return;
  await tx`
    update spider_items s set seen_at = now()
    from unnest(${items.map((i) => i.space)}::uuid[], ${items.map((i) => i.key)}::uuid[]) as u (space, key)
    where s.space = u.space and s.key = u.key`;
}

/** An item that no crawl of its spider has seen for a time. */
export interface UnseenItem {
  key: string;
  pageFp: string;
  size: number;
  start: string;
}

/** Hashes of what crawls set out from, by crawl: `crawls.start_hash`. */
export async function readStarts(tx: Tx, crawlIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await tx<{ id: string; start: string }[]>`
    select id, start_hash as start from crawls where id = any (${[...crawlIds]}::uuid[])`;
  return new Map(rows.map((row) => [row.id, row.start]));
}

/**
 * The key of the item that is `n` items further, of any type, seen or not; null: there are fewer.
 *
 * @param after exclusive key; null: from the first
 */
export async function keyFurtherOn(tx: Tx, space: string, after: string | null, n: number): Promise<string | null> {
  const [row] = await tx<{ key: string }[]>`
    select replace(key::text, '-', '') as key from spider_items
    where space = ${space} ${after === null ? tx`` : tx`and key > ${after}::uuid`}
    order by key offset ${n - 1} limit 1`;
  return row?.key ?? null;
}

/**
 * Items that were not seen since a time, locked, in the order of their keys.
 *
 * @param types of items; others are left alone
 * @param range exclusive and inclusive key; null: from the first, to the last
 */
export async function lockUnseen(
  tx: Tx,
  space: string,
  types: readonly string[],
  since: Date,
  range: { after: string | null; upTo: string | null },
  limit: number,
): Promise<UnseenItem[]> {
  const { after, upTo } = range;
  return tx<UnseenItem[]>`
    select replace(key::text, '-', '') as key, replace(page_fp::text, '-', '') as "pageFp", size, start from spider_items
    where space = ${space} and seen_at < ${since} and type = any (${[...types]}::text[])
      ${after === null ? tx`` : tx`and key > ${after}::uuid`} ${upTo === null ? tx`` : tx`and key <= ${upTo}::uuid`}
    order by key limit ${limit}
    for update`;
}

/**
 * Moves items that are gone from what is remembered to the end of a crawl's items. The rows of both are locked by the caller.
 *
 * @param items each with its offset, and the seq of the request that it should have been on; −1: there was none
 */
export async function moveGone(
  tx: Tx,
  crawlId: string,
  space: string,
  items: readonly { key: string; offset: number; seq: number }[],
): Promise<void> {
  if (items.length === 0) return;
  const keys = items.map((item) => item.key);
  await tx`
    insert into items (crawl_id, "offset", scraped_at, seq, size, type, url, data, change)
    select ${crawlId}, u."offset", now(), u.seq, s.size, s.type, s.url, s.data, ${'{"kind":"gone","fields":[]}'}::text::json
    from unnest(${keys}::uuid[], ${items.map((i) => i.offset)}::bigint[], ${items.map((i) => i.seq)}::bigint[])
      as u (key, "offset", seq)
    join spider_items s on s.space = ${space} and s.key = u.key`;
  await tx`delete from spider_items where space = ${space} and key = any (${keys}::uuid[])`;
}
