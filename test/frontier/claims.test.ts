import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claim, handBack, MAX_CRASHES, recoverHosts } from '../../dist/db/claims.js';
import { openPool, type Sql } from '../../dist/db/client.js';
import { acquireHosts, acquireOrigins } from '../../dist/db/hosts.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { booksOf, holdHost, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

const assertBooks = async (id: string) => {
  const { counters, sums } = await booksOf(database.sql, id);
  assert.deepEqual(counters, sums);
};

test('24: two nodes together never claim more than maxPages', async () => {
  const { sql } = database;
  const { id, hostId } = await seedCrawl(sql, { queued: 100, settings: { maxPages: 30 } });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const want = () => [{ crawlId: id, hostId, fence, n: 20 }];
  const results = await Promise.all([claim(sql, node, want()), claim(sql, node, want()), claim(sql, node, want())]);
  assert.equal(
    results.reduce((n, result) => n + result.requests.length, 0),
    30,
  );
  const fps = new Set(results.flatMap((result) => result.requests.map((request) => request.fp)));
  assert.equal(fps.size, 30, 'each request once');
  await assertBooks(id);
});

test('26: requests come in the order of their rank', async () => {
  const { sql } = database;
  const { id, hostId } = await seedCrawl(sql, { queued: 50 });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const first = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 20 }]);
  const second = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 50 }]);
  assert.deepEqual(
    [...first.requests, ...second.requests].map((request) => request.seq),
    [...Array(50).keys()],
  );
});

test('3: a node that lost the lease claims nothing', async () => {
  const { sql } = database;
  const { id, hostId } = await seedCrawl(sql, { queued: 10 });
  const [mine, theirs] = [randomUUID(), randomUUID()];
  const fence = await holdHost(sql, mine, hostId);
  await holdHost(sql, theirs, hostId);
  const result = await claim(sql, mine, [{ crawlId: id, hostId, fence, n: 10 }]);
  assert.equal(result.requests.length, 0);
  assert.equal(result.held.has(hostId), false);
  await assertBooks(id);
});

test('what is handed back keeps its place, and its attempt does not count', async () => {
  const { sql } = database;
  const { id, hostId } = await seedCrawl(sql, { queued: 10 });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const { requests } = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 4 }]);
  await handBack(sql, requests);
  await assertBooks(id);
  const again = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 10 }]);
  assert.deepEqual(
    again.requests.map((request) => request.seq),
    [...Array(10).keys()],
  );
  assert.ok(again.requests.every((request) => request.attempts === 1 && request.crashes === 0));
});

test('9: a request whose node dies again and again ends as failed, and so does its crawl', async () => {
  const { sql } = database;
  const { id, hostId } = await seedCrawl(sql, { queued: 1 });
  for (let i = 1; i <= MAX_CRASHES; i++) {
    const node = randomUUID();
    const fence = await holdHost(sql, node, hostId);
    const { requests } = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 1 }]);
    assert.equal(requests[0]!.attempts, i);
    await sql`update nodes set alive_until = now() - interval '1 second' where id = ${node}`;
    await recoverHosts(sql, randomUUID(), [{ id: hostId, fence: fence + 1 }], true);
    await recoverHosts(sql, node, [{ id: hostId, fence }], true);
    await assertBooks(id);
  }
  const [row] = await sql`select state, reason, crashes from requests where crawl_id = ${id}`;
  assert.deepEqual({ ...row }, { state: 4, reason: 'crashed', crashes: MAX_CRASHES });
  const counts = await sql`select key, n::int from crawl_counts where crawl_id = ${id} and kind = 'reason'`;
  assert.deepEqual(
    counts.map(({ key, n }) => [key, n]),
    [['crashed', 1]],
  );
  const [crawl] = await sql`select state, stop_reason from crawls where id = ${id}`;
  assert.deepEqual({ ...crawl }, { state: 'failed', stop_reason: 'start_urls_failed' });
});

test('5: of many nodes that ask at once, one gets a host; a dead holder is replaced under a new fence', async () => {
  const { sql } = database;
  const origin = `http://${randomUUID()}.example`;
  const { hostId } = await seedCrawl(sql, { queued: 1, origin });
  const nodes = [...Array(8)].map(() => randomUUID());
  await sql`
    insert into nodes (id, role, alive_until) select unnest(${nodes}::uuid[]), 'all', now() + interval '1 hour'`;
  const ask = async (acquire: (node: string) => ReturnType<typeof acquireHosts>) => {
    const taken = await Promise.all(nodes.map((node) => acquire(node)));
    return taken.map((hosts) => hosts.filter((host) => host.id === hostId));
  };
  // Again and again: whose statement had begun when another one took the host must see that it did.
  for (let round = 0; round < 40; round++) {
    await sql`update hosts set node_id = null, wanted_by = null where id = ${hostId}`;
    const isForCall = round % 4 === 0;
    const grants = await ask((node) =>
      isForCall ? acquireOrigins(sql, node, [origin]) : acquireHosts(sql, node, 1000, null),
    );
    assert.equal(grants.flat().length, 1, `round ${round}`);
  }
  await sql`update hosts set node_id = null, wanted_by = null where id = ${hostId}`;
  const grants = await ask((node) => acquireHosts(sql, node, 1000, null));
  const holder = nodes[grants.findIndex((hosts) => hosts.length === 1)]!;
  await sql`update nodes set alive_until = now() - interval '1 second' where id = ${holder}`;
  const other = nodes.find((node) => node !== holder)!;
  const [taken] = (await acquireHosts(sql, other, 1000, null)).filter((host) => host.id === hostId);
  assert.equal(taken!.fence, grants.flat()[0]!.fence + 1);
});

