import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claim, handBack, recoverHosts } from '../../dist/db/claims.js';
import { hostIds } from '../../dist/db/hosts.js';
import { listRequests } from '../../dist/db/ledger.js';
import { requestFp } from '../../dist/model/extra.js';
import type { Link, Outcome } from '../../dist/model/outcome.js';
import type { ClaimedRequest, RequestExtra } from '../../dist/model/request.js';
import type { Settings } from '../../dist/model/settings.js';
import { commitOutcomes } from '../../dist/pipeline/commit.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { booksOf, holdHost, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

async function setUp(queued: number, settings: Partial<Settings> = {}) {
  const { sql } = database;
  const origin = `http://${randomUUID()}.example`;
  const { id, hostId } = await seedCrawl(sql, { queued, settings, origin });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const take = async (n: number) => (await claim(sql, node, [{ crawlId: id, hostId, fence, n }])).requests;
  const find = async (request: ClaimedRequest, links: Link[]) =>
    commitOutcomes(sql, node, [outcome(request, links)], await hostIds(sql, [origin]), false);
  const link = (path: string, extra?: RequestExtra, parts: Partial<Link> = {}): Link => {
    const url = origin + path;
    const common = { url, fp: requestFp(url, extra), origin, priority: 0, reason: null, detail: null };
    return { ...common, ...(extra === undefined ? {} : { extra }), ...parts };
  };
  return { id, hostId, node, fence, origin, take, find, link };
}

function outcome(request: ClaimedRequest, links: Link[]): Outcome {
  const { crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url } = request;
  const fps = links.map((link) => link.fp);
  const page = { items: [], links, linkedFps: fps, dropped: {}, fills: {}, flags: [], parseMs: 1 };
  return {
    ...{ crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url, page },
    ...{ state: 'done', reason: null, detail: null, readyAt: null, status: 200, bodyBytes: 10, wireBytes: 10 },
    ...{ fetchMs: 5, fetchedAt: Date.now() },
  };
}

async function assertBooks(id: string): Promise<void> {
  const { counters, sums } = await booksOf(database.sql, id);
  assert.deepEqual(counters, sums);
}

const POST: RequestExtra = {
  method: 'POST',
  headers: { 'x-a': '"quoted\\",{}' },
  body: 'q=1',
  page: 'results',
  pass: { text: 'ü"\\u0000', list: [1, null] },
};

test('a discovered request is claimed with what it carries; a plain one with nothing', async () => {
  const s = await setUp(1);
  const [start] = await s.take(1);
  assert.equal(start!.extra, null);
  await s.find(start!, [s.link('/search', POST), s.link('/plain'), s.link('/map', { kind: 'sitemap' })]);
  const claimed = await s.take(10);
  assert.deepEqual(Object.fromEntries(claimed.map(({ url, extra }) => [url.slice(s.origin.length), extra])), {
    '/search': POST,
    '/plain': null,
    '/map': { kind: 'sitemap' },
  });
  await assertBooks(s.id);
});

test('1: one URL with two bodies is two requests; the same body again is none', async () => {
  const s = await setUp(2);
  const [first, second] = await s.take(2);
  await s.find(first!, [s.link('/search', POST), s.link('/search', { ...POST, body: 'q=2' }), s.link('/search')]);
  await s.find(second!, [s.link('/search', { ...POST, headers: {} }), s.link('/search', { method: 'POST' })]);
  const rows = await s.take(10);
  assert.deepEqual(
    rows.map(({ extra }) => [extra?.method, extra?.body]),
    [
      ['POST', 'q=1'],
      ['POST', 'q=2'],
      [undefined, undefined],
      ['POST', undefined],
    ],
  );
  assert.deepEqual(rows[0]?.extra, POST, 'the first discovery is what is sent');
  await assertBooks(s.id);
});

test('34: what a request carries outlives a hand-back and the death of the node that had claimed it', async () => {
  const s = await setUp(1);
  await s.find((await s.take(1))[0]!, [s.link('/search', POST)]);
  await handBack(database.sql, await s.take(1));
  const [again] = await s.take(1);
  assert.deepEqual([again?.extra, again?.attempts], [POST, 1]);
  const heir = randomUUID();
  const fence = await holdHost(database.sql, heir, s.hostId);
  await recoverHosts(database.sql, heir, [{ id: s.hostId, fence }], true);
  const { requests } = await claim(database.sql, heir, [{ crawlId: s.id, hostId: s.hostId, fence, n: 1 }]);
  assert.deepEqual([requests[0]?.extra, requests[0]?.crashes], [POST, 1]);
  await assertBooks(s.id);
});

test('a request that was skipped and is queued by a better discovery carries what that one brings', async () => {
  const s = await setUp(3);
  const [first, second, third] = (await s.take(3)) as [ClaimedRequest, ClaimedRequest, ClaimedRequest];
  const denied = { reason: 'denied', detail: 'rule' } as const;
  await s.find(first, [s.link('/a', { page: 'old' }, denied), s.link('/b', { page: 'old' }, denied)]);
  await s.find(second, [s.link('/a', { page: 'new' }), s.link('/b')]);
  await s.find(third, [s.link('/a', { page: 'late' })]);
  assert.deepEqual(
    (await s.take(10)).map(({ extra }) => extra),
    [{ page: 'new' }, null],
  );
  await assertBooks(s.id);
});

test('24: a request that was too deep keeps what it carries when a nearer page brings it into reach', async () => {
  const s = await setUp(2, { maxDepth: 2 });
  const [start, late] = (await s.take(2)) as [ClaimedRequest, ClaimedRequest];
  const step = async (path: string, links: Link[]) => {
    const [request] = await s.take(1);
    assert.equal(request?.url, s.origin + path);
    await s.find(request!, links);
  };
  await s.find(start, [s.link('/a')]);
  await step('/a', [s.link('/b')]);
  await step('/b', [s.link('/c', POST, { reason: 'depth', detail: 'maxDepth 2' })]);
  await s.find(late, [s.link('/b')]);
  const [deep] = await s.take(1);
  assert.deepEqual([deep?.url, deep?.extra], [`${s.origin}/c`, POST]);
  await assertBooks(s.id);
});

test('a request that carries too much is skipped and says so', async () => {
  const s = await setUp(1);
  await s.find((await s.take(1))[0]!, [s.link('/big', { pass: { x: 'x'.repeat(256 * 1024) } }), s.link('/ok')]);
  assert.deepEqual(
    (await s.take(5)).map(({ url }) => url),
    [`${s.origin}/ok`],
  );
  const [row] = await listRequests(database.sql, s.id, { reason: 'request_too_large', after: -1, limit: 5 });
  assert.match(row?.detail ?? '', /take 262\d+ characters; at most 262144/);
  await assertBooks(s.id);
});

test('text that PostgreSQL cannot hold does not stop the commit', async () => {
  const s = await setUp(1);
  await s.find((await s.take(1))[0]!, [s.link('/a', { method: 'POST', body: 'a\0b\ud800', pass: { '\0': 1 } })]);
  const [row] = await s.take(1);
  assert.deepEqual(row?.extra, { method: 'POST', body: 'a\ufffdb\ufffd', pass: { '\ufffd': 1 } });
});
