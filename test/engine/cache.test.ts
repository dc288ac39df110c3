import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTransaction } from '../../dist/db/client.js';
import { checkBooks, ENDED, getCrawl, getJson, postCrawl, readMetric, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
before(async () => {
  database = await testDatabase();
  service = await startService({ DATABASE_URL: database.url, SCRIPTS: 'on' });
});
after(async () => {
  await service.stop();
  await database.drop();
});

type Handler = (req: IncomingMessage, res: ServerResponse) => void;

async function withSite(handler: Handler, work: (site: Site) => Promise<void>): Promise<void> {
  const site = await startSite(handler);
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

interface Asked {
  mode: 'use' | 'only' | 'refresh' | 'standard';
  ttl?: number;
  paths?: string[];
  spider?: object;
  settings?: object;
}

/** Crawls the site to its end; `hits` are those of this crawl. */
async function crawl(site: Site, { mode, ttl, paths = ['/'], spider = TITLE_SPIDER, settings }: Asked) {
  const before = site.hits.length;
  const { id } = await postCrawl(service.url, {
    spider,
    startUrls: paths.map((path) => site.url + path),
    settings: { ...FAST, retryDelayMs: 5, cache: ttl === undefined ? { mode } : { mode, ttl }, ...settings },
  });
  await waitFor(service.url, id, ENDED);
  const books = await checkBooks(service.url, id);
  const row = (path: string) => books.ledger.find(({ url }) => url === site.url + path);
  const hits = site.hits.slice(before);
  const titles = Object.fromEntries(books.items.map(({ url, data }) => [url.slice(site.url.length), data.title]));
  return { ...books, id, row, hits, paths: hits.map(({ url }) => url), titles };
}

type Books = Awaited<ReturnType<typeof crawl>>;

/** Both made the same, in whatever order. */
function same(a: Books, b: Books): void {
  const madeOf = ({ items, ledger }: Books) => [
    ...items.map(({ url, type, data }) => JSON.stringify({ url, type, data })).sort(),
    ...ledger
      .map(({ url, state, reason, status, depth }) => JSON.stringify({ url, state, reason, status, depth }))
      .sort(),
  ];
  const [one, other] = [madeOf(a), madeOf(b)];
  assert.deepEqual(one.filter((line, i) => line !== other[i]).slice(0, 5), []);
  assert.equal(one.length, other.length);
}

test('use: the second crawl does not touch the site, waits for no delay, and gives equal items', async () => {
  await withSite(treeSite(60), async (site) => {
    const spider = {
      name: 'titles',
      pages: [
        {
          items: [{ type: 'page', fields: { title: 'h1', at: { meta: 'fetchedAt' } } }],
          follow: [{ selector: 'a[href]' }],
        },
      ],
    };
    const first = await crawl(site, { mode: 'use', spider });
    assert.equal(first.hits.length, 60);
    assert.deepEqual((await getJson<{ flags: object }>(`${service.url}/crawls/${first.id}/stats`)).flags, {});
    // robots.txt is not asked for either; and with its delay, a fetch of each page would take an hour.
    const second = await crawl(site, { mode: 'use', spider, settings: { robots: true, delayMs: 60_000 } });
    assert.equal(second.hits.length, 0);
    same(second, first);
    assert.equal(second.crawl.stats.bodyBytes, first.crawl.stats.bodyBytes);
    assert.equal(second.crawl.stats.wireBytes, 0);
    assert.match(second.row('/p7')?.detail ?? '', /^from the cache, stored \d{4}-\d\d-\d\dT/);
    const stats = await getJson<{ flags: object; byStatus: object }>(`${service.url}/crawls/${second.id}/stats`);
    assert.deepEqual([stats.flags, stats.byStatus], [{ cached: 60 }, { 200: 60 }]);
    assert.ok((await readMetric(service.url, 'orbweaver_cache_hits_total')) >= 60);
    assert.ok((await readMetric(service.url, 'orbweaver_cache_misses_total')) >= 60);
    assert.ok((await readMetric(service.url, 'orbweaver_cache_stored_bytes_total')) > 0);

    const changed = {
      name: 'links',
      pages: [{ items: [{ type: 'n', fields: { links: ['a'] } }], follow: [{ selector: 'a' }] }],
    };
    const third = await crawl(site, { mode: 'use', spider: changed });
    assert.equal(third.hits.length, 0, 'other selectors on the same pages');
    assert.deepEqual([third.items.length, third.items[0]?.type], [60, 'n']);
  });
});

test('40: a cache that stalls stops its crawl, which goes on when the cache does', async () => {
  const links = [...Array(300).keys()].map((i) => `/gone/${i}`);
  const handler: Handler = (req, res) => (req.url === '/' ? html(res, 'start', links) : html(res, 'gone', [], 404));
  await withSite(handler, async (site) => {
    let ended: Promise<Books> | null = null;
    await inTransaction(database.sql, async (tx) => {
      ended = crawl(site, { mode: 'refresh' });
      while (site.hits.length < 2) await sleep(5);
      await tx`lock table cached_responses in access exclusive mode`;
      const before = site.hits.length;
      // As many as the crawl may have in the parser, and some that were under way: then nothing more.
      for (let last = -1; site.hits.length < 32 || last < site.hits.length; await sleep(60)) last = site.hits.length;
      assert.ok(site.hits.length < before + 150, `${site.hits.length} pages were fetched, ${before} of them before`);
    });
    const { ledger } = await ended!;
    assert.equal(ledger.filter(({ state }) => state === 'failed').length, 300);
  });
});

test('only a crawl that asks for it uses the cache', async () => {
  await withSite(treeSite(3), async (site) => {
    await crawl(site, { mode: 'use', settings: { cache: null } });
    const [row] =
      await database.sql`select count(*)::int as n from cached_responses where host = ${new URL(site.url).host}`;
    assert.equal(row?.n, 0);
  });
});

test('redirects and 404 are stored, failures and what is tried again are not', async () => {
  const handler: Handler = (req, res) => {
    if (req.url === '/') html(res, 'start', ['/moved', '/gone', '/down', '/odd', '/cut']);
    else if (req.url === '/moved') res.writeHead(302, { location: '/target' }).end();
    else if (req.url === '/gone') html(res, 'gone', [], 404);
    else if (req.url === '/down') html(res, 'down', [], 503);
    else if (req.url === '/odd') html(res, 'odd', [], 403);
    else if (req.url === '/cut') {
      res.writeHead(200, { 'content-length': '500', 'content-type': 'text/html' });
      res.write('<h1>cut', () => req.socket.destroy());
    } else html(res, req.url!, []);
  };
  await withSite(handler, async (site) => {
    const settings = { retries: 0 };
    const first = await crawl(site, { mode: 'use', settings });
    const second = await crawl(site, { mode: 'use', settings });
    assert.deepEqual(second.paths.sort(), ['/cut', '/down', '/odd']);
    same(second, first);
    assert.match(second.row('/gone')?.detail ?? '', /^status 404, from the cache, stored /);
    assert.equal(second.row('/moved')?.detail, `${site.url}/target`);
    const retried = await crawl(site, { mode: 'refresh', settings: { retries: 1, retryStatuses: [404] } });
    assert.equal(
      retried.paths.filter((path) => path === '/gone').length,
      2,
      'an answer that is tried again is asked for',
    );
  });
});

test('ttl: what is older is fetched and stored again', async () => {
  await withSite(treeSite(3), async (site) => {
    await crawl(site, { mode: 'use' });
    const { host } = new URL(site.url);
    await database.sql`update cached_responses set stored_at = now() - interval '2 hours' where host = ${host}`;
    assert.equal((await crawl(site, { mode: 'use' })).hits.length, 0);
    assert.equal((await crawl(site, { mode: 'only' })).hits.length, 0);
    const strict = await crawl(site, { mode: 'only', ttl: 3600 });
    assert.deepEqual([strict.hits.length, strict.row('/')?.reason], [0, 'not_cached']);
    assert.equal((await crawl(site, { mode: 'use', ttl: 3600 })).hits.length, 3);
    assert.equal((await crawl(site, { mode: 'use', ttl: 3600 })).hits.length, 0);
  });
});

test('only: nothing is fetched, robots.txt neither; refresh: everything is, and stored', async () => {
  let edition = 1;
  const handler: Handler = (req, res) => html(res, `${req.url} ${edition}`, ['/a', '/b']);
  await withSite(handler, async (site) => {
    await crawl(site, { mode: 'use', paths: ['/a'], settings: { maxDepth: 0 } });
    edition = 2;
    const only = await crawl(site, { mode: 'only', paths: ['/a', '/c'], settings: { robots: true } });
    assert.equal(only.hits.length, 0);
    assert.deepEqual(only.titles, { '/a': '/a 1' });
    for (const path of ['/b', '/c'])
      assert.deepEqual(
        [only.row(path)?.state, only.row(path)?.reason, only.row(path)?.attempts],
        ['failed', 'not_cached', 1],
      );
    const refresh = await crawl(site, { mode: 'refresh', paths: ['/a'] });
    assert.deepEqual(refresh.titles, { '/a': '/a 2', '/b': '/b 2' });
    const use = await crawl(site, { mode: 'use', paths: ['/a'] });
    assert.deepEqual([use.hits.length, use.titles], [0, { '/a': '/a 2', '/b': '/b 2' }]);
  });
});

test('standard: max-age, no-store, no-cache, validators and 304, Vary, private, by RFC 9111', async () => {
  let edition = 1;
  const HEADERS: Record<string, Record<string, string>> = {
    '/fresh': { 'cache-control': 'max-age=600' },
    '/private': { 'cache-control': 'private, max-age=600' },
    '/must': { 'cache-control': 'max-age=600, must-revalidate' },
    '/expires': { expires: new Date(Date.now() + 600_000).toUTCString() },
    '/heuristic': { 'last-modified': new Date(Date.now() - 86_400_000).toUTCString(), date: new Date().toUTCString() },
    '/stale': { 'cache-control': 'max-age=0' },
    '/no-store': { 'cache-control': 'no-store, max-age=600', etag: '"1"' },
    '/no-cache': { 'cache-control': 'no-cache', etag: '"same"' },
    '/modified': { 'last-modified': 'Mon, 01 Jan 2024 00:00:00 GMT', 'cache-control': 'max-age=0' },
    '/changing': { 'cache-control': 'no-cache' },
    '/vary': { 'cache-control': 'max-age=600', vary: 'Accept-Language' },
    '/star': { 'cache-control': 'max-age=600', vary: '*' },
    '/plain': {},
  };
  const handler: Handler = (req, res) => {
    const path = req.url!;
    for (const [name, value] of Object.entries(HEADERS[path] ?? {})) res.setHeader(name, value);
    if (path === '/changing') res.setHeader('etag', `"${edition}"`);
    const { 'if-none-match': tag, 'if-modified-since': since } = req.headers;
    if ((tag !== undefined && tag === res.getHeader('etag')) || since === HEADERS['/modified']!['last-modified'])
      res.writeHead(304, { 'x-edition': String(edition) }).end();
    else html(res, `${path} ${req.headers['accept-language']} ${edition}`, []);
  };
  await withSite(handler, async (site) => {
    const paths = Object.keys(HEADERS);
    await crawl(site, { mode: 'standard', paths });
    edition = 2;
    const second = await crawl(site, { mode: 'standard', paths });
    assert.deepEqual(second.paths.sort(), [
      '/changing',
      '/modified',
      '/no-cache',
      '/no-store',
      '/plain',
      '/stale',
      '/star',
    ]);
    const asked = (path: string) => second.hits.find(({ url }) => url === path)?.headers ?? {};
    assert.equal(asked('/no-cache')['if-none-match'], '"same"');
    assert.equal(asked('/modified')['if-modified-since'], 'Mon, 01 Jan 2024 00:00:00 GMT');
    assert.equal(asked('/no-store')['if-none-match'], undefined, 'it was not kept');
    assert.equal(asked('/stale')['if-modified-since'], undefined);
    for (const path of ['/no-cache', '/modified', '/fresh']) assert.equal(second.titles[path], `${path} en 1`);
    for (const path of ['/changing', '/no-store', '/plain']) assert.equal(second.titles[path], `${path} en 2`);
    assert.match(second.row('/no-cache')?.detail ?? '', /^from the cache, stored \S+, found unchanged by the site$/);
    assert.deepEqual([second.row('/no-cache')?.status, second.row('/no-cache')?.state], [200, 'done']);
    const other = await crawl(site, { mode: 'standard', paths: ['/vary'], settings: { acceptLanguage: 'de' } });
    assert.deepEqual([other.hits.length, other.titles], [1, { '/vary': '/vary de 2' }]);
    const third = await crawl(site, { mode: 'standard', paths: ['/changing', '/vary'] });
    assert.deepEqual(
      [third.paths, third.titles],
      [['/changing'], { '/changing': '/changing en 2', '/vary': '/vary en 1' }],
    );
    assert.equal(third.hits[0]?.headers['if-none-match'], '"2"', 'the new response took the place of the old');
  });
});

test('11: the jar is filled by stored responses; what was made for other cookies, headers or languages is not given', async () => {
  const handler: Handler = (req, res) => {
    const { cookie = 'nobody', 'x-team': team = 'none' } = req.headers;
    if (cookie === 'nobody' && req.url !== '/account') res.setHeader('set-cookie', 'sid=7; Path=/');
    html(res, `${cookie} ${team}`, req.url === '/' ? ['/account', '/basket'] : []);
  };
  await withSite(handler, async (site) => {
    // One after another, so that the first one's cookie goes with the second.
    const settings = { concurrency: 1 };
    const first = await crawl(site, { mode: 'use', paths: ['/', '/second'], settings });
    assert.deepEqual(first.titles, {
      '/': 'nobody none',
      '/second': 'sid=7 none',
      '/account': 'sid=7 none',
      '/basket': 'sid=7 none',
    });
    for (const mode of ['use', 'only', 'standard'] as const) {
      const again = await crawl(site, { mode, paths: ['/', '/second'], settings });
      assert.equal(again.hits.length, mode === 'standard' ? 4 : 0, mode);
      assert.deepEqual(again.titles, first.titles);
    }
    const stranger = await crawl(site, { mode: 'use', paths: ['/account'] });
    assert.deepEqual([stranger.hits.length, stranger.titles], [1, { '/account': 'nobody none' }]);
    const team = await crawl(site, { mode: 'use', paths: ['/account'], settings: { headers: { 'x-team': 'a' } } });
    assert.deepEqual([team.hits.length, team.titles], [1, { '/account': 'nobody a' }]);
  });
});

test('methods and bodies count; the fragment does not', async () => {
  const handler: Handler = (req, res) => {
    let body = '';
    req.on('data', (chunk) => {
      body += chunk;
    });
    req.on('end', () => html(res, `${req.method} ${body}`, []));
  };
  await withSite(handler, async (site) => {
    const ask = async (startUrls: object[]) => {
      const before = site.hits.length;
      const settings = { ...FAST, cache: { mode: 'use' }, keepFragment: true };
      const { id } = await postCrawl(service.url, { spider: TITLE_SPIDER, startUrls, settings });
      await waitFor(service.url, id, ENDED);
      const { items } = await checkBooks(service.url, id);
      return { hits: site.hits.length - before, titles: items.map(({ data }) => data.title).sort() };
    };
    const url = `${site.url}/`;
    const all = [{ url }, { url, method: 'POST', body: 'a' }, { url, method: 'POST', body: 'b' }];
    const first = await ask(all);
    assert.deepEqual(first, { hits: 3, titles: ['GET', 'POST a', 'POST b'] });
    assert.deepEqual(await ask(all), { ...first, hits: 0 });
    assert.deepEqual(await ask([{ url: `${url}#here` }]), { hits: 0, titles: ['GET'] });
  });
});

test('a large body is kept whole, one over 8 MiB is not', async () => {
  const parts = [0, 1, 2].map((i) => `<i id="i${i}">${i}</i><p>${randomBytes(700_000).toString('base64')}</p>`);
  const handler: Handler = (req, res) => {
    res.writeHead(200, { 'content-type': 'text/html' });
    res.end(req.url === '/large' ? `${parts.join('')}<b>the end</b>` : 'x'.repeat(9 * 1024 * 1024));
  };
  await withSite(handler, async (site) => {
    const fields = { first: '#i0', second: '#i1', third: '#i2', end: 'b' };
    const spider = { name: 'large', pages: [{ items: [{ type: 'page', fields }] }] };
    const paths = ['/large', '/huge'];
    const first = await crawl(site, { mode: 'use', paths, spider });
    const second = await crawl(site, { mode: 'use', paths, spider });
    assert.deepEqual(second.paths, ['/huge']);
    same(second, first);
    const { data } = second.items.find(({ url }) => url.endsWith('/large'))!;
    assert.deepEqual(data, { first: '0', second: '1', third: '2', end: 'the end' });
    const small = await crawl(site, { mode: 'use', paths: ['/large'], spider, settings: { maxBodyBytes: 1_000_000 } });
    assert.deepEqual([small.hits.length, small.row('/large')?.reason], [0, 'too_large']);
  });
});

test('a preview and the calls of a script use the cache', async () => {
  await withSite(treeSite(4), async (site) => {
    const spider = { ...TITLE_SPIDER, settings: { cache: { mode: 'use' } } };
    const preview = async (body: object) => {
      const response = await fetch(`${service.url}/spiders/preview`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return (await response.json()) as {
        outcome: { state: string; reason: string };
        fetched: { cached: string | null };
        items: { data: object }[];
        logs: { message: string }[];
      };
    };
    const first = await preview({ spider, url: `${site.url}/p1` });
    assert.deepEqual([first.outcome.state, first.fetched.cached], ['done', null]);
    const seen = site.hits.length;
    const second = await preview({ spider, url: `${site.url}/p1` });
    assert.deepEqual(second.items, first.items);
    assert.match(second.fetched.cached ?? '', /^\d{4}-/);
    assert.equal(site.hits.length, seen, 'the second preview does not touch the site');
    const only = await preview({ spider, url: `${site.url}/p3`, settings: { cache: { mode: 'only' } } });
    assert.deepEqual([only.outcome.state, only.outcome.reason], ['failed', 'not_cached']);
    assert.equal(site.hits.length, seen);

    const script = `export default { async *parse(response, ctx) {
      const page = await ctx.fetch('/p2');
      yield { title: page.css('h1').text() };
    } }`;
    const scripted = { name: 'calls', script, settings: { cache: { mode: 'use' } } };
    const one = await preview({ spider: scripted, url: `${site.url}/p1` });
    assert.deepEqual(one.items[0]?.data, { title: 'Page 2' }, JSON.stringify(one));
    assert.deepEqual(
      site.hits.slice(seen).map(({ url }) => url),
      ['/p2'],
    );
    await preview({ spider: scripted, url: `${site.url}/p1` });
    assert.equal(site.hits.length, seen + 1);
    // What a preview stored, a crawl has as well.
    assert.deepEqual((await crawl(site, { mode: 'use', paths: ['/p1'], settings: { maxDepth: 0 } })).hits, []);
  });
});

test('DELETE /cache forgets one host, or all', async () => {
  const empty = async (query = '') => {
    const response = await fetch(`${service.url}/cache${query}`, { method: 'DELETE' });
    assert.equal(response.status, 200);
    return (await response.json()) as { deleted: number };
  };
  await withSite(treeSite(5), (site) =>
    withSite(treeSite(3), async (other) => {
      await crawl(site, { mode: 'use' });
      await crawl(other, { mode: 'use' });
      assert.deepEqual(await empty(`?host=${new URL(site.url).host}`), { deleted: 5 });
      assert.equal((await crawl(other, { mode: 'use' })).hits.length, 0);
      assert.equal((await crawl(site, { mode: 'use' })).hits.length, 5);
      assert.ok((await empty()).deleted >= 8);
      assert.deepEqual(await empty(), { deleted: 0 });
      const refused = await fetch(`${service.url}/cache?hosts=a`, { method: 'DELETE' });
      assert.equal(refused.status, 422);
    }),
  );
});

test('two nodes share the cache; a node that is killed leaves no half response', async () => {
  await withSite(treeSite(250), async (site) => {
    const other = await startService({ DATABASE_URL: database.url });
    try {
      const { id } = await postCrawl(other.url, {
        spider: TITLE_SPIDER,
        startUrls: [`${site.url}/`],
        settings: { ...FAST, cache: { mode: 'use' } },
      });
      while ((await getCrawl(service.url, id)).stats.done < 80) await sleep(10);
      await other.signal('SIGKILL');
      await waitFor(service.url, id, ENDED);
      assert.equal((await checkBooks(service.url, id)).items.length, 250);
      const second = await crawl(site, { mode: 'only' });
      assert.deepEqual([second.hits.length, second.items.length], [0, 250]);
      assert.equal(new Set(second.items.map(({ url }) => url)).size, 250);
    } finally {
      await other.stop();
    }
  });
});

test('the settings are checked', async () => {
  const refused = async (cache: object) => {
    const response = await fetch(`${service.url}/crawls`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ startUrls: ['http://a.example/'], settings: { cache } }),
    });
    const { errors } = (await response.json()) as { errors: { pointer: string; code: string }[] };
    return [response.status, errors.map(({ pointer }) => pointer)];
  };
  assert.deepEqual(await refused({}), [422, ['/settings/cache/mode']]);
  assert.deepEqual(await refused({ mode: 'always' }), [422, ['/settings/cache/mode']]);
  assert.deepEqual(await refused({ mode: 'use', ttl: 0 }), [422, ['/settings/cache/ttl']]);
  assert.deepEqual(await refused({ mode: 'use', ttl: 2_592_001 }), [422, ['/settings/cache/ttl']]);
});
