import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, getCrawl, postCrawl, readItems, readMetric, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp_proxy.ts';

let database: TestDatabase;
let proxy: TcpProxy;
let service: Service;
before(async () => {
  database = await testDatabase();
  proxy = await startTcpProxy(database.url);
  service = await startService({ DATABASE_URL: proxy.url });
});
after(async () => {
  await service.stop();
  await proxy.close();
  await database.drop();
});

async function withSite(handler: Parameters<typeof startSite>[0], work: (site: Site) => Promise<void>): Promise<void> {
  const site = await startSite(handler);
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

async function start(site: Site, settings: object = {}, path = '/'): Promise<string> {
  const { id } = await postCrawl(service.url, {
    spider: TITLE_SPIDER,
    startUrls: [site.url + path],
    settings: { ...FAST, ...settings },
  });
  return id;
}

/** Asks the database itself: the service may be away from it. */
async function waitForDone(id: string, done: number): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; ) {
    const [row] = await database.sql<{ done: number }[]>`select done from crawls where id = ${id}`;
    if (row!.done >= done) return;
    assert.ok(Date.now() < deadline, `${row!.done} of ${done} pages are done`);
    await sleep(20);
  }
}

/** Whether it is ready, and answers as many requests at once as the API has connections, and more. */
async function answersAll(id: string): Promise<boolean> {
  const paths = ['readyz', ...Array(20).fill(`crawls/${id}`)];
  const answers = await Promise.all(paths.map((path) => fetch(`${service.url}/${path}`)));
  await Promise.all(answers.map((answer) => answer.text()));
  return answers.every((answer) => answer.status === 200);
}

/** The crawl's end, with each of `n` pages done once, and asked for once. */
async function checkWhole(id: string, site: Site, n: number): Promise<void> {
  await checkItems(id, n);
  assert.equal(site.hits.length, n, 'each page fetched once');
}

/** The crawl's end, with each of `n` pages done once. */
async function checkItems(id: string, n: number): Promise<void> {
  // Until each connection of its pool has been made again, the API goes on to answer 503 now and then.
  for (const deadline = Date.now() + 60_000; !(await answersAll(id)); await sleep(100))
    assert.ok(Date.now() < deadline, 'the API still answers 503');
  const ended = await waitFor(service.url, id, ENDED);
  assert.equal(ended.stopReason, 'finished');
  const { items, ledger } = await checkBooks(service.url, id);
  assert.equal(new Set(items.map((item) => item.url)).size, n);
  assert.equal(items.length, n, 'the items of each page once');
  assert.ok(ledger.every((row) => row.state === 'done'));
}

