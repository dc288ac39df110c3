import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, postCrawl, readItems, readMetric, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
const nodes: Service[] = [];
before(async () => {
  database = await testDatabase();
  await join(2);
});
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await database.drop();
});

async function join(n: number): Promise<void> {
  nodes.push(...(await Promise.all([...Array(n)].map(() => startService({ DATABASE_URL: database.url })))));
}

type Handler = Parameters<typeof startSite>[0];

/** One site each on 127.0.0.2, 127.0.0.3 … */
async function withSites(n: number, handler: Handler, work: (sites: Site[]) => Promise<void>): Promise<void> {
  const sites: Site[] = [];
  try {
    for (let i = 0; i < n; i++) sites.push(await startSite(handler, { host: `127.0.0.${i + 2}` }));
    await work(sites);
  } finally {
    await Promise.all(sites.map((site) => site.close()));
  }
}

async function start(sites: readonly Site[], settings: object): Promise<string> {
  const startUrls = sites.map((site) => `${site.url}/`);
  const { id } = await postCrawl(nodes[0]!.url, {
    spider: TITLE_SPIDER,
    startUrls,
    settings: { ...FAST, ...settings },
  });
  return id;
}

async function waitForDone(id: string, done: number): Promise<void> {
  for (const deadline = Date.now() + 30_000; ; ) {
    const [row] = await database.sql<{ done: number }[]>`select done from crawls where id = ${id}`;
    if (row!.done >= done) return;
    assert.ok(Date.now() < deadline, `${row!.done} of ${done} pages are done`);
    await sleep(10);
  }
}

/** Hosts that each node holds. */
async function shares(): Promise<number[]> {
  const rows = await database.sql<{ n: number }[]>`
    select count(h.id)::int as n from nodes left join hosts h on h.node_id = nodes.id group by nodes.id order by 1`;
  return rows.map((row) => row.n);
}

const hitsOf = (sites: readonly Site[]) => sites.reduce((sum, site) => sum + site.hits.length, 0);

test('17: delay and concurrency of a host hold over two crawls and two nodes, by the site’s own clock', async () => {
  let inFlight = 0;
  let most = 0;
  const tree = treeSite(25);
  const slow: Handler = (req, res) => {
    most = Math.max(most, ++inFlight);
    setTimeout(() => {
      inFlight--;
      tree(req, res);
    }, 150);
  };
  await withSites(1, slow, async ([site]) => {
    const settings = { delayMs: 60, randomizeDelay: false, concurrencyPerHost: 2 };
    const ids = [await start([site!], settings), await start([site!], settings)];
    for (const id of ids) await waitFor(nodes[1]!.url, id, ENDED);
    for (const id of ids) assert.equal((await checkBooks(nodes[1]!.url, id)).items.length, 25);
    assert.equal(site!.hits.length, 50);
    assert.equal(most, 2, 'fetches at once');
    // Only how late one arrives may shorten the whole.
    const span = site!.hits.at(-1)!.at - site!.hits[0]!.at;
    assert.ok(span >= 48 * 60, `50 fetches in ${span} ms`);
  });
});

test('37: two nodes fetch each page of many origins once; maxPages and maxItems are exact', async () => {
  await withSites(8, treeSite(40), async (sites) => {
    const whole = await start(sites, {});
    await waitFor(nodes[0]!.url, whole, ENDED);
    const books = await checkBooks(nodes[1]!.url, whole);
    assert.deepEqual([books.items.length, books.crawl.stopReason], [320, 'finished']);
    assert.equal(hitsOf(sites), 320, 'each page fetched once');
    for (const site of sites) site.hits.length = 0;
    const pages = await start(sites, { maxPages: 137 });
    await waitFor(nodes[0]!.url, pages, ENDED);
    assert.equal((await checkBooks(nodes[1]!.url, pages)).crawl.stats.done, 137);
    assert.equal(hitsOf(sites), 137);
    const items = await start(sites, { maxItems: 141 });
    await waitFor(nodes[0]!.url, items, ENDED);
    assert.equal((await checkBooks(nodes[1]!.url, items)).items.length, 141);
  });
});

test('45: a slow reader misses and repeats nothing while two nodes write', async () => {
  const text = 'x'.repeat(20_000);
  const handler: Handler = (req, res) => {
    const links = req.url === '/' ? [...Array(100).keys()].map((i) => `/p${i}`) : [];
    html(res, `${req.url} ${text}`, links);
  };
  await withSites(4, handler, async (sites) => {
    const id = await start(sites, {});
    const response = await open(`${nodes[1]!.url}/crawls/${id}/items`);
    let body = '';
    for await (const piece of response) {
      body += piece;
      await sleep(15);
    }
    const offsets = body
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line).offset);
    assert.deepEqual(offsets, [...Array(404).keys()]);
    assert.equal(hitsOf(sites), 404);
  });
});

test('39: a thousand followers of one crawl get every item, and the node’s memory stays what it was', async () => {
  await withSites(2, treeSite(30), async (sites) => {
    const id = await start(sites, { delayMs: 40, concurrencyPerHost: 4 });
    const counts = await Promise.all(
      [...Array(1000)].map(async () => {
        const response = await open(`${nodes[0]!.url}/crawls/${id}/items`);
        let lines = 0;
        for await (const piece of response) for (const byte of piece) if (byte === 10) lines++;
        return lines;
      }),
    );
    assert.deepEqual([...new Set(counts)], [60]);
    const memory = await readMetric(nodes[0]!.url, 'orbweaver_process_resident_memory_bytes');
    assert.ok(memory < 700e6, `${memory} bytes`);
    const [other] = await readItems(nodes[1]!.url, id, '?limit=1');
    assert.equal(other!.offset, 0);
  });
});

test('37: nodes that join a running crawl get their share of its hosts, and each page is still fetched once', async () => {
  const shared = async (wanted: string) => {
    for (const deadline = Date.now() + 60_000; (await shares()).join() !== wanted; await sleep(50))
      assert.ok(Date.now() < deadline, `the hosts are shared as ${await shares()}`);
  };
  await withSites(8, treeSite(100), async (sites) => {
    // Long enough for the hosts to be shared while it runs: a minute, if it were not made faster.
    const id = await start(sites, { delayMs: 600, concurrencyPerHost: 4, concurrency: 64 });
    await waitForDone(id, 8);
    await shared('4,4');
    await join(2);
    await shared('2,2,2,2');
    const faster = {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: '{"settings":{"delayMs":0}}',
    };
    assert.equal((await fetch(`${nodes[1]!.url}/crawls/${id}`, faster)).status, 200);
    await waitFor(nodes[3]!.url, id, ENDED);
    const { items, ledger } = await checkBooks(nodes[2]!.url, id);
    assert.deepEqual(
      ledger.filter(({ state }) => state !== 'done'),
      [],
    );
    assert.deepEqual([ledger.length, items.length, hitsOf(sites)], [800, 800, 800]);
  });
});

/** A response whose body waits until it is read. */
async function open(url: string): Promise<IncomingMessage> {
  const request: ClientRequest = get(url, { agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  assert.equal(response.statusCode, 200);
  return response;
}
