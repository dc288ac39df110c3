import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Crawl } from '../../dist/model/crawl.js';
import type { Step } from '../../dist/model/step_schema.js';
import { checkBooks, ENDED, getJson, type Item, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
let env: Record<string, string>;
let silent: Awaited<ReturnType<typeof startSilent>>;
before(async () => {
  database = await testDatabase();
  await database.sql`create table stock (title text primary key, sku text, n int)`;
  await database.sql`insert into stock select 'Page ' || n, 'sku-' || n, n from generate_series(0, 999) n`;
  silent = await startSilent();
  env = {
    DATABASE_URL: database.url,
    SCRIPTS: 'on',
    ENRICH_EGRESS_ALLOW: '127.0.0.1/32',
    CONNECTIONS: `shop=${database.url},dead=postgres://u:p@127.0.0.1:1/none,silent=postgres://u:p@127.0.0.1:${silent.port}/none`,
  };
  service = await startService(env);
});
after(async () => {
  await service.stop();
  await silent.close();
  await database.drop();
});

/** Takes connections and never says a word. */
async function startSilent() {
  const server = createServer((socket) => socket.on('error', () => {}).resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise<void>((resolve) => void server.close(() => resolve())),
  };
}

interface Call {
  method: string;
  url: string;
  body: unknown;
}

/** An API that remembers what it was asked, and how much at once. */
async function startApi(answer: (call: Call, res: ServerResponse) => unknown, host = '127.0.0.1') {
  const calls: Call[] = [];
  const seen = { now: 0, most: 0 };
  const handler = async (req: IncomingMessage, res: ServerResponse) => {
    seen.most = Math.max(seen.most, ++seen.now);
    res.once('close', () => seen.now--);
    const body = await text(req);
    const call = { method: req.method!, url: req.url!, body: body === '' ? null : JSON.parse(body) };
    calls.push(call);
    const value = await answer(call, res);
    if (value !== undefined) res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };
  const site = await startSite((req, res) => void handler(req, res), { host });
  return { ...site, calls, seen };
}
type Api = Awaited<ReturnType<typeof startApi>>;

interface Stats {
  dropped: Record<string, number>;
  steps: Record<string, number>;
  byReason: Record<string, number>;
}

const spiderOf = (pipeline: Step[], fields: object = { title: 'h1' }) => ({
  name: 'steps',
  pages: [{ items: [{ type: 'page', fields }], follow: [{ selector: 'a[href]' }] }],
  pipeline,
});

/** Crawls a tree of pages through a pipeline, to its end. */
async function crawl(pages: number, pipeline: Step[], settings: object = {}) {
  const site = await startSite(treeSite(pages));
  try {
    const { id } = await postCrawl(service.url, {
      spider: spiderOf(pipeline),
      startUrls: [`${site.url}/`],
      settings: { ...FAST, retryDelayMs: 20, concurrency: 128, concurrencyPerHost: 128, ...settings },
    });
    await waitFor(service.url, id, ENDED);
    const books = await checkBooks(service.url, id);
    return { ...books, stats: await getJson<Stats>(`${service.url}/crawls/${id}/stats`), hits: site.hits.length };
  } finally {
    await site.close();
  }
}

async function withApi(answer: Parameters<typeof startApi>[0], work: (api: Api) => Promise<void>, host?: string) {
  const api = await startApi(answer, host);
  try {
    await work(api);
  } finally {
    await api.close();
  }
}

const by = (items: Item[], field: string) => new Map(items.map((item) => [item.data.title, item.data[field]]));

test('a step whose calls take long: as many as may run beside one another, and pages go on meanwhile', async () => {
  const pages = Array.from({ length: 150 }, (_, n) => `Page ${n}`);
  const { promise: full, resolve } = Promise.withResolvers<void>();
  let held = 0;
  await withApi(
    async ({ body }) => {
      const { t } = body as { t: string };
      // The first eleven lead to the others, of which as many as may be asked about at once wait for one another.
      if (Number(t.slice(5)) > 10) {
        if (++held === 64) resolve();
        await full;
      }
      return { score: t.length };
    },
    async (api) => {
      const enrich = { url: `${api.url}/score`, send: { t: 'title' }, set: { score: 'score' }, concurrency: 64 };
      const { items, crawl: ended, stats } = await crawl(pages.length, [{ enrich }]);
      assert.equal(ended.stopReason, 'finished');
      assert.deepEqual(items.map(({ data }) => data.title).sort(), pages.sort());
      for (const { data } of items) assert.equal(data.score, (data.title as string).length);
      assert.deepEqual(stats.steps, { 'enrich[0] calls': pages.length });
      assert.equal(api.calls.length, pages.length);
      assert.equal(api.seen.most, 64, 'more pages wait than may be parsed at once');
      assert.deepEqual(Object.keys(items[0]!.data), ['title', 'score']);
    },
  );
});

test('equal questions are asked once, also while the answer is on its way', async () => {
  await withApi(
    async () => {
      await sleep(50);
      return { rate: 7 };
    },
    async (api) => {
      const { items, stats } = await crawl(80, [{ enrich: { url: `${api.url}/rate?of=eur`, set: { rate: 'rate' } } }]);
      assert.ok(items.every(({ data }) => data.rate === 7));
      assert.deepEqual(
        api.calls.map(({ method, url, body }) => [method, url, body]),
        [['GET', '/rate?of=eur', null]],
      );
      assert.deepEqual(stats.steps, { 'enrich[0] calls': 1, 'enrich[0] cached': 79 });
    },
  );
});

test('a batch: many bodies in one call, whatever pages they come from', async () => {
  await withApi(
    async ({ body }) => {
      await sleep(200); // in which others gather, however slow the machine is
      return (body as { title: string }[]).map(({ title }) => ({ back: title }));
    },
    async (api) => {
      const enrich = { url: api.url, batch: 50, concurrency: 1, set: { back: 'back' } };
      const { items, stats } = await crawl(200, [{ enrich }]);
      for (const { data } of items) assert.equal(data.back, data.title);
      assert.ok(api.calls.length < 60, `${api.calls.length} calls`);
      assert.ok(api.calls.every(({ body }) => (body as unknown[]).length <= 50));
      assert.deepEqual(stats.steps, { 'enrich[0] calls': api.calls.length });
    },
  );
  await withApi(
    ({ body }) => (body as unknown[]).slice(1),
    async (api) => {
      const { stats } = await crawl(5, [{ enrich: { url: api.url, batch: 5, set: { back: 'back' } } }]);
      assert.equal(stats.steps['enrich[0]: bad_length'], 5);
    },
  );
});

test('32: a step that fails or times out does what its onError says, and is counted', async () => {
  const answer = ({ url }: Call, res: ServerResponse) => {
    const n = Number(/%20(\d+)/.exec(url)![1]);
    if (n === 1) return void res.writeHead(503).end();
    if (n === 2) return void res.writeHead(404).end();
    if (n === 3) return void setTimeout(() => res.destroy(), 5000).unref(); // silence
    if (n === 4) return void res.end('{"score": ');
    if (n === 5) return void res.writeHead(302, { location: '/p0' }).end();
    if (n === 6) return void res.end(`"${'x'.repeat(1_100_000)}"`);
    return { score: n };
  };
  const failures = { http_5xx: 1, http_4xx: 1, timeout: 1, bad_json: 1, redirect: 1, too_large: 1 };
  const counted = (prefix: string) => Object.fromEntries(Object.entries(failures).map(([k, n]) => [prefix + k, n]));
  await withApi(answer, async (api) => {
    const enrich = { url: `${api.url}/{title}`, set: { score: 'score' }, timeoutMs: 1000, retries: 0 };
    const kept = await crawl(8, [{ enrich }]);
    assert.equal(kept.items.length, 8);
    assert.deepEqual(kept.stats.steps, { ...counted('enrich[0]: '), 'enrich[0] calls': 8 });
    assert.equal(kept.items.filter(({ data }) => 'score' in data).length, 2, 'the others go on without the field');
    const { logs } = await getJson<{ logs: { message: string }[] }>(`${service.url}/crawls/${kept.crawl.id}/logs`);
    const failure = logs.find(({ message }) => message.includes('http_5xx'));
    assert.equal(failure?.message, 'enrich[0] failed: http_5xx (status 503); further ones are only counted');

    const dropped = await crawl(8, [{ enrich: { ...enrich, onError: 'drop' } }]);
    assert.equal(dropped.items.length, 2);
    assert.deepEqual(dropped.stats.dropped, counted('enrich: '));

    const failed = await crawl(8, [{ enrich: { ...enrich, onError: 'fail' } }], { retries: 1 });
    assert.equal(failed.items.length, 2);
    assert.deepEqual(failed.stats.byReason, { pipeline_error: 6 });
    const rows = failed.ledger.filter(({ reason }) => reason === 'pipeline_error');
    assert.ok(rows.every(({ attempts, state }) => attempts === 2 && state === 'failed'));
    assert.deepEqual(
      rows.map(({ detail }) => detail!.replace(/ \(.*/, '')).sort(),
      Object.keys(failures)
        .map((code) => `enrich[0]: ${code}`)
        .sort(),
    );
  });
});

test('calls are tried again after 5xx, 429 and a broken connection', async () => {
  const tries = new Map<string, number>();
  await withApi(
    ({ url }, res) => {
      const n = (tries.get(url) ?? 0) + 1;
      tries.set(url, n);
      if (n === 1) return void res.writeHead(429).end();
      if (n === 2) return void res.destroy();
      return { ok: true };
    },
    async (api) => {
      const { items, stats } = await crawl(5, [
        { enrich: { url: `${api.url}/{title}`, set: { ok: 'ok' }, retries: 2 } },
      ]);
      assert.ok(items.every(({ data }) => data.ok === true));
      assert.deepEqual(stats.steps, { 'enrich[0] calls': 15 });
    },
  );
});

test('calls have an egress policy of their own: what crawls may reach is not theirs', async () => {
  await withApi(
    () => ({}),
    async (api) => {
      const { stats } = await crawl(3, [{ enrich: { url: `${api.url}/`, set: { a: 'a' } } }]);
      assert.equal(stats.steps['enrich[0]: egress'], 3);
      assert.equal(api.connections, 0);
    },
    '127.0.0.2',
  );
});

test('a lookup asks one statement for the items of many pages', async () => {
  const lookup = {
    connection: 'shop',
    // A statement takes its time, in which others gather, however slow the machine is.
    query: 'select sku, n from stock where title = $1 and (select true from pg_sleep(0.2))',
    params: ['title'],
    concurrency: 1,
    set: { sku: 'sku', number: 'n' },
  };
  const { items, stats } = await crawl(300, [{ lookup }, { drop: { field: 'number', above: 280 } }]);
  assert.equal(items.length, 281);
  for (const { data } of items) assert.equal(data.sku, `sku-${data.number}`);
  assert.deepEqual(stats.dropped, { 'drop: number': 19 });
  const calls = stats.steps['lookup[0] calls']!;
  assert.ok(calls >= 1 && calls <= 100, `${calls} statements for 300 items`);
});

test('33: a lookup on a database that is dead or silent ends by onError, and blocks nobody', async () => {
  const lookup = (connection: string, more: object = {}) => ({
    lookup: { connection, query: 'select $1::text as a', params: ['title'], set: { a: 'a' }, ...more },
  });
  const [dead, mute, innocent] = await Promise.all([
    crawl(30, [lookup('dead')]),
    crawl(30, [lookup('silent', { timeoutMs: 300 })]),
    crawl(100, [{ set: { a: 1 } }]),
  ]);
  assert.equal(innocent.items.length, 100);
  for (const [{ items, stats }, code] of [
    [dead, 'connect'],
    [mute, 'timeout'],
  ] as const) {
    assert.equal(items.length, 30);
    assert.ok(items.every(({ data }) => !('a' in data)));
    // On a busy machine a refused connection may come after the time, and a silent one be begun after it.
    const ended = ['connect', 'timeout'].map((one) => stats.steps[`lookup[0]: ${one}`] ?? 0);
    assert.equal(ended[0]! + ended[1]!, 30);
    assert.ok(stats.steps[`lookup[0]: ${code}`]! > 0);
  }
});

test('steps in a row, some for one type, with a cache off; a page of many items', async () => {
  const site = await startSite((_req, res) => {
    res.setHeader('content-type', 'text/html');
    res.end([...Array(1500).keys()].map((n) => `<li>Page ${n}</li>`).join(''));
  });
  await withApi(
    ({ body }) => (body as { sku: string | null }[]).map(({ sku }) => ({ sku: sku?.toUpperCase() ?? 'none' })),
    async (api) => {
      const pipeline: Step[] = [
        { drop: { field: 'title', match: '7$' } },
        {
          lookup: {
            ...{ connection: 'shop', query: 'select sku from stock where title = $1', params: ['title'] },
            ...{ set: { sku: 'sku' }, cacheSeconds: 0 },
          },
        },
        { type: 'other', set: { other: true } },
        { enrich: { url: api.url, batch: 1000, set: { upper: 'sku' }, send: { sku: 'sku' }, cacheSeconds: 0 } },
        { rename: { upper: 'SKU' } },
        { pick: ['title', 'SKU'] },
      ];
      const rules = [
        { type: 'row', each: 'li', fields: { title: { as: 'trim' } } },
        { type: 'other', each: 'dl', fields: { title: 'dt' } },
      ];
      const spider = { pages: [{ items: rules }], pipeline };
      const { id } = await postCrawl(service.url, { spider, startUrls: [site.url], settings: FAST });
      await waitFor(service.url, id, ENDED);
      const { items } = await checkBooks(service.url, id);
      const expected = [...Array(1500).keys()]
        .filter((n) => n % 10 !== 7)
        .map((n) => ({ title: `Page ${n}`, SKU: n < 1000 ? `SKU-${n}` : 'none' }));
      assert.deepEqual(
        items.map(({ data }) => data),
        expected,
        'in the order of the page',
      );
      assert.equal(api.calls.length, 2);
    },
  );
  await site.close();
});

test('items of a script pass the pipeline like all others', async () => {
  const site = await startSite(treeSite(20));
  const script = `export default {
    async *parse(response, ctx) {
      const title = response.css('h1').text();
      yield { title, first: title.slice(0, 6) };
      yield { title: null };
      for (const href of response.css('a').attrs('href')) yield ctx.follow(href);
    },
  };`;
  const pipeline: Step[] = [
    { validate: { properties: { title: { type: 'string' } } } },
    { dedupe: { key: ['first'] } },
    {
      lookup: {
        ...{ connection: 'shop', query: 'select sku from stock where title = $1', params: ['title'] },
        ...{ set: { sku: 'sku' }, onError: 'fail' },
      },
    },
  ];
  const { id } = await postCrawl(service.url, {
    spider: { name: 'scripted', script, pipeline },
    startUrls: [`${site.url}/`],
    settings: FAST,
  });
  await waitFor(service.url, id, ENDED);
  const { items, crawl: ended } = await checkBooks(service.url, id);
  assert.equal(ended.stats.done, 20);
  assert.equal(items.length, 10, 'Page 0 to Page 9, and ten more that begin as Page 1 does');
  for (const { data } of items) assert.equal(data.sku, (data.title as string).replace('Page ', 'sku-'));
  const { dropped } = await getJson<Stats>(`${service.url}/crawls/${id}/stats`);
  assert.deepEqual(dropped, { 'validate: /title type': 20, duplicate: 10 });
  await site.close();
});

test('a crawl that is cancelled gives its calls up', async () => {
  await withApi(
    () => undefined,
    async (api) => {
      const site = await startSite(treeSite(50));
      const { id } = await postCrawl(service.url, {
        spider: spiderOf([{ enrich: { url: `${api.url}/{title}`, set: { a: 'a' }, timeoutMs: 60_000 } }]),
        startUrls: [`${site.url}/`],
        settings: FAST,
      });
      while (api.calls.length === 0) await sleep(10);
      await fetch(`${service.url}/crawls/${id}/cancel`, { method: 'POST' });
      while (api.seen.now > 0) await sleep(10);
      const { crawl: cancelled } = await checkBooks(service.url, id);
      assert.equal(cancelled.state, 'cancelled');
      await site.close();
    },
  );
});

test('a node that stops gives calls up that take too long; their pages are fetched again', async () => {
  let isSlow = true;
  await withApi(
    () => (isSlow ? undefined : { a: 1 }),
    async (api) => {
      const site = await startSite(treeSite(3));
      const { id } = await postCrawl(service.url, {
        spider: spiderOf([{ enrich: { url: `${api.url}/{title}`, set: { a: 'a' }, timeoutMs: 60_000 } }]),
        startUrls: [`${site.url}/`],
        settings: FAST,
      });
      while (api.calls.length === 0) await sleep(10);
      await service.stop();
      isSlow = false;
      service = await startService({ ...env, SCRIPTS: 'off' });
      await waitFor(service.url, id, ENDED);
      const { items } = await checkBooks(service.url, id);
      assert.deepEqual([...by(items, 'a').values()], [1, 1, 1]);
      await site.close();
    },
  );
});

test('34: dedupe is exact over two nodes, one of which is killed again and again', async () => {
  const site = await startSite(treeSite(600));
  const start = () => startService({ ...env, SCRIPTS: 'off' });
  let other = await start();
  const spider = {
    ...spiderOf([{ dedupe: { key: ['digit'] } }, { dedupe: { key: ['title'], scope: 'spider' } }], {
      title: 'h1',
      digit: { selector: 'h1', match: '\\d{1,2}$' },
    }),
    name: 'killed',
  };
  const { id } = await postCrawl(service.url, {
    spider,
    startUrls: [`${site.url}/`],
    settings: { ...FAST, delayMs: 1 },
  });
  for (let kills = 0; kills < 2; kills++) {
    await sleep(300);
    await other.signal('SIGKILL');
    other = await start();
  }
  const ended: Crawl = await waitFor(service.url, id, ENDED);
  const { items } = await checkBooks(service.url, id);
  assert.equal(ended.stats.done, 600);
  // Pages 0 to 599 end on 0 to 99 as written: one or two digits.
  const wanted = new Set([...Array(600).keys()].map((n) => /\d{1,2}$/.exec(String(n))![0]));
  assert.deepEqual(new Set(items.map(({ data }) => data.digit)), wanted);
  assert.equal(items.length, wanted.size);
  assert.equal(ended.stats.dropped, 600 - wanted.size);
  await Promise.all([other.stop(), site.close()]);
});
