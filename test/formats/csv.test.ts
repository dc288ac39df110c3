import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'csv-parse/sync';
import { type ColumnSources, tableShape } from '../../dist/formats/columns.js';
import { CsvEncoder } from '../../dist/formats/csv.js';
import type { StoredItem } from '../../dist/model/item.js';
import { storedItem } from './items.ts';

const NO_SOURCES: ColumnSources = { definition: {}, compares: false, types: [], filled: [], first: [] };
const ALL = { fields: null, flatten: false };

function csvOf(
  items: StoredItem[],
  sources: Partial<ColumnSources> = {},
  wish: Parameters<typeof tableShape>[1] = ALL,
) {
  const encoder = new CsvEncoder(tableShape({ ...NO_SOURCES, first: items, ...sources }, wish));
  return Buffer.concat([encoder.begin(), encoder.encode(items), encoder.end()]).toString();
}
const readBack = (text: string) => parse(text, { columns: true, bom: true }) as Record<string, string>[];

describe('CSV', () => {
  it('gives hostile values back as they were, by the published reader', () => {
    const values = [
      ...['plain', '', ' leading', 'trailing ', '\ttab', 'a,b', 'say "hi"', '"', '""', 'a\nb', 'a\r\nb', '\r', '\n'],
      ...['=1+1', '+1', '-1', '@x', '\ufeffmark', 'ümlaut 漢字 🙂', 'null', '[1]', '\u2028', '\\', "'", ';', '#'],
    ];
    const items = values.map((value, i) => storedItem(i, { value, next: `after ${i}` }));
    const rows = readBack(csvOf(items));
    assert.deepEqual(
      rows.map(({ value }) => value),
      values,
    );
    assert.deepEqual(
      rows.map(({ offset, next }) => [offset, next]),
      values.map((_, i) => [String(i), `after ${i}`]),
    );
  });

  it('null and absent are an empty cell, an empty text is quoted', () => {
    const text = csvOf([storedItem(0, { a: null, b: '', c: 1 }), storedItem(1, { b: null })]);
    assert.deepEqual(
      text
        .split('\r\n')
        .map((line) => line.replace(/^[^,]*,[^,]*,[^,]*,[^,]*/, ''))
        .slice(1),
      [',,"",1,', ',,,,', ''],
    );
  });

  it('numbers, lists and objects are written as they were produced', () => {
    const data =
      '{"n": 1.0, "big": 12345678901234567890, "e": 1e999, "z": -0, "list": [1, "a"], "o": {"x": null}, "t": true}';
    const [row] = readBack(csvOf([{ ...storedItem(0, {}), data }]));
    const { n, big, e, z, list, o, t } = row!;
    assert.deepEqual(
      [n, big, e, z, list, o, t],
      [...['1.0', '12345678901234567890', '1e999', '-0', '[1, "a"]', '{"x": null}', 'true']],
    );
  });

  it('what has no column is in `_other`, whatever comes later', () => {
    const text = csvOf([storedItem(0, { a: 1 }), storedItem(1, { a: 2, late: 'x', __proto__x: 1 })], {
      first: [storedItem(0, { a: 1 })],
    });
    const [first, second] = readBack(text);
    assert.equal(first?._other, '');
    assert.deepEqual(JSON.parse(second?._other ?? ''), { late: 'x', __proto__x: 1 });
    assert.equal(
      csvOf([{ ...storedItem(0, {}), data: '[1]' }])
        .split('\r\n')[1]
        ?.endsWith('"{""data"":[1]}"'),
      true,
    );
  });

  it('a field that is called as a column of ours keeps its values under `data.`', () => {
    const item = storedItem(0, { url: 'u', type: 't', 'data.url': 'v', _other: 'o', offset: 9 });
    const [row] = readBack(csvOf([item]));
    assert.deepEqual([row?.url, row?.['data.url'], row?.['data.data.url']], [item.url, 'u', 'v']);
    assert.deepEqual(
      [row?.['data.type'], row?.['data._other'], row?.['data.offset'], row?.offset],
      ['t', 'o', '9', '0'],
    );
  });

  it('`__proto__` is a field like any other', () => {
    const [row] = readBack(
      csvOf([{ ...storedItem(0, {}), data: '{"__proto__": "p", "constructor": 1}' }]).replace('__proto__', 'proto'),
    );
    assert.deepEqual([row?.proto, Object.entries(row!).find(([key]) => key === 'constructor')?.[1]], ['p', '1']);
  });
});

