import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inTransaction } from '../../dist/db/client.js';
import { deleteCrawl } from '../../dist/db/crawls.js';
import { countDeletions, deleteBatch, insertDeletion } from '../../dist/db/deletions.js';
import { ItemReader } from '../../dist/stream/reader.js';
import { Wakeups } from '../../dist/stream/wakeups.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { finishDeletions, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

const LEDGER = ['requests', 'host_queues', 'page_links', 'url_patterns', 'item_keys', 'crawl_cookies', 'crawl_state'];
const REST = ['items', 'crawl_logs', 'crawl_changes', 'deliveries', 'delivery_attempts', 'crawl_counts'];
/** They go with the crawl's own row. */
const AT_ONCE = ['exports'];
/** What is remembered over the crawls of a spider or a schedule, and the deletions themselves. */
const STAYS = ['spider_pages', 'deletions', 'schedule_runs'];

/** A crawl with `n` rows in each table that has many of one crawl. */
async function fullCrawl(n: number): Promise<string> {
  const { sql } = database;
  const { id } = await seedCrawl(sql, { queued: n });
  const each = (columns: string, values: string) =>
    sql.unsafe(`insert into ${columns} select ${values} from generate_series(0, ${n - 1}) as n`);
  const uuid = `md5('${id}' || n)::uuid`;
  await each('page_links (crawl_id, seq, fps)', `'${id}', n, array[]::uuid[]`);
  await each('url_patterns (crawl_id, pattern, n)', `'${id}', ${uuid}, 1`);
  await each('item_keys (space, key)', `'${id}', ${uuid}`);
  await each('crawl_cookies (crawl_id, version, n, key, gone, cookie)', `'${id}', 1, n, ${uuid}, false, '{}'`);
  await each('crawl_state (crawl_id, key, value)', `'${id}', 'kéy-' || n, '1'`);
  await each(
    'items (crawl_id, "offset", scraped_at, seq, size, type, url, data)',
    `'${id}', n, now(), n, 2, 'a', 'https://a.example/', '{}'`,
  );
  await each('crawl_logs (crawl_id, n, at, level, url, message)', `'${id}', n, now(), 'info', '', ''`);
  await each('crawl_changes (crawl_id, n, state)', `'${id}', n, 'running'`);
  await each('deliveries (crawl_id, webhook, n, event, next_offset)', `'${id}', 0, n, 'crawl.started', 0`);
  await each('delivery_attempts (crawl_id, webhook, delivery, n, at, attempt)', `'${id}', 0, n, 1, now(), '{}'`);
  await each('crawl_counts (crawl_id, kind, key, n)', `'${id}', 'field', 'f' || n, 1`);
  await sql`insert into exports (crawl_id, n, name, kind, definition) values (${id}, 0, 'file', 'file', '{}')`;
  await sql`update crawls set state = 'cancelled', ended_at = now(), items = ${n} where id = ${id}`;
  return id;
}

async function rowsOf(id: string, tables: readonly string[]): Promise<Record<string, number>> {
  const counts = tables.map(async (table) => {
    const column = table === 'item_keys' ? 'space' : 'crawl_id';
    const [row] = await database.sql.unsafe(`select count(*)::int as n from ${table} where ${column} = '${id}'`);
    return [table, row!.n as number] as const;
  });
  return Object.fromEntries(await Promise.all(counts));
}

const remove = (id: string, n: number) =>
  inTransaction(database.sql, (tx) => deleteCrawl(tx, { id, next_seq: n, items: n }));

test('11: a table with rows of crawls is not forgotten when a crawl is deleted', async () => {
  const rows = await database.sql<{ name: string }[]>`
    select table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'crawl_id'`;
  const known = [...LEDGER, ...REST, ...AT_ONCE, ...STAYS].filter((name) => name !== 'item_keys');
  assert.deepEqual(rows.map(({ name }) => name).sort(), known.sort(), 'add it to src/db/deletions.ts, and here');
});

