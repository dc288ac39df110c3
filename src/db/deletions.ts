import { type Db, inKeyedTransaction, type Sql, type Tx } from './client.ts';

/** A table with rows of crawls. */
interface CrawlTable {
  name: string;
  /** The column of the crawl's id. */
  crawl: string;
  /** With the crawl's id a key of the table, and its type; null: a crawl has few rows there, which go at once. */
  key: { column: string; type: string } | null;
}

const table = (name: string, column: string, type: string, crawl = 'crawl_id'): CrawlTable => ({
  name,
  crawl,
  key: { column, type },
});

/** What a crawl needs to go on, and to say what became of each URL. */
const LEDGER: readonly CrawlTable[] = [
  table('host_queues', 'host_id', 'bigint'),
  table('requests', 'seq', 'bigint'),
  table('page_links', 'seq', 'bigint'),
  table('url_patterns', 'pattern', 'uuid'),
  table('item_keys', 'key', 'uuid', 'space'),
  table('crawl_cookies', 'key', 'uuid'),
  table('crawl_state', 'key', 'text'),
];
/** `deletions.step` counts in this list, so that the ledger comes first: it may be under way when the rest is to go as well. */
const WHOLE: readonly CrawlTable[] = [
  ...LEDGER,
  table('items', 'offset', 'bigint'),
  table('crawl_logs', 'n', 'bigint'),
  table('crawl_changes', 'n', 'integer'),
  table('delivery_attempts', 'delivery', 'integer'),
  table('deliveries', 'n', 'integer'),
  { name: 'crawl_counts', crawl: 'crawl_id', key: null },
];

/**
 * Has a crawl's rows deleted in the background. Those of its ledger may be under way already.
 *
 * @param whole all of them; else its ledger's. @param rows about how many there are
 */
export async function insertDeletion(tx: Tx, crawlId: string, whole: boolean, rows: number): Promise<void> {
  await tx`
    insert into deletions as d (crawl_id, whole, rows_left) values (${crawlId}, ${whole}, ${rows})
    on conflict (crawl_id) do update set whole = d.whole or excluded.whole, rows_left = excluded.rows_left`;
}

interface Deletion {
  crawl_id: string;
  whole: boolean;
  step: number;
  after: string | null;
}

/**
 * Deletes up to `rows` rows of the first crawl that waits for it, by their keys, and keeps how far it came: a batch is one
 * transaction, and none is lost or done in vain when a node dies. One node at a time works on it.
 *
 * @returns the rows that went; null: there is nothing to do, or another node is at it
 */
export async function deleteBatch(sql: Sql, rows: number): Promise<number | null> {
  return inKeyedTransaction(sql, async (tx) => {
    const [deletion] = await tx<Deletion[]>`
      select crawl_id, whole, step, after from deletions
      where crawl_id = (select crawl_id from deletions order by crawl_id limit 1) for update skip locked`;
    if (deletion === undefined) return null;
    // Nobody waits for it, and a batch that is lost in a crash is repeated.
    await tx`set local synchronous_commit = off`;
    const tables = deletion.whole ? WHOLE : LEDGER;
    let { step, after } = deletion;
    let deleted = 0;
    while (step < tables.length && deleted < rows) {
      const batch = await deleteRows(tx, tables[step]!, deletion.crawl_id, after, rows - deleted);
      deleted += batch.deleted;
      after = batch.last;
      if (after === null) step++;
    }
    if (step >= tables.length) await tx`delete from deletions where crawl_id = ${deletion.crawl_id}`;
    else
      await tx`
        update deletions set step = ${step}, after = ${after}, rows_left = greatest(0, rows_left - ${deleted}::bigint)
        where crawl_id = ${deletion.crawl_id}`;
    return deleted;
  });
}

/** @returns the key of the last row that went; null: none is left in this table */
async function deleteRows(
  tx: Tx,
  { name, crawl, key }: CrawlTable,
  crawlId: string,
  after: string | null,
  rows: number,
): Promise<{ deleted: number; last: string | null }> {
  if (key === null) {
    const { count } = await tx`delete from ${tx(name)} where ${tx(crawl)} = ${crawlId}`;
    return { deleted: count, last: null };
  }
  const column = tx(key.column);
  // Begins behind what is gone already: those entries stay in the index until the table is vacuumed.
  const beyond = after === null ? tx`` : tx`and ${column} > ${after}::text::${tx.unsafe(key.type)}`;
  const [last] = await tx<{ last: string }[]>`
    select ${column}::text as last from ${tx(name)} where ${tx(crawl)} = ${crawlId} ${beyond}
    order by ${column} limit 1 offset ${rows - 1}`;
  const upTo = last === undefined ? tx`` : tx`and ${column} <= ${last.last}::text::${tx.unsafe(key.type)}`;
  const { count } = await tx`delete from ${tx(name)} where ${tx(crawl)} = ${crawlId} ${beyond} ${upTo}`;
  return { deleted: count, last: last?.last ?? null };
}

/** What waits to be deleted: crawls, and about how many rows. */
export async function countDeletions(db: Db): Promise<{ crawls: number; rows: number }> {
  const [row] = await db<{ crawls: number; rows: number }[]>`
    select count(*)::int as crawls, coalesce(sum(rows_left), 0)::bigint as rows from deletions`;
  return row!;
}

/** Whether any crawl is at work, on whatever node. */
export async function isCrawling(db: Db): Promise<boolean> {
  const rows = await db`select from crawls where state in ('queued', 'running', 'pausing') limit 1`;
  return rows.length > 0;
}
