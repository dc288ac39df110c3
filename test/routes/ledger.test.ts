import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fpOf } from '../support/rows.ts';
import { type TestApi, testApi } from './api.ts';

let api: TestApi;
let id: string;
const site = (path: string) => `https://books.example${path}`;

/** start → /a → /b → … → /z (25 deep), with a failed, a skipped and a delayed one. */
before(async () => {
  api = await testApi();
  id = await api.start({ startUrls: [site('/')] });
  await api.sql`update requests set state = 3, status = 200, attempts = 1, items = 2, finished_at = now() where crawl_id = ${id}`;
  for (let i = 1; i <= 25; i++) await add(i, site(`/${i}?a=1&b=2`), { parent: i - 1, depth: i, state: 3, status: 200 });
  await add(26, site('/broken'), { state: 4, reason: 'http_5xx', detail: 'status 503', status: 503, attempts: 3 });
  await add(27, 'https://other.example:8443/x', {
    state: 5,
    reason: 'offsite',
    detail: 'the host other.example is not in the scope',
  });
  await add(28, site('/later'), { state: 1, reason: 'timeout', ready_at: new Date(Date.now() + 60_000) });
});
after(() => api.stop());

async function add(seq: number, url: string, columns: Record<string, unknown>): Promise<void> {
  const fp = fpOf(url);
  const row = { crawl_id: id, fp, seq, rank: seq, url, depth: 1, parent: 0, attempts: 1, state: 3, ...columns };
  await api.sql`insert into requests ${api.sql(row)}`;
}

interface Row {
  url: string;
  state: string;
  parent: string | null;
  retryAt: string | null;
}
const list = async (query = '') =>
  (await api.call('GET', `/crawls/${id}/requests?${query}`)).json as {
    requests: Row[];
    next: number | null;
  };

