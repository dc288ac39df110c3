import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { changeOf, crawlShop, type Page, type Pages, SHOP, startShop } from '../support/shop.ts';

let database: TestDatabase;
/** The first test leaves it to the second. */
let own: Service;
before(async () => {
  database = await testDatabase();
  own = await startService({ DATABASE_URL: database.url });
});
after(async () => {
  await own.stop();
  await database.drop();
});

test('26: kill -9 in the second crawl, and while it lists what is gone: every item once, against the first crawl', async () => {
  const ids = [...Array(150).keys()].map((i) => `p${i}`);
  const pages: Pages = { '/': { links: ids.map((id) => `/p/${id}`) } };
  for (const id of ids) pages[`/p/${id}`] = { product: [id, 'As it was', '1'] };
  const site = await startShop(pages);
  try {
    await crawlShop(own.url, site, 'killed');
    // Thousands that nothing leads to any more: listed in several transactions.
    await database.sql`
      insert into spider_items (space, key, page_fp, seen_at, hash, size, start, type, url, fields, data)
      select space, gen_random_uuid(), gen_random_uuid(), seen_at, hash, 12, start, type, url, fields, json_build_object('id', 'g' || n)
      from (select * from spider_items where url = ${`${site.url}/p/p0`} limit 1) one, generate_series(1, 7000) n`;
    for (const [i, id] of ids.entries()) {
      const page = pages[`/p/${id}`]!;
      page.delayMs = 3;
      if (i % 3 === 0) page.product = [id, 'Another', '1'];
      if (i % 3 === 1) delete pages[`/p/${id}`];
    }
    const { id } = await postCrawl(own.url, {
      spider: { name: 'killed', ...SHOP },
      startUrls: [`${site.url}/`],
      settings: { ...FAST, concurrencyPerHost: 4, retries: 5, dedup: { scope: 'spider' } },
    });
    const until = async (reached: (row: { done: number; items: number }) => boolean) => {
      for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(2)) {
        const [row] = await database.sql<{ done: number; items: number; state: string }[]>`
          select done, items, state from crawls where id = ${id}`;
        if (row!.state === 'finished' || reached(row!)) return;
      }
      assert.fail('the crawl does not go on');
    };
    for (const reached of [({ done }: { done: number }) => done > 20, ({ items }: { items: number }) => items > 2000]) {
      await until(reached);
      await own.signal('SIGKILL');
      own = await startService({ DATABASE_URL: database.url });
    }
    await waitFor(own.url, id, ENDED);
    const { crawl: ended, items } = await checkBooks(own.url, id);
    assert.equal(ended.stopReason, 'finished');
    const expected = ids.map((one, i) => `${one} ${['changed name', 'gone', 'same'][i % 3]}`);
    const gone = [...Array(7000).keys()].map((n) => `g${n + 1} gone`);
    assert.deepEqual(items.map(changeOf).sort(), [...expected, ...gone].sort());
    const [left] = await database.sql`
      select count(*)::int as n from spider_items where space = (select space from spider_items where url = ${`${site.url}/p/p0`})`;
    assert.equal(left!.n, 100);
  } finally {
    await site.close();
  }
});

test('26: on two nodes, with two crawls of one spider at once, what is remembered is the site', async () => {
  const hosts = await Promise.all(['127.0.0.2', '127.0.0.3'].map((host, i) => startShop(shopOf(40, 'ab'[i]!), host)));
  const other = await startService({ DATABASE_URL: database.url });
  const nodes = [own, other];
  const spider = { ...SHOP, scope: { hosts: ['127.0.0.2', '127.0.0.3'] } };
  const start = (n: number) => crawlShop(nodes[n]!.url, hosts[0]!, 'shared', { spider });
  try {
    hosts[0]!.pages['/']!.links!.push(`${hosts[1]!.url}/`);
    const all = [...Array(80).keys()].map((n) => `${n < 40 ? 'a' : 'b'}${n % 40}`).sort();
    for (const { items, crawl } of await Promise.all([start(0), start(1)])) {
      assert.equal(crawl.stopReason, 'finished');
      assert.deepEqual(items.map(({ data }) => data.id).sort(), all);
    }
    const kinds = async (n: number) => {
      const { items } = await start(n);
      return Object.fromEntries(
        Map.groupBy(items, (item) => changeOf(item).split(' ')[1])
          .entries()
          .map(([kind, of]) => [kind, of.length]),
      );
    };
    hosts[0]!.pages['/p/a0'] = { product: ['a0', 'Another', '1'] };
    hosts[1]!.pages['/p/b0'] = { product: ['b0', 'Another', '1'] };
    delete hosts[1]!.pages['/p/b1'];
    assert.deepEqual(await kinds(0), { same: 77, changed: 2, gone: 1 });
    assert.deepEqual(await kinds(1), { same: 79 });
  } finally {
    await Promise.all([other.stop(), ...hosts.map((host) => host.close())]);
  }
});

/** A shop of `n` products, all of which its first page names. */
function shopOf(n: number, letter: string): Pages {
  const ids = [...Array(n).keys()].map((i) => letter + i);
  const products = ids.map((id): [string, Page] => [`/p/${id}`, { product: [id, 'As it was', '1'], delayMs: 2 }]);
  return { '/': { links: ids.map((id) => `/p/${id}`) }, ...Object.fromEntries(products) };
}
