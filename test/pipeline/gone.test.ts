import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { findFetched } from '../../dist/db/gone.js';
import { Endings } from '../../dist/engine/endings.js';
import { pauseCrawl, resumeCrawl } from '../../dist/engine/lifecycle.js';
import { spaceOf } from '../../dist/pipeline/dedupe.js';
import { listGone } from '../../dist/pipeline/gone.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { booksOf, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

/** A crawl whose requests have all ended, of a spider of whose items so many were seen before it and nowhere since. */
async function seedFetched(n: number, size = 12): Promise<{ id: string; space: string }> {
  const { sql } = database;
  const name = randomUUID();
  const space = spaceOf({ id: '', spiderName: name });
  const start = randomUUID();
  const { id } = await seedCrawl(sql, { queued: 0, done: 1 });
  const definition = JSON.stringify({ pages: [{ items: [{ type: 'x', fields: { id: 'b' }, key: ['id'] }] }] });
  await sql`
    update crawls set state = 'running', started_at = now(), gone_pending = true, spider_name = ${name},
      start_hash = ${start}, definition = ${definition}::text::json
    where id = ${id}`;
  await sql`
    insert into spider_items (space, key, page_fp, seen_at, hash, size, start, type, url, fields, data)
    select ${space}, gen_random_uuid(), gen_random_uuid(), now() - interval '1 hour', gen_random_uuid(), ${size}, ${start},
           case when i <= ${n}::int then 'x' else 'of no rule' end, 'http://a.example/' || i, '{}', '{}'
    from generate_series(1, ${n}::int + 3) i`;
  return { id, space };
}

/** Lists all that is gone as a node does. @returns in how many steps */
async function listAll(id: string): Promise<number> {
  let after: string | null = null;
  for (let steps = 1; ; steps++) {
    ({ after } = await listGone(database.sql, id, after, false));
    if (after === null) return steps;
  }
}

async function urlsOf(id: string): Promise<string[]> {
  const rows = await database.sql<{ url: string; offset: number; kind: string }[]>`
    select url, "offset", change->>'kind' as kind from items where crawl_id = ${id} order by "offset"`;
  assert.deepEqual(
    rows.map((row) => [row.offset, row.kind]),
    rows.map((_, i) => [i, 'gone']),
  );
  const { counters, sums } = await booksOf(database.sql, id);
  assert.deepEqual(counters, sums);
  return rows.map(({ url }) => url);
}

test('26: two nodes that list what is gone at once list every item once, and end the crawl', async () => {
  const { id, space } = await seedFetched(4500);
  await Promise.all([listAll(id), listAll(id)]);
  const urls = await urlsOf(id);
  assert.deepEqual([urls.length, new Set(urls).size], [4500, 4500]);
  const [row] = await database.sql`select state, stop_reason, gone_pending from crawls where id = ${id}`;
  assert.deepEqual({ ...row }, { state: 'finished', stop_reason: 'finished', gone_pending: false });
  const [left] = await database.sql`select count(*)::int as n from spider_items where space = ${space}`;
  assert.equal(left!.n, 3, 'items of types that the definition does not have stay');
});

test('26: a crawl that is paused while it lists what is gone goes on when it is resumed', async () => {
  const { id } = await seedFetched(2500);
  const { after } = await listGone(database.sql, id, null, false);
  assert.notEqual(after, null);
  assert.equal((await pauseCrawl(database.sql, id)).state, 'paused');
  assert.deepEqual(await listGone(database.sql, id, after, false), { after: null, ended: null });
  assert.ok(!(await findFetched(database.sql)).includes(id));
  await resumeCrawl(database.sql, id);
  assert.ok((await findFetched(database.sql)).includes(id));
  await listAll(id);
  assert.equal((await urlsOf(id)).length, 2500);
});

test('26: a crawl whose gone items cannot be listed keeps no other from its end', async () => {
  const both = [await seedFetched(3), await seedFetched(3)].sort((a, b) => (a.id < b.id ? -1 : 1));
  const [broken, sound] = both.map(({ id }) => id) as [string, string];
  await database.sql`update crawls set definition = '{"pages": 5}' where id = ${broken}`;
  const ended: string[] = [];
  const endings = new Endings({
    sql: database.sql,
    notify: () => false,
    onEnded: (id, how) => ended.push(`${id} ${how}`),
    onCommitted: () => {},
  });
  for (let steps = 0; steps < 3; steps++) await assert.rejects(endings.step(), TypeError);
  assert.deepEqual(ended, [`${sound} finished`]);
  assert.equal((await urlsOf(sound)).length, 3);
  await database.sql`update crawls set state = 'cancelled' where id = ${broken}`;
});

test('26: of a spider with many items that were all seen, each step looks at a bounded number', async () => {
  const { id, space } = await seedFetched(45_000);
  const key = 'f'.repeat(32);
  await database.sql`update spider_items set seen_at = now() where space = ${space}`;
  await database.sql`
    insert into spider_items (space, key, page_fp, seen_at, hash, size, start, type, url, fields, data)
    select space, ${key}, page_fp, seen_at - interval '1 hour', hash, size, start, type, url, fields, data
    from spider_items where space = ${space} and type = 'x' limit 1`;
  assert.equal(await listAll(id), 3);
  assert.equal((await urlsOf(id)).length, 1);
});

test('26: what is gone is listed in steps that are bounded by bytes as well', async () => {
  const { id } = await seedFetched(20, 3 * 1024 * 1024);
  assert.ok((await listAll(id)) >= 10);
  assert.equal((await urlsOf(id)).length, 20);
});
