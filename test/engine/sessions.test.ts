import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { storeCookies } from '../../dist/db/crawl_cookies.js';
import { CookieJar } from '../../dist/downloader/cookies.js';
import { Sessions } from '../../dist/engine/sessions.js';
import type { CrawlRun } from '../../dist/frontier/crawl_run.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import { checkBooks, ENDED, getCrawl, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { startNode } from '../support/node.ts';
import { FAST, html } from '../support/pages.ts';
import { finishDeletions } from '../support/rows.ts';
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

const PAGES = 30;
const USERS: Record<string, string> = { ann: 'one', bob: 'two' };

/** A shop behind a form: `/account` and its pages want the session that a POST with the right password opens. */
function shop(delayMs = 0) {
  const sessions = new Map<string, string>();
  const seen = { logins: 0, strangers: 0, mixed: 0 };
  const handler = async (req: IncomingMessage, res: ServerResponse) => {
    const url = new URL(req.url ?? '/', 'http://site');
    if (req.method === 'POST') {
      let body = '';
      for await (const chunk of req) body += chunk;
      const form = new URLSearchParams(body);
      const user = form.get('user') ?? '';
      if (USERS[user] !== form.get('password') || form.get('token') !== 't0') return void res.writeHead(403).end();
      const sid = `s${++seen.logins}`;
      sessions.set(sid, user);
      res.writeHead(303, {
        location: '/account',
        'set-cookie': [`sid=${sid}; Path=/; HttpOnly`, 'x=1; Domain=other.test'],
      });
      return void res.end();
    }
    if (url.pathname === '/login') {
      res.writeHead(200, { 'content-type': 'text/html' });
      return void res.end(
        '<form method=post><input name=user><input name=password><input type=hidden name=token value=t0></form>',
      );
    }
    await sleep(delayMs);
    const user = sessions.get(/(?:^|; )sid=(\w+)/.exec(req.headers.cookie ?? '')?.[1] ?? '');
    if (user === undefined) {
      seen.strangers++;
      return void res.writeHead(302, { location: '/login' }).end();
    }
    if (url.searchParams.has('of') && url.searchParams.get('of') !== user) seen.mixed++;
    const links = url.pathname === '/account' ? [...Array(PAGES).keys()].map((i) => `/p${i}?of=${user}`) : [];
    html(res, `${user} ${url.pathname}`, links);
  };
  return { handler: (req: IncomingMessage, res: ServerResponse) => void handler(req, res), seen };
}

const SPIDER = {
  name: 'shop',
  params: { type: 'object', properties: { user: { type: 'string' }, password: { type: 'string', writeOnly: true } } },
  pages: [
    { match: ['/login'], follow: [{ form: 'form', values: { user: '{user}', password: '{password}' } }] },
    { match: ['/account', '/p*'], items: [{ fields: { title: 'h1' } }], follow: [{ selector: 'a' }] },
  ],
};

