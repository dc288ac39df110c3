import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { getJson, type Item, readItems } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { type Service, startService } from '../support/service.ts';
import { changeOf, crawlShop, type Options, type Pages, SHOP, startShop } from '../support/shop.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
before(async () => {
  database = await testDatabase();
  service = await startService({ DATABASE_URL: database.url, SCRIPTS: 'on', ENRICH_EGRESS_ALLOW: '127.0.0.1/32' });
});
after(async () => {
  await service.stop();
  await database.drop();
});

const crawl = (site: Site, name: string, options: Options = {}) => crawlShop(service.url, site, name, options);

const shop = (): Pages => ({
  '/': { links: ['/list', '/p/a'] },
  '/list': { links: ['/p/b', '/p/c'], etag: '"list"' },
  '/p/a': { product: ['a', 'Anvil', '10'], etag: '"a1"', links: ['/p/d'] },
  '/p/b': { product: ['b', 'Bolt', '1'], lastModified: 'Mon, 23 Nov 2026 09:00:00 GMT' },
  '/p/c': { product: ['c', 'Chain', '5'] },
  '/p/d': { product: ['d', 'Drill', '3'], etag: 'W/"d1"' },
});

test('26: a page that has not changed is asked for with its validators, skipped as unchanged, and followed', async () => {
  const site = await startShop(shop());
  try {
    const first = await crawl(site, 'etags');
    assert.deepEqual(first.changes, ['a new', 'b new', 'c new', 'd new']);
    assert.ok(!site.asked().some((url) => url.endsWith('?')));
    site.clear();

    site.pages['/p/d'] = { product: ['d', 'Drill, cordless', '2'], etag: 'W/"d2"' };
    const second = await crawl(site, 'etags');
    assert.deepEqual(site.asked().sort(), ['/', '/list?', '/p/a?', '/p/b?', '/p/c', '/p/d?'], 'what has a validator');
    assert.deepEqual(second.states, {
      ...{
        '/': 'done',
        '/list': 'unchanged',
        '/p/a': 'unchanged',
        '/p/b': 'unchanged',
        '/p/c': 'done',
        '/p/d': 'done',
      },
    });
    assert.deepEqual(second.changes, ['c same', 'd changed name specs.weight']);
    assert.equal(second.crawl.stopReason, 'finished');
    assert.deepEqual(second.crawl.warnings, []);
    const depth = (path: string) => second.ledger.find((row) => row.url === site.url + path)!;
    assert.equal(depth('/p/b').depth, 2, 'behind the unchanged list');
    assert.equal(depth('/p/d').priority, 3, 'by the rule that found it');

    const only = await readItems(service.url, second.id, '?change=new,changed');
    assert.deepEqual(only.map(changeOf), ['d changed name specs.weight']);
    const stats = await getJson<{ changes: object }>(`${service.url}/crawls/${second.id}/stats`);
    assert.deepEqual(stats.changes, { same: 1, changed: 1 });
  } finally {
    await site.close();
  }
});

test('26: within ttl a page that gave items is not fetched; its links are followed; listings are asked for', async () => {
  const site = await startShop(shop());
  try {
    await crawl(site, 'ttl', { ttl: 3600 });
    site.clear();
    site.pages['/list']!.etag = '"list 2"';
    site.pages['/list']!.links = ['/p/b', '/p/c', '/p/e'];
    site.pages['/p/e'] = { product: ['e', 'Easel', '7'] };
    const second = await crawl(site, 'ttl', { ttl: 3600 });
    assert.deepEqual(site.asked().sort(), ['/', '/list?', '/p/e']);
    assert.deepEqual(
      ['/p/a', '/p/b', '/p/c', '/p/d'].map((path) => second.states[path]),
      Array(4).fill('already_scraped'),
    );
    assert.deepEqual(second.changes, ['e new']);
    const why = second.ledger.find(({ url }) => url === `${site.url}/p/d`);
    assert.match(why?.detail ?? '', /^\d{4}-\d\d-\d\dT.*Z by crawl [0-9a-f-]{36}$/);
    assert.equal(why?.depth, 2);

    await database.sql`update spider_pages set scraped_at = scraped_at - interval '2 hours'`;
    site.clear();
    const third = await crawl(site, 'ttl', { ttl: 3600 });
    assert.deepEqual(site.asked().sort(), ['/', '/list?', '/p/a?', '/p/b?', '/p/c', '/p/d?', '/p/e']);
    assert.deepEqual(third.changes, ['c same', 'e same']);
  } finally {
    await site.close();
  }
});

