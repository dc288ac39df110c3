import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { JsonQuery, parseJson } from '../../dist/parser/json_path.js';

const DATA = parseJson(`{
  "meta": { "total": 3, "next": null },
  "items": [{ "n": "x", "v": 1, "tags": ["a", "b"] }, { "n": "y", "v": 2 }, { "n": "z", "v": 3, "tags": ["c"] }],
  "k-1": "dash", "constructor": "Ferrari", "empty": [], "nulls": [null, 1, null]
}`);

describe('a JSON query', () => {
  const cases: [string, unknown][] = [
    ['meta.total', 3],
    ['meta.next', null],
    ['meta.nothing.deeper', null],
    ['items[0].n', 'x'],
    ['items[-1].n', 'z'],
    ['items[*].n', ['x', 'y', 'z']],
    ['items[?v > `1`].n', ['y', 'z']],
    ["items[?n == 'y'] | [0].v", 2],
    ['items[].tags[]', ['a', 'b', 'c']],
    ['items[1:].n', ['y', 'z']],
    ['{ first: items[0].n, count: length(items) }', { first: 'x', count: 3 }],
    ['length(items)', 3],
    ['sum(items[*].v)', 6],
    ['max_by(items, &v).n', 'z'],
    ["join(', ', items[*].n)", 'x, y, z'],
    ['let $max = meta.total in items[?v == $max].n', ['z']],
    ['"k-1"', 'dash'],
    ['$.meta.total', 3],
    ['constructor', 'Ferrari'],
    ['meta.constructor', null],
    ['meta.__proto__', null],
    ['items[0].toString', null],
    ['let $m = meta in $m.constructor', null],
    ['map(&constructor, items)', [null, null, null]],
    ['items.length', null],
  ];
  for (const [expression, expected] of cases)
    it(expression, () => {
      assert.deepEqual(new JsonQuery(expression).read(DATA), expected);
    });

  it('gives the members of a list without null, or the value alone', () => {
    assert.deepEqual(new JsonQuery('items[*].n').all(DATA), ['x', 'y', 'z']);
    assert.deepEqual(new JsonQuery('nulls').all(DATA), [1]);
    assert.deepEqual(new JsonQuery('meta.total').all(DATA), [3]);
    assert.deepEqual(new JsonQuery('meta.next').all(DATA), []);
    assert.deepEqual(new JsonQuery('empty').all(DATA), []);
    assert.deepEqual(new JsonQuery('@').all([1, [2]]), [1, [2]]);
  });
  it('finds nothing and says why where it fails on a value', () => {
    const query = new JsonQuery('length(meta.next)');
    assert.equal(query.read(DATA), null);
    assert.match(query.fault ?? '', /length\(\) expected argument 1/);
    assert.equal(query.read({ meta: { next: 'abc' } }), 3);
    assert.equal(query.fault, null);
  });
  it('answers any value', () => {
    for (const value of [null, undefined, 1, 'x', true, [], {}])
      assert.equal(new JsonQuery('a.b[0]').read(value), null);
  });
});

describe('a JSON query that does not compile', () => {
  const cases: [string, RegExp][] = [
    ['', /empty/],
    ['a.', /ends too early/],
    ['items[', /ends too early/],
    ['a..b', /unexpected token: \..*not JSONPath/],
    ['$..name', /not JSONPath/],
    ['a.k-1', /hyphen stands in double quotes/],
    ['nofn(a)', /no function nofn\(\)/],
    ['items[*].nofn(v)', /no function nofn\(\)/],
    ['constructor(a)', /no function constructor\(\)/],
    ['join(a)', /join\(\) takes at least 2 arguments/],
    ['length(a, b)', /length\(\) takes 1 argument/],
    ['a'.repeat(1001), /1001 characters; at most 1000/],
  ];
  for (const [expression, message] of cases)
    it(`is refused with a reason: ${expression.slice(0, 40)}`, () => {
      assert.throws(() => new JsonQuery(expression), message);
    });
  it('is refused without harm however it is nested', () => {
    for (const part of ['(', '[', '!', '{a:', 'a[?', 'length(', '&', '`[', '-'])
      assert.throws(() => new JsonQuery(part.repeat(Math.floor(1000 / part.length))));
  });
});

describe('a JSON text', () => {
  it('is parsed, with a byte order mark or a guard before it', () => {
    assert.deepEqual(parseJson('\ufeff{"a":1}'), { a: 1 });
    assert.deepEqual(parseJson(`)]}',\n{"a":[1,"]"]}`), { a: [1, ']'] });
    assert.equal(parseJson('"x"'), 'x');
  });
  it('keeps __proto__ as a key, and pollutes nothing', () => {
    const value = parseJson('{"__proto__":{"polluted":1},"a":{"__proto__":2}}') as Record<string, unknown>;
    assert.deepEqual(Object.keys(value), ['__proto__', 'a']);
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
    assert.deepEqual(new JsonQuery('__proto__.polluted').read(value), 1);
    assert.equal(JSON.stringify(new JsonQuery('merge(a, a)').read(value)).length < 20, true);
  });
  it('is refused where it is none, or nested too deep', () => {
    assert.throws(() => parseJson('{"a":'), /JSON/);
    assert.throws(() => parseJson(''), /JSON/);
    assert.throws(() => parseJson('['.repeat(100_000)), /deeper than 500/);
    assert.throws(() => parseJson('{"a":'.repeat(501) + '1'.padEnd(502, '}')), /deeper than 500/);
    assert.deepEqual(parseJson(JSON.stringify('['.repeat(1000))), '['.repeat(1000));
    assert.deepEqual(parseJson('"\\"[[\\\\"'), '"[[\\');
  });
});
