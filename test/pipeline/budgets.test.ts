import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claim } from '../../dist/db/claims.js';
import { hostIds } from '../../dist/db/hosts.js';
import { emptyPage, type Link, type Outcome } from '../../dist/model/outcome.js';
import type { ClaimedRequest } from '../../dist/model/request.js';
import type { Settings } from '../../dist/model/settings.js';
import { patternOf } from '../../dist/model/url_pattern.js';
import { commitOutcomes } from '../../dist/pipeline/commit.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { booksOf, fpOf, holdHost, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

async function setUp(queued: number, settings: Partial<Settings>) {
  const { sql } = database;
  const origin = `http://${randomUUID()}.example`;
  const { id, hostId } = await seedCrawl(sql, { queued, settings, origin });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const take = async (n: number) => (await claim(sql, node, [{ crawlId: id, hostId, fence, n }])).requests;
  const commit = async (outcomes: Outcome[]) => {
    const result = await commitOutcomes(sql, node, outcomes, await hostIds(sql, [origin]), false);
    const { counters, sums } = await booksOf(sql, id);
    assert.deepEqual(counters, sums);
    return result;
  };
  /** Discovered ones: path, and why they are skipped. */
  const rows = async () => {
    const found = await sql<{ url: string; reason: string | null; detail: string | null }[]>`
      select url, reason, detail from requests where crawl_id = ${id} and parent is not null order by seq`;
    return found.map(({ url, reason, detail }) => [
      url.slice(origin.length),
      reason,
      detail?.replace(origin, '') ?? null,
    ]);
  };
  const link = (path: string, parts: Partial<Link> = {}): Link => {
    const url = origin + path;
    return { url, fp: fpOf(url), origin, priority: 0, reason: null, detail: null, ...parts };
  };
  return { id, hostId, origin, take, commit, rows, link };
}

function page(request: ClaimedRequest, links: Link[]): Outcome {
  const { crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url } = request;
  return {
    ...{ crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url },
    ...{ state: 'done', reason: null, detail: null, readyAt: null, status: 200, bodyBytes: 1, wireBytes: 1 },
    ...{ fetchMs: 1, fetchedAt: Date.now(), page: { ...emptyPage(), links, linkedFps: links.map(({ fp }) => fp) } },
  };
}

test('25: URLs of one pattern are queued up to maxUrlsPerPattern, over commits, each once', async () => {
  const s = await setUp(3, { maxUrlsPerPattern: 3 });
  const [a, b, c] = (await s.take(3)) as [ClaimedRequest, ClaimedRequest, ClaimedRequest];
  const outcome = page(
    a,
    ['/cal/2026/1', '/cal/2026/2', '/about'].map((path) => s.link(path)),
  );
  await s.commit([outcome]);
  await s.commit([outcome]);
  await s.commit([
    page(
      b,
      ['/cal/2026/2', '/cal/2026/3', '/cal/1999/12', '/about'].map((path) => s.link(path)),
    ),
  ]);
  const { discoveries } = await s.commit([
    page(
      c,
      ['/cal/1999/12', '/cal/7/7', '/cal/x/1'].map((path) => s.link(path)),
    ),
  ]);
  const trap = 'maxUrlsPerPattern 3: /cal/#/#';
  assert.deepEqual(await s.rows(), [
    ['/cal/2026/1', null, null],
    ['/cal/2026/2', null, null],
    ['/about', null, null],
    ['/cal/2026/3', null, null],
    ['/cal/1999/12', 'trap', trap],
    ['/cal/7/7', 'trap', trap],
    ['/cal/x/1', null, null],
  ]);
  assert.equal(discoveries.length, 3);
});

test('25: maxUrlsPerPattern is exact when commits come at once', async () => {
  const s = await setUp(8, { maxUrlsPerPattern: 10 });
  const requests = await s.take(8);
  const links = (i: number) => [...Array(5).keys()].map((k) => s.link(`/p?page=${i * 5 + k}`));
  await Promise.all(requests.map((request, i) => s.commit([page(request, links(i))])));
  const rows = await s.rows();
  assert.deepEqual([rows.length, rows.filter(([, reason]) => reason === null).length], [40, 10]);
});

test('25: sitemaps do not count', async () => {
  const s = await setUp(1, { maxUrlsPerPattern: 1, maxQueuePerHost: 1 });
  const [request] = await s.take(1);
  const extra = { kind: 'sitemap' as const };
  const links = [s.link('/s-1.xml', { extra }), s.link('/s-2.xml', { extra }), s.link('/p-1')];
  await s.commit([page(request!, links)]);
  assert.deepEqual(
    (await s.rows()).map(([, reason]) => reason),
    [null, null, null],
  );
});

test('25: what one rule denied counts when another takes it, and stays denied beyond the limit', async () => {
  const s = await setUp(2, { maxUrlsPerPattern: 2 });
  const [a, b] = (await s.take(2)) as [ClaimedRequest, ClaimedRequest];
  const denied = { reason: 'denied', detail: 'nofollow' } as const;
  await s.commit([page(a, [s.link('/1', denied), s.link('/2', denied), s.link('/3')])]);
  await s.commit([page(b, [s.link('/1'), s.link('/2')])]);
  const rows = await s.rows();
  assert.deepEqual(
    rows.map(([path, reason]) => [path, reason]),
    [
      ['/1', null],
      ['/2', 'denied'],
      ['/3', null],
    ],
  );
});

test('25: a host’s queue holds maxQueuePerHost at most; what is taken from it makes room', async () => {
  const s = await setUp(5, { maxQueuePerHost: 6 });
  const [a, b] = (await s.take(2)) as [ClaimedRequest, ClaimedRequest];
  await s.commit([
    page(
      a,
      ['/a', '/b', '/c', '/d'].map((path) => s.link(path)),
    ),
  ]);
  assert.deepEqual(await s.rows(), [
    ['/a', null, null],
    ['/b', null, null],
    ['/c', null, null],
    ['/d', 'trap', 'maxQueuePerHost 6'],
  ]);
  await s.take(2);
  await s.commit([
    page(
      b,
      ['/d', '/a', '/e', '/f', '/g'].map((path) => s.link(path)),
    ),
  ]);
  assert.deepEqual((await s.rows()).slice(3), [
    ['/d', 'trap', 'maxQueuePerHost 6'],
    ['/e', null, null],
    ['/f', null, null],
    ['/g', 'trap', 'maxQueuePerHost 6'],
  ]);
});

test('25: both limits hold for more links than one statement takes', async () => {
  const s = await setUp(1, { maxQueuePerHost: 2500, maxUrlsPerPattern: 3000 });
  const [request] = await s.take(1);
  await s.commit([
    page(
      request!,
      [...Array(5000).keys()].map((i) => s.link(`/${i}`)),
    ),
  ]);
  const rows = await s.rows();
  assert.equal(rows.filter(([, reason]) => reason === null).length, 2500);
});

test('25: a pattern has the digits of path and query as one, and keeps letters that are escaped', () => {
  const cases: [string, string][] = [
    ['http://h1.test:8080/2026/11/23', 'http://h1.test:8080/#/#/#'],
    ['http://h.test/a1b22?page=3&x=y9', 'http://h.test/a#b#?page=#&x=y#'],
    ['http://h.test/%D0%B01', 'http://h.test/%D0%B0#'],
    ['http://h.test/', 'http://h.test/'],
  ];
  for (const [url, pattern] of cases) assert.equal(patternOf(url), pattern);
});
