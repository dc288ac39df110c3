/** Which URLs a crawl fetches, and how it comes to an end on a site without one. */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { checkBooks, ENDED, getJson, type LedgerRow, postCrawl, readMetric, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let nodes: Service[] = [];
before(async () => {
  database = await testDatabase();
  const env = { DATABASE_URL: database.url };
  nodes = await Promise.all([startService(env), startService(env)]);
});
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await database.drop();
});

type Handler = (req: IncomingMessage, res: ServerResponse, site: Site) => void;

/** One site each on 127.0.0.2, 127.0.0.3 … */
async function withSites<T>(handlers: readonly Handler[], work: (...sites: Site[]) => Promise<T>): Promise<T> {
  const sites: Site[] = [];
  try {
    for (const [i, handler] of handlers.entries())
      sites.push(await startSite((req, res) => handler(req, res, sites[i]!), { host: `127.0.0.${i + 2}` }));
    return await work(...sites);
  } finally {
    await Promise.all(sites.map((site) => site.close()));
  }
}

/** Runs a crawl to its end. */
async function crawl(startUrls: string[], settings: object = {}, spider: object = {}) {
  const { id } = await postCrawl(nodes[0]!.url, {
    spider: { ...TITLE_SPIDER, ...spider },
    startUrls,
    settings: { ...FAST, ...settings },
  });
  await waitFor(nodes[1]!.url, id, ENDED);
  return checkBooks(nodes[1]!.url, id);
}

const of = (ledger: readonly LedgerRow[], state: string) => ledger.filter((row) => row.state === state);
const path = ({ url }: { url: string }) => new URL(url).pathname;
const links = (res: ServerResponse, ...hrefs: string[]) => html(res, 'x', hrefs);

test('24: maxPagesPerHost is exact for each host, on two nodes; the rest of its queue is skipped, and the crawl ends', async () => {
  const tree = treeSite(40);
  await withSites([tree, tree, tree], async (...sites) => {
    const { crawl: ended, ledger } = await crawl(
      sites.map(({ url }) => `${url}/`),
      { maxPagesPerHost: 7 },
    );
    assert.deepEqual([ended.state, ended.stopReason, ended.stats.done], ['finished', 'finished', 21]);
    for (const { url, hits } of sites) {
      assert.equal(of(ledger, 'done').filter((row) => row.url.startsWith(url)).length, 7);
      assert.equal(hits.length, 7);
    }
    const skipped = of(ledger, 'skipped');
    assert.ok(skipped.length > 0);
    for (const { reason, detail } of skipped)
      assert.deepEqual([reason, detail], ['max_pages_per_host', 'maxPagesPerHost 7']);
  });
});

test('25: a calendar without end is left at maxUrlsPerPattern, and what is beside it is read', async () => {
  const calendar: Handler = (req, res) => {
    const [, year, month] = /^\/cal\/(\d+)\/(\d+)/.exec(req.url ?? '')?.map(Number) ?? [];
    if (year === undefined || month === undefined) links(res, '/');
    else links(res, `/cal/${year}/${month + 1}`, `/cal/${year + 1}/${month}`, `/day-${year}`, '/about');
  };
  await withSites([calendar], async (site) => {
    const { crawl: ended, ledger } = await crawl([`${site.url}/cal/2026/1`], { maxUrlsPerPattern: 10 });
    assert.equal(ended.stopReason, 'finished');
    const done = of(ledger, 'done').map(path);
    assert.equal(done.filter((one) => one.startsWith('/cal/')).length, 11, 'ten, and the start URL');
    assert.ok(done.includes('/about'));
    const traps = of(ledger, 'skipped');
    assert.ok(traps.length > 0 && traps.every(({ reason }) => reason === 'trap'));
    assert.equal(traps[0]!.detail, `maxUrlsPerPattern 10: ${site.url}/cal/#/#`);
  });
});

test('25: growing paths and repeated segments come to an end, each with the rule in the ledger', async () => {
  let n = 0;
  const grower: Handler = (req, res) => {
    if (req.url?.startsWith('/same/')) links(res, 'a/');
    else if (req.url?.startsWith('/pair/')) links(res, 'b/c/');
    else links(res, `n${n++}/`);
  };
  await withSites([grower], async (site) => {
    const starts = ['/same/', '/pair/', '/new/'].map((one) => site.url + one);
    const { crawl: ended, ledger } = await crawl(starts, { maxPathSegments: 8 });
    assert.equal(ended.stopReason, 'finished');
    assert.deepEqual(
      of(ledger, 'skipped')
        .map(({ url, reason, detail }) => [url.slice(site.url.length + 1, site.url.length + 5), reason, detail])
        .sort(),
      [
        ['new/', 'trap', 'maxPathSegments 8: the path has 9 segments'],
        ['pair', 'trap', 'maxRepeatedSegments 3: "b/c" stands 3 times in a row'],
        ['same', 'trap', 'maxRepeatedSegments 3: "a" is there more than 3 times'],
      ],
    );
  });
});

