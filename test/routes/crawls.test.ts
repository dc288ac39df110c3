import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { loadCrawls } from '../../dist/db/crawl_runs.js';
import { countRows, type TestApi, testApi } from './api.ts';

let api: TestApi;
before(async () => {
  api = await testApi();
});
after(() => api.stop());
afterEach(() => {
  api.spiderProblems = [];
});

const page = (fields: object) => ({ pages: [{ items: [{ fields }] }] });
const start = ['https://books.example/'];

describe('POST /crawls', () => {
  it('starts a crawl from a start URL alone', async () => {
    const answer = await api.call('POST', '/crawls', { startUrls: ['https://Books.example/a?b=1&a=2#x'] });
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.location, `/crawls/${answer.json.id}`);
    assert.equal(answer.json.state, 'queued');
    assert.deepEqual(answer.json.stats, { ...(answer.json.stats as object), discovered: 1, queued: 1, skipped: 0 });
    assert.ok(api.changed.includes(String(answer.json.id)));
    const rows = await api.sql`
      select r.url, r.state, r.depth, r.rank::text, h.origin, q.queued, q.head::text from requests r
      join hosts h on h.id = r.host_id join host_queues q on q.crawl_id = r.crawl_id and q.host_id = h.id
      where r.crawl_id = ${String(answer.json.id)}`;
    const { rank, head, ...row } = rows[0]!;
    assert.equal(rank, head);
    assert.deepEqual(row, {
      url: 'https://books.example/a?a=2&b=1',
      state: 0,
      depth: 0,
      origin: 'https://books.example',
      queued: 1,
    });
    const shown = await api.call('GET', String(answer.headers.location));
    assert.deepEqual(shown.json, answer.json);
  });

  it('counts equal start URLs once and merges settings: defaults, spider, crawl', async () => {
    const answer = await api.call('POST', '/crawls', {
      spider: { name: 'books', settings: { delayMs: 5, maxPages: 10 } },
      startUrls: ['https://a.example/', 'https://a.example/#top', 'https://b.example/', 'https://a.example'],
      settings: { maxPages: 20, maxDurationSeconds: 60 },
    });
    assert.equal((answer.json.stats as { discovered: number }).discovered, 2);
    const [row] =
      await api.sql`select max_pages, remaining_ms, next_seq, scope_hosts, settings->>'delayMs' as delay, settings->>'retries' as retries
      from crawls where id = ${String(answer.json.id)}`;
    assert.deepEqual(
      { ...row },
      {
        max_pages: 20,
        remaining_ms: 60_000,
        next_seq: 2,
        scope_hosts: ['a.example', 'www.a.example', 'b.example', 'www.b.example'],
        delay: '5',
        retries: '2',
      },
    );
  });

  it('24: holds claims and commits to the limits by host and by pattern, and to a changed one', async () => {
    const limits = { maxPagesPerHost: 5, maxQueuePerHost: 6, maxUrlsPerPattern: 7 };
    const id = await api.start({ startUrls: ['https://books.example/'], settings: limits });
    const columns = async () => {
      const [row] = await api.sql`
        select max_pages_per_host, max_queue_per_host, max_urls_per_pattern from crawls where id = ${id}`;
      return Object.values(row!);
    };
    assert.deepEqual(await columns(), [5, 6, 7]);
    for (const maxPagesPerHost of [50, null]) {
      assert.equal((await api.call('PATCH', `/crawls/${id}`, { settings: { maxPagesPerHost } })).status, 200);
      assert.deepEqual(await columns(), [maxPagesPerHost, 6, 7]);
    }
    assert.equal((await api.call('PATCH', `/crawls/${id}`, { settings: { maxQueuePerHost: 1 } })).status, 422);
  });
  it('keeps the order of fields and settings: of the definition, and after a PATCH', async () => {
    // An order that is neither alphabetical nor by length, as jsonb would have it.
    const spider = page({ title: 'h1', a: 'a', price: '.price', bb: 'b' });
    const id = await api.start({ startUrls: start, spider, settings: { headers: { 'x-long': '1', a: '2' } } });
    const stored = async () => (await loadCrawls(api.sql, [id]))[0]!;
    const before = await stored();
    assert.equal(JSON.stringify(before.definition), JSON.stringify(spider));
    assert.equal((await api.call('PATCH', `/crawls/${id}`, { settings: { delayMs: 5 } })).status, 200);
    const after = await stored();
    assert.equal(JSON.stringify(after.settings), JSON.stringify({ ...before.settings, delayMs: 5 }));
    assert.deepEqual(Object.keys(after.settings.headers), ['x-long', 'a']);
  });

  it('takes ten thousand start URLs over many hosts', async () => {
    const startUrls = Array.from({ length: 10_000 }, (_, i) => `https://h${i % 50}.example/${i}`);
    const id = await api.start({ startUrls });
    const [sum] =
      await api.sql`select sum(queued)::int as queued, count(*)::int as hosts from host_queues where crawl_id = ${id}`;
    assert.deepEqual({ ...sum }, { queued: 10_000, hosts: 50 });
  });

  it('keeps start URLs outside an explicit scope as skipped, with a warning', async () => {
    const spider = { scope: { hosts: ['Books.example'], subdomains: true } };
    const answer = await api.call('POST', '/crawls', {
      spider,
      startUrls: ['https://x.books.example/', 'https://other.example/'],
    });
    assert.deepEqual(answer.json.warnings, ['the start URL https://other.example/ is outside the scope']);
    const ledger = await api.call('GET', `/crawls/${answer.json.id}/requests?state=skipped`);
    const [request] = ledger.json.requests as { url: string; reason: string }[];
    assert.equal(request?.reason, 'offsite');
    const stats = await api.call('GET', `/crawls/${answer.json.id}/stats`);
    assert.deepEqual(stats.json.byReason, { offsite: 1 });
  });

  it('fails a crawl at once when every start URL is outside its scope', async () => {
    const answer = await api.call('POST', '/crawls', {
      spider: { scope: { hosts: ['a.example'] } },
      startUrls: ['https://b.example/'],
    });
    assert.deepEqual([answer.status, answer.json.state, answer.json.stopReason], [201, 'failed', 'start_urls_failed']);
  });

  it('stores text that PostgreSQL cannot hold as U+FFFD', async () => {
    const answer = await api.call('POST', '/crawls', {
      startUrls: start,
      labels: { 'a\0': 'b\0\ud800', c: '\\u0000' },
      spider: { description: 'x\0' },
    });
    assert.deepEqual(answer.json.labels, { 'a\ufffd': 'b\ufffd\ufffd', c: '\\u0000' });
  });
});

