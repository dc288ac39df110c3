import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readCounts } from '../../dist/db/counts.js';
import { readLogs } from '../../dist/db/crawl_logs.js';
import { readState } from '../../dist/db/crawl_state.js';
import { deleteCrawl } from '../../dist/engine/lifecycle.js';
import type { Link, LogLine, ParsedPage } from '../../dist/model/outcome.js';
import { ParseFailure } from '../../dist/parser/failure.js';
import type { PageJob } from '../../dist/parser/protocol.js';
import type { ScriptCalls } from '../../dist/parser/script/calls.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { startNode, type TestNode } from '../support/node.ts';
import { FAST, html } from '../support/pages.ts';
import { booksOf, finishDeletions, fpOf } from '../support/rows.ts';
import { FakeSandbox } from '../support/sandbox.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

type Script = (job: PageJob, calls: ScriptCalls, signal: AbortSignal) => Promise<Partial<ParsedPage>>;
const SPIDER = { name: 'script', script: 'export default {}' };

/** A site, and a node whose scripts are `script`. */
async function withScript(
  script: Script,
  work: (node: TestNode, site: Site) => Promise<void>,
  handler: Parameters<typeof startSite>[0] = (req, res) => html(res, req.url!, []),
): Promise<void> {
  const site = await startSite(handler);
  const node = await startNode(database.sql, { scripts: new FakeSandbox(script) });
  try {
    await work(node, site);
    assert.deepEqual(node.complaints, []);
  } finally {
    await node.stop();
    await site.close();
  }
}

interface Row {
  state: string;
  done: number;
  failed: number;
  retried: number;
  items: number;
  warnings: string[];
}

async function crawlRow(id: string): Promise<Row> {
  const [row] = await database.sql<
    Row[]
  >`select state, done, failed, retried, items, warnings from crawls where id = ${id}`;
  return row!;
}

async function ended(id: string): Promise<Row> {
  for (const deadline = Date.now() + 30_000; ; await sleep(20)) {
    const row = await crawlRow(id);
    if (['finished', 'failed', 'cancelled'].includes(row.state)) {
      const { counters, sums } = await booksOf(database.sql, id);
      assert.deepEqual(counters, sums);
      return row;
    }
    assert.ok(Date.now() < deadline, `still ${row.state} after 30 s`);
  }
}

function linkTo(site: Site, path: string): Link {
  const url = site.url + path;
  return { url, fp: fpOf(url), origin: site.url, priority: 0, reason: null, detail: null };
}

function item(value: unknown) {
  const data = JSON.stringify(value);
  return { type: 'x', data, size: data.length };
}

const get = (url: string) => ({ url, method: 'GET', headers: {}, body: null });

test('33: pages that all wait for calls to their own host, of which one fetch at a time is allowed, come to their end', async () => {
  let site1: Site;
  let inFlight = 0;
  let most = 0;
  const script: Script = async (job, calls, signal) => {
    const paths = new URL(job.url).pathname === '/' ? [...Array(60).keys()].map((i) => `/p${i}`) : [];
    const answers = await Promise.all(
      ['?a', '?b'].map((query) => calls.fetch(get(`${site1.url}/call${query}${job.url.length}`), signal)),
    );
    return { items: [item(answers.map(({ status }) => status))], links: paths.map((path) => linkTo(site1, path)) };
  };
  await withScript(
    script,
    async (node, site) => {
      site1 = site;
      const settings = { ...FAST, concurrencyPerHost: 1, callbackTimeoutMs: 60_000 };
      const id = await node.start({ spider: SPIDER, startUrls: [`${site.url}/`], settings });
      const row = await ended(id);
      assert.deepEqual([row.state, row.done, row.items, row.failed], ['finished', 61, 61, 0]);
      assert.equal(site.hits.length, 61 * 3);
      assert.equal(most, 1, 'fetches at once');
      const calls = (await readCounts(database.sql, id)).filter(({ kind }) => kind === 'call');
      assert.deepEqual(calls, [{ kind: 'call', key: 'fetch', n: 122 }]);
    },
    (req, res) => {
      most = Math.max(most, ++inFlight);
      setTimeout(() => {
        inFlight--;
        html(res, req.url!, []);
      }, 1);
    },
  );
});

test('11: calls share the cookies of their crawl, and the page’s headers reach the script', async () => {
  const cookies: (string | undefined)[] = [];
  await withScript(
    async (job, calls, signal) => {
      assert.equal(job.headers?.['x-page'], 'yes');
      await calls.fetch(get(`${new URL(job.url).origin}/call`), signal);
      return { items: [item(1)] };
    },
    async (node, site) => {
      const id = await node.start({ spider: SPIDER, startUrls: [`${site.url}/`], settings: FAST });
      assert.equal((await ended(id)).items, 1);
      assert.deepEqual(cookies, [undefined, 'page=1']);
    },
    (req, res) => {
      cookies.push(req.headers.cookie);
      res.setHeader('set-cookie', 'page=1; Path=/');
      res.setHeader('x-page', 'yes');
      html(res, 'page', []);
    },
  );
});

