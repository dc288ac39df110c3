import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { newSession, type Session } from '../../dist/engine/sessions.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dist/model/settings.js';
import type { CallFailed, FetchCall } from '../../dist/parser/script/calls.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { startNode, type TestNode } from '../support/node.ts';
import { FAST, html, TITLE_SPIDER } from '../support/pages.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let node: TestNode;
before(async () => {
  database = await testDatabase();
  node = await startNode(database.sql);
});
after(async () => {
  await node.stop();
  await database.drop();
});

type Handler = (req: IncomingMessage, res: ServerResponse) => void;

async function withSite(handler: Handler, work: (site: Site) => Promise<void>): Promise<void> {
  const site = await startSite(handler);
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

function sessionFor(settings: Partial<Settings> = {}, scopeHosts: string[] = ['127.0.0.1']): Session {
  const effective = { ...DEFAULT_SETTINGS, robots: false, randomizeDelay: false, ...settings };
  return newSession({ id: 'preview', settings: effective, scopeHosts, definition: {} });
}

const get = (url: string, more: Partial<FetchCall> = {}): FetchCall => ({
  url,
  method: 'GET',
  headers: {},
  body: null,
  ...more,
});
const never = new AbortController().signal;
const textOf = (fetched: { body: SharedArrayBuffer; bodyBytes: number }) =>
  Buffer.from(fetched.body, 0, fetched.bodyBytes).toString();
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no failure',
    (error: CallFailed) => error.code,
  );

async function waitForEnd(id: string): Promise<{ state: string; done: number }> {
  for (const deadline = Date.now() + 30_000; ; await sleep(20)) {
    const [row] = await database.sql<
      { state: string; done: number }[]
    >`select state, done from crawls where id = ${id}`;
    if (['finished', 'failed', 'cancelled'].includes(row!.state)) return row!;
    assert.ok(Date.now() < deadline, `still ${row!.state} after 30 s`);
  }
}

/** Each fetch of a host begins at least so long after the one before; only how late one arrives may make it look sooner. */
function assertSpaced(site: Site, ms: number): void {
  const span = site.hits.at(-1)!.at - site.hits[0]!.at;
  assert.ok(span >= (site.hits.length - 1) * ms - 40, `${site.hits.length} fetches in ${span} ms`);
}

test('a call brings what the server answered, whatever its status, with method, headers and body as given', async () => {
  await withSite(
    (req, res) => {
      let body = '';
      req.on('data', (chunk) => {
        body += chunk;
      });
      req.on('end', () => res.writeHead(418, { 'x-a': '1' }).end(`${req.method} ${req.headers['x-b']} ${body}`));
    },
    async (site) => {
      const session = sessionFor();
      const call = get(`${site.url}/x`, { method: 'POST', headers: { 'x-b': 'two' }, body: '{"a":1}' });
      const fetched = await node.engine.fetcher.fetch(session, call, never);
      assert.equal(fetched.status, 418);
      assert.equal(fetched.headers['x-a'], '1');
      assert.equal(textOf(fetched), 'POST two {"a":1}');
      assert.deepEqual(session.calls, { fetch: 1 });
    },
  );
});

test('what cannot be fetched fails with a reason: egress, connect, a header of the fetcher', async () => {
  const { fetcher } = node.engine;
  const session = sessionFor();
  assert.equal(await codeOf(fetcher.fetch(session, get('http://10.0.0.1/'), never)), 'egress');
  assert.equal(await codeOf(fetcher.fetch(session, get('http://127.0.0.1:9999/'), never)), 'connect');
  const forged = get('http://127.0.0.1/', { headers: { host: 'other.example' } });
  assert.equal(await codeOf(fetcher.fetch(session, forged, never)), 'bad_header');
  assert.deepEqual(session.calls, { fetch: 3, 'fetch failed': 3 });
});

