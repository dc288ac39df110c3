import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { Spider } from '../../dist/model/spider.js';
import { ParseFailure, ParserPool, ParserStopped } from '../../dist/parser/pool.js';
import { ParserThread } from '../../dist/parser/thread.js';
import { planInput, shared } from './helpers.ts';

const TITLE: Spider = { pages: [{ items: [{ fields: { title: 'title' } }] }] };
/** Quadratic on siblings: minutes on the page below. */
const BURN: Spider = { pages: [{ items: [{ fields: { a: ['p:nth-last-of-type(3n+1):nth-child(2n)'] } }] }] };
const BURN_PAGE = '<p></p>'.repeat(140_000);

let pool: ParserPool;
afterEach(() => pool.stop());

async function startPool(threads: number, memoryMb = 128): Promise<ParserPool> {
  pool = new ParserPool({ threads, memoryMb, known: new KnownFingerprints(1024).buffer });
  await pool.start();
  return pool;
}

function open(spider: Spider, settings = {}): string {
  const crawlId = randomUUID();
  pool.openCrawl(planInput(spider, settings, crawlId));
  return crawlId;
}

function parse(crawlId: string, html: string, contentType: string | null = 'text/html') {
  return pool.parse({
    crawlId,
    url: 'http://site.test/',
    depth: 0,
    status: 200,
    extra: null,
    contentType,
    ...shared(html),
    fetchedAt: 0,
  });
}

const failsWith = (reason: string) => (error: unknown) => error instanceof ParseFailure && error.reason === reason;

