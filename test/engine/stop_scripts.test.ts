import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { type Everything, startEverything } from '../support/everything.ts';
import { descendants } from '../support/processes.ts';
import { finishDeletions } from '../support/rows.ts';
import { type Service, startService } from '../support/service.ts';

let database: TestDatabase;
let service: Service;
const env = () => ({ DATABASE_URL: database.url, SCRIPTS: 'on', ENRICH_EGRESS_ALLOW: '127.0.0.0/8' });
before(async () => {
  database = await testDatabase();
  service = await startService(env());
});
after(async () => {
  await service.stop();
  await database.drop();
});

async function withSite(options: object, work: (everything: Everything) => Promise<void>): Promise<void> {
  const everything = await startEverything({ pages: 40, ...options });
  try {
    await work(everything);
  } finally {
    await everything.site.close();
  }
}

/** Waits until the site was asked for something so often. */
async function hits({ site }: Everything, path: string, n: number): Promise<void> {
  for (const deadline = Date.now() + 60_000; site.hits.filter(({ url }) => url.startsWith(path)).length < n; ) {
    assert.ok(Date.now() < deadline, `${path} was not asked ${n} times`);
    await sleep(10);
  }
}

const post = async (url: string) => assert.equal((await fetch(url, { method: 'POST' })).status, 200, url);

test('a crawl that is paused while callbacks and items wait comes to its pause, and goes on where it was', async () => {
  await withSite({ callMs: 30, apiMs: 100 }, async (everything) => {
    const { id } = await postCrawl(service.url, everything.crawl({ concurrencyPerHost: 4 }));
    await hits(everything, '/score', 5);
    await post(`${service.url}/crawls/${id}/pause`);
    const { stats } = await waitFor(service.url, id, ['paused']);
    assert.equal(stats.inProgress, 0);
    assert.ok(stats.done < 40 && stats.queued > 0, JSON.stringify(stats));
    await checkBooks(service.url, id);
    await post(`${service.url}/crawls/${id}/resume`);
    await waitFor(service.url, id, ENDED);
    await everything.check(database.sql, service.url, id);
  });
});

test('a crawl that is cancelled and deleted while callbacks and items wait leaves nothing, and the next one goes on', async () => {
  await withSite({ callMs: 50, apiMs: 500 }, async (everything) => {
    const { id } = await postCrawl(service.url, everything.crawl());
    await hits(everything, '/score', 10);
    await post(`${service.url}/crawls/${id}/cancel`);
    await checkBooks(service.url, id);
    assert.equal((await fetch(`${service.url}/crawls/${id}`, { method: 'DELETE' })).status, 204);
    const next = await postCrawl(service.url, everything.crawl());
    await waitFor(service.url, next.id, ENDED);
    await everything.check(database.sql, service.url, next.id);
    await finishDeletions(database.sql);
    for (const table of ['requests', 'items', 'crawl_state', 'crawl_logs', 'crawl_counts', 'host_queues', 'page_links'])
      assert.deepEqual(
        { table, rows: [...(await database.sql.unsafe(`select 1 from ${table} where crawl_id = '${id}'`))] },
        { table, rows: [] },
      );
    assert.deepEqual([...(await database.sql`select 1 from item_keys where space = ${id}`)], []);
  });
});

test('38: SIGTERM while callbacks and items wait for slow calls: pages are handed back, no process is left', async () => {
  await withSite({ callMs: 200, apiMs: 400 }, async (everything) => {
    const { id } = await postCrawl(service.url, everything.crawl());
    await hits(everything, '/score', 5);
    const processes = descendants(service.pid);
    assert.ok(processes.length > 0, 'script processes');
    await service.stop();
    const alive = descendants(1);
    assert.deepEqual(
      processes.filter((pid) => alive.includes(pid)),
      [],
    );
    const [left] = await database.sql`
      select (select count(*)::int from requests where crawl_id = ${id} and state = 2) as fetching,
             (select count(*)::int from hosts where node_id is not null) as leases,
             (select max(crashes)::int from requests where crawl_id = ${id}) as crashes`;
    assert.deepEqual({ ...left }, { fetching: 0, leases: 0, crashes: 0 });
    service = await startService(env());
    await waitFor(service.url, id, ENDED);
    await everything.check(database.sql, service.url, id);
  });
});
