import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, getJson, type Item, postCrawl, readItems, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

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

interface Page {
  /** `id`, `name` and `weight` of the page's product; absent: it has none. */
  product?: [string, string, string];
  links?: string[];
  etag?: string;
  lastModified?: string;
  status?: number;
  location?: string;
  delayMs?: number;
}
type Pages = Record<string, Page>;

/** Pages that may be changed between two crawls; answers 304 as RFC 9110 has it. */
async function startShop(pages: Pages): Promise<Site & { pages: Pages; asked: () => string[]; clear: () => void }> {
  const site = await startSite((req, res) => void answer(pages, req, res));
  // Cut to the path, with what each was asked by.
  const asked = () =>
    site.hits.map(({ url, headers }) => {
      const isConditional = headers['if-none-match'] !== undefined || headers['if-modified-since'] !== undefined;
      return isConditional ? `${url}?` : url;
    });
  return Object.assign(site, { pages, asked, clear: () => site.hits.splice(0) });
}

async function answer(pages: Pages, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const page = pages[req.url ?? ''];
  if (page === undefined) return void res.writeHead(404).end();
  const { product, links = [], etag, lastModified, status = 200, location, delayMs = 0 } = page;
  if (delayMs > 0) await sleep(delayMs);
  const validators = {
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { 'last-modified': lastModified }),
  };
  const asked = req.headers['if-none-match'];
  const same = asked === undefined ? req.headers['if-modified-since'] === lastModified : asked === etag;
  if ((asked !== undefined || req.headers['if-modified-since'] !== undefined) && same)
    return void res.writeHead(304, validators).end();
  const [id, name, weight] = product ?? [];
  const item =
    product === undefined ? '' : `<p class=id>${id}</p><p class=name>${name}</p><p class=weight>${weight}</p>`;
  const list = links.map((href) => `<a href="${href}">${href}</a>`).join('');
  res.writeHead(status, {
    'content-type': 'text/html',
    ...validators,
    ...(location === undefined ? {} : { location }),
  });
  res.end(`<!doctype html><body>${item}${list}`);
}

const SHOP = {
  pages: [
    {
      match: ['/p*'],
      items: [
        {
          type: 'product',
          fields: { id: '.id', name: '.name', specs: { selector: 'body', value: { weight: '.weight' } } },
          required: ['id'],
          key: ['id'],
        },
      ],
      follow: [{ selector: 'a', priority: 3 }],
    },
    { match: ['/', '/list*'], follow: [{ selector: 'a' }] },
  ],
};

interface Options {
  ttl?: number | null;
  spider?: object;
  settings?: object;
  base?: string;
}

/** Runs a crawl of the spider to its end, and checks its books. */
async function crawl(site: Site, name: string, { ttl = null, spider = SHOP, settings = {}, base }: Options = {}) {
  const url = base ?? service.url;
  const { id } = await postCrawl(url, {
    spider: { name, ...spider },
    startUrls: [`${site.url}/`],
    settings: { ...FAST, retries: 0, dedup: { scope: 'spider', ttl }, ...settings },
  });
  await waitFor(url, id, ENDED);
  const books = await checkBooks(url, id);
  const path = (row: { url: string }) => row.url.slice(site.url.length);
  const states = Object.fromEntries(books.ledger.map((row) => [path(row), row.reason ?? row.state]));
  return { id, ...books, states, changes: books.items.map(changeOf).sort() };
}

interface Change {
  kind: string;
  fields: string[];
}

/** `b changed name`. */
function changeOf({ data, ...item }: Item): string {
  const { kind, fields } = (item as Item & { change: Change }).change ?? { kind: 'none', fields: [] };
  return [data.id, kind, ...fields].join(' ');
}

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

    delete pages['/list']; // nothing leads to z any more
    const third = await crawl(site, 'gone');
    assert.deepEqual(gone(third.items), [], 'a page was refused (403): z may be behind it');
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
    assert.deepEqual(items.map(changeOf), ['x new', 'x changed name', 'x same']);
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
