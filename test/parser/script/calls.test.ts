import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ParsedPage } from '../../../dist/model/outcome.js';
import { CallFailed, type FetchCall, type ScriptCalls } from '../../../dist/parser/script/calls.js';
import type { ScriptPool } from '../../../dist/parser/script/pool.js';
import { crawlId, fetched, pageJob, scriptPlan, spider, startPool } from './scripts.ts';

const SCRIPT = spider(`
  parse() {},
  async one(r, ctx) {
    const page = await ctx.fetch('/a', { headers: { 'X-A': '1' } });
    return { url: page.url, status: page.status, ok: page.ok, type: page.headers['content-type'], t: page.css('h1').text(), l: page.urljoin('x') };
  },
  async *all(r, ctx) {
    const pages = await Promise.all(Array.from({ length: 20 }, (_, i) => ctx.fetch('/p' + i)));
    for (const page of pages) yield { t: page.css('h1').text() };
  },
  async json(r, ctx) { return { v: await ctx.fetchJson('/json', { json: { q: 1 } }) }; },
  async jsonFails(r, ctx) { return { v: await ctx.fetchJson('/missing') }; },
  async caught(r, ctx) {
    try { await ctx.fetch('/refused'); } catch (error) { return { code: error.code, message: error.message }; }
  },
  async uncaught(r, ctx) {

    await ctx.fetch('/refused');
  },
  async scope(r, ctx) {
    const codes = [];
    for (const url of ['http://other.test/', 'http://api.test/x', '/private/x', 'ftp://site.test/', 'http://[', 'http://api.test:81/'])
      codes.push(await ctx.fetch(url).then((page) => page.status, (error) => error.code));
    return { codes };
  },
  async redirected(r, ctx) { const page = await ctx.fetch('/r1', { method: 'POST', body: 'x', headers: { a: 'b' } }); return { url: page.url, t: page.text() }; },
  async loop(r, ctx) { return { c: await ctx.fetch('/loop').catch((e) => e.code) }; },
  async away(r, ctx) { return { c: await ctx.fetch('/away').catch((e) => e.code) }; },
  async lookup(r, ctx) { return { rows: await ctx.lookup('w', 'select $1', ['a', 1, null]) }; },
  async state(r, ctx) {
    const before = await ctx.state.get('n');
    ctx.state.set('n', { count: (before?.count ?? 0) + 1 });
    ctx.state.set('gone', null);
    return { before, after: await ctx.state.get('n'), gone: await ctx.state.get('gone') };
  },
  async unawaited(r, ctx) { ctx.fetch('/slow').catch(() => {}); await ctx.fetch('/a'); return { n: 1 }; },
  async slow(r, ctx) { await ctx.fetch('/slow'); return { n: 1 }; },
  async chatty(r, ctx) {
    if (r.url.endsWith('/quick')) return { n: 0 };
    console.log('before', r.url);
    await ctx.fetch('/p');
    console.log('after', r.url);
    return { n: 1 };
  },
  async notJson(r, ctx) { return { v: await ctx.fetchJson('/a') }; },
  async memo(r, ctx) { globalThis.memo ??= ctx.fetchJson('/json'); return { v: await globalThis.memo }; },
`);

/** A site for `ctx.fetch`, and what it was asked. */
class FakeSite implements ScriptCalls {
  readonly asked: FetchCall[] = [];
  readonly lookups: unknown[] = [];
  open = 0;
  most = 0;
  aborted = 0;
  readonly stored = new Map<string, string>();
  /** Fetches of `/p…` are answered once so many are under way at once. */
  gate = 8;
  readonly opened = Promise.withResolvers<void>();

