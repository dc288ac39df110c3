import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { checkBooks, ENDED, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
before(async () => {
  database = await testDatabase();
  service = await startService({ DATABASE_URL: database.url });
});
after(async () => {
  await service.stop();
  await database.drop();
});

type Answer = [type: string, body: string | Buffer];

/** Runs a crawl over a site whose pages are told by method and path. */
async function crawl(pages: (path: string, request: IncomingMessage) => Answer | null, body: object) {
  const site = await startSite((request: IncomingMessage, response: ServerResponse) => {
    const answer = pages(`${request.method} ${request.url}`, request);
    if (answer === null) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': answer[0] }).end(answer[1]);
  });
  try {
    const text = JSON.stringify({ settings: FAST, ...body }).replaceAll('$SITE', site.url);
    const { id } = await postCrawl(service.url, JSON.parse(text));
    await waitFor(service.url, id, ENDED);
    const books = await checkBooks(service.url, id);
    const row = (path: string) => books.ledger.find((one) => one.url === site.url + path);
    const data = books.items.map((item) => item.data as Record<string, unknown>);
    return { ...books, row, data, hits: site.hits };
  } finally {
    await site.close();
  }
}

test('sitemaps that robots.txt names are followed through an index, and their pages are one deep', async () => {
  const urlset = '<urlset><url><loc>/news/1</loc></url><url><loc>/private/2</loc></url></urlset>';
  const { data, row, ledger } = await crawl(
    (path) => {
      if (path === 'GET /robots.txt')
        return ['text/plain', 'User-agent: *\nDisallow: /robots.txt\nSitemap: /index.xml'];
      if (path === 'GET /index.xml')
        return ['text/xml', '<sitemapindex><sitemap><loc>/s.xml.gz</loc></sitemap></sitemapindex>'];
      if (path === 'GET /s.xml.gz') return ['application/x-gzip', gzipSync(urlset)];
      return path.startsWith('GET /news') || path === 'GET /' ? ['text/html', '<h1>page</h1>'] : null;
    },
    {
      startUrls: ['$SITE/'],
      settings: { ...FAST, maxDepth: 1, robots: true },
      spider: {
        sitemaps: ['auto'],
        scope: { deny: ['/private/'] },
        pages: [{ match: ['/news/'], items: [{ fields: { t: 'h1', depth: { meta: 'depth' } } }] }],
      },
    },
  );
  assert.deepEqual(data, [{ t: 'page', depth: 1 }]);
  assert.equal(row('/index.xml')!.state, 'done');
  assert.equal(row('/s.xml.gz')!.depth, 0);
  assert.equal(row('/private/2')!.reason, 'denied');
  assert.equal(ledger.length, 6);
});

test('a JSON API is paged through, each member becomes a page with what was passed on', async () => {
  const { data } = await crawl(
    (path) => {
      const list = (from: number, next: string | null) =>
        JSON.stringify({ items: [from, from + 1].map((id) => ({ id, name: `n${id}` })), next });
      if (path === 'GET /api') return ['application/json', list(1, '/api?page=2')];
      if (path === 'GET /api?page=2') return ['application/json', list(3, null)];
      return path.startsWith('GET /item/') ? ['text/html', `<h1>${path}</h1>`] : null;
    },
    {
      startUrls: ['$SITE/api'],
      spider: {
        pages: [
          {
            name: 'list',
            match: ['/api'],
            follow: [
              { json: 'next' },
              { json: 'items', value: 'id', url: '/item/{value}', page: 'item', pass: { name: 'name' } },
            ],
          },
          { name: 'item', match: ['/nowhere'], items: [{ fields: { h: 'h1', name: { meta: 'passed:name' } } }] },
        ],
      },
    },
  );
  assert.deepEqual(
    data.toSorted((a, b) => String(a.name).localeCompare(String(b.name))),
    [1, 2, 3, 4].map((id) => ({ h: `GET /item/${id}`, name: `n${id}` })),
  );
});

test('a login form is sent, and what it brings is read', async () => {
  const bodies: Promise<string>[] = [];
  const { data } = await crawl(
    (path, request) => {
      if (path === 'GET /login')
        return [
          'text/html',
          '<form method=post action=/in><input name=csrf value=t1><input name=user><button>in</button></form>',
        ];
      if (path !== 'POST /in') return null;
      bodies.push(
        request
          .setEncoding('utf8')
          .toArray()
          .then((parts) => parts.join('')),
      );
      return ['text/html', '<h1>Welcome</h1>'];
    },
    {
      startUrls: ['$SITE/login'],
      params: { user: 'ada & co' },
      spider: {
        params: { type: 'object', properties: { user: { type: 'string' } } },
        pages: [
          { match: ['/login'], follow: [{ form: 'form', values: { user: '{user}' }, page: 'home' }] },
          { name: 'home', match: ['/home'], items: [{ fields: { t: 'h1' } }] },
        ],
      },
    },
  );
  assert.deepEqual(await Promise.all(bodies), ['csrf=t1&user=ada+%26+co']);
  assert.deepEqual(data, [{ t: 'Welcome' }]);
});

test('a feed is read as XML, and an image that it names is skipped', async () => {
  const feed =
    '<rss><channel><item><title>A &amp; B</title><link>/a</link></item><item><title>C</title><link>/c.png</link></item></channel></rss>';
  const { data, row } = await crawl(
    (path) => {
      if (path === 'GET /feed') return ['application/rss+xml', feed];
      if (path === 'GET /c.png') return ['image/png', Buffer.from('\x89PNG', 'latin1')];
      return path === 'GET /a' ? ['text/html', '<h1>a</h1>'] : null;
    },
    {
      startUrls: ['$SITE/feed'],
      spider: {
        pages: [
          {
            match: ['/feed'],
            items: [{ each: 'item', fields: { t: 'title' } }],
            follow: [{ selector: 'item > link' }],
          },
          { match: ['/a'], items: [{ fields: { t: 'h1' } }] },
        ],
      },
    },
  );
  assert.deepEqual(data.map(({ t }) => t).sort(), ['A & B', 'C', 'a']);
  assert.equal(row('/c.png')!.reason, 'content_type');
});