describe('GET /crawls/:id/requests', () => {
  it('pages in order of discovery', async () => {
    const seen: string[] = [];
    let next: number | null = null;
    for (let pages = 0; pages < 20; pages++) {
      const page = await list(`limit=10${next === null ? '' : `&cursor=${next}`}`);
      seen.push(...page.requests.map((row) => row.url));
      next = page.next;
      if (next === null) break;
    }
    assert.equal(seen.length, 29);
    assert.equal(new Set(seen).size, 29);
    assert.equal(seen[0], site('/'));
  });

  it('filters by state, reason, host and URL', async () => {
    const urls = async (query: string) => (await list(query)).requests.map((row) => row.url);
    assert.deepEqual(await urls('state=failed'), [site('/broken')]);
    assert.deepEqual(await urls('reason=offsite'), ['https://other.example:8443/x']);
    assert.deepEqual(await urls('host=OTHER.example:8443'), ['https://other.example:8443/x']);
    assert.deepEqual(await urls(`url=${encodeURIComponent(`${site('/3')}?b=2&a=1#x`)}`), [site('/3?a=1&b=2')]);
    const [later] = (await list('state=queued')).requests;
    assert.deepEqual([later?.state, later?.parent], ['queued', site('/')]);
    assert.ok(later?.retryAt);
    assert.equal((await api.call('GET', `/crawls/${id}/requests?state=lost`)).status, 422);
    assert.equal((await api.call('GET', `/crawls/${id}/requests?url=nonsense`)).status, 422);
  });

  it('streams the whole ledger as NDJSON', async () => {
    const answer = await api.call('GET', `/crawls/${id}/requests?format=ndjson`);
    assert.equal(answer.text.trimEnd().split('\n').length, 29);
  });
});

describe('GET /crawls/:id/requests/why', () => {
  const why = async (url: string) => api.call('GET', `/crawls/${id}/requests/why?url=${encodeURIComponent(url)}`);

  it('tells the state, the rule and the way there', async () => {
    const answer = await why('https://other.example:8443/x#part');
    assert.match(
      String(answer.json.explanation),
      /skipped: its host is outside the scope .*other\.example is not in the scope/,
    );
    assert.deepEqual(answer.json.discoveredFrom, [{ url: site('/'), depth: 0 }]);
    assert.match(String((await why(site('/broken'))).json.explanation), /failed after 3 attempts.*5xx.*503/);
    assert.match(String((await why(site('/later'))).json.explanation), /queued again after one attempt/);
    assert.match(String((await why(site('/'))).json.explanation), /status 200 and gave 2 items/);
  });

  it('18: says until when a host is left alone; so do the statistics', async () => {
    const url = 'https://slow.example/';
    const waiting = await api.start({ startUrls: [url, 'https://quick.example/'] });
    const explain = async () =>
      (await api.call('GET', `/crawls/${waiting}/requests/why?url=${encodeURIComponent(url)}`)).json.explanation;
    assert.equal(await explain(), 'It is queued and waits for its turn at its host.');
    const until = new Date(Date.now() + 300_000).toISOString();
    await api.sql`update hosts set next_at = ${until} where origin = 'https://slow.example'`;
    assert.match(String(await explain()), new RegExp(`queued; its host is left alone until ${until} \\(Retry-After`));
    const { hosts } = (await api.call('GET', `/crawls/${waiting}/stats`)).json as {
      hosts: { origin: string; leftAloneUntil: string | null }[];
    };
    assert.deepEqual(Object.fromEntries(hosts.map((host) => [host.origin, host.leftAloneUntil])), {
      'https://slow.example': until,
      'https://quick.example': null,
    });
  });

  it('follows at most twenty pages back', async () => {
    const answer = await why(site('/25?b=2&a=1'));
    const from = answer.json.discoveredFrom as { url: string }[];
    assert.equal(from.length, 20);
    assert.equal(from[0]?.url, site('/24?a=1&b=2'));
  });

  it('says the canonical URL of one that was never discovered', async () => {
    const answer = await why(`${site('/never')}?utm_source=x&z=1`);
    assert.deepEqual([answer.status, answer.json.type], [404, 'request_not_found']);
    assert.match(String(answer.json.detail), /https:\/\/books\.example\/never\?z=1$/);
  });
});

it('GET /crawls/:id/stats counts, rates and estimates', async () => {
  const words = [
    ['reason', 'http_5xx', 1],
    ['reason', 'redirected', 0],
    ['status', '200', 26],
    ['flag', 'links', 2],
    ['drop', 'required: price', 3],
    ['type', 'book', 10],
    ['type', 'book.x', 4],
    ['field', 'book.title', 10],
    ['field', 'book.price', 5],
    ['field', 'book.x.y', 1],
    ['fetch_ms', '64', 90],
    ['fetch_ms', '1024', 10],
  ] as const;
  for (const [kind, key, n] of words)
    await api.sql`insert into crawl_counts (crawl_id, kind, key, n) values (${id}, ${kind}, ${key}, ${n})`;
  await api.sql`update crawls set started_at = now() - interval '10 s', ended_at = now(), done = 20, discovered = discovered + 20, items = 40 where id = ${id}`;
  const { json } = await api.call('GET', `/crawls/${id}/stats`);
  assert.equal((json.byReason as Record<string, number>).redirected, undefined, 'zero counts are left out');
  assert.deepEqual(json.flags, { links: 2 });
  assert.deepEqual(json.byStatus, { 200: 26 });
  assert.deepEqual(json.dropped, { 'required: price': 3 });
  assert.deepEqual(json.fields, {
    'book.title': { filled: 10, rate: 1 },
    'book.price': { filled: 5, rate: 0.5 },
    'book.x.y': { filled: 1, rate: 0.25 },
  });
  assert.deepEqual(json.fetchMs, { p50: 64, p90: 64, p99: 1024 });
  assert.deepEqual([json.pagesPerSecond, json.itemsPerSecond], [2, 4]);
  assert.equal((json.hosts as { origin: string }[])[0]?.origin, 'https://books.example');
});
