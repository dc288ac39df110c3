import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, getCrawl, getJson, postCrawl, readItems, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { finishDeletions } from '../support/rows.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
before(async () => {
  database = await testDatabase();
  service = await startService({ DATABASE_URL: database.url, PARSER_THREADS: '2' });
});
after(async () => {
  await service.stop();
  await database.drop();
});

type Handler = (req: IncomingMessage, res: ServerResponse) => void;

/** Runs a crawl over a site to its end and checks its books. */
async function crawl(handler: Handler, body: { spider?: object; settings?: object; path?: string } = {}) {
  const site = await startSite(handler);
  try {
    const { id } = await postCrawl(service.url, {
      spider: body.spider ?? TITLE_SPIDER,
      startUrls: [site.url + (body.path ?? '/')],
      settings: { ...FAST, retryDelayMs: 20, ...body.settings },
    });
    await waitFor(service.url, id, ENDED);
    const books = await checkBooks(service.url, id);
    const row = (path: string) => books.ledger.find((r) => r.url === site.url + path);
    return { ...books, id, row, site };
  } finally {
    await site.close();
  }
}

async function withSite(handler: Handler, work: (site: Site) => Promise<void>): Promise<void> {
  const site = await startSite(handler);
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

test('a whole site: every page once, items streamed in order, finished', async () => {
  const { crawl: ended, items, ledger, site } = await crawl(treeSite(300));
  assert.equal(ended.state, 'finished');
  assert.equal(ended.stopReason, 'finished');
  assert.equal(items.length, 300);
  assert.equal(ledger.length, 300);
  assert.equal(site.hits.length, 300, 'each page fetched once');
});

test('the items are streamed while the crawl runs', async () => {
  await withSite(treeSite(200), async (site) => {
    const { id } = await postCrawl(service.url, {
      spider: TITLE_SPIDER,
      startUrls: [`${site.url}/`],
      settings: { ...FAST, delayMs: 100, concurrencyPerHost: 4 }, // twenty seconds, if it were not cancelled
    });
    const response = await fetch(`${service.url}/crawls/${id}/items`);
    const reader = response.body!.getReader();
    const first = new TextDecoder().decode((await reader.read()).value);
    assert.match(first, /^\{"offset":0,/);
    assert.equal((await getCrawl(service.url, id)).state, 'running');
    await reader.cancel();
    await fetch(`${service.url}/crawls/${id}/cancel`, { method: 'POST' });
    const { crawl: cancelled } = await checkBooks(service.url, id);
    assert.equal(cancelled.state, 'cancelled');
    assert.equal(cancelled.stats.inProgress, 0);
  });
});

test('24: maxPages, maxItems and maxDepth are exact', async () => {
  const pages = await crawl(treeSite(100), { settings: { maxPages: 37 } });
  assert.equal(pages.crawl.stats.done, 37);
  assert.equal(pages.crawl.stopReason, 'max_pages');
  assert.equal(pages.site.hits.length, 37);
  const items = await crawl(treeSite(100), { settings: { maxItems: 41 } });
  assert.equal(items.items.length, 41);
  assert.equal(items.crawl.stopReason, 'max_items');
  const depth = await crawl(treeSite(300, 5), { settings: { maxDepth: 2 } });
  assert.equal(depth.crawl.stopReason, 'finished');
  assert.ok(depth.ledger.every((row) => row.depth <= 2 || row.reason === 'depth'));
  // Page i has the links 5i+1 … 5i+5, i−1 and i+1: breadth first, by hand.
  const near = new Set([0]);
  for (const _level of [1, 2])
    for (const i of [...near])
      for (const k of [i - 1, (i % 299) + 1, 5 * i + 1, 5 * i + 2, 5 * i + 3, 5 * i + 4, 5 * i + 5])
        if (k > 0 && k < 300) near.add(k);
  near.add(1);
  const done = depth.ledger.filter((row) => row.state === 'done').length;
  assert.equal(done, near.size);
});

test('1: 503 is retried exactly `retries` times, then failed with the status kept; 404 is not retried', async () => {
  const { row, site } = await crawl(
    (req, res) => {
      if (req.url === '/') html(res, 'start', ['/down', '/gone', '/once']);
      else if (req.url === '/gone') html(res, 'gone', [], 404);
      else if (req.url === '/down') html(res, 'down', [], 500);
      else if (site1.filter((url) => url === '/once').length < 2) {
        res.writeHead(502).end();
      } else html(res, 'once', []);
      site1.push(req.url!);
    },
    { settings: { retries: 2 } },
  );
  const hits = (path: string) => site.hits.filter((hit) => hit.url === path).length;
  assert.equal(hits('/down'), 3);
  assert.equal(hits('/gone'), 1);
  assert.deepEqual(
    [row('/down')?.state, row('/down')?.reason, row('/down')?.status, row('/down')?.attempts],
    ['failed', 'http_5xx', 500, 3],
  );
  assert.deepEqual([row('/gone')?.state, row('/gone')?.reason, row('/gone')?.status], ['failed', 'http_4xx', 404]);
  assert.equal(row('/once')?.state, 'done');
});
const site1: string[] = [];

test('7: redirects are requests of their own: loops end, duplicates and offsite targets have a reason', async () => {
  const moved: Record<string, string> = {
    '/a': '/target',
    '/b': '/target',
    '/loop1': '/loop2',
    '/loop2': '/loop1',
    '/off': 'http://127.0.0.2:1/x',
    '/js': 'javascript:1',
    '/rel': 'deep/../target',
  };
  const handler: Handler = (req, res) => {
    const to = moved[req.url ?? ''];
    if (to !== undefined) res.writeHead(302, { location: to }).end();
    else html(res, req.url!, req.url === '/' ? Object.keys(moved) : []);
  };
  // One at a time, so that no two redirects to one target are committed together.
  const { row, ledger, site } = await crawl(handler, {
    settings: { concurrency: 1, delayMs: 60, randomizeDelay: false },
  });
  assert.equal(site.hits.filter((hit) => hit.url === '/target').length, 1, 'the target is fetched once');
  assert.equal(row('/target')?.state, 'done');
  assert.deepEqual([row('/a')?.reason, row('/b')?.reason].sort(), ['redirect_duplicate', 'redirected']);
  assert.equal(row('/loop1')?.reason, 'redirect_duplicate');
  assert.equal(row('/off')?.state, 'skipped');
  assert.equal(ledger.find((r) => r.url === 'http://127.0.0.2:1/x')?.reason, 'offsite');
  assert.equal(row('/rel')?.reason, 'redirect_duplicate');
});

test('7: a chain of redirects ends at maxRedirects', async () => {
  const { ledger, crawl: ended } = await crawl(
    (req, res) => res.writeHead(301, { location: `/${Number(req.url!.slice(1)) + 1}` }).end(),
    { path: '/0', settings: { maxRedirects: 5 } },
  );
  assert.equal(ledger.length, 6);
  assert.equal(ledger.filter((row) => row.reason === 'too_many_redirects').length, 1);
  assert.deepEqual([ended.state, ended.stopReason], ['failed', 'start_urls_failed']);
});

test('15: robots.txt is asked once, holds for each page, and says so in the ledger', async () => {
  const { row, site } = await crawl(
    (req, res) => {
      if (req.url === '/robots.txt') res.end('User-agent: *\nDisallow: /private/\nAllow: /private/open\n');
      else html(res, req.url!, ['/private/a', '/private/open', '/b']);
    },
    { settings: { robots: true } },
  );
  assert.equal(site.hits.filter((hit) => hit.url === '/robots.txt').length, 1);
  assert.deepEqual([row('/private/a')?.state, row('/private/a')?.reason], ['skipped', 'robots']);
  assert.equal(row('/private/open')?.state, 'done');
  assert.ok(site.hits.every((hit) => hit.url !== '/private/a'));
});

test('18: 429 with Retry-After stops the host; nothing is fetched meanwhile', async () => {
  let refusedAt = 0;
  const { row, site } = await crawl(
    (req, res) => {
      if (req.url === '/busy' && refusedAt === 0) {
        refusedAt = performance.timeOrigin + performance.now();
        res.writeHead(429, { 'retry-after': '1' }).end();
      } else html(res, req.url!, ['/busy', ...[...Array(30).keys()].map((i) => `/p${i}`)]);
    },
    { settings: { concurrencyPerHost: 1 } },
  );
  assert.equal(row('/busy')?.state, 'done');
  const during = site.hits.filter((hit) => hit.at > refusedAt + 50 && hit.at < refusedAt + 950);
  assert.deepEqual(
    during.map((hit) => hit.url),
    [],
  );
});

test('11: cookies stay in their crawl', async () => {
  const handler: Handler = (req, res) => {
    res.setHeader('set-cookie', 'seen=1; Path=/');
    html(res, req.headers.cookie ?? 'none', req.url === '/' ? ['/next'] : []);
  };
  const first = await crawl(handler);
  const second = await crawl(handler);
  for (const { items } of [first, second])
    assert.deepEqual(
      items.map((item) => item.data.title),
      ['none', 'seen=1'],
    );
});

test('pause stops the fetching, keeps what is there; resume goes on; both twice', async () => {
  await withSite(treeSite(300), async (site) => {
    const settings = { ...FAST, delayMs: 20, concurrencyPerHost: 8 };
    const { id } = await postCrawl(service.url, { spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings });
    const post = (verb: string) => fetch(`${service.url}/crawls/${id}/${verb}`, { method: 'POST' });
    while ((await getCrawl(service.url, id)).stats.done < 20) await sleep(20);
    assert.equal((await post('pause')).status, 200);
    assert.equal((await post('pause')).status, 200);
    const paused = await waitFor(service.url, id, ['paused']);
    assert.equal(paused.stats.inProgress, 0);
    const hits = site.hits.length;
    await sleep(300);
    assert.equal(site.hits.length, hits);
    await checkBooks(service.url, id);
    const change = {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: '{"settings":{"delayMs":0,"concurrencyPerHost":32}}',
    };
    assert.equal((await fetch(`${service.url}/crawls/${id}`, change)).status, 200);
    assert.equal((await post('resume')).status, 200);
    const ended = await waitFor(service.url, id, ENDED);
    assert.equal(ended.stopReason, 'finished');
    assert.equal((await checkBooks(service.url, id)).items.length, 300);
    assert.equal(site.hits.length, 300, 'each page fetched once');
  });
});

test('a crawl that stopped at maxPages goes on after the limit is raised', async () => {
  await withSite(treeSite(100), async (site) => {
    const { id } = await postCrawl(service.url, {
      spider: TITLE_SPIDER,
      startUrls: [`${site.url}/`],
      settings: { ...FAST, maxPages: 10 },
    });
    await waitFor(service.url, id, ENDED);
    const post = () => fetch(`${service.url}/crawls/${id}/resume`, { method: 'POST' });
    assert.equal((await post()).status, 409);
    const change = {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: '{"settings":{"maxPages":null}}',
    };
    assert.equal((await fetch(`${service.url}/crawls/${id}`, change)).status, 200);
    assert.equal((await post()).status, 200);
    const ended = await waitFor(service.url, id, ['failed', 'cancelled', 'finished']);
    assert.equal(ended.state, 'finished');
    while ((await getCrawl(service.url, id)).stats.done < 100) await sleep(20);
    const { items } = await checkBooks(service.url, id);
    assert.equal(new Set(items.map((item) => item.url)).size, 100);
  });
});

test('maxDurationSeconds ends a crawl, and keeps what was committed', async () => {
  const { crawl: ended } = await crawl(treeSite(1000), { settings: { delayMs: 50, maxDurationSeconds: 1 } });
  assert.deepEqual([ended.state, ended.stopReason], ['finished', 'max_duration']);
  assert.ok(ended.stats.done > 0 && ended.stats.queued > 0);
});

test('a crawl whose start URLs all fail says why', async () => {
  const { id } = await postCrawl(service.url, {
    spider: TITLE_SPIDER,
    startUrls: ['http://127.0.0.1:9/', 'http://10.0.0.1/'],
    settings: { ...FAST, retries: 0 },
  });
  const ended = await waitFor(service.url, id, ENDED);
  assert.deepEqual([ended.state, ended.stopReason], ['failed', 'start_urls_failed']);
  assert.match(ended.stopDetail ?? '', /127\.0\.0\.1/);
  const { ledger } = await checkBooks(service.url, id);
  assert.equal(ledger.find((row) => row.url === 'http://10.0.0.1/')?.reason, 'egress');
});

test('with robots.txt asked, too, an address that is refused and a host that is not there have their own reasons', async () => {
  for (const [url, reason] of [
    ['http://10.0.0.1/', 'egress'],
    ['http://127.0.0.1:9999/', 'connect'],
  ]) {
    const { id } = await postCrawl(service.url, { startUrls: [url], settings: { retries: 0 } });
    await waitFor(service.url, id, ENDED);
    assert.equal((await checkBooks(service.url, id)).ledger[0]?.reason, reason);
  }
});

test('43: thirty crawls at once share nothing', async () => {
  await withSite(treeSite(30), async (site) => {
    const crawls = await Promise.all(
      [...Array(30)].map(() =>
        postCrawl(service.url, { spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings: FAST }),
      ),
    );
    for (const { id } of crawls) {
      await waitFor(service.url, id, ENDED);
      const { items } = await checkBooks(service.url, id);
      assert.equal(new Set(items.map((item) => item.url)).size, 30);
    }
  });
});

test('7: a page that burns its whole time limit fails alone; the API and another crawl go on', async () => {
  const siblings = '<i></i>'.repeat(60_000);
  const handler: Handler = (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/html' });
    res.end(`<a href="/burn1">1</a><a href="/burn2">2</a><div>${siblings}</div>`);
  };
  await withSite(handler, async (site) => {
    const burner = {
      pages: [
        {
          items: [{ fields: { x: 'i:nth-last-child(2n+1):nth-last-of-type(2n+1):not(:nth-child(odd)) ~ b' } }],
          follow: [{ selector: 'a' }],
        },
      ],
    };
    const { id } = await postCrawl(service.url, {
      spider: burner,
      startUrls: [`${site.url}/`],
      settings: { ...FAST, parseTimeoutMs: 500 },
    });
    const other = await crawl(treeSite(200));
    assert.equal(other.items.length, 200);
    await waitFor(service.url, id, ENDED);
    const { ledger } = await checkBooks(service.url, id);
    assert.ok(ledger.every((row) => row.reason === 'parse_timeout' || row.state === 'done'));
    assert.ok((await getJson<{ ok?: boolean }>(`${service.url}/readyz`)) !== null);
  });
});

test('11: a crawl is deleted whole', async () => {
  const { id } = await crawl(treeSite(20), { settings: { maxDepth: 3 } });
  assert.equal((await fetch(`${service.url}/crawls/${id}`, { method: 'DELETE' })).status, 204);
  assert.equal((await fetch(`${service.url}/crawls/${id}`)).status, 404);
  await finishDeletions(database.sql);
  for (const table of ['requests', 'items', 'host_queues', 'crawl_counts', 'page_links']) {
    const rows = await database.sql`select 1 from ${database.sql(table)} where crawl_id = ${id} limit 1`;
    assert.equal(rows.length, 0, table);
  }
});

test('45: a follower that is cut off again and again misses and repeats nothing', async () => {
  await withSite(treeSite(400), async (site) => {
    const { id } = await postCrawl(service.url, {
      spider: TITLE_SPIDER,
      startUrls: [`${site.url}/`],
      settings: { ...FAST, delayMs: 2 },
    });
    const seen: number[] = [];
    while (seen.length < 400) {
      const after = seen.length === 0 ? '' : `&after=${seen.at(-1)}`;
      const items = await readItems(service.url, id, `?limit=37${after}`);
      assert.ok(items.length > 0);
      seen.push(...items.map((item) => item.offset));
    }
    assert.deepEqual(seen, [...Array(400).keys()]);
  });
});
