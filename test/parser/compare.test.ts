import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import { compareSample } from '../../dist/parser/compare.js';

const compare = (expected: object, items: unknown[], links: string[] = []) =>
  compareSample({
    expected,
    items: items.map((item) => JSON.stringify(item)),
    links,
    settings: { ...DEFAULT_SETTINGS, dropParams: ['utm_*'] },
  });

const cases: [string, object, unknown[], [string, RegExp][]][] = [
  ['nothing is expected', {}, [{ a: 1 }], []],
  [
    'equal, the fields in another order',
    { items: [{ a: 1, b: { c: [1, 2], d: null } }] },
    [{ b: { d: null, c: [1, 2] }, a: 1 }],
    [],
  ],
  [
    'another value',
    { items: [{ price: 17.99 }] },
    [{ price: 17.98 }],
    [['/items/0/price', /found 17.98; expected 17.99/]],
  ],
  ['another type', { items: [{ price: 17 }] }, [{ price: '17' }], [['/items/0/price', /found "17"; expected 17/]]],
  ['a missing field', { items: [{ a: 1, b: 2 }] }, [{ a: 1 }], [['/items/0/b', /missing; expected 2/]]],
  ['a null is not a missing field', { items: [{ a: null }] }, [{}], [['/items/0/a', /missing/]]],
  ['a field too many', { items: [{ a: 1 }] }, [{ a: 1, 'b/c': 2 }], [['/items/0/b~1c', /found 2; expected nothing/]]],
  [
    'a list in another order',
    { items: [{ t: ['a', 'b'] }] },
    [{ t: ['b', 'a'] }],
    [
      ['/items/0/t/0', /found "b"; expected "a"/],
      ['/items/0/t/1', /found "a"; expected "b"/],
    ],
  ],
  ['a longer list', { items: [{ t: ['a'] }] }, [{ t: ['a', 'b'] }], [['/items/0/t/1', /found "b"; expected nothing/]]],
  [
    'an item too few',
    { items: [{ a: 1 }, { a: 2 }] },
    [{ a: 1 }],
    [
      ['/items', /gave one item; expected 2/],
      ['/items/1', /missing/],
    ],
  ],
  [
    'an item too many',
    { items: [] },
    [{ a: 1 }],
    [
      ['/items', /gave one item; expected 0/],
      ['/items/0', /not expected/],
    ],
  ],
  ['fewer than minItems', { minItems: 3 }, [{}, {}], [['/minItems', /gave 2 items; expected at least 3/]]],
  ['a part that is there', { contains: [{ b: { c: 2 } }] }, [{ a: 1 }, { a: 2, b: { c: 2, d: 3 } }], []],
  [
    'a part that is nowhere: the nearest item is named',
    { contains: [{ a: 1, b: 2, c: 3 }] },
    [{ a: 1 }, { a: 1, b: 2, c: 4 }],
    [['/contains/0', /the nearest is item 1: \/c is 4, not 3/]],
  ],
  ['a part of no items', { contains: [{ a: 1 }] }, [], [['/contains/0', /there is no item/]]],
  [
    'fields that are named like parts of objects',
    { items: [{ constructor: 1 }] },
    [{}],
    [['/items/0/constructor', /missing/]],
  ],
];

for (const [name, expected, items, wanted] of cases)
  test(`a sample and its page: ${name}`, () => {
    const found = compare(expected, items);
    assert.deepEqual(
      found.map(({ pointer }) => pointer),
      wanted.map(([pointer]) => pointer),
    );
    for (const [i, [, message]] of wanted.entries()) assert.match(found[i]!.message, message);
  });

test('a sample and its page: links that must be kept', () => {
  const found = compare(
    { links: ['https://A.example/1?utm_x=1#y', 'https://a.example/2'] },
    [],
    ['https://a.example/1'],
  );
  assert.deepEqual(
    found.map(({ pointer, expected }) => [pointer, expected]),
    [['/links/1', 'https://a.example/2']],
  );
});

test('differences are bounded in number and size', () => {
  const found = compare({ items: [{ a: 'x'.repeat(100_000) }, ...Array.from({ length: 99 }, (_, i) => i)] }, []);
  assert.equal(found.length, 50);
  assert.ok(JSON.stringify(found).length < 20_000);
});