describe('the parser pool', () => {
  it('16: takes a sitemap’s links in pieces, and pages that one thread reads meanwhile in their order', async () => {
    await startPool(1);
    const crawl = open(TITLE, { maxDepth: 3 });
    const urls = [...Array(9000).keys()].map((i) => `http://site.test/p${i}`);
    const sitemap = pool.parse({
      ...{ crawlId: crawl, url: 'http://site.test/s.txt', depth: 0, status: 200, contentType: 'text/plain' },
      ...{ extra: { kind: 'sitemap' }, ...shared(urls.join('\n')), fetchedAt: 0 },
    });
    const pages = await Promise.all([
      sitemap,
      ...['a', 'b', 'c'].map((title) => parse(crawl, `<title>${title}</title>`)),
    ]);
    assert.deepEqual(
      pages[0]!.links.map(({ url }) => url),
      urls,
    );
    assert.equal(pages[0]!.linkedFps.length, 9000);
    assert.deepEqual(
      pages.slice(1).map(({ items, links }) => [items[0]?.data, links.length]),
      ['a', 'b', 'c'].map((title) => [`{"title":"${title}"}`, 0]),
    );
  });
  it('parses pages, checks spiders, judges robots.txt', async () => {
    await startPool(2);
    const crawl = open(TITLE);
    const page = await parse(crawl, '<title>é</title>');
    assert.deepEqual(page.items, [{ type: 'item', data: '{"title":"é"}', size: 14 }]);
    assert.ok(page.parseMs > 0);
    assert.deepEqual(
      (await pool.check({ pages: [{ follow: [{ selector: '[' }] }] })).map(({ pointer }) => pointer),
      ['/pages/0/follow/0/selector'],
    );
    const answer = await pool.robots({
      crawlId: 'of a preview',
      text: 'User-agent: *\nDisallow: /a',
      urls: ['http://s.test/a', 'http://s.test/b'],
      userAgent: 'Orbweaver/1',
    });
    assert.deepEqual(answer, { allowed: [false, true], crawlDelaySeconds: null, allowsAll: false });
    assert.equal(pool.queuedJobs + pool.queuedBytes + pool.busyThreads + pool.kills, 0);
    assert.ok(pool.hasRoom);
  });
  it('refuses what is not HTML, and judges redirects without reading', async () => {
    await startPool(1);
    const crawl = open(TITLE);
    await assert.rejects(parse(crawl, '{}', 'application/json'), failsWith('content_type'));
    const job = {
      crawlId: crawl,
      url: 'http://site.test/a',
      depth: 0,
      status: 301,
      extra: null,
      contentType: null,
      ...shared(''),
      fetchedAt: 0,
    };
    const moved = await pool.parse({ ...job, redirectTo: '/b#c' });
    assert.deepEqual(
      moved.links.map(({ url, reason }) => [url, reason]),
      [['http://site.test/b', null]],
    );
    const away = await pool.parse({ ...job, redirectTo: 'http://other.test/' });
    assert.deepEqual(
      away.links.map(({ reason, origin }) => [reason, origin]),
      [['offsite', null]],
    );
    assert.deepEqual((await pool.parse({ ...job, redirectTo: 'http://[' })).links, []);
  });
  it('takes html5 from parse5', async () => {
    await startPool(1);
    const crawl = open({ pages: [{ items: [{ fields: { b: ['table > tbody td'] } }] }] }, { parser: 'html5' });
    assert.equal((await parse(crawl, '<table><td>x</table>')).items[0]!.data, '{"b":["x"]}');
  });
  it('replaces a plan, and forgets a closed crawl', async () => {
    await startPool(1);
    const crawl = open(TITLE);
    pool.openCrawl(planInput({ pages: [{ items: [{ fields: { h: 'h1' } }] }] }, {}, crawl));
    assert.equal((await parse(crawl, '<h1>x</h1>')).items[0]!.data, '{"h":"x"}');
    pool.closeCrawl(crawl);
    pool.closeCrawl(crawl);
    await assert.rejects(parse(crawl, ''), ParserStopped);
  });
  it('ends a page at its limit, and no other page with it', async () => {
    await startPool(1);
    const good = open(TITLE);
    const bad = open(BURN, { parseTimeoutMs: 300 });
    await parse(good, '<title>0</title>');
    const burning = assert.rejects(parse(bad, BURN_PAGE), failsWith('parse_timeout'));
    const others = await Promise.all(Array.from({ length: 50 }, (_, i) => parse(good, `<title>${i}</title>`)));
    await burning;
    assert.deepEqual(
      others.map(({ items }) => items[0]!.data),
      others.map((_, i) => `{"title":"${i}"}`),
    );
    assert.equal(pool.kills, 1);
    assert.equal((await parse(good, '<title>z</title>')).items.length, 1);
    assert.equal(pool.queuedJobs, 0);
  });
  it('sends the pages that waited in a dead thread again', async () => {
    await startPool(1);
    const crawl = open(
      { pages: [{ items: [{ fields: { t: 'title', ...(BURN.pages![0]!.items![0]!.fields as object) } }] }] },
      // Of the burning page; the others take part of a millisecond, but a machine that is busy may let them wait.
      { parseTimeoutMs: 2000 },
    );
    for (let i = 0; i < 30; i++) await parse(crawl, '<title>quick</title>');
    const answers = await Promise.allSettled(
      ['<title>1</title>', BURN_PAGE, '<title>2</title>', '<title>3</title>'].map((html) => parse(crawl, html)),
    );
    assert.deepEqual(
      answers.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
    );
  });
  it('keeps a thread for others while a crawl burns', async () => {
    await startPool(2);
    const good = open(TITLE);
    const bad = open(BURN, { parseTimeoutMs: 3000 });
    await parse(good, '<title>0</title>');
    let burning = 3;
    const burns = [0, 1, 2].map(() => parse(bad, BURN_PAGE).catch(() => burning--));
    for (let i = 0; i < 20; i++) await parse(good, `<title>${i}</title>`);
    assert.equal(burning, 3, 'the good crawl waited for none of them');
    pool.closeCrawl(bad);
    await pool.stop();
    await Promise.all(burns);
  });
  it('keeps a thread for others while as many new crawls burn as there are threads', async () => {
    await startPool(2);
    const good = open(TITLE);
    const bad = [0, 1].map(() => open(BURN, { parseTimeoutMs: 20_000 }));
    let burning = 2;
    const burns = bad.map((crawl) => parse(crawl, BURN_PAGE).catch(() => burning--));
    for (let i = 0; i < 20; i++) await parse(good, `<title>${i}</title>`);
    assert.equal(burning, 2, 'the good crawl waited for none of them');
    await pool.stop();
    await Promise.all(burns);
  });
  it('has as many threads as before after pages that burned, where priorities cannot be raised again', async (t) => {
    t.mock.method(ParserThread.prototype, 'promote', () => false);
    let living = 0;
    const count = (worker: Worker) => {
      living++;
      worker.once('exit', () => living--);
    };
    process.on('worker', count);
    t.after(() => process.off('worker', count));
    await startPool(2);
    for (let i = 0; i < 4; i++) {
      // What a busy machine takes for the slow page is not the question.
      const crawl = open(BURN, { parseTimeoutMs: 60_000 });
      for (let page = 0; page < 4; page++) await parse(crawl, '<p></p>');
      await parse(crawl, '<p></p>'.repeat(11_000));
    }
    while (living !== 2) await sleep(20);
  });
  it('keeps a thread for others while previews burn', async () => {
    await startPool(2);
    const good = open(TITLE);
    const preview = (spider: Spider, html: string) => {
      const plan = planInput(spider, { parseTimeoutMs: 3000 }, randomUUID());
      const facts = {
        crawlId: plan.crawlId,
        url: 'http://site.test/',
        depth: 0,
        status: 200,
        extra: null,
        fetchedAt: 0,
      };
      return pool.preview(plan, { ...facts, contentType: 'text/html', ...shared(html) });
    };
    // Those before them were quick.
    for (let i = 0; i < 10; i++) await preview(TITLE, '<title>p</title>');
    let burning = 2;
    const burns = [0, 1].map(() => preview(BURN, BURN_PAGE).catch(() => burning--));
    for (let i = 0; i < 20; i++) await parse(good, `<title>${i}</title>`);
    assert.equal(burning, 2, 'the crawl waited for none of them');
    await pool.stop();
    await Promise.all(burns);
  });
  it('ends a page that needs too much memory', async () => {
    await startPool(1, 48);
    const crawl = open(TITLE, { parser: 'html5', parseTimeoutMs: 60_000 });
    const tags = (name: string) => Array.from({ length: 4000 }, (_, i) => `<${name} ${i}>`).join('');
    const page = `${tags('b')}${tags('i')}${'x</b>'.repeat(4000)}`;
    await assert.rejects(parse(crawl, page), failsWith('parse_memory'));
    assert.equal((await parse(crawl, '<title>on</title>')).items[0]!.data, '{"title":"on"}');
    assert.equal(pool.kills, 1);
  });
  it('stays inside memory with 50 MB of text', async () => {
    await startPool(1, 64);
    const crawl = open(TITLE, { parseTimeoutMs: 60_000 });
    const page = await parse(crawl, `<title>t</title>${'lorem ipsum é '.repeat(3_600_000)}`);
    assert.equal(page.items[0]!.data, '{"title":"t"}');
  });
  it('stops, at any time and more than once', async () => {
    pool = new ParserPool({ threads: 1, memoryMb: 64, known: new KnownFingerprints(64).buffer });
    await pool.stop();
    await startPool(1);
    const crawl = open(BURN);
    const lost = [parse(crawl, BURN_PAGE), parse(crawl, BURN_PAGE)].map((one) => assert.rejects(one, ParserStopped));
    await Promise.all([pool.stop(), pool.stop()]);
    await Promise.all(lost);
    assert.equal(pool.queuedJobs, 0);
    await assert.rejects(parse(crawl, ''), ParserStopped);
  });
});