test('26: a crawl in which every page was scraped before is finished', async () => {
  const site = await startShop({ '/': { product: ['a', 'Anvil', '1'], etag: '"1"' } });
  const spider = { pages: [{ items: SHOP.pages[0]!.items }] };
  try {
    await crawl(site, 'all', { spider });
    for (const [ttl, reason] of [
      [3600, 'already_scraped'],
      [null, 'unchanged'],
    ] as const) {
      const { crawl: ended, states } = await crawl(site, 'all', { spider, ttl });
      assert.deepEqual(states, { '/': reason });
      assert.deepEqual([ended.state, ended.stopReason, ended.warnings], ['finished', 'finished', []]);
    }
    site.pages['/'] = { status: 503 };
    const failed = await crawl(site, 'all', { spider });
    assert.equal(failed.crawl.stopReason, 'start_urls_failed');
    assert.deepEqual(failed.items, [], 'a page that fails says nothing of its items');
  } finally {
    await site.close();
  }
});

test('26: another definition scrapes anew; another spider, limit or name of a version does not matter', async () => {
  const site = await startShop(shop());
  try {
    await crawl(site, 'definition', { ttl: 3600 });
    const asked = async (name: string, spider: object, settings: object = {}) => {
      site.clear();
      await crawl(site, name, { ttl: 3600, spider, settings });
      return site.asked().length;
    };
    assert.equal(await asked('definition', { ...SHOP, description: 'The same' }, { maxDepth: 9, timeoutMs: 9000 }), 2);
    const more = structuredClone(SHOP);
    Object.assign(more.pages[0]!.items![0]!.fields, { title: 'title' });
    assert.equal(await asked('definition', more), 6, 'with another field');
    assert.equal(await asked('definition', more, { dropParams: [] }), 6, 'with another canonical form');
    assert.equal(await asked('another', more), 6);
    assert.equal(await asked('definition', more, { dedup: { scope: 'crawl' } }), 6);
  } finally {
    await site.close();
  }
});

test('26: what is gone is listed once, with its last data; what could not be looked at is not', async () => {
  const pages: Pages = {
    '/': { links: ['/list', ...'abcdefgh'.split('').map((id) => `/p/${id}`)] },
    '/list': { links: ['/p/z'] },
  };
  for (const id of 'abcdefghz') pages[`/p/${id}`] = { product: [id, `Product ${id}`, '1'] };
  pages['/p/f']!.etag = '"f"';
  const site = await startShop(pages);
  try {
    await crawl(site, 'gone');
    delete pages['/p/a']; // 404
    pages['/p/b'] = { status: 410 };
    pages['/p/c'] = {}; // done without the item
    pages['/p/d'] = { status: 301, location: '/' }; // to a page without it
    pages['/p/e'] = { product: ['e', 'Product e', '2'] };
    pages['/p/g'] = { status: 403 };
    const second = await crawl(site, 'gone');
    const gone = (items: Item[]) =>
      items
        .map(changeOf)
        .filter((text) => text.includes('gone'))
        .sort();
    assert.deepEqual(gone(second.items), ['a gone', 'b gone', 'c gone', 'd gone']);
    const last = second.items.find(({ data }) => data.id === 'a')!;
    assert.equal(last.url, `${site.url}/p/a`);
    assert.deepEqual(last.data, { id: 'a', name: 'Product a', specs: { weight: '1' } });
    assert.ok(last.offset >= 4, 'at the end');

    pages['/list'] = { status: 503 };
    const third = await crawl(site, 'gone');
    assert.deepEqual(gone(third.items), []);
    assert.ok(third.changes.includes('z same'), 'behind the page that failed');
    delete pages['/list']; // nothing leads to z any more
    pages['/p/g'] = { product: ['g', 'Product g', '1'] };
    pages['/p/a'] = { product: ['a', 'Product a', '1'] };
    const fourth = await crawl(site, 'gone');
    assert.deepEqual(fourth.changes, ['a new', 'e same', 'g same', 'h same', 'z gone']);
    const fifth = await crawl(site, 'gone');
    assert.deepEqual(gone(fifth.items), []);
  } finally {
    await site.close();
  }
});

