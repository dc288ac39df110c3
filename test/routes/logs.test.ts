import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type TestApi, testApi } from './api.ts';

let api: TestApi;
before(async () => {
  api = await testApi();
});
after(() => api.stop());

/** Plays the committer: lines of all levels in turn. */
async function log(id: string, n: number): Promise<void> {
  await api.sql`
    insert into crawl_logs (crawl_id, n, at, level, url, message)
    select ${id}, i, '2026-11-23T09:30:00Z', (array['debug', 'info', 'warn', 'error'])[1 + i % 4], 'https://a.example/', 'line ' || i
    from generate_series(0, ${n - 1}::int) as i`;
  await api.sql`update crawls set log_lines = ${n} where id = ${id}`;
}

type Line = { n: number; level: string; message: string };
const linesOf = (answer: { json: Record<string, unknown> }) => answer.json.logs as Line[];

test('the log is read in pages and by level', async () => {
  const id = await api.start();
  assert.deepEqual((await api.call('GET', `/crawls/${id}/logs`)).json, { logs: [], next: null, total: 0 });
  await log(id, 10);
  const first = await api.call('GET', `/crawls/${id}/logs?limit=4`);
  assert.deepEqual(linesOf(first)[1], {
    n: 1,
    at: '2026-11-23T09:30:00.000Z',
    level: 'info',
    url: 'https://a.example/',
    message: 'line 1',
  });
  assert.deepEqual([first.json.next, first.json.total], [3, 10]);
  const rest = await api.call('GET', `/crawls/${id}/logs?after=3`);
  assert.deepEqual(
    [
      linesOf(rest)
        .map(({ n }) => n)
        .join(),
      rest.json.next,
    ],
    ['4,5,6,7,8,9', null],
  );
  const loud = await api.call('GET', `/crawls/${id}/logs?level=warn`);
  assert.deepEqual(
    linesOf(loud).map(({ level }) => level),
    ['warn', 'error', 'warn', 'error'],
  );
});

test('as NDJSON the log comes whole, or from a line on, by level, at most so many', async () => {
  const id = await api.start();
  await log(id, 2500);
  const get = async (query: string) => {
    const answer = await api.call('GET', `/crawls/${id}/logs${query}`, undefined, { accept: 'application/x-ndjson' });
    assert.equal(answer.headers['content-type'], 'application/x-ndjson');
    return answer.text.split('\n').flatMap((line) => (line === '' ? [] : [(JSON.parse(line) as Line).n]));
  };
  assert.deepEqual(
    await get(''),
    Array.from({ length: 2500 }, (_, n) => n),
  );
  assert.deepEqual(await get('?after=2490&level=error'), [2491, 2495, 2499]);
  assert.equal((await get('?limit=1200')).length, 1200);
});

test('a log of a crawl that is not there is 404; a bad level names what there is', async () => {
  const missing = await api.call('GET', '/crawls/00000000-0000-7000-8000-000000000000/logs');
  assert.deepEqual([missing.status, missing.json.type], [404, 'crawl_not_found']);
  const id = await api.start();
  const bad = await api.call('GET', `/crawls/${id}/logs?level=loud`);
  assert.equal(bad.status, 422);
  assert.match(JSON.stringify(bad.json.errors), /\?level.*debug/);
});

test('statistics show CPU by page entry or callback, and the calls', async () => {
  const id = await api.start();
  await api.sql`
    insert into crawl_counts (crawl_id, kind, key, n) values
      (${id}, 'cpu_us', 'callback parse', 12345), (${id}, 'cpu_pages', 'callback parse', 10),
      (${id}, 'call', 'fetch', 7), (${id}, 'call', 'fetch failed', 1)`;
  const { json } = await api.call('GET', `/crawls/${id}/stats`);
  assert.deepEqual(json.cpu, { 'callback parse': { pages: 10, ms: 12.35, msPerPage: 1.23 } });
  assert.deepEqual(json.calls, { fetch: 7, 'fetch failed': 1 });
});

test('GET /engine tells what the node is and does, also of a worker', async () => {
  const { json, status } = await api.call('GET', '/engine');
  assert.equal(status, 200);
  assert.partialDeepStrictEqual(json, { role: 'all', scripts: { enabled: false, boundary: null } });
  const worker = await testApi({ config: { apiKeys: [], role: 'worker' } });
  try {
    assert.equal((await worker.call('GET', '/engine')).status, 200);
  } finally {
    await worker.stop();
  }
});