test('30: a script that fails is tried once more; nothing of the failed attempt is kept but its log, and state counts once', async () => {
  let attempts = 0;
  const script: Script = async (_job, calls, signal) => {
    attempts++;
    const before = JSON.parse((await calls.readState('pages', signal)) ?? '0') as number;
    if (attempts === 1)
      throw failure('script_error', 'x is not defined (line 3)', [{ level: 'warn', message: 'a \0 first try' }]);
    return {
      items: [item(attempts)],
      state: { pages: JSON.stringify(before + 1), gone: null },
      logs: [{ level: 'info', message: 'a second try' }],
    };
  };
  await withScript(script, async (node, site) => {
    const settings = { ...FAST, retryDelayMs: 10 };
    const id = await node.start({ spider: SPIDER, startUrls: [`${site.url}/`], settings });
    const row = await ended(id);
    assert.deepEqual([row.done, row.items, row.retried], [1, 1, 1]);
    assert.equal(await readState(database.sql, id, 'pages'), '1');
    const logs = await readLogs(database.sql, id, { levels: ['warn', 'info'], after: -1, limit: 10 });
    assert.deepEqual(
      logs.map(({ n, level, message, url }) => ({ n, level, message, url })),
      [
        { n: 0, level: 'warn', message: 'a \ufffd first try', url: `${site.url}/` },
        {
          ...{ n: 1, level: 'warn', url: `${site.url}/` },
          message: 'this attempt failed, and the page is tried again: script_error (x is not defined (line 3))',
        },
        { n: 2, level: 'info', message: 'a second try', url: `${site.url}/` },
      ],
    );
    await deleteCrawl(database.sql, id);
    await finishDeletions(database.sql);
    assert.equal(await readState(database.sql, id, 'pages'), null);
    assert.equal((await readLogs(database.sql, id, { levels: ['warn'], after: -1, limit: 10 })).length, 0);
  });
});

function failure(reason: 'script_error' | 'parse_timeout', message: string, logs: LogLine[] = []): ParseFailure {
  return new ParseFailure(reason, message, logs);
}

test('a script that fails twice fails with its reason and line, however many retries there are; with none, at once', async () => {
  let attempts = 0;
  const script: Script = async () => {
    attempts++;
    throw failure('script_error', 'x is not defined (line 3)');
  };
  await withScript(script, async (node, site) => {
    for (const [retries, expected] of [
      [5, 2],
      [0, 1],
    ]) {
      attempts = 0;
      const settings = { ...FAST, retries: retries!, retryDelayMs: 10 };
      const id = await node.start({ spider: SPIDER, startUrls: [`${site.url}/`], settings });
      await ended(id);
      const [row] = await database.sql`select reason, detail, attempts from requests where crawl_id = ${id}`;
      assert.deepEqual({ ...row }, { reason: 'script_error', detail: 'x is not defined (line 3)', attempts: expected });
      assert.equal(attempts, expected);
    }
  });
});

test('state: the last writer of a batch wins, null deletes, and another crawl has its own', async () => {
  const script: Script = async (job) => {
    const path = new URL(job.url).pathname;
    return { items: [item(1)], state: path === '/' ? { a: '{"x": 1}', b: '2' } : { b: null, c: '"ü"' } };
  };
  await withScript(script, async (node, site) => {
    const first = await node.start({ spider: SPIDER, startUrls: [`${site.url}/`], settings: FAST });
    await ended(first);
    const read = (id: string) => Promise.all(['a', 'b', 'c'].map((key) => readState(database.sql, id, key)));
    assert.deepEqual(await read(first), ['{"x": 1}', '2', null]);
    const second = await node.start({ spider: SPIDER, startUrls: [`${site.url}/other`], settings: FAST });
    await ended(second);
    assert.deepEqual(await read(second), [null, null, '"ü"']);
    assert.deepEqual(await read(first), ['{"x": 1}', '2', null]);
  });
});

test('a crawl keeps 10,000 lines of its log and counts the rest', async () => {
  const logs = Array.from({ length: 4000 }, (_, i): LogLine => ({ level: 'info', message: String(i) }));
  await withScript(
    async () => ({ items: [item(1)], logs }),
    async (node, site) => {
      const startUrls = ['/a', '/b', '/c'].map((path) => site.url + path);
      const id = await node.start({ spider: SPIDER, startUrls, settings: FAST });
      await ended(id);
      const [row] = await database.sql`
        select (select log_lines from crawls where id = ${id}) as counted, count(*)::int as kept, max(n) as last
        from crawl_logs where crawl_id = ${id}`;
      assert.deepEqual({ ...row }, { counted: 12_000, kept: 10_000, last: 9999 });
    },
  );
});

