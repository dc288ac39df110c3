import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { CHROMIUM, needsChromium } from '../support/chromium.ts';
import { checkBooks, ENDED, getJson, postCrawl, waitFor } from '../support/client.ts';
import { type ConnectProxy, startConnectProxy } from '../support/connect_proxy.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { html } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Hit, type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let office: ConnectProxy;
let service: Service;
before(async () => {
  [database, office] = await Promise.all([testDatabase(), startConnectProxy()]);
  const PROXIES = `office=http://node:secret@${office.address}, other=http://127.0.0.1:9`;
  const browser = CHROMIUM === null ? {} : { CHROMIUM_PATH: CHROMIUM };
  service = await startService({ DATABASE_URL: database.url, PROXIES, SCRIPTS: 'on', ...browser });
});
after(async () => {
  await service.stop();
  await office.close();
  await database.drop();
});

const FAST = { robots: false, retryDelayMs: 5 };
const SPIDER = { pages: [{ items: [{ fields: { title: 'title' } }], follow: [{ selector: 'a' }] }] };

async function crawl(body: object) {
  const { id } = await postCrawl(service.url, { spider: SPIDER, ...body });
  await waitFor(service.url, id, ENDED);
  return { id, ...(await checkBooks(service.url, id)) };
}

async function problemsOf(path: string, method: string, body: object): Promise<string[]> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(service.url + path, { method, headers, body: JSON.stringify(body) });
  const text = await response.text();
  assert.equal(response.status, 422, text);
  const { errors } = JSON.parse(text) as { errors: { pointer: string; code: string }[] };
  assert.doesNotMatch(text, /hunter2/, 'no password is quoted');
  return errors.map(({ pointer, code }) => `${pointer} ${code}`);
}

/** Two sites that link to each other, and what each was sent. */
async function withSites(
  handler: (req: IncomingMessage, res: ServerResponse, other: () => Site) => void,
  work: (first: Site, second: Site) => Promise<void>,
): Promise<void> {
  const second: Site = await startSite((req, res) => handler(req, res, () => first), { host: '127.0.0.2' });
  const first: Site = await startSite((req, res) => handler(req, res, () => second));
  try {
    await work(first, second);
  } finally {
    await first.close();
    await second.close();
  }
}

const sent = (hits: readonly Hit[], path: string) => hits.find(({ url }) => url === path)?.headers;

test('auth goes to its origin alone, with each request, and a request’s own header wins', async () => {
  const handler = (req: IncomingMessage, res: ServerResponse, other: () => Site) => {
    if (req.url === '/away') res.writeHead(302, { location: `${other().url}/landed` }).end();
    else if (req.url === '/robots.txt') res.writeHead(404).end();
    else html(res, req.url!, req.url === '/' ? ['/page', '/away', `${other().url}/linked`] : []);
  };
  await withSites(handler, async (first, second) => {
    const basic = `Basic ${Buffer.from('käthe:hunter2').toString('base64')}`;
    const { id, ledger } = await crawl({
      spider: { ...SPIDER, scope: { hosts: ['127.0.0.1', '127.0.0.2'] } },
      startUrls: [`${first.url}/`, { url: `${first.url}/own`, headers: { Authorization: 'Own' } }],
      settings: { retryDelayMs: 5, auth: [{ origin: first.url, username: 'käthe', password: 'hunter2' }] },
    });
    assert.equal(ledger.filter(({ state }) => state === 'done').length, 5);
    for (const path of ['/', '/page', '/away']) assert.equal(sent(first.hits, path)?.authorization, basic, path);
    assert.equal(sent(first.hits, '/own')?.authorization, 'Own');
    assert.equal(sent(first.hits, '/robots.txt')?.authorization, undefined);
    assert.ok(second.hits.length >= 3);
    for (const { url, headers } of second.hits) assert.equal(headers.authorization, undefined, url);
    assert.doesNotMatch(JSON.stringify(await getJson(`${service.url}/crawls/${id}`)), /hunter2/);
  });
});

