/** Script spiders as the service runs them: posted, in the sandbox, with their calls through the engine. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { checkBooks, ENDED, getJson, postCrawl, readMetric, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
before(async () => {
  database = await testDatabase();
  service = await startService({
    DATABASE_URL: database.url,
    SCRIPTS: 'on',
    CONNECTIONS: `here=${database.url}`,
    SCRIPT_PROCESSES: '1',
  });
});
after(async () => {
  await service.stop();
  await database.drop();
});

async function withSite(handler: Parameters<typeof startSite>[0], work: (site: Site) => Promise<void>): Promise<void> {
  const site = await startSite(handler);
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

interface Logs {
  logs: { level: string; message: string; url: string }[];
  total: number;
}

test('a script crawls a site: items, links, fetches, lookups, log, state, statistics', async () => {
  await withSite(
    (req, res) => {
      if (req.url?.startsWith('/api')) res.setHeader('content-type', 'application/json').end('{"score": 0.5}');
      else html(res, `Page ${req.url}`, req.url === '/' ? ['/a', '/b'] : []);
    },
    async (site) => {
      const script = `export default {
        name: 'scripted',
        startUrls: ['${site.url}/'],
        async *parse(response, ctx) {
          const seen = (await ctx.state.get('seen')) ?? 0;
          ctx.log('read ' + response.url);
          const [{ score }, rows] = await Promise.all([
            ctx.fetchJson('/api?of=' + encodeURIComponent(response.url)),
            ctx.lookup('here', 'select $1::int + 1 as next', [seen]),
          ]);
          yield { title: response.css('h1').text(), score, next: rows[0].next };
          await ctx.state.set('seen', seen + 1);
          for (const href of response.css('a').attrs('href')) yield ctx.follow(href);
        },
      };`;
      const settings = { ...FAST, concurrency: 1, concurrencyPerHost: 1 };
      const { id, spider } = await postCrawl(service.url, { spider: { script }, settings });
      assert.equal(spider.name, 'scripted');
      await waitFor(service.url, id, ENDED);
      const { items, crawl } = await checkBooks(service.url, id);
      assert.equal(crawl.stats.done, 3, JSON.stringify(crawl));
      assert.deepEqual(items.map(({ data }) => data.title).sort(), ['Page /', 'Page /a', 'Page /b']);
      assert.deepEqual(items[0]!.data, { title: 'Page /', score: 0.5, next: 1 });
      const { logs, total } = await getJson<Logs>(`${service.url}/crawls/${id}/logs`);
      assert.deepEqual([logs[0]!.message, logs[0]!.level, total], [`read ${site.url}/`, 'info', 3]);
      type Stats = { calls: Record<string, number>; cpu: Record<string, { pages: number }> };
      const { calls, cpu } = await getJson<Stats>(`${service.url}/crawls/${id}/stats`);
      assert.deepEqual(calls, { fetch: 3, lookup: 3 });
      assert.equal(cpu['callback parse']?.pages, 3);
    },
  );
});

test('33: every page awaits two fetches on its own host, one fetch at a time: the crawl ends', async () => {
  await withSite(
    (req, res) => html(res, req.url!, req.url === '/' ? [...Array(30).keys()].map((i) => `/p${i}`) : []),
    async (site) => {
      const script = `export default {
        async *parse(response, ctx) {
          const pages = await Promise.all([ctx.fetch('/x?' + response.url.length), ctx.fetch('/y')]);
          yield { titles: pages.map((page) => page.css('h1').text()) };
          for (const href of response.css('a').attrs('href')) yield ctx.follow(href);
        },
      };`;
      const settings = { ...FAST, concurrencyPerHost: 1 };
      const { id } = await postCrawl(service.url, { spider: { script }, startUrls: [`${site.url}/`], settings });
      await waitFor(service.url, id, ENDED);
      const { crawl, items } = await checkBooks(service.url, id);
      assert.deepEqual([crawl.stats.done, crawl.stats.failed, items.length], [31, 0, 31]);
    },
  );
});

test('29: a script that throws and one that loops fail by name, with the line; the crawl goes on and warns', async () => {
  await withSite(
    (req, res) => html(res, req.url!, []),
    async (site) => {
      const script = `export default {
        parse(response) {
          if (response.url.endsWith('/throw')) return undefinedName.x;
          if (response.url.endsWith('/loop')) for (;;) {}
          return { ok: true };
        },
      };`;
      const startUrls = ['/throw', '/loop', '/fine'].map((path) => site.url + path);
      const settings = { ...FAST, parseTimeoutMs: 300, retryDelayMs: 10 };
      const { id } = await postCrawl(service.url, { spider: { script }, startUrls, settings });
      await waitFor(service.url, id, ENDED);
      const { crawl, ledger } = await checkBooks(service.url, id);
      const row = (path: string) => ledger.find(({ url }) => url === site.url + path)!;
      assert.equal(row('/fine').state, 'done');
      assert.deepEqual([row('/throw').reason, row('/throw').attempts], ['script_error', 2]);
      assert.match(row('/throw').detail ?? '', /undefinedName.*3/s);
      assert.match(`${row('/loop').reason}`, /^(parse_timeout|script_error)$/);
      assert.equal(row('/loop').attempts, 2);
      assert.ok(crawl.stats.done === 1, JSON.stringify(crawl.warnings));
    },
  );
});

test('a script that cannot be loaded is refused when it is posted, with the line; nothing is stored', async () => {
  const body = {
    spider: { script: 'export default {\n  parse() { return 1 +; }\n}' },
    startUrls: ['http://127.0.0.1/'],
  };
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(`${service.url}/crawls`, init);
  const { type, errors } = (await answer.json()) as { type: string; errors: { pointer: string; message: string }[] };
  assert.deepEqual([answer.status, type, errors[0]?.pointer], [422, 'invalid_spider', '/spider/script']);
  assert.match(errors[0]!.message, /2/);
});

test('GET /engine tells which wall the scripts run behind', async () => {
  type Status = { node: string; scripts: { enabled: boolean; boundary: { kind: string }; processes: number } };
  const { scripts } = await getJson<Status>(`${service.url}/engine`);
  assert.equal(scripts.enabled, true);
  assert.match(scripts.boundary.kind, /^(bubblewrap|process)$/);
  assert.equal(scripts.processes, 1);
  assert.ok((await readMetric(service.url, 'orbweaver_script_kills_total')) >= 0);
});
