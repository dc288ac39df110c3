import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, getCrawl, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

const PAGES = 5000;

async function withSite(n: number, work: (site: Site) => Promise<void>): Promise<void> {
  const site = await startSite(treeSite(n));
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

/** Waits until so many pages are done; the progress that a kill must not lose. */
async function waitForDone(service: Service, id: string, done: number): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await sleep(25)) {
    const crawl = await getCrawl(service.url, id);
    if (crawl.stats.done >= done || ENDED.includes(crawl.state)) return;
    assert.ok(Date.now() < deadline, `stuck at ${JSON.stringify(crawl.stats)}`);
  }
}

test('34: kill -9 twenty times during a crawl of 5,000 pages: items once, offsets gapless, the ledger sums', async () => {
  await withSite(PAGES, async (site) => {
    let service = await startService({ DATABASE_URL: database.url });
    const { id } = await postCrawl(service.url, { spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings: FAST });
    let kills = 0;
    for (; kills < 20; kills++) {
      await waitForDone(service, id, (kills * PAGES) / 25);
      await sleep(Math.random() * 60);
      await service.signal('SIGKILL');
      service = await startService({ DATABASE_URL: database.url });
    }
    try {
      const ended = await waitFor(service.url, id, ENDED, 120_000);
      assert.equal(ended.stopReason, 'finished');
      const { items, ledger } = await checkBooks(service.url, id);
      assert.equal(items.length, PAGES);
      assert.equal(new Set(items.map((item) => item.url)).size, PAGES, 'each page once');
      assert.equal(ledger.filter((row) => row.state === 'done').length, PAGES);
    } finally {
      await service.stop();
    }
  });
});

test('36: a node that sleeps past its lease changes nothing when it wakes up', async () => {
  await withSite(1500, async (site) => {
    const first = await startService({ DATABASE_URL: database.url });
    let second: Service | null = null;
    try {
      const { id } = await postCrawl(first.url, {
        spider: TITLE_SPIDER,
        startUrls: [`${site.url}/`],
        settings: { ...FAST, concurrency: 8, concurrencyPerHost: 8, delayMs: 2, randomizeDelay: false },
      });
      await waitForDone(first, id, 100);
      await first.signal('SIGSTOP');
      second = await startService({ DATABASE_URL: database.url });
      const stopped = (await getCrawl(second.url, id)).stats.done;
      await waitForDone(second, id, stopped + 100);
      await first.signal('SIGCONT');
      const ended = await waitFor(second.url, id, ENDED, 60_000);
      assert.equal(ended.stopReason, 'finished');
      const { items } = await checkBooks(second.url, id);
      assert.equal(items.length, 1500);
      assert.equal(new Set(items.map((item) => item.url)).size, 1500);
    } finally {
      await first.signal('SIGCONT');
      await Promise.all([first.stop(), second?.stop()]);
    }
  });
});

test('38: SIGTERM under load: another node goes on without waiting for a lease to run out', async () => {
  await withSite(1500, async (site) => {
    const first = await startService({ DATABASE_URL: database.url });
    const { id } = await postCrawl(first.url, { spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings: FAST });
    await waitForDone(first, id, 200);
    await first.stop();
    const [left] = await database.sql`
      select (select count(*)::int from requests where crawl_id = ${id} and state = 2) as fetching,
             (select count(*)::int from hosts where node_id is not null) as leases,
             (select max(crashes)::int from requests where crawl_id = ${id}) as crashes`;
    assert.deepEqual({ ...left }, { fetching: 0, leases: 0, crashes: 0 });
    const second = await startService({ DATABASE_URL: database.url });
    try {
      await waitFor(second.url, id, ENDED);
      const { items } = await checkBooks(second.url, id);
      assert.equal(items.length, 1500);
    } finally {
      await second.stop();
    }
  });
});