test('auth and the crawl’s headers in a script’s calls: auth to its origin, headers inside the scope', async () => {
  await withSites(
    (req, res) => html(res, req.url!, []),
    async (first, second) => {
      const { items } = await crawl({
        spider: {
          scope: { hosts: ['127.0.0.1'], calls: ['127.0.0.2'] },
          script: `export default { async parse(response, ctx) {
            await ctx.fetch('${first.url}/called');
            await ctx.fetch('${second.url}/called');
            return { ok: true };
          } }`,
        },
        startUrls: [`${first.url}/`],
        settings: { ...FAST, headers: { 'X-Api-Key': 'k' }, auth: [{ origin: second.url, bearer: 'abc.def=' }] },
      });
      assert.equal(items.length, 1);
      for (const path of ['/', '/called']) {
        assert.equal(sent(first.hits, path)?.['x-api-key'], 'k');
        assert.equal(sent(first.hits, path)?.authorization, undefined);
      }
      assert.equal(sent(second.hits, '/called')?.['x-api-key'], undefined);
      assert.equal(sent(second.hits, '/called')?.authorization, 'Bearer abc.def=');
    },
  );
});

test('auth that cannot be sent is refused, each mistake with its pointer', async () => {
  const auth = [
    { origin: 'https://a.example/path', bearer: 'x' },
    { origin: 'ftp://a.example', bearer: 'x' },
    { origin: 'https://u:hunter2@b.example', bearer: 'x' },
    { origin: 'https://c.example' },
    { origin: 'https://d.example', username: 'u' },
    { origin: 'https://e.example', username: 'u', password: 'hunter2', bearer: 'x' },
    { origin: 'https://f.example', username: 'a:b', password: 'hunter2\u0001' },
    { origin: 'https://g.example', bearer: 'Bearer hunter2' },
    { origin: 'https://h.example', bearer: 'x' },
    { origin: 'https://H.example:443/', bearer: 'x' },
  ];
  const expected = [
    '/auth/0/origin bad_url',
    '/auth/1/origin bad_url',
    '/auth/2/origin bad_url',
    '/auth/3 required',
    '/auth/4 required',
    '/auth/5/bearer conflict',
    '/auth/6/username bad_value',
    '/auth/6/password bad_value',
    '/auth/7/bearer bad_value',
    '/auth/9/origin conflict',
  ];
  const at = (prefix: string) => expected.map((one) => prefix + one);
  const startUrls = ['https://a.example/'];
  assert.deepEqual(await problemsOf('/crawls', 'POST', { startUrls, settings: { auth } }), at('/settings'));
  const spider = { startUrls, settings: { auth } };
  assert.deepEqual(await problemsOf('/crawls', 'POST', { spider }), at('/spider/settings'));
  assert.deepEqual(await problemsOf('/spiders/one', 'PUT', spider), at('/settings'));
});

test('a crawl by a proxy: pages, robots.txt, calls and previews go through it, and nothing else reaches the site', async (t) => {
  const site = await startSite((req, res) =>
    req.url === '/robots.txt' ? res.end('User-agent: *\nDisallow: /no') : html(res, req.url!, ['/a', '/no', '/b']),
  );
  const proxies = [await startConnectProxy(), await startConnectProxy()];
  for (const one of [site, ...proxies]) t.after(() => one.close());
  const spider = {
    scope: { hosts: ['localhost'] },
    script: `export default { async *parse(response, ctx) {
      if (response.url.endsWith('/a')) await ctx.fetch(response.urljoin('/called'));
      for (const href of response.css('a').attrs('href')) yield ctx.follow(href);
      yield { title: response.css('title').text() };
    } }`,
  };
  const startUrls = [`http://localhost:${site.port}/`];
  const { ledger, items } = await crawl({
    spider,
    startUrls,
    settings: { proxy: proxies.map(({ address }) => `http://me:hunter2@${address}`), concurrency: 1 },
  });
  assert.equal(items.length, 3);
  assert.equal(ledger.find(({ url }) => url.endsWith('/no'))?.reason, 'robots');
  assert.deepEqual(site.hits.map(({ url }) => url).sort(), ['/', '/a', '/b', '/called', '/robots.txt']);
  const tunnels = proxies.map(({ asked }) => asked.length);
  assert.ok(
    tunnels.every((n) => n > 0),
    'both were used',
  );
  assert.equal(site.connections, tunnels[0]! + tunnels[1]!);
  const response = await fetch(`${service.url}/spiders/preview`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ url: startUrls[0], spider: { ...spider, name: 'p' }, settings: { proxy: 'office' } }),
  });
  assert.equal(response.status, 200, await response.text());
  assert.ok(office.asked.length > 0);
  assert.equal(site.connections, tunnels[0]! + tunnels[1]! + office.asked.length);
  for (const { authority } of [...office.asked, ...proxies[0]!.asked])
    assert.equal(authority, `127.0.0.1:${site.port}`);
});

