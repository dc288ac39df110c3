import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { storedBytes } from '../../dist/db/cached_responses.js';
import { inTransaction, openPool, type Sql } from '../../dist/db/client.js';
import { conditionsOf, isFresh, isStorable, updatedHeaders } from '../../dist/engine/cache_policy.js';
import { cacheRequest, keyOf, ResponseCache } from '../../dist/engine/response_cache.js';
import type { FetchedResponse, FetchResult } from '../../dist/model/response.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dist/model/settings.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

const MB = 1024 * 1024;
const complaints: object[] = [];

function newCache(options: { sql?: Sql; maxBytes?: number } = {}): ResponseCache {
  const log = { warn: (detail: object) => complaints.push(detail) };
  return new ResponseCache({ sql: database.sql, maxBytes: 100 * MB, log, ...options });
}

function asked(path: string, settings: Partial<Settings> = {}, headers: Record<string, string> = {}) {
  const all: Settings = { ...DEFAULT_SETTINGS, cache: { mode: 'use' }, ...settings };
  return cacheRequest(all, { url: `https://a.example${path}`, headers });
}

function response(bytes: Buffer, headers: FetchedResponse['headers'] = {}): FetchedResponse {
  const body = new SharedArrayBuffer(bytes.length);
  new Uint8Array(body).set(bytes);
  return { kind: 'response', status: 200, headers, body, bodyBytes: bytes.length, wireBytes: bytes.length, ms: 1 };
}

function bodyOf(fetched: FetchResult | null): Buffer {
  assert.equal(fetched?.kind, 'response');
  return Buffer.from(fetched.body, 0, fetched.bodyBytes);
}

/** What the cache has; fails where it asks the site. */
const stored = (cache: ResponseCache, path: string) =>
  cache.fetch(asked(path), () => assert.fail(`${path} is not in the cache`));

test('bodies come back byte by byte, however large: what is over a mebibyte crosses in slices', async () => {
  const cache = newCache();
  const bodies = [0, 1, 100_000, MB + 1, 5 * MB].map((size) => randomBytes(size));
  const headers = { 'set-cookie': ['a=1', 'b=2'], 'x-odd': 'caf\u00e9', etag: '"1"' };
  await Promise.all(bodies.map((body, i) => cache.store(asked(`/${i}`), response(body, headers), 1_700_000_000_123)));
  await database.sql`update cached_responses set stored_at = stored_at + interval '20 years'`;
  for (const [i, body] of bodies.entries()) {
    const fetched = await stored(cache, `/${i}`);
    assert.ok(bodyOf(fetched).equals(body), `${body.length} bytes`);
    assert.deepEqual((fetched as FetchedResponse).headers, headers);
    assert.equal(fetched.wireBytes, 0);
  }
  await cache.store(asked('/huge'), response(Buffer.alloc(8 * MB + 1)), Date.now());
  assert.equal((await cache.find({ mode: 'use' }, new Map([[keyOf(asked('/huge')), asked('/huge')]]))).size, 0);
  assert.deepEqual(complaints, []);
});

test('the key: what is sent tells requests apart, what asks whether it is new does not', () => {
  const base = keyOf(asked('/'));
  const same = [
    keyOf(asked('/#part')),
    keyOf(asked('/', {}, { 'if-none-match': '"1"' })),
    keyOf(asked('/', { timeoutMs: 1000, maxBodyBytes: 5000, cache: { mode: 'standard' } })),
  ];
  for (const key of same) assert.equal(key, base);
  assert.equal(keyOf(asked('/', {}, { cookie: 'a=1; b=2' })), keyOf(asked('/', {}, { cookie: 'b=2; a=1' })));
  const others = [
    asked('/x'),
    asked('/?a'),
    asked('/', {}, { cookie: 'a=1' }),
    asked('/', {}, { authorization: 'Bearer x' }),
    asked('/', {}, { 'accept-language': 'de' }),
    asked('/', { verifyTls: false }),
    asked('/', { proxy: 'http://proxy.example:8080' }),
    asked('/', { proxy: 'http://other:secret@proxy.example:8080' }),
    asked('/', { proxy: ['http://proxy.example:8080'] }),
    asked('/', {}, { cookie: 'a=1; a=2' }),
    asked('/', {}, { cookie: 'a=2; a=1' }),
    { ...asked('/'), method: 'POST' },
    { ...asked('/'), method: 'POST', body: '' },
  ].map(keyOf);
  assert.equal(new Set([base, ...others]).size, others.length + 1);
});

test('beyond its bound the oldest go first; after thirty days all do', async () => {
  const cache = newCache({ maxBytes: 2 * MB });
  await database.sql`delete from cached_responses`;
  const now = Date.now();
  await Promise.all(
    [...Array(30).keys()].map((i) =>
      cache.store(asked(`/${i}`), response(randomBytes(100_000)), now - (30 - i) * 1000),
    ),
  );
  await cache.store(asked('/old'), response(Buffer.from('x')), now - 31 * 86_400_000);
  assert.ok(cache.totals.bytes > 3_000_000);
  await cache.sweep();
  const held = await storedBytes(database.sql);
  assert.ok(held <= 2 * MB, `${held} bytes`);
  assert.equal(cache.totals.held, held);
  const left = await database.sql<{ key: string }[]>`
    select replace(key::text, '-', '') as key from cached_responses order by stored_at desc`;
  const newest = [...Array(30).keys()].map((i) => keyOf(asked(`/${29 - i}`))).slice(0, left.length);
  assert.deepEqual(
    left.map(({ key }) => key),
    newest,
  );
  await cache.sweep();
  assert.equal(await storedBytes(database.sql), held, 'what fits stays');
});