  async fetch(call: FetchCall, signal: AbortSignal) {
    this.asked.push(call);
    this.open++;
    this.most = Math.max(this.most, this.open);
    try {
      return await this.#answer(call, signal);
    } finally {
      this.open--;
    }
  }
  async #answer({ url }: FetchCall, signal: AbortSignal) {
    const path = new URL(url).pathname;
    if (path === '/refused') throw new CallFailed('robots', 'robots.txt disallows it');
    if (path === '/missing') return fetched('no', { status: 404 });
    if (path === '/json') return fetched('{"a":[1]}', { headers: { 'content-type': 'application/json' } });
    if (path === '/r1') return fetched('', { status: 302, headers: { location: '/r2' } });
    if (path === '/loop') return fetched('', { status: 307, headers: { location: '/loop' } });
    if (path === '/away') return fetched('', { status: 301, headers: { location: 'http://other.test/' } });
    if (path === '/slow') {
      await sleep(60_000, null, { signal }).catch(() => {
        this.aborted++;
        throw new CallFailed('timeout', 'aborted');
      });
    }
    if (path.startsWith('/p') && this.open >= this.gate) this.opened.resolve();
    if (path.startsWith('/p')) await this.opened.promise;
    return fetched(`<h1>${path}</h1>`);
  }
  lookup(connection: string, query: string, params: readonly unknown[]) {
    this.lookups.push([connection, query, params]);
    return Promise.resolve('[{"a":1},{"a":2}]');
  }
  readState(key: string) {
    return Promise.resolve(this.stored.get(key) ?? null);
  }
}