async function withSite(handler: Parameters<typeof startSite>[0], work: (site: Site) => Promise<void>): Promise<void> {
  const site = await startSite(handler);
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

const start = (site: Site, path: string, user: string, settings: object = {}) =>
  postCrawl(service.url, {
    spider: SPIDER,
    startUrls: [site.url + path],
    params: { user, password: USERS[user] },
    settings: { ...FAST, concurrencyPerHost: 2, ...settings },
  });

test('11: logged in by a form on one node, which is killed, a crawl goes on logged in on another', async () => {
  const { handler, seen } = shop(40);
  await withSite(handler, async (site) => {
    const { id } = await start(site, '/login', 'ann');
    while ((await getCrawl(service.url, id)).stats.done < 8) await sleep(20);
    await service.signal('SIGKILL');
    service = await startService({ DATABASE_URL: database.url });
    await waitFor(service.url, id, ENDED);
    const { items, crawl } = await checkBooks(service.url, id);
    assert.deepEqual([seen.logins, seen.strangers], [1, 0]);
    assert.equal(items.length, PAGES + 1);
    for (const { headers } of site.hits) assert.doesNotMatch(headers.cookie ?? '', /x=1/, 'a cookie for another site');
    assert.deepEqual(crawl.params, { user: 'ann', password: '(hidden)' });
    await fetch(`${service.url}/crawls/${id}`, { method: 'DELETE' });
    await finishDeletions(database.sql);
    const left = await database.sql`select 1 from crawl_cookies where crawl_id = ${id}`;
    assert.equal(left.length, 0, 'a deleted crawl leaves no cookies');
  });
});

test('11: a crawl that begins behind the form is sent there, logs in, and reads the page that sent it', async () => {
  const { handler, seen } = shop();
  await withSite(handler, async (site) => {
    const { id } = await start(site, '/account', 'bob');
    await waitFor(service.url, id, ENDED);
    const { items, ledger } = await checkBooks(service.url, id);
    assert.deepEqual(seen, { logins: 1, strangers: 1, mixed: 0 });
    assert.equal(items.length, PAGES + 1);
    assert.deepEqual(
      ledger.slice(0, 3).map(({ url, method, state, reason }) => [url.slice(site.url.length), method, state, reason]),
      [
        ['/account', undefined, 'done', null],
        ['/login', undefined, 'done', null],
        ['/login', 'POST', 'skipped', 'redirected'],
      ],
    );
  });
});

test('11: a cookie that one node gets reaches the node that fetches another origin of the host', async () => {
  const { sql, drop } = await testDatabase();
  const nodes = await Promise.all([startNode(sql), startNode(sql)]);
  const login = await startSite((_req, res) => {
    res.setHeader('set-cookie', 'sid=1; Path=/');
    html(res, 'login', []);
  });
  // Goes on until the cookie comes.
  const pages = await startSite((req, res) => {
    const n = Number(req.url!.slice(1)) + 1;
    const isDone = req.headers.cookie === 'sid=1' || n > 400;
    // The node that has no host takes the origin that comes here.
    const other = n === 3 ? [`${login.url}/`] : [];
    setTimeout(() => html(res, `page ${n}`, isDone ? [] : [`/${n}`, ...other]), 30);
  });
  try {
    const settings = { ...FAST, delayMs: 0 };
    const spider = { pages: [{ follow: [{ selector: 'a' }] }] };
    const id = await nodes[0]!.start({ spider, startUrls: [`${pages.url}/0`], settings });
    while ((await sql`select 1 from crawls where id = ${id} and state <> 'finished'`).length > 0) await sleep(50);
    assert.equal(login.hits.length, 1);
    assert.equal(pages.hits.at(-1)!.headers.cookie, 'sid=1', `after ${pages.hits.length} pages`);
    assert.equal(pages.hits[0]!.headers.cookie, undefined);
  } finally {
    await Promise.all([...nodes.map((node) => node.stop()), login.close(), pages.close()]);
    await drop();
  }
});

test('11: two crawls of one site are logged in as two users, and never share a cookie', async () => {
  const { handler, seen } = shop();
  await withSite(handler, async (site) => {
    const crawls = await Promise.all([start(site, '/login', 'ann'), start(site, '/login', 'bob')]);
    for (const [i, { id }] of crawls.entries()) {
      await waitFor(service.url, id, ENDED);
      const { items } = await checkBooks(service.url, id);
      assert.equal(items.length, PAGES + 1);
      for (const { data } of items) assert.ok(String(data.title).startsWith(['ann', 'bob'][i]!));
    }
    assert.deepEqual(seen, { logins: 2, strangers: 0, mixed: 0 });
  });
});

test('11: cookies that come with the crawl are sent, by domain and path', async () => {
  await withSite(
    (_req, res) => html(res, 'page', ['/a/b']),
    async (site) => {
      const cookie = (name: string, more: object) => ({ name, value: '"1,2 3"', domain: '127.0.0.1', ...more });
      const initialCookies = [cookie('any', {}), cookie('deep', { path: '/a' }), cookie('b', { domain: 'b.test' })];
      const spider = { ...SPIDER, pages: [{ follow: [{ selector: 'a' }] }] };
      const body = { spider, startUrls: [`${site.url}/`], settings: { ...FAST, initialCookies } };
      const { id, settings } = await postCrawl(service.url, body);
      await waitFor(service.url, id, ENDED);
      const sent = Object.fromEntries(site.hits.map(({ url, headers }) => [url, headers.cookie]));
      assert.deepEqual(sent, { '/': 'any="1,2 3"', '/a/b': 'deep="1,2 3"; any="1,2 3"' });
      assert.deepEqual(
        settings.initialCookies?.map(({ value }) => value),
        ['(hidden)', '(hidden)', '(hidden)'],
      );
    },
  );
});

test('11: cookies that could not be sent are refused, each with its pointer', async () => {
  const initialCookies = [
    { name: 'a=b', value: '1', domain: 'site.test' },
    { name: 'a', value: '1;2', domain: 'http://site.test' },
    { name: 'a', value: 'é', domain: '.co.uk', path: 'x' },
    { name: '__Host-a', value: '', domain: '.127.0.0.1' },
  ];
  const response = await fetch(`${service.url}/crawls`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ startUrls: ['http://site.test/'], settings: { cookies: false, initialCookies } }),
  });
  const { errors } = (await response.json()) as { errors: { pointer: string; code: string }[] };
  assert.deepEqual(
    errors.map(({ pointer, code }) => `${code} ${pointer.replace('/settings/initialCookies', '')}`).sort(),
    [
      'bad_cookie /0/name',
      'bad_cookie /1/value',
      'bad_cookie /2/domain',
      'bad_cookie /2/path',
      'bad_cookie /2/value',
      'bad_cookie /3/secure',
      'bad_host /1/domain',
      'bad_host /3/domain',
      'conflict ',
    ],
  );
});

