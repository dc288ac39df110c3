import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { itemJson } from '../../dist/formats/item_json.js';
import fc from '../support/property.ts';
import { storedItem } from './items.ts';

/** The data of an item as it is written. */
function written(data: string, fields: string[] | null, flatten = false): string {
  const item = { ...storedItem(0, {}), data };
  const line = itemJson(item, { fields: fields === null ? null : new Set(fields), flatten });
  return line.slice(line.indexOf('"data":') + 7, line.lastIndexOf(',"scrapedAt"'));
}

describe('fields', () => {
  const cases: [string, string, string[], string][] = [
    ['in the order of the data', '{"b":1,"a":2,"c":3}', ['a', 'b'], '{"b":1,"a":2}'],
    [
      'exactly as they were produced',
      '{ "a" : 1.0 , "b":[ 1,\n2 ], "c": 1e999}',
      ['a', 'b', 'c'],
      '{"a":1.0,"b":[ 1, 2 ],"c":1e999}',
    ],
    ['keys that look like numbers keep their place', '{"2":1,"1":2}', ['1', '2'], '{"2":1,"1":2}'],
    [
      'escapes in keys and values',
      '{"a\\"b":"\\\\","c\\u00e9":"}\\\\\\"]"}',
      ['a"b', 'cé'],
      '{"a\\"b":"\\\\","cé":"}\\\\\\"]"}',
    ],
    ['`__proto__` is a key', '{"__proto__":{"x":1},"y":2}', ['__proto__'], '{"__proto__":{"x":1}}'],
    ['a dot is a part of the name', '{"a.b":1,"a":{"b":2}}', ['a.b'], '{"a.b":1}'],
    ['none of them', '{"a":1}', ['b'], '{}'],
    ['an empty object', '{ }', ['b'], '{}'],
    ['no object stays as it is', '["a"]', ['a'], '["a"]'],
  ];
  for (const [what, data, fields, expected] of cases) it(what, () => assert.equal(written(data, fields), expected));

  it('finds the members of any object', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()),
        fc.integer({ min: 0, max: 3 }),
        (data, indent) => {
          const json = JSON.stringify(data, null, indent);
          const back = JSON.parse(written(json, Object.keys(data))) as unknown;
          assert.deepEqual(back, JSON.parse(json));
        },
      ),
    );
  });
});

describe('flatten', () => {
  const cases: [string, string, string][] = [
    ['objects open, lists stay', '{"a":{"b":{"c":1},"d":[{"e":2}]},"f":3}', '{"a.b.c":1,"a.d":[{"e":2}],"f":3}'],
    ['empty objects stay', '{"a":{},"b":{"c":{ }}}', '{"a":{},"b.c":{ }}'],
    ['`__proto__` inside', '{"a":{"__proto__":{"x":1}}}', '{"a.__proto__.x":1}'],
    ['a dotted key without a clash is left', '{"og.title":"x","a":{"b.c":1}}', '{"og.title":"x","a.b.c":1}'],
    ['two that would be one stay as they are', '{"a.b":1,"a":{"b":2},"c":{"d":3}}', '{"a.b":1,"a":{"b":2},"c.d":3}'],
    ['so do two inside of one', '{"a":{"b.c":1,"b":{"c":2}}}', '{"a":{"b.c":1,"b":{"c":2}}}'],
    [
      'what clashes only then stays, too',
      '{"a.b":{"c":1},"a":{"b":5},"a.b.c":7}',
      '{"a.b":{"c":1},"a":{"b":5},"a.b.c":7}',
    ],
    ['nothing to open', '{"a":1}', '{"a":1}'],
  ];
  for (const [what, data, expected] of cases) it(what, () => assert.equal(written(data, null, true), expected));

  it('fields name paths, and what lies below them', () => {
    const data = '{"a":{"b":{"c":1,"d":2}},"e":3,"ab":4}';
    assert.equal(written(data, ['a'], true), '{"a.b.c":1,"a.b.d":2}');
    assert.equal(written(data, ['a.b.d', 'e'], true), '{"a.b.d":2,"e":3}');
    assert.equal(written(data, ['a.b', 'ab'], true), '{"a.b.c":1,"a.b.d":2,"ab":4}');
  });

  it('names never outgrow the data: depth and length of paths are bounded', () => {
    const deep = `${'{"a":1,"b":'.repeat(50_000)}1${'}'.repeat(50_000)}`;
    assert.ok(written(deep, null, true).length < deep.length + 1000);
    const long = `{"${'k'.repeat(500_000)}":{${Array.from({ length: 50_000 }, (_, i) => `"${i}":1`).join(',')}}}`;
    assert.equal(written(long, null, true), long);
    const wide = `{"${'k'.repeat(100)}":{${Array.from({ length: 50_000 }, (_, i) => `"${i}":1`).join(',')}}}`;
    assert.ok(written(wide, null, true).length < 50_000 * 115);
  });

  it('loses no value of any object', () => {
    const leaves = (value: unknown): number =>
      typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0
        ? Object.values(value).reduce((sum: number, inner) => sum + leaves(inner), 0)
        : 1;
    const key = fc.constantFrom('a', 'b', 'c', 'a.b', 'b.c', '.', '');
    const data = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof({ maxDepth: 4 }, fc.integer(), fc.dictionary(key, tie('node'))),
    }));
    fc.assert(
      fc.property(fc.dictionary(key, data.node), (value) => {
        const flat = JSON.parse(written(JSON.stringify(value), null, true)) as unknown;
        assert.equal(leaves(flat), leaves(value), JSON.stringify(value));
      }),
    );
  });
});
