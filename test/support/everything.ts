import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../dist/db/client.js';
import { checkBooks } from './client.ts';
import { FAST, html } from './pages.ts';
import { type Site, startSite } from './site.ts';

/**
 * A crawl with everything on: a script whose callbacks are reached by GET with meta and by POST, that fetches from the host
 * that it crawls, counts in the crawl's state, and whose items are deduplicated, enriched by a slow API and validated.
 */
const SCRIPT = `
export default {
  name: 'everything',
  async *parse(response, ctx) {
    const { n } = response.meta.n === undefined ? { n: 0 } : response.meta;
    if (response.css('h1').text() !== 'Page ' + n) throw new Error('page ' + n + ' is ' + response.url);
    const seen = (await ctx.state.get('p' + n)) ?? 0;
    const { twice } = await ctx.fetchJson('/call?n=' + n);
    yield { key: n + ' a', n, twice, k: 0 };
    for (const child of response.css('a').texts().map(Number)) {
      const meta = { n: child };
      if (child % 2) yield ctx.follow('/post', { method: 'POST', form: { n: String(child) }, meta });
      else yield ctx.follow('/p' + child, { callback: 'even', meta });
    }
    // One for each two pages, and one that is not valid.
    yield { key: 'pair ' + (n >> 1), n, twice, k: 1 };
    yield { key: n + ' bad', n, twice, k: 2 };
    ctx.state.set('p' + n, seen + 1);
    ctx.log('page ' + n);
  },
  async *even(response, ctx) {
    yield* this.parse(response, ctx);
  },
};`;

export interface Everything {
  site: Site;
  /** A body for POST /crawls. */
  crawl(settings?: object): object;
  /** The crawl has ended, and everything of each page is there exactly once. */
  check(sql: Sql, base: string, id: string): Promise<void>;
}

/** A site of `pages` pages with an API that answers after `apiMs`; the pages' own calls are answered after `callMs`. */
export async function startEverything({ pages = 200, apiMs = 20, callMs = 5 } = {}): Promise<Everything> {
  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    const { pathname, searchParams } = new URL(req.url!, 'http://site');
    if (pathname === '/score') {
      const { n } = JSON.parse(await text(req)) as { n: number };
      await sleep(apiMs);
      res.end(JSON.stringify({ score: n * 3 }));
    } else if (pathname === '/call') {
      await sleep(callMs);
      res.end(JSON.stringify({ twice: Number(searchParams.get('n')) * 2 }));
    } else {
      const n =
        pathname === '/post' ? Number(new URLSearchParams(await text(req)).get('n')) : Number(pathname.slice(2));
      const children = [1, 2, 3, 4].map((i) => n * 4 + i).filter((child) => child < pages);
      html(res, `Page ${n}`, children.map(String));
    }
  };
  const site = await startSite((req, res) => void answer(req, res));
  const validate = { type: 'object', properties: { k: { maximum: 1 } }, required: ['score'] };
  const pipeline = [
    { dedupe: { key: ['key'] } },
    {
      enrich: { url: `${site.url}/score`, method: 'POST', send: { n: 'n' }, set: { score: 'score' }, onError: 'fail' },
    },
    { validate },
  ];
  return {
    site,
    crawl: (settings = {}) => ({
      spider: { script: SCRIPT, pipeline },
      startUrls: [`${site.url}/p0`],
      settings: { ...FAST, retryDelayMs: 50, ...settings },
    }),
    check: (sql, base, id) => checkEverything(sql, base, id, pages),
  };
}

async function checkEverything(sql: Sql, base: string, id: string, pages: number): Promise<void> {
  const { crawl, items, ledger } = await checkBooks(base, id);
  const bad = ledger.filter((row) => row.state !== 'done').map(({ url, reason, detail }) => ({ url, reason, detail }));
  assert.deepEqual([crawl.stopReason, ledger.length, bad], ['finished', pages, []]);
  const all = [...Array(pages).keys()];
  const sorted = (list: string[]) => list.toSorted();
  const keys = [...all.map((n) => `${n} a`), ...all.filter((n) => n % 2 === 0).map((n) => `pair ${n / 2}`)];
  assert.deepEqual(sorted(items.map(({ data }) => data.key as string)), sorted(keys), 'each item once');
  for (const { data } of items) {
    const n = data.n as number;
    assert.deepEqual([data.twice, data.score], [n * 2, n * 3]);
  }
  const state = await sql`select key, value from crawl_state where crawl_id = ${id} order by key`;
  assert.deepEqual(
    state.map(({ key, value }) => [key, value]),
    sorted(all.map((n) => `p${n}`)).map((key) => [key, 1]),
    'each page counted once',
  );
  const logs =
    await sql`select n::int, message from crawl_logs where crawl_id = ${id} and message like 'page %' order by n`;
  assert.deepEqual(sorted(logs.map(({ message }) => message)), sorted(all.map((n) => `page ${n}`)));
  const drops = await sql`select key, n::int from crawl_counts where crawl_id = ${id} and kind = 'drop' order by key`;
  const pairs = Math.floor(pages / 2);
  assert.equal(
    drops.reduce((sum, { n }) => sum + n, 0),
    pages + pairs,
  );
  assert.equal(drops.find(({ key }) => key === 'duplicate')?.n, pairs);
  assert.equal(crawl.stats.dropped, pages + pairs);
}
