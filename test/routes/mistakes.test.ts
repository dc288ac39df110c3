import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, it } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import { ParserPool } from '../../dist/parser/pool.js';
import fc from '../support/property.ts';
import { type TestApi, testApi } from './api.ts';

const EXAMPLES = new URL('../../examples/', import.meta.url);
const examples = readdirSync(EXAMPLES)
  .filter((file) => file.endsWith('.json'))
  .map((file) => JSON.parse(readFileSync(new URL(file, EXAMPLES), 'utf8')) as object);

let api: TestApi;
let parser: ParserPool;
before(async () => {
  parser = new ParserPool({ threads: 1, memoryMb: 128, known: new KnownFingerprints(2 ** 10).buffer });
  await parser.start();
  api = await testApi({
    checkSpider: (spider) => parser.check(spider),
    planStart: (input) => parser.planStart(input),
  });
});
after(async () => {
  await api.stop();
  await parser.stop();
});

type Path = (string | number)[];

function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...at, key]))];
}

/** A copy with one member replaced; undefined: removed. */
function edited(value: object, path: Path, entry: unknown): object {
  const copy = structuredClone(value);
  const last = path.at(-1);
  if (last === undefined) return copy;
  const parent = path.slice(0, -1).reduce((at: object, key) => Reflect.get(at, key) as object, copy);
  if (entry !== undefined) Reflect.set(parent, last, entry);
  else if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else Reflect.deleteProperty(parent, last);
  return copy;
}

const junk = fc.oneof(
  ...[
    undefined,
    null,
    true,
    -1,
    1e9,
    '',
    'h1[',
    '{x}',
    'ftp://a/',
    [],
    {},
    [null],
    { a: { b: [1] } },
    { regex: '(' },
  ].map((value) => fc.constant(value)),
  fc.string(),
);
const wrongSpiders = fc
  .tuple(fc.constantFrom(...examples), fc.array(fc.tuple(fc.nat(), junk), { minLength: 1, maxLength: 4 }))
  .map(([spider, edits]) =>
    edits.reduce((value, [n, entry]) => {
      const paths = pathsOf(value);
      return edited(value, paths[n % paths.length]!, entry);
    }, spider),
  );

it('27: whatever is wrong in a definition, the answer is a list of mistakes with pointers, and never a failure', async () => {
  await fc.assert(
    fc.asyncProperty(wrongSpiders, async (spider) => {
      for (const [path, body] of [
        ['/spiders', spider],
        ['/crawls', { spider }],
      ] as const) {
        const answer = await api.call('POST', path, body);
        assert.ok([201, 409, 422].includes(answer.status), answer.text);
        for (const error of (answer.json.errors ?? []) as { pointer: string; code: string; message: string }[]) {
          assert.match(error.pointer, /^(\/|$)/);
          assert.ok(error.code !== 'too_complex' && error.message.length < 3000, error.message);
        }
      }
    }),
    { numRuns: 150 },
  );
});

it('27: an export whose target is wrong is not told that it has none', async () => {
  for (const [one, said] of [
    [{ file: { format: 'xlsx' } }, ['/exports/0/file/format']],
    [
      { redis: { list: 'products' } },
      ['/exports/0/redis/connection', '/exports/0/redis/list', '/exports/0/redis/stream'],
    ],
    [{ file: 'csv' }, ['/exports/0/file']],
    [{ format: 'csv' }, ['/exports/0', '/exports/0/format']],
    [{}, ['/exports/0']],
  ] as const) {
    const { status, json } = await api.call('POST', '/crawls', { startUrls: ['https://a.example/'], exports: [one] });
    const pointers = (json.errors as { pointer: string }[]).map(({ pointer }) => pointer);
    assert.deepEqual([status, pointers.toSorted()], [422, said]);
  }
});

it('27: what a string must look like is said in words, too', async () => {
  const s3 = { connection: 'x', format: 'csv', prefix: 'shop/{date}' };
  const { json } = await api.call('POST', '/crawls', { startUrls: ['https://a.example/'], exports: [{ s3 }] });
  const wrong = (json.errors as { pointer: string; message: string }[]).find(({ pointer }) =>
    pointer.endsWith('/prefix'),
  );
  assert.match(wrong!.message, /`\{crawl\}` and `\{spider\}` are filled in/);
});