describe('what a script asks of the outside', () => {
  let pool: ScriptPool;
  let site: FakeSite;
  before(async () => {
    pool = await startPool({ processes: 1 });
  });
  after(() => pool.stop());

  async function run(callback: string, options: { timeout?: number; pages?: number } = {}): Promise<ParsedPage[]> {
    const scope = { calls: ['api.test'], deny: ['/private/'] };
    const settings = { maxRedirects: 3, callbackTimeoutMs: options.timeout ?? 20_000 };
    pool.openCrawl(scriptPlan(SCRIPT, settings, { scope }), site);
    const jobs = Array.from({ length: options.pages ?? 1 }, () => pageJob('<p>', { extra: { page: callback } }));
    return Promise.all(jobs.map((job) => pool.run(job)));
  }
  async function dataOf(callback: string): Promise<unknown> {
    site = new FakeSite();
    const [page] = await run(callback);
    return page!.items[0] === undefined ? page : JSON.parse(page!.items[0].data);
  }

  it('fetches a page without leaving the callback', async () => {
    assert.deepEqual(await dataOf('one'), {
      ...{ url: 'http://site.test/a', status: 200, ok: true, type: 'text/html', t: '/a', l: 'http://site.test/x' },
    });
    assert.deepEqual(site.asked, [{ url: 'http://site.test/a', method: 'GET', headers: { 'x-a': '1' }, body: null }]);
  });

  it('logs to the page whose callback goes on, while others begin and end', async () => {
    site = new FakeSite();
    site.gate = 4;
    const urls = ['/1', '/2', '/3', '/4'].map((path) => `http://site.test${path}`);
    pool.openCrawl(scriptPlan(SCRIPT), site);
    const pages = urls.map((url) => pool.run(pageJob('', { url, extra: { page: 'chatty' } })));
    // It begins last and has ended when the others go on.
    await pool.run(pageJob('', { url: 'http://site.test/quick', extra: { page: 'chatty' } }));
    for (const [i, page] of (await Promise.all(pages)).entries())
      assert.deepEqual(
        page.logs!.map(({ message }) => message),
        [`before ${urls[i]}`, `after ${urls[i]}`],
      );
  });

  it('says of what is no JSON where it is from', async () => {
    await assert.rejects(
      async () => dataOf('notJson'),
      ({ message }: Error) => /^http:\/\/site\.test\/a is not JSON: .+ \(line \d+\)$/.test(message),
    );
  });

  it('fetches many at once, eight of a page', async () => {
    site = new FakeSite();
    const [page] = await run('all');
    assert.deepEqual(
      page!.items.map(({ data }) => data),
      Array.from({ length: 20 }, (_, i) => `{"t":"/p${i}"}`),
    );
    assert.equal(site.most, 8);
  });

  it('fetches sixteen of a crawl at once, and pages wait together', async () => {
    site = new FakeSite();
    site.gate = 16;
    const pages = await run('all', { pages: 6 });
    assert.ok(pages.every(({ items }) => items.length === 20));
    assert.equal(site.asked.length, 120);
    assert.equal(site.most, 16);
  });

  it('reads JSON, posted or asked for', async () => {
    assert.deepEqual(await dataOf('json'), { v: { a: [1] } });
    assert.deepEqual(site.asked[0], {
      ...{ url: 'http://site.test/json', method: 'POST', body: '{"q":1}' },
      headers: { 'content-type': 'application/json' },
    });
    site = new FakeSite();
    await assert.rejects(run('jsonFails'), {
      reason: 'script_error',
      message: /^http:\/\/site.test\/missing answered 404 \(line \d+\)$/,
    });
  });

  it('gives a failed call as an error with a code, and the line of the call', async () => {
    assert.deepEqual(await dataOf('caught'), { code: 'robots', message: 'robots.txt disallows it' });
    const line = SCRIPT.split('\n').findIndex((text) => text.includes('async uncaught')) + 3;
    site = new FakeSite();
    await assert.rejects(run('uncaught'), { message: `robots.txt disallows it (line ${line})` });
  });

  it('keeps to the scope, and to the hosts of scope.calls', async () => {
    assert.deepEqual(await dataOf('scope'), { codes: ['offsite', 200, 'denied', 'scheme', 'bad_url', 200] });
    assert.deepEqual(
      site.asked.map(({ url }) => url),
      ['http://api.test/x', 'http://api.test:81/'],
    );
  });

  it('follows redirects as the Fetch standard has it, inside the scope, up to maxRedirects', async () => {
    assert.deepEqual(await dataOf('redirected'), { url: 'http://site.test/r2', t: '<h1>/r2</h1>' });
    assert.deepEqual(
      site.asked.map(({ method, body }) => [method, body]),
      [
        ['POST', 'x'],
        ['GET', null],
      ],
    );
    assert.deepEqual(await dataOf('loop'), { c: 'too_many_redirects' });
    assert.equal(site.asked.length, 4);
    assert.deepEqual(await dataOf('away'), { c: 'offsite' });
  });

  it('looks rows up', async () => {
    assert.deepEqual(await dataOf('lookup'), { rows: [{ a: 1 }, { a: 2 }] });
    assert.deepEqual(site.lookups, [['w', 'select $1', ['a', 1, null]]]);
  });

  it('keeps state: what was set on the page first, then what was stored', async () => {
    site = new FakeSite();
    site.stored.set('n', '{"count":4}').set('gone', '1');
    const [page] = await run('state');
    assert.deepEqual(JSON.parse(page!.items[0]!.data), { before: { count: 4 }, after: { count: 5 }, gone: null });
    assert.deepEqual(page!.state, { n: '{"count":5}', gone: null });
  });

  it('ends calls with their page, and says that an await may be missing', async () => {
    site = new FakeSite();
    const [page] = await run('unawaited');
    assert.match(page!.logs![0]!.message, /ended while one of its calls was under way: is an `await` missing/);
    while (site.aborted === 0) await sleep(5);
    assert.equal(site.open, 0);
  });

  it('ends a callback that takes too long by the clock, and its calls', async () => {
    site = new FakeSite();
    await assert.rejects(run('slow', { timeout: 200 }), {
      reason: 'parse_timeout',
      message: 'callback `slow` did not end within 200 ms (callbackTimeoutMs)',
    });
    while (site.aborted === 0) await sleep(5);
    assert.equal((await run('one')).length, 1);
  });

  it('lets pages of a crawl wait for the same promise', async () => {
    site = new FakeSite();
    const pages = await run('memo', { pages: 5 });
    assert.deepEqual(
      pages.map(({ items }) => items[0]!.data),
      Array(5).fill('{"v":{"a":[1]}}'),
    );
    assert.equal(site.asked.length, 1);
  });

  it('gives calls up when the crawl is closed', async () => {
    site = new FakeSite();
    const waiting = run('slow');
    while (site.open === 0) await sleep(5);
    pool.closeCrawl(crawlId(1));
    await assert.rejects(waiting, { message: 'the crawl was closed' });
    while (site.open > 0) await sleep(5);
  });

  it('says in a dry run what was called', async () => {
    site = new FakeSite();
    const plan = scriptPlan(SCRIPT, {}, { crawlId: crawlId(9) });
    const job = pageJob('<p>', { extra: { page: 'caught' } }, crawlId(9));
    const { explanation } = await pool.preview(plan, job, site);
    assert.deepEqual(
      explanation.calls?.map(({ kind, what, outcome }) => [kind, what, outcome]),
      [['fetch', 'GET http://site.test/refused', 'robots: robots.txt disallows it']],
    );
  });
});