describe('a refused POST /crawls stores nothing and says where', () => {
  const cases: [string, unknown, number, [string, string][]][] = [
    ['unknown field', { startUrl: start, startUrls: start }, 422, [['/startUrl', 'unknown_field']]],
    ['unknown setting', { startUrls: start, settings: { maxPges: 1 } }, 422, [['/settings/maxPges', 'unknown_field']]],
    ['wrong type', { startUrls: 'https://books.example/' }, 422, [['/startUrls', 'wrong_type']]],
    ['number as text', { startUrls: start, settings: { maxPages: '5' } }, 422, [['/settings/maxPages', 'wrong_type']]],
    ['null body', null, 422, [['', 'wrong_type']]],
    [
      'out of range',
      { startUrls: start, settings: { concurrency: 0 } },
      422,
      [['/settings/concurrency', 'out_of_range']],
    ],
    ['bad word', { startUrls: start, settings: { order: 'random' } }, 422, [['/settings/order', 'bad_value']]],
    [
      'missing field',
      { startUrls: start, spider: { pages: [{ items: [{}] }] } },
      422,
      [['/spider/pages/0/items/0/fields', 'required']],
    ],
    ['no start URL', { spider: { name: 'x' } }, 422, [['/startUrls', 'required']]],
    ['no URL', { startUrls: ['books'] }, 422, [['/startUrls/0', 'bad_url']]],
    ['other scheme', { startUrls: ['https://a.example/', 'ftp://a.example/'] }, 422, [['/startUrls/1', 'bad_url']]],
    ['password', { spider: { startUrls: ['https://u:p@a.example/'] } }, 422, [['/spider/startUrls/0', 'bad_url']]],
    [
      'bad host',
      { startUrls: start, spider: { scope: { hosts: ['http://a.example/'] } } },
      422,
      [['/spider/scope/hosts/0', 'bad_host']],
    ],
    [
      'host header',
      { startUrls: start, settings: { headers: { Host: 'x' } } },
      422,
      [['/settings/headers/Host', 'bad_header']],
    ],
    [
      'header injection',
      { startUrls: start, settings: { headers: { a: 'x\r\nb: c' } } },
      422,
      [['/settings/headers/a', 'bad_header']],
    ],
    [
      'a union of types',
      { startUrls: start, spider: { pages: [{ match: [5, { regx: 'a' }] }] } },
      422,
      [
        ['/spider/pages/0/match/0', 'wrong_type'],
        ['/spider/pages/0/match/1/regex', 'required'],
        ['/spider/pages/0/match/1/regx', 'unknown_field'],
      ],
    ],
  ];
  for (const [name, body, status, problems] of cases)
    it(name, async () => {
      const rows = await countRows(api.sql);
      const answer = await api.call('POST', '/crawls', JSON.stringify(body));
      assert.equal(answer.status, status, answer.text);
      assert.match(String(answer.headers['content-type']), /^application\/problem\+json/);
      const errors = answer.json.errors as { pointer: string; code: string }[];
      assert.deepEqual(
        errors.map((error) => [error.pointer, error.code]),
        problems,
      );
      assert.deepEqual(await countRows(api.sql), rows);
    });

  it('a selector that does not compile', async () => {
    api.spiderProblems = [
      { pointer: '/pages/0/items/0/fields/title', code: 'bad_selector', message: 'h1[ does not compile' },
    ];
    const rows = await countRows(api.sql);
    const answer = await api.call('POST', '/crawls', { startUrls: start, spider: page({ title: 'h1[' }) });
    assert.equal(answer.status, 422);
    assert.equal(answer.json.type, 'invalid_spider');
    assert.equal((answer.json.errors as { pointer: string }[])[0]?.pointer, '/spider/pages/0/items/0/fields/title');
    assert.deepEqual(await countRows(api.sql), rows);
  });

  it('27: every mistake at once, those of the schema and those beyond it', async () => {
    api.spiderProblems = [
      { pointer: '/pages/0/items/0/fields/title', code: 'bad_selector', message: 'h1[ does not compile' },
    ];
    const body = {
      startUrls: ['ftp://x/'],
      spider: { ...page({ title: 'h1[' }), nme: 'x' },
      settings: { maxPages: 'x' },
      label: {},
    };
    const answer = await api.call('POST', '/crawls', body);
    const errors = answer.json.errors as { pointer: string; message: string }[];
    assert.deepEqual(errors.map((error) => error.pointer).sort(), [
      '/label',
      '/settings/maxPages',
      '/spider/nme',
      '/spider/pages/0/items/0/fields/title',
      '/startUrls/0',
    ]);
    const messages = errors.map((error) => error.message).join('\n');
    assert.match(messages, /did you mean `labels`/);
    assert.match(messages, /found the string "x"; expected a whole number or null/);
  });

  const broken: [string, string, object, number, string][] = [
    ['broken JSON', '{"startUrls": [', {}, 400, 'invalid_json'],
    ['a __proto__ key', '{"__proto__": {"a": 1}}', {}, 400, 'invalid_json'],
    ['a body of another type', 'a=b', { 'content-type': 'text/plain' }, 415, 'unsupported_media_type'],
    ['a body that is too large', JSON.stringify({ startUrls: ['x'.repeat(1_100_000)] }), {}, 413, 'body_too_large'],
    [
      'a body nested too deep',
      `{"spider":{"pages":[{"items":[{"fields":{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}}]}]}}`,
      {},
      422,
      'invalid_request',
    ],
  ];
  for (const [name, body, headers, status, type] of broken)
    it(name, async () => {
      const rows = await countRows(api.sql);
      const answer = await api.call('POST', '/crawls', body, headers);
      assert.deepEqual([answer.status, answer.json.type], [status, type]);
      assert.deepEqual(await countRows(api.sql), rows);
    });
});