test('26: what a crawl could not come to is not gone: other start URLs, another depth, a page whose links are not known', async () => {
  const pages: Pages = { '/': { links: ['/list', '/p/a'] }, '/list': { links: ['/p/b'] } };
  for (const id of 'ab') pages[`/p/${id}`] = { product: [id, `Product ${id}`, '1'] };
  const site = await startShop(pages);
  try {
    await crawl(site, 'reach');
    assert.deepEqual((await crawl(site, 'reach', { start: '/p/a' })).changes, ['a same']);
    assert.deepEqual((await crawl(site, 'reach', { settings: { maxDepth: 1 } })).changes, ['a same']);
    pages['/list'] = { status: 500 };
    const other = structuredClone(SHOP);
    other.pages[1]!.follow!.push({ selector: 'area', priority: 0 });
    const third = await crawl(site, 'reach', { spider: other });
    assert.deepEqual(third.changes, ['a same'], 'what the list led to was found by other rules');
    delete pages['/list'];
    assert.deepEqual((await crawl(site, 'reach')).changes, ['a same', 'b gone']);
  } finally {
    await site.close();
  }
});

test('26: what is gone is forgotten: a page that comes back with its old ETag is scraped', async () => {
  const site = await startShop({
    '/': { links: ['/p/a', '/p/b'] },
    '/p/b': { product: ['b', 'Bolt', '1'], etag: '"b"' },
  });
  site.pages['/p/a'] = { product: ['a', 'Anvil', '1'], etag: '"a"' };
  try {
    await crawl(site, 'back');
    const { '/p/a': page } = site.pages;
    delete site.pages['/p/a'];
    assert.deepEqual((await crawl(site, 'back')).changes, ['a gone']);
    site.pages['/p/a'] = page!;
    assert.deepEqual((await crawl(site, 'back')).changes, ['a new']);
  } finally {
    await site.close();
  }
});

test('26: one key on several pages of a crawl: the later is compared with the earlier', async () => {
  const site = await startShop({
    '/': { links: ['/p/1', '/p/2', '/p/3'] },
    '/p/1': { product: ['x', 'One', '1'] },
    '/p/2': { product: ['x', 'Two', '1'] },
    '/p/3': { product: ['x', 'Two', '1'] },
  });
  try {
    const { items } = await crawl(site, 'twice', { settings: { concurrency: 1 } });
    // Whichever page ended first: each is compared with the one before it.
    const names = items.map(({ data }) => data.name);
    const against = (i: number) => (names[i] === names[i - 1] ? 'x same' : 'x changed name');
    assert.deepEqual(items.map(changeOf), ['x new', against(1), against(2)]);
  } finally {
    await site.close();
  }
});

test('26: a 304 that nobody asked for is a bad response; a request’s own condition stays its own', async () => {
  const site = await startSite((req, res) => {
    if (req.url === '/')
      return void res.writeHead(200, { 'content-type': 'text/html', etag: '"1"' }).end('<a href=/p>');
    res.writeHead(304).end();
  });
  try {
    const first = await crawl(site, 'odd');
    assert.deepEqual(first.states, { '/': 'done', '/p': 'bad_response' });
    site.hits.splice(0);
    const { states } = await crawl(site, 'odd', { settings: { headers: { 'If-None-Match': '"own"' } } });
    assert.deepEqual(states, { '/': 'done', '/p': 'bad_response' });
    assert.ok(site.hits.every(({ headers }) => headers['if-none-match'] === '"own"'));
  } finally {
    await site.close();
  }
});

test('26: a crawl that remembers needs a spider with a name', async () => {
  for (const [body, pointer] of [
    [{ settings: { dedup: { scope: 'spider' } } }, '/settings/dedup/scope'],
    [{ spider: { settings: { dedup: { scope: 'spider' } } } }, '/spider/settings/dedup/scope'],
  ] as const) {
    const response = await fetch(`${service.url}/crawls`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ startUrls: ['http://127.0.0.1:1/'], ...body }),
    });
    const { errors } = (await response.json()) as { errors: { pointer: string; code: string }[] };
    assert.deepEqual([response.status, errors.map((one) => [one.pointer, one.code])], [422, [[pointer, 'no_name']]]);
  }
});

