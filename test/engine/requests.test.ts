import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { text as textOf } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { checkBooks, ENDED, getCrawl, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
let other: Site;
let site: Site;
before(async () => {
  database = await testDatabase();
  service = await startService({ DATABASE_URL: database.url });
  site = await startSite(echo);
  other = await startSite(echo, { host: '127.0.0.2' });
});
after(async () => {
  await service.stop();
  await Promise.all([site.close(), other.close()]);
  await database.drop();
});

/** Where `/status?to=…` redirects to; everything else is a page whose title tells what was sent. */
async function echo(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const body = await textOf(req);
  const { pathname, searchParams } = new URL(req.url!, 'http://x');
  const to = searchParams.get('to');
  if (/^\/30\d$/.test(pathname) && to !== null) {
    res.writeHead(Number(pathname.slice(1)), { location: to }).end();
    return;
  }
  const { 'content-type': type = '', 'x-key': key = '' } = req.headers;
  res.writeHead(200, { 'content-type': 'text/html' });
  res.end(`<h1>${[req.method, pathname, body, type, key].join('|')}</h1>`);
}

/** What the crawl's requests came to, as the pages tell. */
async function crawl(startUrls: unknown[], settings: object = {}): Promise<{ titles: unknown[]; id: string }> {
  const spider = { ...TITLE_SPIDER, scope: { hosts: ['127.0.0.1', '127.0.0.2'] } };
  const { id } = await postCrawl(service.url, { spider, startUrls, settings: { ...FAST, ...settings } });
  await waitFor(service.url, id, ENDED);
  const { items } = await checkBooks(service.url, id);
  return { titles: items.map((item) => item.data.title).sort(), id };
}

const FORM = { form: { q: 'a b' }, headers: { 'X-Key': 'k' } };
const SENT = 'q=a+b|application/x-www-form-urlencoded|k';

test('a form is posted and its answer scraped; one URL with two bodies is two requests, the same body again none', async () => {
  const url = `${site.url}/search`;
  const { titles } = await crawl([{ url, ...FORM }, { url, form: { q: 'c' } }, { url, form: { q: 'c' } }, url]);
  assert.deepEqual(titles, [
    'GET|/search|||',
    'POST|/search|q=a+b|application/x-www-form-urlencoded|k',
    'POST|/search|q=c|application/x-www-form-urlencoded|',
  ]);
});

test('a redirect by 302 and 303 asks with GET, one by 307 posts again', async () => {
  const startUrls = [302, 303, 307].map((n) => ({ url: `${site.url}/${n}?to=/to${n}`, ...FORM }));
  const { titles } = await crawl(startUrls);
  assert.deepEqual(titles, [`GET|/to302|||k`, `GET|/to303|||k`, `POST|/to307|${SENT}`]);
});

test('a redirect’s target is as urgent as what led to it', async () => {
  const { id } = await crawl([{ url: `${site.url}/302?to=/urgent`, priority: 7 }]);
  const { ledger } = await checkBooks(service.url, id);
  assert.deepEqual(
    ledger.map(({ priority }) => priority),
    [7, 7],
  );
});

test('sitemaps lead to pages: from robots.txt over an index that has moved, and past the scope’s patterns', async () => {
  const xml = (root: string, entry: string, urls: string[]) =>
    `<?xml version="1.0"?><${root}>${urls.map((url) => `<${entry}><loc>${url}</loc></${entry}>`).join('')}</${root}>`;
  const shop: Site = await startSite((req, res) => {
    const maps: Record<string, string> = {
      '/robots.txt': `User-agent: *\nDisallow: /maps/\nSitemap: ${shop.url}/index.xml\n`,
      '/moved.xml': xml('sitemapindex', 'sitemap', [`${shop.url}/map.xml`]),
      '/map.xml': xml('urlset', 'url', [`${shop.url}/p/1`, `${shop.url}/p/2`, `${shop.url}/other`]),
    };
    if (req.url === '/index.xml') res.writeHead(301, { location: '/moved.xml' }).end();
    else if (req.url! in maps) res.writeHead(200, { 'content-type': 'text/plain' }).end(maps[req.url!]);
    else html(res, req.url!, []);
  });
  try {
    const spider = { ...TITLE_SPIDER, sitemaps: ['auto'], scope: { allow: ['/p/'] } };
    const settings = { ...FAST, robots: true };
    const { id } = await postCrawl(service.url, { spider, startUrls: [`${shop.url}/p/0`], settings });
    await waitFor(service.url, id, ENDED);
    const { items, ledger } = await checkBooks(service.url, id);
    assert.deepEqual(items.map((item) => item.data.title).sort(), ['/p/0', '/p/1', '/p/2']);
    assert.equal(ledger.find(({ url }) => url.endsWith('/other'))?.reason, 'denied');
    assert.equal(ledger.find(({ url }) => url.endsWith('/moved.xml'))?.state, 'done');
  } finally {
    await shop.close();
  }
});

test('a redirect to another origin carries none of the request’s headers', async () => {
  const to = (path: string) => encodeURIComponent(`${other.url}${path}`);
  const { titles } = await crawl([
    { url: `${site.url}/307?to=${to('/post')}`, ...FORM },
    { url: `${site.url}/302?to=${to('/get')}`, headers: { 'x-key': 'secret', authorization: 'secret' } },
  ]);
  assert.deepEqual(titles, ['GET|/get|||', `POST|/post|q=a+b|application/x-www-form-urlencoded|`]);
  assert.ok(other.hits.every(({ headers }) => headers.authorization === undefined));
});

test('a HEAD is done without a body', async () => {
  const { id } = await crawl([{ url: `${site.url}/head`, method: 'HEAD' }]);
  assert.equal((await getCrawl(service.url, id)).stats.done, 1);
  assert.equal(site.hits.find(({ url }) => url === '/head')?.method, 'HEAD');
});

test('15: robots.txt asked for its sitemaps is fetched though it forbids everything', async () => {
  const closed = await startSite((req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain' });
    res.end(req.url === '/robots.txt' ? 'User-agent: *\nDisallow: /\n' : 'no');
  });
  try {
    const { id } = await postCrawl(service.url, { spider: { sitemaps: ['auto'] }, startUrls: [`${closed.url}/`] });
    await waitFor(service.url, id, ENDED);
    const { ledger } = await checkBooks(service.url, id);
    const reasons = ledger.map(({ url, reason }) => [url.slice(closed.url.length), reason === 'robots']);
    assert.deepEqual(reasons, [
      ['/', true],
      ['/robots.txt', false],
    ]);
    assert.ok(closed.hits.every(({ url }) => url === '/robots.txt'));
  } finally {
    await closed.close();
  }
});

test('34: a POST under way when its node is killed is posted again by the next one', async () => {
  let arrived: () => void = () => {};
  const hasArrived = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const bodies: string[] = [];
  const slow = await startSite(async (req, res) => {
    bodies.push(`${req.method} ${await textOf(req)}`);
    arrived();
    if (bodies.length > 1) res.writeHead(200, { 'content-type': 'text/html' }).end('<h1>done</h1>');
  });
  try {
    const startUrls = [{ url: `${slow.url}/`, json: { q: 1 } }];
    const { id } = await postCrawl(service.url, { spider: TITLE_SPIDER, startUrls, settings: FAST });
    await hasArrived;
    await service.signal('SIGKILL');
    service = await startService({ DATABASE_URL: database.url });
    await waitFor(service.url, id, ENDED);
    const { items } = await checkBooks(service.url, id);
    assert.deepEqual(bodies, ['POST {"q":1}', 'POST {"q":1}']);
    assert.equal(items[0]?.data.title, 'done');
  } finally {
    await slow.close();
  }
});
