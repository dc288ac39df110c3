import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { Spider, StartUrl } from '../../dist/model/spider.js';
import { ParserPool } from '../../dist/parser/pool.js';
import type { StartInput } from '../../dist/parser/start_requests.js';

let pool: ParserPool;
before(async () => {
  pool = new ParserPool({ threads: 1, memoryMb: 128, known: new KnownFingerprints(1024).buffer });
  await pool.start();
});
after(() => pool.stop());

const start = (startUrls: StartUrl[], params: StartInput['params'] = {}, definition: Spider = {}) =>
  pool.planStart({ definition, startUrls, params, isGiven: true, settings: DEFAULT_SETTINGS, hosts: null });

test('first requests are worked out in a thread', async () => {
  const plan = await start(['https://a.example/{n}', { url: 'https://b.example/', form: { n: '{n}' } }], { n: [1, 2] });
  assert.deepEqual(
    plan.requests.map(({ url, extra }) => [url, extra === null ? null : JSON.parse(extra).body]),
    [
      ['https://a.example/1', null],
      ['https://a.example/2', null],
      ['https://b.example/', 'n=1'],
      ['https://b.example/', 'n=2'],
    ],
  );
  assert.deepEqual([plan.problems, plan.scopeHosts.length], [[], 4]);
});

test('a schema whose pattern never comes to an end refuses the params, and holds nobody', async () => {
  const params = { type: 'object', properties: { word: { pattern: '^(a+)+$' } } };
  const [evil, innocent] = await Promise.all([
    start(['https://a.example/'], { word: `${'a'.repeat(50)}!` }, { params }),
    start(['https://a.example/']),
  ]);
  assert.deepEqual(
    evil.problems.map(({ code }) => code),
    ['too_complex'],
  );
  assert.equal(innocent.requests.length, 1);
});
