import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Preview } from '../../dist/model/preview.js';
import { STATE } from '../../dist/model/request.js';
import { CHROMIUM, needsChromium } from '../support/chromium.ts';
import { checkBooks, ENDED, getJson, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST } from '../support/pages.ts';
import { descendants } from '../support/processes.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

const page = (extra: object = {}) => ({
  name: 'page',
  render: true,
  items: [{ type: 'price', fields: { price: '.price', url: { meta: 'url' } }, required: ['price'] }],
  follow: [{ selector: 'a' }],
  ...extra,
});

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

async function post(url: string, body: object): Promise<{ status: number; answer: Record<string, unknown> }> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: response.status, answer: (await response.json()) as Record<string, unknown> };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe('without a browser, and without scripts', () => {
  let service: Service;
  before(async () => {
    service = await startService({ DATABASE_URL: database.url, CHROMIUM_PATH: '', SCRIPTS: 'off' });
  });
  after(() => service.stop());

  test('a spider with `render` is refused, and told which setting is missing', async () => {
    const spider = { pages: [{ items: [] }, page()] };
    const crawl = await post(`${service.url}/crawls`, { spider, startUrls: ['http://127.0.0.1:1/'] });
    assert.equal(crawl.status, 422);
    const [problem] = crawl.answer.errors as { pointer: string; code: string; message: string }[];
    assert.deepEqual([problem?.pointer, problem?.code], ['/spider/pages/1/render', 'rendering_off']);
    assert.match(problem?.message ?? '', /CHROMIUM_PATH/);
    const stored = await post(`${service.url}/spiders`, { name: 'rendered', ...spider });
    assert.equal(stored.status, 422);
    const off = { pages: [page({ render: false })] };
    assert.equal((await post(`${service.url}/spiders`, { name: 'off', ...off })).status, 201);
    const { renderer } = await getJson<{ renderer: { enabled: boolean } }>(`${service.url}/engine`);
    assert.equal(renderer.enabled, false);
  });

  test('with SCRIPTS=off a posted script is refused with the mend', async () => {
    const spider = { script: 'export default { parse() {} }' };
    const { status, answer } = await post(`${service.url}/crawls`, { spider, startUrls: ['http://127.0.0.1/'] });
    assert.equal(status, 422);
    const [problem] = answer.errors as { pointer: string; code: string; message: string }[];
    assert.deepEqual([problem?.pointer, problem?.code], ['/spider/script', 'scripts_off']);
    assert.match(problem?.message ?? '', /SCRIPTS=on/);
    const { scripts } = await getJson<{ scripts: object }>(`${service.url}/engine`);
    assert.deepEqual(scripts, { enabled: false, boundary: null, processes: 0, busy: 0, kills: 0 });
  });

  test('a CHROMIUM_PATH that leads nowhere is one line at the start', async () => {
    const env = { DATABASE_URL: database.url, CHROMIUM_PATH: '/nowhere/chromium' };
    await assert.rejects(
      startService(env),
      /orbweaver: CHROMIUM_PATH is "\/nowhere\/chromium", which is no program that can be run\n/,
    );
  });
});

