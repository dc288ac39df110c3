import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER, treeSite } from '../support/pages.ts';
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

type Handler = Parameters<typeof startSite>[0];

/** One site for each handler, on 127.0.0.2, 127.0.0.3 … */
async function withSites(handlers: readonly Handler[], work: (sites: Site[]) => Promise<void>): Promise<void> {
  const sites: Site[] = [];
  try {
    for (const handler of handlers) sites.push(await startSite(handler, { host: `127.0.0.${sites.length + 2}` }));
    await work(sites);
  } finally {
    await Promise.all(sites.map((site) => site.close()));
  }
}

async function start(sites: readonly Site[], settings: object): Promise<string> {
  const startUrls = sites.map((site) => `${site.url}/`);
  const { id } = await postCrawl(service.url, {
    spider: TITLE_SPIDER,
    startUrls,
    settings: { ...FAST, retries: 0, retryDelayMs: 20, ...settings },
  });
  return id;
}

const paths = (site: Site) => site.hits.map((hit) => hit.url);

/** Only how late one arrives may make two fetches look closer than they were sent. */
function assertApart(site: Site, from: number, ms: number): void {
  const [first, last] = [site.hits[from]!, site.hits.at(-1)!];
  const gaps = site.hits.length - 1 - from;
  assert.ok(last.at - first.at >= gaps * ms - 40, `${gaps} gaps of ${ms} ms in ${last.at - first.at} ms`);
}

/** A page with a link to /private, and a robots.txt as told. */
const withRobots =
  (robots: Handler): Handler =>
  (req, res) =>
    req.url?.startsWith('/robots')
      ? robots(req, res)
      : html(res, req.url!, req.url === '/' ? ['/private/x', '/b'] : []);

const text =
  (status: number, body: string, headers: Record<string, string> = {}): Handler =>
  (_req, res) =>
    res.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(body);

const RULES = 'User-agent: *\nDisallow: /private/\n';
/** /robots.txt leads over `n` redirects to the rules. */
const chain =
  (n: number): Handler =>
  (req, res) => {
    const at = Number(/\d+/.exec(req.url!)?.[0] ?? 0);
    if (at === n) text(200, RULES)(req, res);
    else res.writeHead(301, { location: `/robots${at + 1}` }).end();
  };

test('15: what answers for robots.txt decides what is fetched, and the ledger says why', async () => {
  const cases: [name: string, robots: Handler, expected: Record<string, string>][] = [
    ['rules', text(200, RULES), { '/': 'done', '/private/x': 'robots', '/b': 'done' }],
    [
      'rules with CR alone',
      text(200, RULES.replaceAll('\n', '\r')),
      { '/': 'done', '/private/x': 'robots', '/b': 'done' },
    ],
    ['401', text(401, RULES), { '/': 'done', '/private/x': 'done', '/b': 'done' }],
    ['403', text(403, RULES), { '/': 'done', '/private/x': 'done', '/b': 'done' }],
    ['404', text(404, RULES), { '/': 'done', '/private/x': 'done', '/b': 'done' }],
    ['a page', (_req, res) => html(res, 'Disallow: /', []), { '/': 'done', '/private/x': 'done', '/b': 'done' }],
    ['429', text(429, ''), { '/': 'robots_unreachable' }],
    ['500', text(500, RULES), { '/': 'robots_unreachable' }],
    ['reset', (req) => req.socket.destroy(), { '/': 'robots_unreachable' }],
    ['five redirects', chain(5), { '/': 'done', '/private/x': 'robots', '/b': 'done' }],
    ['six redirects', chain(6), { '/': 'done', '/private/x': 'done', '/b': 'done' }],
    [
      'a megabyte',
      text(200, `${RULES}${'# 234567\n'.repeat(120_000)}Disallow: /b`),
      { '/': 'done', '/private/x': 'robots', '/b': 'done' },
    ],
    [
      'cut inside a rule',
      text(200, `${RULES}#${'2'.repeat(500 * 1024 - RULES.length - 15)}\nDisallow: /${'b'.repeat(100)}`),
      { '/': 'done', '/private/x': 'robots', '/b': 'done' },
    ],
  ];
  await withSites(
    cases.map(([, robots]) => withRobots(robots)),
    async (sites) => {
      const id = await start(sites, { robots: true });
      await waitFor(service.url, id, ENDED);
      const { ledger } = await checkBooks(service.url, id);
      for (const [i, [name, , expected]] of cases.entries()) {
        const site = sites[i]!;
        const rows = ledger.filter((row) => row.url.startsWith(`${site.url}/`));
        const found = Object.fromEntries(
          rows.map((row) => [row.url.slice(site.url.length), row.state === 'done' ? 'done' : row.reason]),
        );
        assert.deepEqual(found, expected, name);
        assert.equal(paths(site).filter((path) => path === '/robots.txt').length, 1, `${name}: asked once`);
        assert.equal(paths(site)[0], '/robots.txt');
      }
    },
  );
});

