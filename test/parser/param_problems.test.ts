import assert from 'node:assert/strict';
import { test } from 'node:test';
import { paramProblems } from '../../dist/parser/param_problems.js';

const pointers = (problems: { pointer: string; code: string }[]) =>
  problems.map(({ pointer, code }) => [pointer, code]);

test('params are refused with each place, what was found and what was expected', () => {
  const schema = {
    type: 'object',
    properties: {
      n: { type: 'integer', minimum: 1 },
      word: { enum: ['a', 'b'] },
      list: { type: 'array', items: { type: 'string', maxLength: 3 } },
      either: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      code: { pattern: '^x' },
    },
    required: ['n', 'needed'],
    additionalProperties: false,
  };
  const value = { n: 0, word: 'c', list: ['ok', 'long one', 5], either: 3, code: 'y', 'a/b': 1 };
  assert.deepEqual(pointers(paramProblems(schema, value)).sort(), [
    ['/a~1b', 'unknown_field'],
    ['/code', 'bad_format'],
    ['/either', 'bad_value'],
    ['/list/1', 'too_long'],
    ['/list/2', 'wrong_type'],
    ['/n', 'out_of_range'],
    ['/needed', 'required'],
    ['/word', 'bad_value'],
  ]);
  assert.deepEqual(
    paramProblems(schema, { n: 1, needed: 1 }).map(({ pointer }) => pointer),
    ['/needed'],
  );
  assert.deepEqual(paramProblems({ ...schema, additionalProperties: true }, { n: 1, needed: 1, x: 1 }), []);
  const [problem] = paramProblems(schema, { n: 'x', needed: 1 }).filter(({ pointer }) => pointer.endsWith('/n'));
  assert.match(problem!.message, /found "x"; it must be/);
});

test('a list of problems is bounded', () => {
  const params = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`p${i}`, i]));
  assert.equal(paramProblems({ additionalProperties: { type: 'string' } }, params).length, 100);
});

test('of a schema that is not sound, nothing is said', () => {
  assert.deepEqual(paramProblems({ type: 'text' }, {}), []);
  assert.deepEqual(paramProblems({ allOf: [{ $ref: '#' }] }, {}), []);
});