test('41: a claim reads no more of the ledger when 200,000 requests are finished', async () => {
  const { sql } = database;
  const { id, hostId } = await seedCrawl(sql, { queued: 1000, done: 200_000 });
  await sql`analyze requests`;
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  // The finished ones left dead entries in the partial index, as a crawl does between two vacuums.
  await sql`update requests set state = 0 where crawl_id = ${id} and seq < 20000`;
  await sql`update requests set state = 3 where crawl_id = ${id} and seq < 20000`;
  const { requests } = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 100 }]);
  assert.equal(requests.length, 100);
  const [plan] = await sql<{ 'QUERY PLAN': [{ Plan: unknown }] }[]>`
    explain (analyze, buffers, format json)
    select r.fp from host_queues q cross join lateral (
      select fp, rank from requests r where r.crawl_id = q.crawl_id and r.host_id = q.host_id and r.state = 0 and r.rank >= q.head
      order by r.rank limit 100) r
    where q.crawl_id = ${id} and q.host_id = ${hostId}`;
  const text = JSON.stringify(plan!['QUERY PLAN']);
  assert.match(text, /requests_queued/);
  assert.match(text, /rank >= q\.head/);
  assert.doesNotMatch(text, /Seq Scan on requests/);
  const blocks = JSON.parse(text)[0].Plan as { 'Shared Hit Blocks': number; 'Shared Read Blocks': number };
  assert.ok(blocks['Shared Hit Blocks'] + blocks['Shared Read Blocks'] < 300, `${text.slice(0, 2000)}`);
});

test('36: a node that is frozen inside a transaction holds its row locks for five seconds, not for ever', async () => {
  const { sql, url } = database;
  const { id, hostId } = await seedCrawl(sql, { queued: 3 });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const frozen = openPool(url, 1, 'frozen');
  const locked = Promise.withResolvers<void>();
  const never = frozen.begin(async (tx) => {
    await tx`select from crawls where id = ${id} for update`;
    locked.resolve();
    await new Promise(() => {});
  });
  never.catch(() => {});
  await locked.promise;
  const { requests } = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 3 }]);
  assert.equal(requests.length, 3);
  await frozen.end({ timeout: 1 });
});

test('42: a claim reads what it claims, in tables that were empty when its plan was made', async () => {
  const { sql, url } = database;
  const hosts = 200;
  const node = randomUUID();
  const { id } = await seedCrawl(sql, { queued: 5 * hosts });
  const ids = await sql<{ id: number }[]>`
    insert into hosts (origin, node_id, fence) select 'http://h' || i || '.test', ${node}, 1
    from generate_series(1, ${hosts}::int) i returning id`;
  const first = ids[0]!.id;
  await sql`update requests set host_id = ${first}::bigint + seq % ${hosts}::int where crawl_id = ${id}`;
  await sql`update host_queues set queued = 0 where crawl_id = ${id}`;
  await sql`
    insert into host_queues (crawl_id, host_id, queued) select ${id}, id, 5 from hosts where node_id = ${node}`;
  const one = openPool(url, 1, 'claims one after another');
  try {
    const before = await rowsRead(one);
    const rounds = 40;
    for (let round = 0; round < rounds; round++) {
      const wants = ids.slice((round % 8) * 25, (round % 8) * 25 + 25);
      const { requests } = await claim(
        one,
        node,
        wants.map((host) => ({ crawlId: id, hostId: host.id, fence: 1, n: 1 })),
      );
      assert.equal(requests.length, 25);
    }
    const read = (await rowsRead(one)) - before;
    assert.ok(read < rounds * 25 * 12, `${read} rows for ${rounds * 25} requests`);
  } finally {
    await one.end();
  }
  await assertBooks(id);
});

/** Rows that the connections of a pool have read so far of what a claim looks at. */
async function rowsRead(sql: Sql): Promise<number> {
  await sql`select pg_stat_force_next_flush()`;
  await sql`select 1`;
  const [row] = await sql<{ n: number }[]>`
    select sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint as n from pg_stat_user_tables
    where relname in ('requests', 'hosts', 'host_queues')`;
  return row!.n;
}