test('15: an unreachable robots.txt is asked for again, and what it says then holds; many crawls ask once', async () => {
  let asked = 0;
  const handler = withRobots((req, res) => text(asked++ === 0 ? 503 : 200, RULES, { 'retry-after': '0' })(req, res));
  await withSites([handler], async ([site]) => {
    const settings = { robots: true, retries: 5 };
    const ids = await Promise.all([1, 2, 3].map(() => start([site!], settings)));
    for (const id of ids) {
      await waitFor(service.url, id, ENDED);
      const { crawl } = await checkBooks(service.url, id);
      assert.deepEqual([crawl.stats.done, crawl.stats.skipped, crawl.stats.failed], [2, 1, 0]);
    }
    assert.deepEqual(paths(site!).slice(0, 2), ['/robots.txt', '/robots.txt']);
    assert.equal(paths(site!).filter((path) => path === '/robots.txt').length, 2);
    assertApart(site!, 0, 0);
    assert.ok(site!.hits[1]!.at - site!.hits[0]!.at >= 960, 'a second later at the soonest');
  });
});

test('16: Crawl-delay, whole, fractional or huge, holds between robots.txt and each page, to the crawl’s cap', async () => {
  const pages = treeSite(5);
  const delayed = (lines: string): Handler => {
    const robots = text(200, lines);
    return (req, res) => (req.url === '/robots.txt' ? robots(req, res) : pages(req, res));
  };
  const handlers = ['0.3', '1000', '1\nUser-agent: orbweaver\nCrawl-delay: 0.2'].map((delay) =>
    delayed(`User-agent: *\nCrawl-delay: ${delay}\n`),
  );
  await withSites(handlers, async (sites) => {
    const id = await start(sites, { robots: true, maxCrawlDelayMs: 400 });
    await waitFor(service.url, id, ENDED);
    assert.equal((await checkBooks(service.url, id)).items.length, 15);
    for (const [i, ms] of [300, 400, 200].entries()) assertApart(sites[i]!, 0, ms);
  });
});

test('18: Retry-After, in seconds or as a date, stops that host alone; nothing of it is begun or claimed meanwhile', async () => {
  const soon = () => new Date(Date.now() + 3999);
  const forms = [() => '3', () => soon().toUTCString(), () => `${soon().toUTCString().slice(0, 3)} ${asctime(soon())}`];
  const refusing = forms.map((form): Handler => {
    const pages = treeSite(6);
    let until = 0;
    return (req, res) => {
      if (until === 0) until = Date.now() + 2900;
      if (Date.now() < until) res.writeHead(429, { 'retry-after': form() }).end();
      else pages(req, res);
    };
  });
  await withSites([treeSite(40), ...refusing], async (sites) => {
    const id = await start(sites, { retries: 2, concurrency: 4, delayMs: 20, maxPages: 58 });
    await waitFor(service.url, id, ENDED);
    const { crawl, ledger } = await checkBooks(service.url, id);
    assert.deepEqual([crawl.stats.done, crawl.stats.failed], [58, 0]);
    const quick = sites[0]!.hits.map((hit) => hit.at);
    for (const site of sites.slice(1)) {
      const [first, second] = site.hits;
      assert.ok(second!.at - first!.at >= 2900, `asked again after ${second!.at - first!.at} ms`);
      const wentOn = quick.some((at) => at > first!.at && at < second!.at);
      assert.ok(wentOn || quick.at(-1)! < first!.at, 'the other host went on, where it was not done already');
      assert.equal(ledger.find((row) => row.url === `${site.url}/`)?.attempts, 2);
    }
    const urls = sites.map((site) => site.url);
    const backedOff = () => database.sql`
      select origin from hosts where origin = any (${urls}::text[]) and backoff_level > 0`;
    for (const deadline = Date.now() + 30_000; (await backedOff()).length > 0; await sleep(50))
      assert.ok(Date.now() < deadline, 'forgiven');
  });
});

function asctime(date: Date): string {
  const [, day, month, year, time] = date.toUTCString().split(' ');
  return `${month} ${String(Number(day)).padStart(2)} ${time} ${year}`;
}

