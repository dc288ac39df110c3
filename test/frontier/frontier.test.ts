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

test('37: what another node queues on a host that this node holds is claimed at the next survey', async () => {
  const { sql } = database;
  const origin = `http://${randomUUID()}.example`;
  const { id, hostId } = await seedCrawl(sql, { queued: 3, origin });
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
    onClaimed: (_queue, requests) => claimed.push(...requests.map((request) => request.url)),
    onWanted: () => {},
    onCall: () => {},
  });
  const step = async () => {
    await frontier.survey();
    while (await frontier.refill(Date.now()));
  };
  await leases.beat();
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