test('11: a crawl is deleted batch by batch, whoever does it, and its neighbours keep every row', async () => {
  const N = 230;
  const crawls = await Promise.all([fullCrawl(N), fullCrawl(N), fullCrawl(N)]);
  const [gone, kept, alsoGone] = crawls.toSorted() as [string, string, string];
  for (const id of [gone, alsoGone]) await remove(id, N);
  const all = [...LEDGER, ...REST];
  assert.equal((await rowsOf(gone, all)).requests, N, 'nothing of it goes in the transaction of the deletion');
  assert.equal((await rowsOf(gone, AT_ONCE)).exports, 0);
  let most = 0;
  while ((await countDeletions(database.sql)).crawls > 0) {
    // Three nodes at once.
    const deleted = await Promise.all([1, 2, 3].map(() => deleteBatch(database.sql, 100)));
    most = Math.max(most, ...deleted.map((n) => n ?? 0));
  }
  // The counts of one crawl are few, and go at once.
  assert.ok(most <= 100 + N, `a batch of ${most} rows`);
  for (const id of [gone, alsoGone])
    assert.deepEqual(
      Object.values(await rowsOf(id, all)),
      all.map(() => 0),
    );
  const { host_queues, ...rest } = await rowsOf(kept, [...all, ...AT_ONCE]);
  assert.deepEqual(
    [host_queues, rest],
    [
      1,
      { ...Object.fromEntries([...all, ...AT_ONCE].filter((t) => t !== 'host_queues').map((t) => [t, N])), exports: 1 },
    ],
  );
});

test('a batch that fails leaves the deletion where it was', async () => {
  const id = await fullCrawl(20);
  await remove(id, 20);
  await deleteBatch(database.sql, 5);
  const before = await rowsOf(id, LEDGER);
  await database.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$ begin raise 'the disk is full'; end $$;
    create trigger refuse before delete on requests execute function refuse();`);
  await assert.rejects(deleteBatch(database.sql, 5), /the disk is full/);
  assert.deepEqual(await rowsOf(id, LEDGER), before);
  await database.sql.unsafe('drop trigger refuse on requests; drop function refuse');
  await finishDeletions(database.sql);
  assert.deepEqual(
    Object.values(await rowsOf(id, [...LEDGER, ...REST])).filter((n) => n > 0),
    [],
  );
});

test('a ledger that is being deleted goes on as the whole crawl when that is deleted meanwhile', async () => {
  const id = await fullCrawl(40);
  await inTransaction(database.sql, (tx) => insertDeletion(tx, id, false, 40));
  await deleteBatch(database.sql, 30);
  assert.equal((await rowsOf(id, ['items'])).items, 40);
  await remove(id, 40);
  await finishDeletions(database.sql);
  assert.deepEqual(
    Object.values(await rowsOf(id, [...LEDGER, ...REST])).filter((n) => n > 0),
    [],
  );
});

test('a ledger alone leaves items, log and counts', async () => {
  const id = await fullCrawl(10);
  await inTransaction(database.sql, (tx) => insertDeletion(tx, id, false, 10));
  await finishDeletions(database.sql);
  assert.deepEqual(
    Object.values(await rowsOf(id, LEDGER)),
    LEDGER.map(() => 0),
  );
  assert.deepEqual(await rowsOf(id, REST), Object.fromEntries(REST.map((name) => [name, 10])));
  assert.equal(await deleteBatch(database.sql, 10), null);
});

test('45: a reader that came before the deletion gets no page with a hole in it', async () => {
  const id = await fullCrawl(40);
  const reader = new ItemReader(database.sql, new Wakeups());
  const read = (after: number) => reader.page(id, { after, limit: 100 }, 40);
  assert.equal((await read(-1)).items.length, 40);
  await remove(id, 40);
  while ((await rowsOf(id, ['items'])).items === 40) await deleteBatch(database.sql, 15);
  await assert.rejects(read(-1), /was deleted/);
  assert.deepEqual((await read(38)).items.length, 1);
  await finishDeletions(database.sql);
  await assert.rejects(read(38), /was deleted/);
});