test('19: autothrottle: a server that becomes slow gets one request at a time, and a quick error changes nothing', async () => {
  const pages = treeSite(60);
  let inFlight = 0;
  let answered = 0;
  /** How many were there when each came, itself included. */
  const atOnce: number[] = [];
  let slow = 0;
  const handler: Handler = (req, res) => {
    atOnce.push(++inFlight);
    const isSlow = answered >= 20;
    const isError = isSlow && slow % 3 === 2;
    setTimeout(
      () => {
        inFlight--;
        answered++;
        if (isSlow) slow++;
        if (isError) res.writeHead(500).end();
        else pages(req, res);
      },
      isError ? 0 : isSlow ? 120 : 5,
    );
  };
  await withSites([handler], async ([site]) => {
    const id = await start([site!], {
      autothrottle: { startDelayMs: 30, maxDelayMs: 2000 },
      randomizeDelay: false,
      concurrencyPerHost: 16,
      maxPages: 50,
    });
    await waitFor(service.url, id, ENDED);
    assert.ok(slow > 10, `${slow} slow answers`);
    // A late one and its successor.
    assert.ok(Math.max(...atOnce.slice(-8)) <= 2, `at once: ${atOnce}`);
    const late = site!.hits.slice(-10);
    const span = late.at(-1)!.at - late[0]!.at;
    assert.ok(span >= 9 * 90, `the last ten requests came in ${span} ms`);
    const [row] = await database.sql<{ ms: number }[]>`select throttle_ms as ms from hosts where origin = ${site!.url}`;
    assert.ok(row!.ms >= 90, `${row!.ms} ms are stored`);
  });
});

test('20: hosts that never answer cost the others nothing', async () => {
  const silent: Handler = () => {};
  await withSites([silent, silent, treeSite(60), treeSite(60), treeSite(60)], async (sites) => {
    const id = await start(sites, { concurrencyPerHost: 4, concurrency: 8, robots: true, timeoutMs: 60_000 });
    const others = sites.slice(2).map((site) => site.url);
    for (const deadline = Date.now() + 15_000; ; await sleep(50)) {
      const [row] = await database.sql<{ done: number }[]>`select done from crawls where id = ${id}`;
      if (row!.done === 180) break;
      assert.ok(Date.now() < deadline, `${row!.done} of 180 pages are done`);
    }
    await fetch(`${service.url}/crawls/${id}/cancel`, { method: 'POST' });
    const { ledger } = await checkBooks(service.url, id);
    assert.equal(ledger.filter((row) => others.some((url) => row.url.startsWith(`${url}/p`))).length, 177);
    for (const site of sites.slice(0, 2)) assert.equal(site.hits.length, 1, 'still waiting for robots.txt');
  });
});

test('18: Retry-After of a minute and a Crawl-delay outlive kill -9; the plain delay begins anew', async () => {
  const pages = treeSite(50);
  const busy: Handler = (_req, res) => res.writeHead(503, { 'retry-after': '60' }).end();
  await withSites([busy, pages, pages], async ([site, slow, quick]) => {
    const settings = { ...FAST, retries: 5, robots: true };
    const post = (one: Site, more: object) =>
      postCrawl(service.url, { spider: TITLE_SPIDER, startUrls: [`${one.url}/`], settings: { ...settings, ...more } });
    await post(site!, {});
    await post(slow!, { robots: false, delayMs: 700, randomizeDelay: false });
    for (const deadline = Date.now() + 60_000; slow!.hits.length < 2 || !(await isStored(site!)); await sleep(20))
      assert.ok(Date.now() < deadline, 'the wait is stored');
    await service.signal('SIGKILL');
    const before = slow!.hits.length;
    const killedAt = slow!.hits.at(-1)!.at;
    service = await startService({ DATABASE_URL: database.url });
    const { id } = await postCrawl(service.url, {
      spider: TITLE_SPIDER,
      startUrls: [`${quick!.url}/`, `${site!.url}/other`],
      settings,
    });
    const done = async () =>
      (await database.sql<{ done: number }[]>`select done from crawls where id = ${id}`)[0]!.done;
    for (const deadline = Date.now() + 60_000; (await done()) < 50 || slow!.hits.length < before + 2; await sleep(20))
      assert.ok(Date.now() < deadline, `${await done()} pages are done`);
    assert.deepEqual(paths(site!), ['/robots.txt'], 'left alone');
    assert.ok(slow!.hits[before]!.at - killedAt >= 660, `${slow!.hits[before]!.at - killedAt} ms after the last fetch`);
  });
});

/** The database knows that the host is to be left alone for long. */
async function isStored(site: Site): Promise<boolean> {
  const rows = await database.sql`
    select 1 from hosts where origin = ${site.url} and next_at > now() + interval '40 s' and backoff_level > 0`;
  return rows.length > 0;
}