test('15: robots.txt holds for calls, is asked once, and its Crawl-delay too', async () => {
  await withSite(
    (req, res) => {
      if (req.url === '/robots.txt') res.end('User-agent: *\nDisallow: /private\nCrawl-delay: 0.2\n');
      else html(res, req.url!, []);
    },
    async (site) => {
      const session = sessionFor({ robots: true });
      const { fetcher } = node.engine;
      assert.equal(await codeOf(fetcher.fetch(session, get(`${site.url}/private`), never)), 'robots');
      await Promise.all(['/a', '/b', '/c'].map((path) => fetcher.fetch(session, get(site.url + path), never)));
      assert.deepEqual(site.hits.map((hit) => hit.url).sort(), ['/a', '/b', '/c', '/robots.txt']);
      assertSpaced(site, 200);
      await fetcher.fetch(sessionFor({ robots: false }), get(`${site.url}/private`), never);
    },
  );
});

test('11: cookies are shared within a session; headers that a crawl was given do not go to hosts outside its scope', async () => {
  const seen: (string | undefined)[] = [];
  await withSite(
    (req, res) => {
      seen.push(req.headers.cookie, req.headers['x-key']?.toString());
      res.setHeader('set-cookie', 'id=7; Path=/');
      res.end();
    },
    async (site) => {
      const inside = sessionFor({ headers: { 'X-Key': 'secret' } });
      for (let i = 0; i < 2; i++) await node.engine.fetcher.fetch(inside, get(`${site.url}/`), never);
      const outside = sessionFor({ headers: { 'X-Key': 'secret' } }, ['books.example']);
      await node.engine.fetcher.fetch(outside, get(`${site.url}/`), never);
      assert.deepEqual(seen, [undefined, 'secret', 'id=7', 'secret', undefined, undefined]);
    },
  );
});

test('17: delay and concurrency of a host hold over pages and calls together, and both get their turn', async () => {
  let inFlight = 0;
  let most = 0;
  const handler: Handler = (req, res) => {
    most = Math.max(most, ++inFlight);
    setTimeout(() => {
      inFlight--;
      html(res, req.url!, req.url === '/' ? [...Array(14).keys()].map((i) => `/p${i}`) : []);
    }, 30);
  };
  await withSite(handler, async (site) => {
    const settings = { ...FAST, concurrencyPerHost: 1, delayMs: 50, randomizeDelay: false };
    const id = await node.start({ spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings });
    while (site.hits.length < 2) await sleep(5);
    const session = sessionFor({ concurrencyPerHost: 4 });
    await Promise.all(
      [...Array(6).keys()].map((i) => node.engine.fetcher.fetch(session, get(`${site.url}/c${i}`), never)),
    );
    const order = site.hits.map((hit) => hit.url[1]).join('');
    assert.equal((await waitForEnd(id)).done, 15);
    assert.equal(site.hits.length, 21);
    assert.equal(most, 1, 'fetches at once');
    assertSpaced(site, 50);
    assert.ok(/pcpcpc|cpcpcp/.test(order), `calls and pages take turns: ${order}`);
  });
});

test('18: a 429 with Retry-After that a call got stops the host for pages too', async () => {
  let refusedAt = 0;
  const now = () => performance.timeOrigin + performance.now();
  const handler: Handler = (req, res) => {
    if (req.url === '/busy') {
      refusedAt = now();
      res.writeHead(429, { 'retry-after': '1' }).end();
    } else html(res, req.url!, []);
  };
  await withSite(handler, async (site) => {
    const refused = await node.engine.fetcher.fetch(sessionFor(), get(`${site.url}/busy`), never);
    assert.equal(refused.status, 429);
    const id = await node.start({ spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings: FAST });
    await waitForEnd(id);
    assert.ok(site.hits.at(-1)!.at - refusedAt >= 950);
  });
});

