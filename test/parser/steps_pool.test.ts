import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { WaitingItem } from '../../dist/model/outcome.js';
import type { Step } from '../../dist/model/step_schema.js';
import { ParseFailure, ParserPool, ParserStopped } from '../../dist/parser/pool.js';
import { planInput, shared } from './helpers.ts';

let pool: ParserPool;
before(async () => {
  pool = new ParserPool({ threads: 2, memoryMb: 128, known: new KnownFingerprints(1024).buffer });
  await pool.start();
});
after(() => pool.stop());

const definitionOf = (pipeline: Step[]) => ({
  pages: [{ items: [{ type: 'row', each: 'li', fields: { n: { as: 'number' as const } } }] }],
  pipeline,
});

function open(pipeline: Step[], settings = {}): string {
  const crawlId = randomUUID();
  pool.openCrawl(planInput(definitionOf(pipeline), settings, crawlId));
  return crawlId;
}

const jobOf = (crawlId: string, html: string) => ({
  ...{ crawlId, url: 'http://site.test/', depth: 0, status: 200, extra: null, contentType: 'text/html' },
  ...{ ...shared(html), fetchedAt: 0 },
});

const ENRICH: Step = { enrich: { url: 'https://api.example/{n}', set: { a: 'a' }, onError: 'fail' } };
const failsWith = (reason: string) => (error: unknown) => error instanceof ParseFailure && error.reason === reason;

test('a page comes back with what its items wait for, and goes on with the answers', async () => {
  const crawlId = open([{ drop: { field: 'n', equals: 2 } }, ENRICH, { drop: { field: 'a', below: 0 } }]);
  const page = await pool.parse(jobOf(crawlId, '<li>1<li>2<li>3<li>4'));
  assert.deepEqual(page.items, []);
  const { waiting, places } = page.pending!;
  assert.deepEqual(places, []);
  assert.deepEqual(
    waiting.map(({ place }) => place),
    [0, 2, 3],
  );
  const answers = ['{"a":1}', '{"a":-1}', '{}'].map((text) => ({ text }));
  const done = await pool.steps({ crawlId, definition: null, waiting, answers, bytes: 0 });
  assert.deepEqual(
    done.items.map(({ data }) => data),
    ['{"n":1,"a":1}', '{"n":4,"a":null}'],
  );
  assert.deepEqual(done.places, [0, 3]);
  assert.deepEqual({ ...done.dropped }, { 'drop: a': 1 });
});

test('onError: fail is pipeline_error, with the step and its reason', async () => {
  const crawlId = open([ENRICH]);
  const { waiting } = (await pool.parse(jobOf(crawlId, '<li>1'))).pending!;
  const failing = pool.steps({
    crawlId,
    definition: null,
    waiting,
    answers: [{ error: 'timeout', detail: 'late' }],
    bytes: 0,
  });
  await assert.rejects(failing, { reason: 'pipeline_error', message: 'enrich[0]: timeout (late)' });
  await assert.rejects(pool.parse(jobOf(crawlId, '<li>none')), { message: 'enrich[0]: no_value' });
});

test('28: a schema whose regex never ends is killed at the page’s limit, and others go on', async () => {
  const innocent = open([{ set: { ok: true } }]);
  const item: WaitingItem = {
    ...{ place: 0, type: 'row', data: `{"a":"${'a'.repeat(40)}!"}`, size: 50, keys: [], step: 0 },
    question: { kind: 'lookup', params: [] },
  };
  const pipeline: Step[] = [
    { lookup: { connection: 'c', query: 'q', params: [], set: {} } },
    { validate: { properties: { a: { pattern: '^(a+)+$' } } } },
  ];
  const crawlId = open(pipeline, { parseTimeoutMs: 400 });
  const burn = pool.steps({ crawlId, definition: null, waiting: [item], answers: [{ text: '[]' }], bytes: 0 });
  const [, page] = await Promise.all([
    assert.rejects(burn, failsWith('parse_timeout')),
    pool.parse(jobOf(innocent, '<li>1')),
  ]);
  assert.equal(page.items[0]!.data, '{"n":1,"ok":true}');
});

test('a preview’s steps run without its crawl being open', async () => {
  const definition = definitionOf([ENRICH]);
  const { page } = await pool.preview(planInput(definition), jobOf(randomUUID(), '<li>1'));
  const { waiting } = page.pending!;
  const job = { crawlId: randomUUID(), definition, waiting, answers: [{ text: '{"a":2}' }], bytes: 0 };
  assert.equal((await pool.steps(job)).items[0]!.data, '{"n":1,"a":2}');
});

test('the steps of a closed crawl are not run', async () => {
  const crawlId = open([ENRICH]);
  const { waiting } = (await pool.parse(jobOf(crawlId, '<li>1'))).pending!;
  pool.closeCrawl(crawlId);
  const job = { crawlId, definition: null, waiting, answers: [{ text: '{}' }], bytes: 0 };
  await assert.rejects(pool.steps(job), ParserStopped);
});

test('a list is split into its members as JSON', async () => {
  const crawlId = open([]);
  assert.deepEqual(await pool.split({ crawlId, text: ' [1, {"a": [2]}, null, "x"]' }), [
    '1',
    '{"a":[2]}',
    'null',
    '"x"',
  ]);
  assert.equal(await pool.split({ crawlId, text: '{"a":1}' }), null);
  await assert.rejects(pool.split({ crawlId, text: '[1' }), ParseFailure);
});
