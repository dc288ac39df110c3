import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claim, recoverHosts } from '../../dist/db/claims.js';
import { inTransaction } from '../../dist/db/client.js';
import { deleteCrawl } from '../../dist/db/crawls.js';
import { hostIds } from '../../dist/db/hosts.js';
import type { Link, Outcome, ParsedPage } from '../../dist/model/outcome.js';
import type { ClaimedRequest } from '../../dist/model/request.js';
import type { Settings } from '../../dist/model/settings.js';
import { commitOutcomes } from '../../dist/pipeline/commit.js';
import { Committer } from '../../dist/pipeline/committer.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { booksOf, finishDeletions, fpOf, holdHost, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

interface Setup {
  id: string;
  hostId: number;
  node: string;
  fence: number;
  origin: string;
  take: (n: number) => Promise<ClaimedRequest[]>;
  commit: (outcomes: Outcome[], node?: string) => ReturnType<typeof commitOutcomes>;
  rows: () => Promise<{ url: string; state: number; reason: string | null; depth: number }[]>;
}

async function setUp(queued: number, settings: Partial<Settings> = {}): Promise<Setup> {
  const { sql } = database;
  const origin = `http://${randomUUID()}.example`;
  const { id, hostId } = await seedCrawl(sql, { queued, settings, origin });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  return {
    id,
    hostId,
    node,
    fence,
    origin,
    take: async (n) => (await claim(sql, node, [{ crawlId: id, hostId, fence, n }])).requests,
    commit: async (outcomes, by = node) => commitOutcomes(sql, by, outcomes, await hostIds(sql, [origin]), false),
    rows: () => sql`select url, state, reason, depth from requests where crawl_id = ${id} order by seq`,
  };
}

function page(parts: Partial<ParsedPage> = {}): ParsedPage {
  return { items: [], links: [], linkedFps: [], dropped: {}, fills: {}, flags: [], parseMs: 1, ...parts };
}

function item(data: object) {
  const text = JSON.stringify(data);
  return { type: 'thing', data: text, size: text.length };
}

function link(origin: string, path: string, parts: Partial<Link> = {}): Link {
  const url = origin + path;
  return { url, fp: fpOf(url), origin, priority: 0, reason: null, detail: null, ...parts };
}

function outcome(request: ClaimedRequest, parts: Partial<Outcome> = {}): Outcome {
  const { crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url } = request;
  return {
    ...{ crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url },
    ...{ state: 'done', reason: null, detail: null, readyAt: null, status: 200, bodyBytes: 10, wireBytes: 10 },
    ...{ fetchMs: 5, fetchedAt: Date.now(), page: page({ items: [item({ url })] }) },
    ...parts,
  };
}

async function assertBooks(id: string): Promise<void> {
  const { counters, sums } = await booksOf(database.sql, id);
  assert.deepEqual(counters, sums);
}

test('2: an outcome is committed once, however often its commit is repeated (the answer to a COMMIT was lost)', async () => {
  const s = await setUp(5);
  const outcomes = (await s.take(5)).map((request) =>
    outcome(request, {
      page: page({ items: [item({ a: 1 }), item({ a: 2 })], links: [link(s.origin, `/new${request.seq}`)] }),
    }),
  );
  const first = await s.commit(outcomes);
  assert.equal(first.applied.length, 5);
  const again = await s.commit(outcomes);
  assert.equal(again.applied.length, 0);
  const rows = await database.sql`select "offset" from items where crawl_id = ${s.id} order by "offset"`;
  assert.deepEqual(
    rows.map((row) => row.offset),
    [...Array(10).keys()],
  );
  assert.equal((await s.rows()).length, 10);
  await assertBooks(s.id);
});

