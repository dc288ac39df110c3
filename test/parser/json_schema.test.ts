import assert from 'node:assert/strict';
import { test } from 'node:test';
import { misfits, misfitWords, schemaMistakes } from '../../dist/parser/json_schema.js';

const MISTAKES: [unknown, string, RegExp][] = [
  [{ required: 'title' }, '/required', /array/],
  [{ type: 'strin' }, '/type', /allowed values/],
  [{ properties: { a: 3 } }, '/properties/a', /object or boolean/],
  [{ properties: { a: { minimum: '2' } } }, '/properties/a/minimum', /number/],
  [{ properties: { a: { pattern: '(' } } }, '/properties/a/pattern', /group/],
  [{ patternProperties: { '[': {} } }, '/patternProperties', /character class/],
  [{ $ref: 'https://elsewhere.example/schema' }, '/$ref', /leads outside/],
  [{ allOf: [{ $ref: '#' }] }, '', /without an end/],
  [{ items: { $ref: '#/$defs/none' }, $defs: {} }, '/items/$ref', /nothing at "#\/\$defs\/none"/],
  [JSON.parse(`${'{"not":'.repeat(200)}{}${'}'.repeat(200)}`), '', /deeper than 100/],
];
for (const [schema, pointer, message] of MISTAKES)
  test(`a schema’s mistake is found: ${message}`, () => {
    const [mistake] = schemaMistakes(schema);
    assert.equal(mistake?.pointer, pointer);
    assert.match(mistake!.message, message);
  });

for (const schema of [
  {},
  { type: 'object', properties: { a: { type: ['string', 'null'] } }, unknownKeyword: 1 },
  { $ref: '#/$defs/a~1b', $defs: { 'a/b': { type: 'string' } } },
  { enum: [{ $ref: 'x', pattern: '(' }], default: { pattern: '(' } },
])
  test(`a schema without a mistake: ${JSON.stringify(schema)}`, () => assert.deepEqual(schemaMistakes(schema), []));

test('each misfit names its place', () => {
  const schema = { required: ['a', 'b'], properties: { c: { items: { type: 'number' } } } };
  assert.deepEqual(
    misfits(schema, { c: [1, 'x'] }).map(({ pointer, keyword }) => `${pointer} ${keyword}`),
    ['/a required', '/b required', '/c/1 type'],
  );
  assert.deepEqual(misfits(schema, { a: 1, b: 2 }), []);
});

test('a misfit in a few words names only what the schema names', () => {
  const schema = {
    required: ['a'],
    properties: { c: { items: { type: 'number' } }, d: { additionalProperties: { required: ['e'] } } },
  };
  const words = misfitWords(schema);
  assert.equal(words({}), '/a required');
  assert.equal(words({ a: 1, c: ['x'] }), '/c/* type');
  assert.equal(words({ a: 1, d: { 'a page’s own': {} } }), '/d/*/e required');
  assert.equal(words({ a: 1 }), null);
  assert.equal(misfitWords({ type: 'object' })(1), '/ type');
});