test('25: a start URL that looks like a trap is skipped, and the crawl says so', async () => {
  await withSites([(_req, res) => links(res)], async (site) => {
    const { crawl: ended, ledger } = await crawl([`${site.url}/`, `${site.url}/x/x/x/x`]);
    assert.deepEqual(
      ledger.map(({ reason }) => reason),
      [null, 'trap'],
    );
    assert.match(ended.warnings[0]!, /start URL .*\/x\/x\/x\/x looks like a trap \(maxRepeatedSegments 3/);
  });
});

test('7: a redirect out of the scope is followed where scope.redirects says so, and links are judged as ever', async () => {
  const home: Handler = (req, res) => {
    if (req.url === '/') res.writeHead(302, { location: away }).end();
    else links(res);
  };
  let away = '';
  let back = '';
  const other: Handler = (req, res) => links(res, '/more', `${back}/in-scope`, req.url!);
  await withSites([home, other], async (site, target) => {
    away = `${target.url}/landing`;
    back = site.url;
    const refused = await crawl([`${site.url}/`]);
    assert.deepEqual([refused.crawl.state, refused.crawl.stopReason], ['failed', 'start_urls_failed']);
    assert.match(
      refused.crawl.warnings.join(),
      new RegExp(`every start URL redirects out of the scope, the first to ${away}: .*scope.hosts.*scope.redirects`),
    );
    assert.equal(target.hits.length, 0);
    const { ledger, crawl: followed } = await crawl([`${site.url}/`], {}, { scope: { redirects: 'any' } });
    assert.deepEqual(
      ledger.map(({ url, state, reason }) => [url, state, reason]),
      [
        [`${site.url}/`, 'skipped', 'redirected'],
        [away, 'done', null],
        [`${target.url}/more`, 'skipped', 'offsite'],
        [`${site.url}/in-scope`, 'done', null],
      ],
    );
    assert.deepEqual(followed.warnings, []);
  });
});

test('16: sitemaps of every kind, odd ones and hostile ones: the good are read, each other has its reason', async () => {
  const index = (...urls: string[]) =>
    `<sitemapindex>${urls.map((url) => `<sitemap><loc>${url}</loc><lastmod>never</lastmod></sitemap>`).join('')}</sitemapindex>`;
  const set = (...urls: string[]) =>
    `<urlset>${urls.map((url) => `<url><loc>${url}</loc><lastmod>31.2.2026</lastmod></url>`).join('')}</urlset>`;
  const bomb = gzipSync(Buffer.alloc(60 * 1024 * 1024, ' '));
  const files = (site: Site, foreign: string): Record<string, string | Buffer> => ({
    '/index.xml': index(
      '/index.xml',
      '/pages.xml.gz',
      '/list.txt',
      '/feed',
      '/bomb.xml.gz',
      '/broken.gz',
      '/html',
      `${foreign}/sitemap.xml`,
      '/1.xml',
    ),
    '/pages.xml.gz': gzipSync(set('/a', '/b', `${foreign}/x`, 'http://[', '/a#again')),
    '/list.txt': `${site.url}/c\n\nnot a url\n${site.url}/d\n`,
    '/feed': `<rss><channel><link>/</link><item><link>${site.url}/e</link><pubDate>?</pubDate></item></channel></rss>`,
    '/bomb.xml.gz': bomb,
    '/broken.gz': gzipSync(set('/z')).subarray(0, 30),
    '/html': '<!doctype html><title>404</title>',
    '/1.xml': index('/2.xml', '/index.xml'),
    '/2.xml': index('/3.xml'),
    '/3.xml': set('/deep'),
  });
  let foreign = '';
  const handler: Handler = (req, res, site) => {
    const file = files(site, foreign)[req.url ?? ''];
    if (file === undefined) links(res);
    else res.writeHead(200, { 'content-type': 'application/octet-stream' }).end(file);
  };
  await withSites([handler, (_req, res) => links(res)], async (site, other) => {
    foreign = other.url;
    const { ledger, crawl: ended } = await crawl([`${site.url}/`], {}, { sitemaps: [`${site.url}/index.xml`] });
    assert.equal(ended.stopReason, 'finished');
    assert.equal(other.hits.length, 0);
    const pages = of(ledger, 'done')
      .map(path)
      .filter((one) => !/xml|txt|feed/.test(one));
    assert.deepEqual(pages.sort(), ['/', '/a', '/b', '/c', '/d', '/deep', '/e']);
    const rest = ledger.filter(({ state }) => state !== 'done').map((row) => [path(row), row.reason]);
    assert.deepEqual(rest.sort(), [
      ['/bomb.xml.gz', 'too_large'],
      ['/broken.gz', 'content_type'],
      ['/html', 'content_type'],
      ['/sitemap.xml', 'offsite'],
      ['/x', 'offsite'],
    ]);
    assert.equal(site.hits.filter(({ url }) => url === '/index.xml').length, 1, 'a cycle is walked once');
    for (const node of nodes)
      assert.equal(await readMetric(node.url, 'orbweaver_parser_kills_total'), 0, 'no thread was lost');
  });
});

test('21, 22: what counts in a URL is the crawl’s to say, for start URLs, links, redirects and questions alike', async () => {
  const handler: Handler = (req, res) => {
    if (req.url === '/go') res.writeHead(302, { location: '/page?PHPSESSID=9&b=1&a=2' }).end();
    else
      links(res, '/page;jsessionid=7?a=2&b=1', '/page?b=1&a=2&utm_source=x', '/go', '/page?x_1=1&b=1&a=2', '/?sid=3');
  };
  await withSites([handler], async (site) => {
    const settings = { dropSessionIds: true, dropParams: ['x_*', 'utm_*'], keepParams: ['x_keep'] };
    const starts = [`${site.url}/?sid=1`, `${site.url}/?sid=2#top`];
    const { ledger, crawl: ended } = await crawl(starts, settings);
    assert.deepEqual(ledger.map(({ url, reason }) => [url.slice(site.url.length), reason]).sort(), [
      ['/', null],
      ['/go', 'redirect_duplicate'],
      ['/page?a=2&b=1', null],
    ]);
    const asked = encodeURIComponent(`${site.url}/page;jsessionid=8?b=1&x_y=1&a=2`);
    const why = await getJson<{ request: LedgerRow }>(`${nodes[0]!.url}/crawls/${ended.id}/requests/why?url=${asked}`);
    assert.equal(why.request.state, 'done');
    assert.equal(site.hits.filter(({ url }) => url.startsWith('/page')).length, 1);
  });
});