test('40: a cache that does not answer takes half of the connections, and no more', async () => {
  const sql = openPool(database.url, 4, 'test cache');
  const cache = newCache({ sql });
  const waiting: Promise<unknown>[] = [];
  try {
    await inTransaction(database.sql, async (tx) => {
      await tx`lock table cached_responses in access exclusive mode`;
      for (let i = 0; i < 20; i++) {
        const one = asked(`/locked/${i}`);
        waiting.push(cache.find({ mode: 'use' }, new Map([[keyOf(one), one]])));
        waiting.push(cache.fetch(one, async () => response(Buffer.from('x'))));
        waiting.push(cache.store(one, response(Buffer.from('x')), Date.now()));
      }
      waiting.push(cache.sweep());
      assert.equal((await sql`select 1 as one`)[0]?.one, 1);
      const [busy] = await database.sql<{ n: number }[]>`
        select count(*)::int as n from pg_stat_activity where application_name = 'test cache' and wait_event_type = 'Lock'`;
      assert.ok(busy!.n <= 2, `${busy!.n} connections wait`);
    });
    await Promise.all(waiting);
  } finally {
    cache.stop();
    await sql.end({ timeout: 1 });
  }
});

test('standard: a condition of the request’s own is its own; what may not be kept any more is forgotten', async () => {
  const cache = newCache();
  const standard = (headers = {}) => asked('/condition', { cache: { mode: 'standard' } }, headers);
  const answer = (status: number, headers: FetchedResponse['headers']) => ({
    ...response(Buffer.from('x'), headers),
    status,
  });
  const has = async () => {
    const key = keyOf(standard());
    return (await database.sql`select 1 from cached_responses where key = ${key}::uuid`).length === 1;
  };
  await cache.store(standard(), answer(200, { etag: '"1"', 'cache-control': 'no-cache' }), Date.now());
  const sent: object[] = [];
  const ask = (headers: object, fetched: FetchResult) =>
    cache.fetch(standard(headers as Record<string, string>), async (given) => {
      sent.push(given);
      return fetched;
    });
  const own = await ask({ 'if-none-match': '"mine"' }, answer(304, {}));
  assert.equal((own as FetchedResponse).status, 304);
  assert.ok(await has());
  const down = await ask({}, answer(503, {}));
  assert.equal((down as FetchedResponse).status, 503);
  assert.ok(await has(), 'a failure says nothing of it');
  const same = await ask({}, answer(304, { 'cache-control': 'max-age=60', etag: '"1"' }));
  assert.deepEqual([(same as FetchedResponse).status, bodyOf(same).toString()], [200, 'x']);
  await cache.store(standard(), same, Date.now());
  assert.equal((await cache.fetch(standard(), () => assert.fail('it is fresh now'))).kind, 'response');
  await ask({ 'cache-control': 'no-cache' }, answer(200, { 'cache-control': 'no-store' }));
  await cache.store(
    standard(),
    answer(200, { etag: `"${'e'.repeat(2000)}"`, 'cache-control': 'no-cache' }),
    Date.now(),
  );
  await ask({}, answer(200, { etag: '"2"' }));
  assert.deepEqual(sent, [
    { 'if-none-match': '"mine"' },
    { 'if-none-match': '"1"' },
    { 'if-none-match': '"1"' },
    { 'cache-control': 'no-cache' },
    {},
  ]);
  await database.sql`update cached_responses set headers = json_build_object('etag', '"1"', 'cache-control', 'no-cache')`;
  await ask({}, answer(200, { 'cache-control': 'no-store' }));
  assert.equal(await has(), false);
  assert.deepEqual(complaints, []);
});

test('standard: headers that a site adds with each 304 do not grow without end', () => {
  let headers: FetchedResponse['headers'] = { 'content-type': 'text/html', etag: '"1"' };
  for (let i = 0; i < 20; i++) headers = updatedHeaders(headers, { etag: '"1"', [`x-${i}`]: 'x'.repeat(20_000) });
  assert.ok(JSON.stringify(headers).length < 100_000);
  assert.deepEqual([headers['content-type'], headers.etag], ['text/html', '"1"']);
});

test('standard: headers that are longer than anybody needs are not taken apart', () => {
  const request = { method: 'GET', url: 'https://a.example/', headers: {} };
  const long = { status: 200, headers: { 'cache-control': `max-age=60${',a'.repeat(1500)}`, etag: '"1"' } };
  const vary = { status: 200, headers: { 'cache-control': 'max-age=60', vary: 'a,'.repeat(1500) } };
  for (const answer of [long, vary]) {
    assert.equal(isStorable(request, answer), false);
    assert.equal(isFresh(request, answer, Date.now()), false);
    assert.equal(conditionsOf(request, answer, Date.now()), null);
  }
  assert.ok(isStorable(request, { status: 200, headers: { ...long.headers, 'cache-control': 'max-age=60' } }));
});