test('3: the commit of a node that lost its lease is refused, its successor’s is taken', async () => {
  const s = await setUp(3);
  const stale = (await s.take(3)).map((request) => outcome(request));
  const successor = randomUUID();
  await holdHost(database.sql, successor, s.hostId);
  const refused = await s.commit(stale);
  assert.deepEqual(refused.applied, []);
  assert.deepEqual(refused.lostHosts, [s.hostId]);
  assert.equal((await s.rows()).filter((row) => row.state === 2).length, 3, 'nothing changed');
  await assertBooks(s.id);
});

test('1: a URL found by many pages, and in many batches at once, is one row', async () => {
  const s = await setUp(40);
  const claimed = await s.take(40);
  const links = [...Array(20).keys()].map((i) => link(s.origin, `/shared${i}`));
  const batches = [0, 1, 2, 3].map((b) =>
    claimed.slice(b * 10, b * 10 + 10).map((request) => outcome(request, { page: page({ links }) })),
  );
  await Promise.all(batches.map((batch) => s.commit(batch)));
  assert.equal((await s.rows()).length, 60);
  await assertBooks(s.id);
});

test('4: offsets are gapless when many commits of one crawl run at once', async () => {
  const s = await setUp(100);
  const outcomes = (await s.take(100)).map((request) =>
    outcome(request, { page: page({ items: [item({}), item({})] }) }),
  );
  await Promise.all([...Array(10).keys()].map((i) => s.commit(outcomes.slice(i * 10, i * 10 + 10))));
  const rows = await database.sql`select "offset" from items where crawl_id = ${s.id} order by "offset"`;
  assert.deepEqual(
    rows.map((row) => row.offset),
    [...Array(200).keys()],
  );
});

test('24: maxItems is exact; what comes after it in the batch goes back to the queue with its items', async () => {
  const s = await setUp(10, { maxItems: 7 });
  const outcomes = (await s.take(10)).map((request) =>
    outcome(request, { page: page({ items: [item({}), item({})] }) }),
  );
  const result = await s.commit(outcomes);
  assert.equal(result.changed.get(s.id), 'finished');
  const [crawl] =
    await database.sql`select items, dropped, done, queued, in_progress, stop_reason from crawls where id = ${s.id}`;
  assert.deepEqual(
    { ...crawl },
    { items: 7, dropped: 1, done: 4, queued: 6, in_progress: 0, stop_reason: 'max_items' },
  );
  await assertBooks(s.id);
});

test('a link that one rule denied is queued when another page’s rule takes it', async () => {
  const s = await setUp(2);
  const [first, second] = await s.take(2);
  await s.commit([
    outcome(first!, { page: page({ links: [link(s.origin, '/x', { reason: 'denied', detail: 'rule' })] }) }),
  ]);
  assert.deepEqual((await s.rows()).find((row) => row.url.endsWith('/x'))?.reason, 'denied');
  await s.commit([outcome(second!, { page: page({ links: [link(s.origin, '/x')] }) })]);
  const row = (await s.rows()).find((r) => r.url.endsWith('/x'));
  assert.deepEqual([row?.state, row?.reason], [0, null]);
  await assertBooks(s.id);
  assert.equal((await s.take(5)).length, 1, 'and it is claimed');
});

test('24: for a page found by two ways the smaller depth counts, and brings nearer what is behind it', async () => {
  const s = await setUp(2, { maxDepth: 2 });
  const [start, late] = (await s.take(2)) as [ClaimedRequest, ClaimedRequest];
  const withLinks = (paths: string[], depth: number) => {
    const links = paths.map((path) => link(s.origin, path, depth > 2 ? { reason: 'depth' } : {}));
    return page({ links, linkedFps: links.map((l) => l.fp) });
  };
  const follow = async (path: string, links: string[]) => {
    const request = (await s.take(1))[0]!;
    assert.equal(request.url, s.origin + path);
    await s.commit([outcome(request, { page: withLinks(links, request.depth + 1) })]);
  };
  await s.commit([outcome(start, { page: withLinks(['/a'], 1) })]);
  await follow('/a', ['/b']);
  await follow('/b', ['/c']);
  assert.deepEqual((await s.rows()).find((row) => row.url.endsWith('/c'))?.reason, 'depth');
  await s.commit([outcome(late, { page: withLinks(['/b'], 1) })]);
  const rows = await s.rows();
  assert.deepEqual(rows.map((row) => [row.url.slice(s.origin.length), row.state, row.depth]).slice(2), [
    ['/a', 3, 1],
    ['/b', 3, 1],
    ['/c', 0, 2],
  ]);
  await assertBooks(s.id);
  assert.equal((await s.take(5)).length, 1);
});