test('35: all connections to the database killed, again and again: the crawl and its followers go on', async () => {
  await withSite(treeSite(500), async (site) => {
    const id = await start(site, { delayMs: 1, randomizeDelay: false });
    const followed = readItems(service.url, id);
    for (let kill = 1; kill <= 8; kill++) {
      await database.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name like 'orbweaver%'`;
      await waitForDone(id, kill * 50);
    }
    await checkWhole(id, site, 500);
    assert.deepEqual(
      (await followed).map((item) => item.offset),
      [...Array(500).keys()],
    );
  });
});

test('35: the database is gone for longer than the lease: the crawl waits, /readyz says so, and nothing is lost', async () => {
  await withSite(treeSite(400), async (site) => {
    const id = await start(site, { delayMs: 2, randomizeDelay: false });
    await waitForDone(id, 100);
    await proxy.cut();
    const early = await fetch(`${service.url}/readyz`);
    assert.equal(early.status, 503);
    assert.match(await early.text(), /"database":"does not answer/);
    assert.equal((await fetch(`${service.url}/healthz`)).status, 200);
    assert.equal((await fetch(`${service.url}/crawls/${id}`)).status, 503);
    const isLost = async () =>
      (await (await fetch(`${service.url}/readyz`)).text()).includes('the node has no valid lease');
    for (const deadline = Date.now() + 60_000; !(await isLost()); await sleep(200)) assert.ok(Date.now() < deadline);
    const hits = site.hits.length;
    await sleep(1000);
    assert.equal(site.hits.length, hits, 'without a lease nothing is fetched');
    await proxy.restore();
    // What was fetched under the lease that is over may be fetched again; that depends on who comes first, commit or lease.
    await checkItems(id, 400);
    const listeners = () => database.sql`
      select 1 from pg_stat_activity where datname = current_database() and query ilike 'listen%'`;
    // The wake-ups of other nodes are heard again.
    for (const deadline = Date.now() + 60_000; (await listeners()).length !== 1; await sleep(100))
      assert.ok(Date.now() < deadline);
  });
});

test('35: the answer to every third COMMIT is lost: items once, and no request stays in progress', async () => {
  await withSite(treeSite(500), async (site) => {
    const before = proxy.lost;
    const id = await start(site, { concurrency: 8, concurrencyPerHost: 8 });
    await waitForDone(id, 1);
    proxy.loses = (n) => n % 3 === 0;
    await waitForDone(id, 400);
    proxy.loses = () => false;
    await checkWhole(id, site, 500);
    assert.ok(proxy.lost - before > 10, `${proxy.lost - before} answers were lost`);
  });
});

test('35: the answers to the first COMMITs of a crawl are lost, the one to its claim among them', async () => {
  for (let nth = 0; nth < 4; nth++)
    await withSite(treeSite(3), async (site) => {
      let seen = 0;
      // The API's own COMMIT is the first.
      proxy.loses = () => seen++ === nth + 1;
      const id = await start(site);
      await checkWhole(id, site, 3);
      proxy.loses = () => false;
      assert.ok(seen > nth + 1);
    });
});

test('35: a lease that could not be given back, or was given without an answer, does not keep its host for ever', async () => {
  await withSite(treeSite(20), async (site) => {
    await checkWhole(await start(site), site, 20);
    // An idle host is given back after two seconds: the database is away at that moment.
    await proxy.cut();
    await sleep(4000);
    await proxy.restore();
    site.hits.length = 0;
    await checkWhole(await start(site), site, 20);
  });
});

test('40: a slow database slows the fetching; what waits for its commit stays bounded, and nothing is dropped', async () => {
  // An item of 64 KiB a page: eight mebibytes of outcomes, which is what may wait, are 128 of these 400 pages.
  const text = 'x'.repeat(64 * 1024);
  const links = [...Array(399).keys()].map((i) => `/p${i + 1}`);
  const handler: Parameters<typeof startSite>[0] = (req, res) => html(res, text, req.url === '/' ? links : []);
  await withSite(handler, async (site) => {
    const id = await start(site, { concurrency: 64, concurrencyPerHost: 64 });
    await waitForDone(id, 1);
    proxy.latencyMs = 200;
    const waiting = () => readMetric(service.url, 'orbweaver_committer_pending');
    for (const deadline = Date.now() + 60_000; (await waiting()) < 128; await sleep(50))
      assert.ok(Date.now() < deadline);
    let most = 0;
    for (let n = 0; n < 20; n++, await sleep(100)) most = Math.max(most, await waiting());
    // And what was being fetched or parsed when that was reached.
    assert.ok(most <= 256, `${most} outcomes waited`);
    proxy.latencyMs = 0;
    await checkWhole(id, site, 400);
  });
});

test('20: a host that never answers costs the other hosts nothing', async () => {
  await withSite(
    () => {},
    async (silent) => {
      await withSite(treeSite(200), async (site) => {
        const { id } = await postCrawl(service.url, {
          spider: TITLE_SPIDER,
          startUrls: [...Array(100).keys()].map((i) => `${silent.url}/${i}`).concat(`${site.url}/`),
          settings: { robots: false, concurrency: 8, concurrencyPerHost: 4 },
        });
        await waitForDone(id, 200);
        assert.equal(silent.hits.length, 4, 'it holds its own slots');
        assert.equal(site.hits.length, 200);
        assert.equal((await fetch(`${service.url}/crawls/${id}/cancel`, { method: 'POST' })).status, 200);
        await checkBooks(service.url, id);
      });
    },
  );
});

test('41: with 20,000 requests queued the node holds a small window of them', async () => {
  const hub = (from: number) => [...Array(5000).keys()].map((i) => `/leaf${from + i}`);
  const handler: Parameters<typeof startSite>[0] = (req, res) => {
    const hubs = [1, 2, 3, 4].map((i) => `/hub${i}`);
    const nth = /^\/hub(\d)/.exec(req.url ?? '')?.[1];
    html(res, req.url ?? '', req.url === '/' ? hubs : nth === undefined ? [] : hub(Number(nth) * 5000));
  };
  await withSite(handler, async (site) => {
    const id = await start(site);
    let most = 0;
    for (let discovered = 0; discovered < 20_005; discovered = (await getCrawl(service.url, id)).stats.discovered) {
      most = Math.max(most, await readMetric(service.url, 'orbweaver_frontier_windowed'));
      await sleep(50);
    }
    await waitForDone(id, 300);
    most = Math.max(most, await readMetric(service.url, 'orbweaver_frontier_windowed'));
    assert.ok(most <= 256, `${most} requests in the window`);
    assert.equal((await fetch(`${service.url}/crawls/${id}/cancel`, { method: 'POST' })).status, 200);
    const [row] = await database.sql`select queued::int, in_progress::int from crawls where id = ${id}`;
    assert.equal(row?.in_progress, 0);
  });
});