test('a call that is given up while it waits or while it is under way ends at once, and leaves its place', async () => {
  const handler: Handler = (req, res) => {
    if (req.url !== '/hang') html(res, 'page', []);
  };
  await withSite(handler, async (site) => {
    const { fetcher, frontier } = node.engine;
    const session = sessionFor({ concurrencyPerHost: 1 });
    const [first, second] = [new AbortController(), new AbortController()];
    const hanging = codeOf(fetcher.fetch(session, get(`${site.url}/hang`), first.signal));
    while (site.hits.length < 1) await sleep(5);
    const waiting = codeOf(fetcher.fetch(session, get(`${site.url}/never`), second.signal));
    await sleep(20);
    second.abort();
    assert.equal(await waiting, 'aborted');
    first.abort();
    assert.equal(await hanging, 'aborted');
    assert.equal((await fetcher.fetch(session, get(`${site.url}/after`), never)).status, 200);
    assert.deepEqual(
      site.hits.map((hit) => hit.url),
      ['/hang', '/after'],
    );
    const host = frontier.scheduler.hostOf(site.url)!;
    assert.deepEqual([host.inFlight, host.borrowed, host.calls.size], [0, 0, 0]);
  });
});

test('a lease that served calls is kept while it is used and given back when idle', async () => {
  await withSite(
    (_req, res) => html(res, 'page', []),
    async (site) => {
      const holder = async () => {
        const [row] = await database.sql<
          { node_id: string | null }[]
        >`select node_id from hosts where origin = ${site.url}`;
        return row!.node_id;
      };
      await node.engine.fetcher.fetch(sessionFor(), get(`${site.url}/`), never);
      assert.ok((await holder()) !== null);
      for (const deadline = Date.now() + 60_000; (await holder()) !== null; await sleep(50))
        assert.ok(Date.now() < deadline, 'the lease is given back');
      assert.equal(node.engine.frontier.scheduler.hostOf(site.url), undefined);
      await node.engine.fetcher.fetch(sessionFor(), get(`${site.url}/`), never);
    },
  );
});

test('17: two nodes whose scripts call one origin share it by turns, and its delay holds over both', async () => {
  const other = await startNode(database.sql);
  try {
    await withSite(
      (_req, res) => res.end('ok'),
      async (site) => {
        const callInTurn = async (from: TestNode, n: number) => {
          const session = sessionFor({ delayMs: 60, callbackTimeoutMs: 60_000 });
          for (let i = 0; i < n; i++) await from.engine.fetcher.fetch(session, get(`${site.url}/`), never);
        };
        // The first has enough to do for four seconds: it must hand the lease on before that.
        const first = callInTurn(node, 60);
        while (site.hits.length < 5) await sleep(10);
        await callInTurn(other, 5);
        assert.ok(site.hits.length < 60, 'the other node had its turn before the first was done');
        await first;
        assert.equal(site.hits.length, 65);
        assertSpaced(site, 60);
      },
    );
  } finally {
    await other.stop();
  }
});

test('5: a host that another node crawls is not fetched from; the call says so before the callback’s time is over', async () => {
  const other = await startNode(database.sql, { role: 'api' });
  try {
    const handler: Handler = (req, res) =>
      html(
        res,
        req.url!,
        [...Array(200).keys()].map((i) => `/p${i}`),
      );
    await withSite(handler, async (site) => {
      const settings = { ...FAST, delayMs: 20, randomizeDelay: false };
      const id = await node.start({ spider: TITLE_SPIDER, startUrls: [`${site.url}/`], settings });
      while (site.hits.length < 3) await sleep(10);
      const session = sessionFor({ callbackTimeoutMs: 1500 });
      assert.equal(await codeOf(other.engine.fetcher.fetch(session, get(`${site.url}/call`), never)), 'host_busy');
      assert.ok(site.hits.every((hit) => hit.url !== '/call'));
      await database.sql`update crawls set state = 'cancelled' where id = ${id}`;
      const patient = sessionFor({ callbackTimeoutMs: 30_000 });
      assert.equal((await other.engine.fetcher.fetch(patient, get(`${site.url}/call`), never)).status, 200);
    });
  } finally {
    await other.stop();
  }
});
