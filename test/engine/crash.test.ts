import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, getCrawl, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

/** `CRASH_KILLS=100` is the long form. */
const KILLS = Number(process.env.CRASH_KILLS ?? 8);
const PAGES = 200 * (KILLS + 2);

let database: TestDatabase;
/** A test takes the node that the one before it has left, and leaves one. */
let service: Service;
before(async () => {
  database = await testDatabase();
  service = await startNode();
});
after(async () => {
  await service.stop();
  await database.drop();
});

const startNode = () => startService({ DATABASE_URL: database.url });

async function withSite(n: number, work: (site: Site) => Promise<void>): Promise<void> {
  const site = await startSite(treeSite(n));
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

/** Waits until so many pages are done; the progress that a kill must not lose. */
async function waitForDone(node: Service, id: string, done: number): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await sleep(25)) {
    const crawl = await getCrawl(node.url, id);
    if (crawl.stats.done >= done || ENDED.includes(crawl.state)) return;
    assert.ok(Date.now() < deadline, `stuck at ${JSON.stringify(crawl.stats)}`);
  }
}

test(`34: kill -9 ${KILLS} times during a crawl of ${PAGES} pages: items once, offsets gapless, the ledger sums`, async () => {
  await withSite(PAGES, async (site) => {
    const { id } = await postCrawl(service.url, { spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings: FAST });
    for (let kills = 0; kills < KILLS; kills++) {
      await waitForDone(service, id, 200 * kills);
      await sleep(Math.random() * 60);
      await service.signal('SIGKILL');
      service = await startNode();
    }
    const ended = await waitFor(service.url, id, ENDED, 120_000);
    assert.equal(ended.stopReason, 'finished');
    const { items, ledger } = await checkBooks(service.url, id);
    assert.equal(items.length, PAGES);
    assert.equal(new Set(items.map((item) => item.url)).size, PAGES, 'each page once');
    assert.equal(ledger.filter((row) => row.state === 'done').length, PAGES);
  });
});

test('36: a node that sleeps past its lease changes nothing when it wakes up', async () => {
  await withSite(1000, async (site) => {
    const sleeper = service;
    try {
      const { id } = await postCrawl(sleeper.url, {
        spider: TITLE_SPIDER,
        startUrls: [`${site.url}/`],
        settings: { ...FAST, concurrency: 8, concurrencyPerHost: 8, delayMs: 2, randomizeDelay: false },
      });
      await waitForDone(sleeper, id, 100);
      await sleeper.signal('SIGSTOP');
      service = await startNode();
      const stopped = (await getCrawl(service.url, id)).stats.done;
      await waitForDone(service, id, stopped + 100);
      await sleeper.signal('SIGCONT');
      const ended = await waitFor(service.url, id, ENDED);
      assert.equal(ended.stopReason, 'finished');
      const { items } = await checkBooks(service.url, id);
      assert.equal(items.length, 1000);
      assert.equal(new Set(items.map((item) => item.url)).size, 1000);
    } finally {
      await sleeper.signal('SIGCONT');
      await sleeper.stop();
    }
  });
});

test('38: SIGTERM under load: another node goes on without waiting for a lease to run out', async () => {
  await withSite(1000, async (site) => {
    const { id } = await postCrawl(service.url, { spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings: FAST });
    await waitForDone(service, id, 200);
    await service.stop();
    const [left] = await database.sql`
      select (select count(*)::int from requests where crawl_id = ${id} and state = 2) as fetching,
             (select count(*)::int from hosts where node_id is not null) as leases,
             (select max(crashes)::int from requests where crawl_id = ${id}) as crashes`;
    assert.deepEqual({ ...left }, { fetching: 0, leases: 0, crashes: 0 });
    service = await startNode();
    await waitFor(service.url, id, ENDED);
    const { items } = await checkBooks(service.url, id);
    assert.equal(items.length, 1000);
  });
});
