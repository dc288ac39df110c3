import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { commitItems, type TestApi, testApi } from './api.ts';

let api: TestApi;
before(async () => {
  api = await testApi();
});
after(() => api.stop());

const startUrls = ['https://books.example/'];

it('tells how far each export and webhook is, without its secrets', async () => {
  const exports = [{ file: { format: 'ndjson' } }, { name: 'table', file: { format: 'csv' }, type: 'book' }];
  const webhooks = [{ url: 'https://hooks.example/', headers: { authorization: 'Bearer hush-hush' } }];
  const id = await api.start({ startUrls, exports, webhooks });
  await commitItems(api.sql, id, 3);
  await api.sql`update exports set next_offset = 2, written = 2, position = '{"file":3}' where crawl_id = ${id} and n = 0`;
  const { json, text, status } = await api.call('GET', `/crawls/${id}/exports`);
  assert.equal(status, 200, text);
  assert.doesNotMatch(text, /hush|whsec_/);
  const [first, second, third] = json.exports as Record<string, unknown>[];
  const { definition, name, kind, state, nextOffset, lag, files, retryAt } = first!;
  assert.deepEqual(
    { definition, name, kind, state, nextOffset, lag, files, retryAt },
    {
      definition: exports[0],
      name: 'file',
      kind: 'file',
      state: 'active',
      nextOffset: 2,
      lag: 1,
      files: 2,
      retryAt: null,
    },
  );
  assert.deepEqual([second!.name, third!.name, third!.kind, third!.files], ['table', 'webhook', 'webhook', null]);
});

it('goes on with one that failed, twice is once; one that works is left, one that is not there is a 404', async () => {
  const id = await api.start({ startUrls, exports: [{ file: { format: 'ndjson' } }] });
  await api.sql`
    update exports set state = 'failed', failures = 3, failing_since = now(), last_error = 'no', last_error_at = now()
    where crawl_id = ${id}`;
  for (let i = 0; i < 2; i++) {
    const { status, json } = await api.call('POST', `/crawls/${id}/exports/file/resume`);
    assert.deepEqual([status, json.state, json.failures, json.lastError], [200, 'active', 0, 'no']);
  }
  assert.ok(api.changed.includes(id));
  const missing = await api.call('POST', `/crawls/${id}/exports/nothing/resume`);
  assert.deepEqual([missing.status, missing.json.type], [404, 'export_not_found']);
  const gone = await api.call('GET', '/crawls/00000000-0000-7000-8000-000000000000/exports');
  assert.deepEqual([gone.status, gone.json.type], [404, 'crawl_not_found']);
});

it('refuses two exports that would write the same files', async () => {
  const file = { format: 'ndjson' };
  const exports = [{ file }, { file: { ...file, gzip: true } }, { file: { format: 'csv' } }, { name: 'b', file }];
  const { status, json } = await api.call('POST', '/crawls', { startUrls, exports });
  assert.equal(status, 422);
  const found = (json.errors as { pointer: string; code: string }[]).map(({ pointer, code }) => [pointer, code]);
  assert.deepEqual(found, [['/exports/3/file/name', 'conflict']]);
});