test('7: a redirect to a known URL ends as redirect_duplicate, one to a new URL as redirected', async () => {
  const s = await setUp(3);
  const [a, b, c] = (await s.take(3)) as [ClaimedRequest, ClaimedRequest, ClaimedRequest];
  const hop = (request: ClaimedRequest, path: string) =>
    outcome(request, {
      state: 'skipped',
      reason: 'redirected',
      status: 302,
      page: page({ links: [link(s.origin, path)] }),
    });
  await s.commit([hop(a, '/target')]);
  await s.commit([hop(b, '/target'), hop(c, '/target')]);
  assert.deepEqual(
    (await s.rows()).map((row) => [row.state, row.reason, row.depth]),
    [
      [5, 'redirected', 0],
      [5, 'redirect_duplicate', 0],
      [5, 'redirect_duplicate', 0],
      [0, null, 0],
    ],
  );
  await assertBooks(s.id);
});

test('1: retries wait as delayed, counted as queued, and are claimed when they are due', async () => {
  const s = await setUp(1);
  const [request] = await s.take(1);
  const retry = { state: 'delayed', reason: 'http_5xx', status: 503, page: null } as const;
  await s.commit([outcome(request!, { ...retry, readyAt: Date.now() + 60_000 })]);
  await assertBooks(s.id);
  assert.equal((await s.take(1)).length, 0);
  await database.sql`update requests set ready_at = now() where crawl_id = ${s.id}`;
  const [again] = await s.take(1);
  assert.equal(again?.attempts, 2);
  await assertBooks(s.id);
});

test('a crawl whose start URLs all fail ends as failed and says why', async () => {
  const s = await setUp(2);
  const failed = { state: 'failed', reason: 'dns', detail: 'no such name', status: null, page: null } as const;
  await s.commit((await s.take(2)).map((request) => outcome(request, failed)));
  const [crawl] = await database.sql`select state, stop_reason, stop_detail from crawls where id = ${s.id}`;
  assert.deepEqual(
    { ...crawl },
    { state: 'failed', stop_reason: 'start_urls_failed', stop_detail: `${s.origin}/0: dns (no such name)` },
  );
});

test('31: an outcome that PostgreSQL refuses fails with a reason; its batch is committed', async () => {
  const s = await setUp(8);
  const results: number[] = [];
  const committer = new Committer({
    sql: database.sql,
    nodeId: s.node,
    notify: () => false,
    isStarved: () => false,
    outstanding: () => Number.POSITIVE_INFINITY,
    onCommitted: (result) => results.push(result.applied.length),
    log: { warn: () => {}, error: () => {} },
  });
  const bad = { type: 'thing', data: '{"broken": ', size: 11 };
  const note = { kind: 'scraped' as const, definition: '0'.repeat(32), etag: null, lastModified: null };
  const cookies = [{ key: '0'.repeat(32), n: 1, gone: false, cookie: '{"broken": ' }];
  for (const [i, request] of (await s.take(8)).entries()) {
    if (i === 5) committer.add(outcome(request, { page: page({ items: [bad] }), note }));
    else if (i === 6) committer.add(outcome(request, { state: 'failed', reason: 'http_4xx', page: null, cookies }));
    else committer.add(outcome(request));
  }
  await committer.stop(AbortSignal.timeout(10_000));
  assert.equal(
    results.reduce((a, b) => a + b),
    8,
  );
  const rows = await s.rows();
  assert.deepEqual(
    rows.map((row) => row.state),
    [3, 3, 3, 3, 3, 4, 4, 3],
  );
  assert.deepEqual([rows[5]!.reason, rows[6]!.reason], ['parse_error', 'http_4xx']);
  const remembered = await database.sql`select 1 from spider_pages where crawl_id = ${s.id}`;
  assert.equal(remembered.length, 0, 'its items are not stored, so it counts as never scraped');
  await assertBooks(s.id);
});

