import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claim } from '../../dist/db/claims.js';
import { queueKey } from '../../dist/db/host_budgets.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { booksOf, holdHost, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

/** Ends everything in progress as done, as commits do. */
async function finish(id: string): Promise<void> {
  const { sql } = database;
  await sql`update requests set state = 3 where crawl_id = ${id} and state = 2`;
  await sql`update host_queues set done = done + in_progress, in_progress = 0 where crawl_id = ${id}`;
  await sql`update crawls set done = done + in_progress, in_progress = 0 where id = ${id}`;
}

async function setUp(queued: number, settings: object) {
  const { sql } = database;
  const { id, hostId } = await seedCrawl(sql, { queued, settings });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  return {
    id,
    key: queueKey({ crawlId: id, hostId }),
    hostId,
    claim: (n: number) => claim(sql, node, [{ crawlId: id, hostId, fence, n }]),
    skipped: async () => {
      const [row] = await sql<{ n: number }[]>`
        select count(*)::int as n from requests where crawl_id = ${id} and state = 5 and reason = 'max_pages_per_host'`;
      return row!.n;
    },
    books: async () => {
      const { counters, sums } = await booksOf(sql, id);
      assert.deepEqual(counters, sums);
    },
  };
}

test('24: claims at once never go beyond maxPagesPerHost, and what is in progress counts', async () => {
  const s = await setUp(100, { maxPagesPerHost: 7 });
  const results = await Promise.all([s.claim(5), s.claim(5), s.claim(5)]);
  assert.deepEqual(results.map(({ requests }) => requests.length).sort(), [0, 2, 5]);
  const { exhausted, spent } = await s.claim(5);
  assert.deepEqual([exhausted.has(s.key), spent.size], [true, 0], 'it is asked again when something ends');
  assert.equal(await s.skipped(), 0, 'what is in progress may yet fail');
  await s.books();
});

test('24: when the pages of a host are done, the rest of its queue is skipped in batches, and the crawl ends', async () => {
  const { sql } = database;
  const s = await setUp(4503, { maxPagesPerHost: 3 });
  await sql`update requests set state = 1, ready_at = now() + interval '1 hour' where crawl_id = ${s.id} and seq = 4000`;
  assert.equal((await s.claim(10)).requests.length, 3);
  await finish(s.id);
  const seen: [number, boolean | undefined][] = [];
  for (let i = 0; i < 3; i++) {
    const { requests, spent, exhausted } = await s.claim(10);
    assert.deepEqual([requests.length, exhausted.has(s.key)], [0, false]);
    await s.books();
    seen.push([await s.skipped(), spent.get(s.key)]);
  }
  assert.deepEqual(seen, [
    [2000, true],
    [4000, true],
    [4500, false],
  ]);
  const [crawl] = await sql<{ state: string; stop_reason: string }[]>`
    select state, stop_reason from crawls where id = ${s.id}`;
  assert.deepEqual([crawl!.state, crawl!.stop_reason], ['finished', 'finished']);
  const [counted] = await sql<{ n: number }[]>`
    select n from crawl_counts where crawl_id = ${s.id} and kind = 'reason' and key = 'max_pages_per_host'`;
  assert.equal(counted!.n, 4500);
});

test('24: a host of its own counts for itself', async () => {
  const { sql } = database;
  const s = await setUp(10, { maxPagesPerHost: 4 });
  const origin = `http://${randomUUID()}.example`;
  const [other] = await sql<{ id: number }[]>`insert into hosts (origin) values (${origin}) returning id`;
  const node = randomUUID();
  const fences = [await holdHost(sql, node, s.hostId), await holdHost(sql, node, other!.id)];
  await sql`update requests set host_id = ${other!.id} where crawl_id = ${s.id} and seq >= 5`;
  await sql`update host_queues set queued = 5 where crawl_id = ${s.id}`;
  await sql`insert into host_queues (crawl_id, host_id, queued, head) values (${s.id}, ${other!.id}, 5, 0)`;
  const wants = [s.hostId, other!.id].map((hostId, i) => ({ crawlId: s.id, hostId, fence: fences[i]!, n: 9 }));
  const { requests } = await claim(sql, node, wants);
  const byHost = Map.groupBy(requests, ({ hostId }) => hostId);
  assert.deepEqual([byHost.get(s.hostId)?.length, byHost.get(other!.id)?.length], [4, 4]);
  await s.books();
});