test('11: what other nodes store of a crawl’s cookies comes into the jar, and what this node has stored is not read again', async () => {
  const { sql } = database;
  const { id } = await postCrawl(service.url, { startUrls: ['http://site.test/'], settings: FAST });
  const [mine, other] = [randomUUID(), randomUUID()];
  const sessions = new Sessions(sql, mine);
  const run = { id, settings: DEFAULT_SETTINGS, scopeHosts: [], definition: {} } as unknown as CrawlRun;
  const { jar } = sessions.open(run);
  const theirs = new CookieJar();
  const store = async (node: string, from: CookieJar, ...lines: string[]) => {
    from.store('http://site.test/', lines);
    const changes = (from.takeChanges() ?? []).map((change) => ({ ...change, crawlId: id }));
    return sql.begin((tx) => storeCookies(tx as never, node, changes));
  };
  const sync = async () => {
    const [row] = await sql`select cookies_version as version from crawls where id = ${id}`;
    await sessions.syncCookies(new Map([[id, row!.version]]));
    return jar!.header('http://site.test/');
  };
  await store(other, theirs, 'a=1', 'b=1');
  assert.equal(await sync(), 'a=1; b=1');
  sessions.cookiesStored(await store(mine, jar!, 'a=2', 'c=1'));
  assert.equal(jar!.version, 2, 'its own changes leave nothing to read');
  await store(other, theirs, 'b=; Max-Age=0', 'd=1');
  assert.equal(await sync(), 'a=2; c=1; d=1');
  assert.equal((await store(other, theirs, 'd=1')).size, 0, 'an equal cookie is no change');
  // Once more, by a node that has the crawl for the first time.
  const late = new Sessions(sql, randomUUID());
  const fresh = late.open(run).jar!;
  await late.syncCookies(new Map([[id, 3]]));
  assert.equal(fresh.header('http://site.test/'), 'a=2; c=1; d=1');
  // An outcome that took long: what it set has been set again since.
  fresh.store('http://site.test/', 'a=old');
  const [old] = fresh.takeChanges()!;
  fresh.store('http://site.test/', 'a=new');
  const [latest] = fresh.takeChanges()!;
  for (const change of [latest!, old!])
    await sql.begin((tx) => storeCookies(tx as never, other, [{ ...change, crawlId: id }]));
  assert.equal(await sync(), 'a=new; c=1; d=1');
});