test('a page in a browser: what it loads goes by the crawl’s proxy, too', needsChromium, async (t) => {
  const site = await startSite((req, res) => {
    res.setHeader('content-type', 'text/html');
    if (req.url === '/data') res.end('loaded');
    else
      res.end(
        `<title>raw</title><script>fetch('/data').then((r) => r.text()).then((text) => { document.title = text; });</script>`,
      );
  });
  const proxy = await startConnectProxy();
  for (const one of [site, proxy]) t.after(() => one.close());
  const { items } = await crawl({
    spider: { pages: [{ render: true, items: [{ fields: { title: 'title' } }] }] },
    startUrls: [`${site.url}/`],
    settings: { ...FAST, proxy: `http://${proxy.address}` },
  });
  assert.equal(items[0]?.data.title, 'loaded');
  assert.deepEqual(site.hits.map(({ url }) => url).sort(), ['/', '/data']);
  assert.equal(site.connections, proxy.asked.length);
});

test('a proxy that fails: reason and status in the ledger, the next try by the next proxy; a crawl without one is not touched', async (t) => {
  const site = await startSite((req, res) => (req.url === '/robots.txt' ? res.end('') : html(res, 'here', [])));
  const bad = await startConnectProxy({ answer: 'HTTP/1.1 407 No\r\n\r\n' });
  const good = await startConnectProxy();
  for (const one of [site, bad, good]) t.after(() => one.close());
  const startUrls = [`${site.url}/`];
  const only = await crawl({ startUrls, settings: { ...FAST, retries: 2, proxy: `http://u:hunter2@${bad.address}` } });
  const [row] = only.ledger;
  assert.deepEqual([row?.state, row?.reason, row?.attempts], ['failed', 'proxy', 3]);
  assert.equal(row?.detail, `the proxy ${bad.address} wants other credentials (status 407)`);
  assert.equal(only.crawl.stopReason, 'start_urls_failed');
  const both = [bad, good].map(({ address }) => `http://${address}`);
  const { ledger } = await crawl({ startUrls, settings: { ...FAST, proxy: both } });
  assert.deepEqual([ledger[0]?.state, ledger[0]?.attempts], ['done', 2]);
  const unreachable = await crawl({ startUrls, settings: { retries: 0, proxy: 'other' } });
  assert.equal(unreachable.ledger[0]?.reason, 'proxy');
  assert.match(unreachable.ledger[0]?.detail ?? '', /the proxy other: no connection/);
  assert.equal((await crawl({ startUrls })).ledger[0]?.state, 'done');
  const robots = await crawl({ startUrls, settings: { retries: 0, proxy: ['other', ...both.slice(1)] } });
  assert.equal(robots.ledger[0]?.state, 'done', 'robots.txt is asked for by the next one at once');
});

test('a proxy that there cannot be is refused, at its place', async () => {
  const startUrls = ['https://a.example/'];
  const proxy = [
    'office',
    'offise',
    'https://10.0.0.1:3128',
    'socks5://u:hunter2@10.0.0.1:1080',
    'http://10.0.0.1:3128/path',
    'http://u:%E0%A4%A@10.0.0.1:3128',
    '10.0.0.1:3128',
    'http://u:p@proxy.example:3128',
  ];
  const wrong = ['1 unknown_proxy', '2 bad_url', '3 bad_url', '4 bad_url', '5 bad_url', '6 bad_url'];
  const at = (prefix: string) => wrong.map((one) => `${prefix}/proxy/${one}`);
  assert.deepEqual(await problemsOf('/crawls', 'POST', { startUrls, settings: { proxy } }), at('/settings'));
  const spider = { startUrls, settings: { proxy: 'nobody' } };
  assert.deepEqual(await problemsOf('/crawls', 'POST', { spider }), ['/spider/settings/proxy unknown_proxy']);
  assert.deepEqual(await problemsOf('/spiders/one', 'PUT', spider), ['/settings/proxy unknown_proxy']);
  const { id } = await crawl({ startUrls: ['http://127.0.0.1:9/'], settings: { ...FAST, retries: 0 } });
  const change = { settings: { proxy: 'nobody' } };
  assert.deepEqual(await problemsOf(`/crawls/${id}`, 'PATCH', change), ['/settings/proxy unknown_proxy']);
});