test('2: two outcomes of one attempt in one batch count once, and one of an earlier lease or attempt beside them not at all', async () => {
  const { id, hostId, node, take, commit } = await setUp(2);
  const [old] = await take(1);
  // The lease went, and came back to the same node: what was fetching is queued again, and claimed anew.
  const fence = await holdHost(database.sql, node, hostId);
  await recoverHosts(database.sql, node, [{ id: hostId, fence }], true);
  const claimed = await claim(database.sql, node, [{ crawlId: id, hostId, fence, n: 2 }]);
  const again = claimed.requests.find(({ fp }) => fp === old!.fp)!;
  assert.equal(again.attempts, 2);
  const result = await commit([outcome(again), outcome(old!), outcome(again)]);
  assert.deepEqual(result.lostHosts, []);
  assert.equal(result.applied.length, 1);
  assert.equal(result.applied[0]!.attempts, 2);
  await assertBooks(id);
  const [crawl] = await database.sql`select done, items, in_progress from crawls where id = ${id}`;
  assert.deepEqual({ ...crawl }, { done: 1, items: 1, in_progress: 1 });
});

test('11: what comes late for a deleted crawl changes nothing, while its rows are still being deleted', async () => {
  const { sql } = database;
  const s = await setUp(4);
  const requests = await s.take(2);
  await inTransaction(sql, (tx) => deleteCrawl(tx, { id: s.id, next_seq: 4, items: 0 }));
  const before = await s.rows();
  const links = [link(s.origin, '/new')];
  const late = requests.map((request) =>
    outcome(request, { page: page({ items: [item({ a: 1 })], links, linkedFps: links.map(({ fp }) => fp) }) }),
  );
  const { applied, postponed, changed } = await s.commit(late);
  assert.deepEqual([applied, postponed, [...changed]], [[], [], []]);
  assert.deepEqual(await s.take(2), []);
  assert.deepEqual(await s.rows(), before);
  const count = async (table: string) => {
    const [row] = await sql.unsafe(`select count(*)::int as n from ${table} where crawl_id = '${s.id}'`);
    return row!.n as number;
  };
  assert.deepEqual(await Promise.all(['items', 'page_links', 'crawl_counts', 'crawl_logs'].map(count)), [0, 0, 0, 0]);
  await finishDeletions(sql);
  assert.deepEqual(await Promise.all(['requests', 'host_queues'].map(count)), [0, 0]);
});

test('8: one commit counts in host queues that are there and in those that it makes', async () => {
  const s = await setUp(1);
  const other = `http://${randomUUID()}.example`;
  const ids = await hostIds(database.sql, [s.origin, other]);
  const links = [link(s.origin, '/a'), link(other, '/b'), link(other, '/c', { reason: 'denied' })];
  const done = (await s.take(1)).map((request) => outcome(request, { page: page({ links }) }));
  await commitOutcomes(database.sql, s.node, done, ids, false);
  const queues = await database.sql<{ id: number; queued: number; done: number; ready: boolean }[]>`
    select host_id as id, queued, done, head < 9223372036854775807 as ready from host_queues where crawl_id = ${s.id}`;
  const byHost = new Map(queues.map(({ id, ...counts }) => [id, counts]));
  assert.deepEqual(byHost.get(s.hostId), { queued: 1, done: 1, ready: true });
  assert.deepEqual(byHost.get(ids.get(other)!), { queued: 1, done: 0, ready: true });
  await assertBooks(s.id);
});
