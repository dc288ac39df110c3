import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { ERRORS } from '../../dist/errors.js';
import { explain } from '../../dist/routes/validate.js';
import { type TestApi, testApi } from './api.ts';

let api: TestApi;
let ready = true;
before(async () => {
  api = await testApi({ ready: async () => ({ ok: ready, checks: { database: ready ? 'ok' : 'does not answer' } }) });
});
after(() => api.stop());

describe('the service', () => {
  it('tells that it lives, whether it is ready, and its metrics', async () => {
    assert.deepEqual((await api.call('GET', '/healthz')).json, { status: 'ok' });
    assert.equal((await api.call('GET', '/readyz')).status, 200);
    ready = false;
    const answer = await api.call('GET', '/readyz');
    ready = true;
    assert.deepEqual(
      [answer.status, answer.json],
      [503, { status: 'not_ready', checks: { database: 'does not answer' } }],
    );
    assert.equal((await api.call('GET', '/metrics')).text, 'up 1\n');
  });

  it('shows its contract', async () => {
    assert.equal((await api.call('GET', '/openapi.json')).json.openapi, '3.1.0');
    assert.equal((await api.call('GET', '/')).headers.location, '/docs');
    assert.equal((await api.call('GET', '/docs/')).status, 200);
  });

  it('answers an unknown path with 404, a wrong method with 405 and Allow', async () => {
    const unknown = await api.call('GET', '/nothing');
    assert.deepEqual([unknown.status, unknown.json.type], [404, 'not_found']);
    const wrong = await api.call('PUT', '/crawls/x');
    assert.deepEqual(
      [wrong.status, wrong.json.type, wrong.headers.allow],
      [405, 'method_not_allowed', 'DELETE, GET, PATCH'],
    );
    const bad = await api.call('GET', '/crawls/%zz');
    assert.deepEqual([bad.status, bad.json.type], [404, 'not_found']);
  });

  it('names each request, and takes an empty body where none is needed', async () => {
    const id = await api.start();
    const answer = await api.call('POST', `/crawls/${id}/pause`, '');
    assert.equal(answer.status, 200, answer.text);
    assert.match(String(answer.headers['x-request-id']), /^[0-9a-f-]{36}$/);
    const missing = await api.call('GET', '/nothing');
    assert.equal(missing.json.requestId, missing.headers['x-request-id']);
  });
});

describe('API keys', () => {
  let locked: TestApi;
  before(async () => {
    const apiKeys = [
      { name: 'reader', secret: 'r'.repeat(16), scopes: ['read'] as const },
      { name: 'writer', secret: 'w'.repeat(16), scopes: ['read', 'write'] as const },
    ];
    locked = await testApi({ config: { apiKeys } });
  });
  after(() => locked.stop());
  const key = (letter: string) => ({ authorization: `Bearer ${letter.repeat(16)}` });

  it('are asked for, but not for health, readiness and docs', async () => {
    for (const url of ['/crawls', '/metrics', '/crawls/x/items', '/nothing', '/docsx'])
      assert.deepEqual((await locked.call('GET', url)).json.type, 'unauthorized', url);
    for (const url of ['/healthz', '/readyz', '/openapi.json', '/docs/', '/'])
      assert.ok((await locked.call('GET', url)).status < 400, url);
  });

  it('carry scopes', async () => {
    const body = { startUrls: ['https://a.example/'] };
    assert.equal((await locked.call('GET', '/crawls', undefined, key('r'))).status, 200);
    assert.equal((await locked.call('POST', '/crawls', body, key('r'))).status, 403);
    assert.equal((await locked.call('POST', '/crawls', body, key('w'))).status, 201);
    assert.equal((await locked.call('GET', '/crawls', undefined, key('x'))).status, 401);
  });

  it('keep their Idempotency-Keys apart', async () => {
    const body = { startUrls: ['https://a.example/'] };
    const writer = await locked.call('POST', '/crawls', body, { ...key('w'), 'idempotency-key': 'same' });
    const [row] =
      await locked.sql`select principal from idempotency_keys where response->>'id' = ${String(writer.json.id)}`;
    assert.equal(row?.principal, 'writer');
  });
});

describe('errors', () => {
  it('without a database: 503, and nothing of the inside', async () => {
    const other = await testApi();
    await other.sql.end();
    const answer = await other.call('GET', '/crawls');
    assert.deepEqual([answer.status, answer.json.type], [503, 'database_unavailable']);
    await other.stop();
  });

  it('of the service itself: 500 with the request id alone', async () => {
    const other = await testApi({ metrics: () => Promise.reject(new Error('secret detail')) });
    const answer = await other.call('GET', '/metrics');
    assert.deepEqual([answer.status, answer.json.type], [500, 'internal']);
    assert.doesNotMatch(answer.text, /secret/);
    assert.equal(answer.json.requestId, answer.headers['x-request-id']);
    await other.stop();
  });

  it('are all in docs/errors.md, and no others', async () => {
    const text = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8');
    const rows = [...text.matchAll(/^\| `(\w+)` \| (\d+) \| (.+?) \| (.+?) \|$/gm)].map(
      ([, code, status, title, consequence]) => [code, { status: Number(status), title, consequence }],
    );
    assert.deepEqual(Object.fromEntries(rows), ERRORS);
  });
});

describe('explain', () => {
  const schema = {
    type: 'object',
    properties: { a: { anyOf: [{ type: 'integer', minimum: 1 }, { type: 'null' }] } },
    additionalProperties: false,
  };
  it('folds a union into one sentence, and goes into the branch whose type fits', () => {
    assert.deepEqual(explain(schema, { a: 'x' }, ''), [
      { pointer: '/a', code: 'wrong_type', message: 'found the string "x"; expected a whole number or null' },
    ]);
    assert.deepEqual(
      explain(schema, { a: 0 }, '').map((one) => one.code),
      ['out_of_range'],
    );
  });
  it('escapes pointers', () => {
    assert.equal(explain(schema, { 'a/b~c': 1 }, '')[0]?.pointer, '/a~1b~0c');
  });
});