test('what a callback costs is counted, and a crawl is warned once of one that stands out and of a page that was ended', async () => {
  const script: Script = async (job) => {
    const path = new URL(job.url).pathname;
    if (path.startsWith('/kill')) throw failure('parse_timeout', 'it took longer than 300 ms of CPU');
    return { items: [item(1)], cpu: { 'callback parse': path.startsWith('/slow') ? 200 : 0.25 } };
  };
  await withScript(script, async (node, site) => {
    const paths = ['/', '/slow1', '/slow2', '/kill1', '/kill2', '/x'];
    const settings = { ...FAST, retries: 0, parseTimeoutMs: 300 };
    const id = await node.start({ spider: SPIDER, startUrls: paths.map((path) => site.url + path), settings });
    const { warnings } = await ended(id);
    assert.equal(warnings.length, 2, warnings.join('\n'));
    assert.match(
      warnings.find((text) => text.startsWith('callback'))!,
      /^callback `parse` used 200 ms of CPU on http:.*\/slow\d; parseTimeoutMs is 300/,
    );
    assert.match(
      warnings.find((text) => !text.startsWith('callback'))!,
      /^a page was ended at its limit: http:.*\/kill\d: it took longer/,
    );
    const counts = (await readCounts(database.sql, id)).filter(({ kind }) => kind.startsWith('cpu'));
    assert.deepEqual(counts, [
      { kind: 'cpu_pages', key: 'callback parse', n: 4 },
      { kind: 'cpu_us', key: 'callback parse', n: 400_500 },
    ]);
  });
});

test('a crawl that ends without an item says so, with the mend', async () => {
  await withScript(
    async (job) => ({ dropped: job.url.endsWith('dropped') ? { 'required: price': 3 } : {} }),
    async (node, site) => {
      const warningsOf = async (path: string) => {
        const id = await node.start({ spider: SPIDER, startUrls: [site.url + path], settings: FAST });
        return (await ended(id)).warnings;
      };
      const [none] = await warningsOf('/');
      assert.match(none!, /^no item was kept: 1 page was done; POST \/spiders\/preview/);
      const [dropped] = await warningsOf('/dropped');
      assert.match(dropped!, /^no item was kept: all 3 were dropped; GET \/crawls\/[^ ]+\/stats/);
    },
  );
});

test('12: a node that stops ends what its scripts wait for at once; their pages are fetched again by the next, and nothing doubles', async () => {
  let hang = true;
  const script: Script = async (job, calls, signal) => {
    const { status } = await calls.fetch(get(`${new URL(job.url).origin}/call`), signal);
    return { items: [item(status)] };
  };
  await withScript(
    script,
    async (node, site) => {
      const startUrls = [...Array(8).keys()].map((i) => `${site.url}/p${i}`);
      // Nothing but the stop ends a call before the grace time does.
      const id = await node.start({ spider: SPIDER, startUrls, settings: { ...FAST, timeoutMs: 600_000 } });
      while (site.hits.filter(({ url }) => url === '/call').length < 8) await sleep(10);
      const started = performance.now();
      await node.stop(120_000);
      assert.ok(performance.now() - started < 60_000, 'no waiting for the grace time');
      const row = await crawlRow(id);
      assert.deepEqual([row.done, row.failed, row.items], [0, 0, 0]);
      hang = false;
      await withScript(script, async () => {
        assert.deepEqual(await ended(id).then(({ done, items }) => ({ done, items })), { done: 8, items: 8 });
      });
    },
    (req, res) => {
      if (req.url !== '/call' || !hang) html(res, req.url!, []);
    },
  );
});

test('a sandbox without room holds up crawls with scripts alone, and they go on when there is room', async () => {
  const sandbox = new FakeSandbox(async () => ({ items: [item(1)] }));
  sandbox.hasRoom = false;
  const site = await startSite((req, res) => html(res, req.url!, []));
  const node = await startNode(database.sql, { scripts: sandbox });
  try {
    const scripted = await node.start({ spider: SPIDER, startUrls: [`${site.url}/s`], settings: FAST });
    const plain = await node.start({ spider: { pages: [{}] }, startUrls: [`${site.url}/d`], settings: FAST });
    assert.equal((await ended(plain)).done, 1);
    assert.deepEqual(
      site.hits.map(({ url }) => url),
      ['/d'],
    );
    sandbox.hasRoom = true;
    assert.equal((await ended(scripted)).done, 1);
  } finally {
    await node.stop();
    await site.close();
  }
});

test('with scripts off, the pages of a crawl that has one fail with the mend', async () => {
  const site = await startSite((req, res) => html(res, req.url!, []));
  const node = await startNode(database.sql);
  try {
    const settings = { ...FAST, retries: 0 };
    const id = await node.start({ spider: SPIDER, startUrls: [`${site.url}/`], settings });
    await ended(id);
    const [row] = await database.sql`select reason, detail from requests where crawl_id = ${id}`;
    assert.equal(row!.reason, 'script_error');
    assert.match(row!.detail, /SCRIPTS/);
  } finally {
    await node.stop();
    await site.close();
  }
});
