import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { CrawlRuns } from '../../dist/frontier/crawl_run.js';
import { Frontier } from '../../dist/frontier/frontier.js';
import { Leases } from '../../dist/frontier/leases.js';
import { rankOf } from '../../dist/model/rank.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { fpOf, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

/** A frontier with the lease of a crawl's host, which notes what it claims. */
async function startFrontier(queued: number) {
  const { sql } = database;
  const origin = `http://${randomUUID()}.example`;
  const { id, hostId } = await seedCrawl(sql, { queued, origin });
  const leases = new Leases(sql, randomUUID(), 'worker');
  const claimed: string[] = [];
  const frontier = new Frontier({
    sql,
    leases,
    runs: new CrawlRuns(
      sql,
      () => {},
      () => {},
    ),
    syncCookies: async () => {},
    addressOf: async () => null,
    onClaimed: (_queue, requests) => claimed.push(...requests.map((request) => request.url)),
    onWanted: () => {},
    onCall: () => {},
  });
  await leases.beat();
  return { sql, origin, id, hostId, claimed, frontier };
}

test('a crawl that was dropped while a claim of it was on its way, and is back, gets each request once', async () => {
  const { sql, id, claimed, frontier } = await startFrontier(60);
  await frontier.survey();
  const claiming = frontier.refill(Date.now());
  await new Promise(setImmediate);
  frontier.dropCrawl(id);
  await claiming;
  await frontier.survey();
  await frontier.refill(Date.now());
  assert.ok(claimed.length > 16, `${claimed.length} were claimed`);
  assert.equal(new Set(claimed).size, claimed.length);
  await frontier.close(Date.now());
  await sql`update crawls set state = 'cancelled' where id = ${id}`;
});

test('a crawl that is pausing is asked for no more, once it said no', async () => {
  const { sql, id, claimed, frontier } = await startFrontier(60);
  await frontier.survey();
  await sql`update crawls set state = 'pausing' where id = ${id}`;
  assert.equal(await frontier.refill(Date.now()), false);
  assert.deepEqual(claimed, []);
  await sql`update crawls set state = 'running' where id = ${id}`;
  await frontier.survey();
  await frontier.refill(Date.now());
  assert.equal(claimed.length, 16);
  await frontier.close(Date.now());
  await sql`update crawls set state = 'cancelled' where id = ${id}`;
});

test('37: what another node queues on a host that this node holds is claimed at the next survey', async () => {
  const { sql, origin, id, hostId, claimed, frontier } = await startFrontier(3);
  const step = async () => {
    await frontier.survey();
    while (await frontier.refill(Date.now()));
  };
  await step();
  assert.equal(claimed.length, 3);
  await step();
  const url = `${origin}/late`;
  const rank = rankOf('breadth', 0, 1, 3).toString();
  await sql`
    insert into requests (crawl_id, fp, seq, rank, host_id, depth, state, url)
    values (${id}, ${fpOf(url)}::uuid, 3, ${rank}::bigint, ${hostId}, 1, 0, ${url})`;
  await sql`update crawls set queued = queued + 1, discovered = discovered + 1 where id = ${id}`;
  await sql`
    update host_queues set queued = queued + 1, head = least(head, ${rank}::bigint)
    where crawl_id = ${id} and host_id = ${hostId}`;
  await step();
  assert.equal(claimed.at(-1), url);
  assert.equal(claimed.length, 4);
  await frontier.close(Date.now());
});