describe('Idempotency-Key', () => {
  const body = { startUrls: ['https://once.example/'] };
  const withKey = (key: string, payload: object = body) =>
    api.call('POST', '/crawls', payload, { 'idempotency-key': key });

  it('gives the first answer again for the same key and body', async () => {
    const first = await withKey('a');
    const again = await withKey('a');
    assert.deepEqual([first.status, again.status, again.headers['idempotent-replayed']], [201, 201, 'true']);
    assert.equal(first.headers['idempotent-replayed'], undefined);
    assert.equal(again.text, first.text);
    assert.equal(again.headers.location, first.headers.location);
  });

  it('refuses the key with another body', async () => {
    await withKey('b');
    const other = await withKey('b', { startUrls: ['https://other.example/'] });
    assert.deepEqual([other.status, other.json.type], [422, 'idempotency_mismatch']);
  });

  it('starts one crawl for many requests at once', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => withKey('c')));
    assert.equal(new Set(answers.map((answer) => answer.json.id)).size, 1);
    assert.equal(answers.filter((answer) => answer.headers['idempotent-replayed'] === undefined).length, 1);
    const id = String(answers[0]!.json.id);
    assert.equal(api.changed.filter((changed) => changed === id).length, 1);
  });

  it('keeps nothing for a refused request', async () => {
    assert.equal((await withKey('d', { startUrls: ['nonsense'] })).status, 422);
    assert.equal((await withKey('d')).status, 201);
  });

  it('holds a key of at most 255 characters', async () => {
    const answer = await withKey('x'.repeat(256));
    assert.equal((answer.json.errors as { pointer: string }[])[0]?.pointer, 'idempotency-key:');
    assert.equal((await withKey('x'.repeat(255))).status, 201);
  });
});