describe('crawls with a browser', needsChromium, () => {
  let service: Service;
  let site: Site;
  /** A node that is killed leaves its browser's profile to the next one. */
  let directory: string;
  before(async () => {
    site = await startSite(answer);
    directory = await mkdtemp(join(tmpdir(), 'orbweaver-test-'));
    const env = { DATABASE_URL: database.url, CHROMIUM_PATH: CHROMIUM!, RENDER_PAGES: '2', SCRIPTS: 'on' };
    service = await startService({ ...env, TMPDIR: directory });
  });
  after(async () => {
    const { pid } = service;
    await service.stop();
    assert.deepEqual(descendants(pid), []);
    await site.close();
    await rm(directory, { recursive: true });
  });

  const SHOP = `<script>fetch('/price').then((r) => r.text()).then((price) => { document.body.innerHTML =
    '<b class=price>' + price + '</b><a href=/plain>a</a><a href=/left>b</a><a href=/private/x>c</a>' })</script>`;
  const PAGES: Record<string, string> = {
    '/plain': '<b class=price>8</b><script>document.body.innerHTML = "scripts ran"</script>',
    '/left': '<script>document.cookie = "left=1"; location = "/right"</script>',
    '/to-private': '<script>location = "/private/y"</script>',
    '/loop': '<script>for (;;);</script>',
    '/slow': '<script>setTimeout(() => { document.body.innerHTML = "<b class=price>late</b>" }, 800)</script>',
    '/shop': SHOP,
  };

  function answer(req: IncomingMessage, res: ServerResponse): void {
    const { url = '/' } = req;
    if (url === '/price') res.end(req.headers.cookie === 'visit=1' ? '7' : 'who are you?');
    else if (url === '/robots.txt') res.end('User-agent: *\nDisallow: /private');
    else if (url === '/data.json') res.setHeader('content-type', 'application/json').end('{}');
    else {
      if (url === '/shop') res.setHeader('set-cookie', 'visit=1');
      const body = PAGES[url] ?? `<b class=price>${req.headers.cookie}</b>`;
      res.setHeader('content-type', 'text/html').end(`<!doctype html><body>${body}`);
    }
  }

  async function crawl(spider: object, path: string, settings: object = {}) {
    site.hits.length = 0;
    const { id } = await postCrawl(service.url, {
      spider,
      startUrls: [site.url + path],
      settings: { ...FAST, retryDelayMs: 20, ...settings },
    });
    await waitFor(service.url, id, ENDED);
    const books = await checkBooks(service.url, id);
    const row = (wanted: string) => books.ledger.find(({ url }) => url === site.url + wanted);
    const prices = books.items.map(({ data }) => data.price).sort();
    return { ...books, id, row, prices };
  }
  const hits = (path: string) => site.hits.filter(({ url }) => url === path).length;

  test('pages that `render` fits are read as a browser shows them, the others as they come; each is fetched once', async () => {
    const rendered = page({ match: ['/shop', '/left', '/right', '/private/*'] });
    const spider = { pages: [rendered, { ...page({ match: ['/plain'] }), name: 'plain', render: false }] };
    const { id, row, prices } = await crawl(spider, '/shop', { robots: true });
    assert.deepEqual(prices, ['7', '8', 'visit=1; left=1']);
    for (const path of ['/shop', '/plain', '/left', '/right', '/price']) assert.equal(hits(path), 1, path);
    assert.deepEqual([row('/left')?.state, row('/left')?.reason], ['skipped', 'redirected']);
    assert.equal(row('/right')?.state, 'done');
    assert.equal(row('/private/x')?.reason, 'robots');
    assert.equal(row('/price'), undefined, 'what a browser loads is in no ledger');
    const { calls } = await getJson<{ calls: Record<string, number> }>(`${service.url}/crawls/${id}/stats`);
    assert.equal(calls['render pages'], 3);
    assert.equal(calls['render requests'], 1);
    assert.ok(calls['render ms']! > 0);
  });

  test('where a script sends the browser, scope and robots.txt hold as for every redirect', async () => {
    const { row } = await crawl({ pages: [page()] }, '/to-private', { robots: true });
    assert.equal(row('/to-private')?.reason, 'redirected');
    assert.equal(row('/private/y')?.reason, 'robots');
    assert.equal(hits('/private/y'), 0);
    const out = await crawl({ scope: { deny: ['/private/*'] }, pages: [page()] }, '/to-private');
    assert.equal(out.row('/private/y')?.reason, 'denied');
  });

  test('a page that loops fails with render_timeout after one more try; another crawl is done meanwhile', async () => {
    const looping = postCrawl(service.url, {
      spider: { pages: [page({ render: { timeoutMs: 1000 } })] },
      startUrls: [`${site.url}/loop`],
      settings: { ...FAST, retryDelayMs: 20, retries: 3 },
    });
    const { prices } = await crawl({ pages: [page({ render: { waitFor: '.price' } })] }, '/slow');
    assert.deepEqual(prices, ['late']);
    const { id } = await looping;
    await waitFor(service.url, id, ENDED);
    const [row] = (await checkBooks(service.url, id)).ledger;
    assert.deepEqual([row?.state, row?.reason, row?.attempts], ['failed', 'render_timeout', 2]);
    assert.match(row?.detail ?? '', /within 1000 ms/);
  });

  test('what is no HTML is not rendered; a selector that is none is refused', async () => {
    const { row } = await crawl({ pages: [page()] }, '/data.json');
    assert.equal(row('/data.json')?.reason, 'content_type', 'nothing in this spider reads JSON');
    const wrong = { spider: { pages: [page({ render: { waitFor: 'a::attr(href)' } })] }, startUrls: [`${site.url}/`] };
    const { status, answer: refusal } = await post(`${service.url}/crawls`, wrong);
    assert.equal(status, 422);
    const [problem] = refusal.errors as { pointer: string; code: string }[];
    assert.deepEqual([problem?.pointer, problem?.code], ['/spider/pages/0/render/waitFor', 'bad_selector']);
  });

  test('a script asks for a rendered page with `ctx.follow(url, { render: true })`', async () => {
    const script = `export default {
      async *parse(response, ctx) { yield ctx.follow('/shop', { callback: 'shop', render: true }) },
      async *shop(response) { yield { price: response.css('.price').text() } }
    }`;
    const { prices } = await crawl({ script }, '/plain');
    assert.deepEqual(prices, ['7']);
  });

  test('the start URL of a script, and a preview of its page, are rendered where they ask for it', async () => {
    const script = `export default { async parse(response) { return [{ price: response.css('.price').text() }] } }`;
    const url = `${site.url}/shop`;
    const { id } = await postCrawl(service.url, {
      spider: { script, startUrls: [{ url, render: true }] },
      settings: FAST,
    });
    await waitFor(service.url, id, ENDED);
    const { items } = await checkBooks(service.url, id);
    assert.deepEqual(
      items.map(({ data }) => data),
      [{ price: '7' }],
    );
    const { answer } = await post(`${service.url}/spiders/preview`, { spider: { script }, url, render: true });
    const preview = answer as unknown as Preview;
    assert.deepEqual(
      preview.items.map(({ data }) => data),
      [{ price: '7' }],
      JSON.stringify(preview),
    );
    const refused = await post(`${service.url}/crawls`, {
      spider: { pages: [page()] },
      startUrls: [{ url, render: true }],
    });
    const [problem] = refused.answer.errors as { pointer: string; message: string }[];
    assert.equal(problem?.pointer, '/startUrls/0/render');
    assert.match(problem?.message ?? '', /pages\[\]\.render/);
  });

  test('a preview renders too, and says how long that took', async () => {
    const spider = { pages: [page()] };
    const { answer: shop } = await post(`${service.url}/spiders/preview`, { spider, url: `${site.url}/shop` });
    const preview = shop as unknown as Preview;
    assert.deepEqual(preview.items.length, 1, JSON.stringify(preview));
    assert.ok(preview.timing.render! > 0);
    const { answer: left } = await post(`${service.url}/spiders/preview`, { spider, url: `${site.url}/left` });
    const { url, redirects } = left as unknown as Preview;
    assert.deepEqual([url, redirects.length], [`${site.url}/right`, 1]);
  });

  test('the engine says that there is a browser; a node that is killed leaves none behind', async () => {
    const { renderer } = await getJson<{ renderer: Record<string, unknown> }>(`${service.url}/engine`);
    assert.equal(renderer.enabled, true);
    assert.match(String(renderer.version), /^\d+\./);
    assert.equal(renderer.sandbox, process.getuid?.() !== 0);
    const below = descendants(service.pid);
    assert.ok(below.length > 0);
    await service.signal('SIGKILL');
    for (let tries = 0; below.some(isAlive) && tries < 2000; tries++) await sleep(25);
    assert.deepEqual(below.filter(isAlive), []);
  });

  test('38: a node that stops gives up what is in its browser: the page is queued again, and no browser is left', async () => {
    const node = await startService({ DATABASE_URL: database.url, CHROMIUM_PATH: CHROMIUM!, TMPDIR: directory });
    const spider = { pages: [page({ render: { timeoutMs: 100_000 } })] };
    const { id } = await postCrawl(node.url, { spider, startUrls: [`${site.url}/loop`], settings: FAST });
    const { pid } = node;
    while (descendants(pid).length < 3) await sleep(20);
    const below = descendants(pid);
    await node.stop();
    // The dead ones are there until init has taken note of them.
    for (let tries = 0; below.some(isAlive) && tries < 2000; tries++) await sleep(25);
    assert.deepEqual(below.filter(isAlive), []);
    const [row] = await database.sql`select state, reason from requests where crawl_id = ${id}`;
    assert.ok(row?.state === STATE.queued || row?.state === STATE.delayed, JSON.stringify(row));
    assert.deepEqual(await readdir(directory), [], 'it took the profile of the killed node away as well');
  });
});