describe('the columns of a table', () => {
  const definition = {
    pages: [
      {
        name: 'book',
        items: [
          {
            fields: {
              title: 'h1',
              price: { selector: '.p', as: 'number' as const },
              specs: {
                selector: 'dl',
                value: { weight: { selector: 'dd', as: 'integer' as const }, tags: ['li'] as [string] },
              },
              stock: { selector: '.s', as: 'boolean' as const, default: 'unknown' },
            },
          },
          { type: 'other', fields: { price: 'b', only: 'i' } },
        ],
      },
    ],
    pipeline: [{ rename: { title: 'name' } }, { set: { source: 'x' } }, { type: 'other', rename: { only: 'one' } }],
  };
  const shape = (sources: Partial<ColumnSources>, wish: Partial<Parameters<typeof tableShape>[1]>) =>
    tableShape({ ...NO_SOURCES, ...sources }, { ...ALL, ...wish }).columns.map(({ name, type }) => `${name} ${type}`);
  const cases: [string, Partial<ColumnSources>, Partial<Parameters<typeof tableShape>[1]>, string][] = [
    [
      'declared, through the pipeline',
      { definition },
      {},
      'price text, specs text, stock text, only text, name text, source text, one text',
    ],
    ['of one type', { definition }, { type: 'book' }, 'price number, specs text, stock text, name text, source text'],
    [
      'flattened',
      { definition },
      { type: 'book', flatten: true },
      'price number, specs.weight integer, specs.tags text, stock text, name text, source text',
    ],
    ['asked for', { definition }, { type: 'book', fields: ['nope', 'price', 'nope'] }, 'nope text, price number'],
    [
      'counted, behind those of the first items',
      { types: ['a', 'a.b'], filled: ['a.x', 'a.b.y', 'a.b.z'], first: [storedItem(0, { z: 1, first: 2 })] },
      {},
      'z text, first text, x text, y text',
    ],
    ['counted of one type', { types: ['a', 'a.b'], filled: ['a.x', 'a.b.y'] }, { type: 'a.b' }, 'y text'],
    [
      'flattened by the first items',
      { types: ['a'], filled: ['a.o', 'a.later'], first: [storedItem(0, { o: { p: { q: 1 } }, n: {} })] },
      { flatten: true },
      'o.p.q text, n text, later text',
    ],
  ];
  for (const [what, sources, wish, expected] of cases)
    it(what, () => assert.equal(shape(sources, wish).join(', '), expected));

  it('are bounded: the rest goes to `_other`', () => {
    const data = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`k${i}`, i]));
    const [row] = readBack(csvOf([storedItem(0, data)]));
    const { offset: _o, type: _t, url: _u, scrapedAt: _s, _other, ...rest } = row!;
    assert.equal(Object.keys(rest).length, 1000);
    assert.deepEqual(
      { ...rest, ...JSON.parse(_other!) },
      { ...rest, ...Object.fromEntries(Object.entries(data).slice(1000)) },
    );
  });

  it('a flattened table keeps an object in its own column where nothing was found below it', () => {
    const item = storedItem(0, { specs: { weight: 1, more: { x: 2 } }, extra: { y: 1 } });
    const text = csvOf([item], { definition, first: [] }, { fields: null, flatten: true, type: 'book' });
    const [row] = readBack(text);
    assert.equal(row?.['specs.weight'], '1');
    assert.deepEqual(JSON.parse(row!._other!), { 'specs.more.x': 2, 'extra.y': 1 });
    const [asked] = readBack(csvOf([item], {}, { fields: ['extra', 'specs.weight'], flatten: true }));
    assert.deepEqual([asked?.extra, asked?.['specs.weight'], asked?._other], ['{"y":1}', '1', undefined]);
  });
});