test('26: what a spider has scraped is forgotten when it is asked for, or when the spider is deleted', async () => {
  const site = await startShop(shop());
  const send = (method: string, path: string, body?: object) =>
    fetch(service.url + path, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
  try {
    const all = ['a new', 'b new', 'c new', 'd new'];
    await crawl(site, 'forgetful', { ttl: 3600 });
    assert.equal((await send('DELETE', '/spiders/forgetful/memory')).status, 204);
    assert.deepEqual((await crawl(site, 'forgetful', { ttl: 3600 })).changes, all);
    await send('PUT', '/spiders/forgetful', SHOP);
    assert.deepEqual((await crawl(site, 'forgetful', { ttl: 3600 })).changes, []);
    assert.equal((await send('DELETE', '/spiders/forgetful')).status, 204);
    assert.deepEqual((await crawl(site, 'forgetful', { ttl: 3600 })).changes, all);
    assert.equal((await send('DELETE', '/spiders/%20/memory')).status, 404);
  } finally {
    await site.close();
  }
});

test('26: an item that its pipeline drops as a duplicate is not gone; one that waits for an answer is compared as well', async () => {
  const site = await startShop({ '/': { links: ['/p/a', '/p/b'] }, '/p/a': { product: ['a', 'Anvil', '1'] } });
  site.pages['/p/b'] = { product: ['b', 'Bolt', '1'] };
  const enrich = { url: `${site.url}/`, set: { status: 'ok' }, onError: 'keep' };
  const spider = { ...SHOP, pipeline: [{ dedupe: { key: ['id'], scope: 'spider' } }, { enrich }] };
  try {
    assert.deepEqual((await crawl(site, 'dropping', { spider })).changes, ['a new', 'b new']);
    const second = await crawl(site, 'dropping', { spider });
    assert.deepEqual([second.changes, second.crawl.stats.dropped], [[], 2]);
    delete site.pages['/p/b'];
    assert.deepEqual((await crawl(site, 'dropping', { spider })).changes, ['b gone']);
  } finally {
    await site.close();
  }
});

test('26: pages of a script are remembered too, with the callbacks of their links', async () => {
  const site = await startShop(shop());
  const script = `export default {
    async *parse(response, ctx) { for (const href of response.css('a').attrs('href')) yield ctx.follow(href, { callback: 'product' }); },
    async *product(response, ctx) {
      if (response.css('.id').text()) yield { id: response.css('.id').text() };
      for (const href of response.css('a').attrs('href')) yield ctx.follow(href, { callback: 'product' });
    },
  };`;
  try {
    const first = await crawl(site, 'scripted', { spider: { script } });
    assert.equal(first.items.length, 4, JSON.stringify(first.ledger));
    site.clear();
    const second = await crawl(site, 'scripted', { spider: { script }, ttl: 3600 });
    assert.deepEqual(site.asked().sort(), ['/', '/list?']);
    assert.equal(second.crawl.stats.skipped, 5);
  } finally {
    await site.close();
  }
});

test('26: two crawls of one spider at once: both end, and what they remember is the site', async () => {
  const site = await startShop(shop());
  for (const page of Object.values(site.pages)) page.delayMs = 20;
  try {
    const both = await Promise.all([crawl(site, 'both'), crawl(site, 'both')]);
    const ids = both.map(({ crawl: ended, items }) => {
      assert.equal(ended.stopReason, 'finished');
      return items.map(({ data }) => data.id as string).sort();
    });
    // The one that comes later on a busy machine finds what the other has already remembered unchanged.
    for (const some of ids) assert.deepEqual(some, [...new Set(some)], 'none twice in a crawl');
    assert.deepEqual([...new Set(ids.flat())].sort(), ['a', 'b', 'c', 'd'], 'none in neither');
    const third = await crawl(site, 'both');
    assert.deepEqual(third.changes, ['c same']);
  } finally {
    await site.close();
  }
});