describe('GET /crawls', () => {
  it('pages newest first, and filters by state, spider and label', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++)
      ids.unshift(await api.start({ startUrls: start, spider: { name: 'paged' }, labels: { n: String(i % 2) } }));
    const seen: string[] = [];
    let cursor = '';
    for (let pages = 0; pages < 10; pages++) {
      const answer = await api.call('GET', `/crawls?spider=paged&limit=2${cursor}`);
      seen.push(...(answer.json.crawls as { id: string }[]).map((crawl) => crawl.id));
      if (answer.json.next === null) break;
      cursor = `&cursor=${answer.json.next}`;
    }
    assert.deepEqual(seen, ids);
    const labelled = await api.call('GET', '/crawls?spider=paged&label=n:1&state=queued');
    assert.equal((labelled.json.crawls as object[]).length, 2);
  });

  it('names a bad query parameter', async () => {
    for (const [query, pointer] of [
      ['limit=0', '?limit'],
      ['limit=x', '?limit'],
      ['limt=5', '?limt'],
      ['cursor=zzz', '?cursor'],
      ['label=x', '?label'],
      ['state=asleep', '?state'],
    ]) {
      const answer = await api.call('GET', `/crawls?${query}`);
      assert.equal(answer.status, 422, query);
      assert.equal((answer.json.errors as { pointer: string }[])[0]?.pointer, pointer);
    }
    assert.equal((await api.call('GET', '/crawls?label=a:%00&spider=%00')).status, 200);
  });
});
