import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { tableShape } from '../../dist/formats/columns.js';
import { parquetEncoder } from '../../dist/formats/parquet.js';
import type { StoredItem } from '../../dist/model/item.js';
import { storedItem } from './items.ts';

const definition = {
  pages: [
    {
      items: [
        {
          fields: {
            title: 'h1',
            price: { selector: '.p', as: 'number' as const },
            pages: { selector: '.n', as: 'integer' as const },
            inStock: { selector: '.s', as: 'boolean' as const },
            published: { selector: '.d', as: 'date' as const },
            tags: ['li'] as [string],
          },
        },
      ],
    },
  ],
};

/** The file of the items, given in batches of `step`. */
async function fileOf(items: StoredItem[], step = items.length, wish: Partial<Parameters<typeof tableShape>[1]> = {}) {
  const shape = tableShape(
    { definition, compares: true, types: [], filled: [], first: items.slice(0, 2) },
    { fields: null, flatten: false, ...wish },
  );
  const encoder = await parquetEncoder(shape);
  const pieces = [encoder.begin()];
  for (let i = 0; i < items.length; i += step) pieces.push(encoder.encode(items.slice(i, i + step)));
  pieces.push(encoder.end());
  return { pieces, file: new Uint8Array(Buffer.concat(pieces)).buffer };
}

async function readBack(file: ArrayBuffer): Promise<Record<string, unknown>[]> {
  return parquetReadObjects({ file });
}

describe('Parquet', () => {
  it('gives every value back, typed where the definition is sure', async () => {
    const items = [
      storedItem(0, {
        title: 'Emma',
        price: 17.99,
        pages: 320,
        inStock: true,
        published: '2026-11-23',
        tags: ['a', 'b'],
      }),
      storedItem(
        1,
        { title: '', price: -0.5, pages: -1, inStock: false, more: { x: null } },
        { change: '{"kind":"new","fields":[]}' },
      ),
      storedItem(2, { title: null, price: 3 }),
    ];
    const rows = await readBack((await fileOf(items)).file);
    const head = (i: number) => ({
      offset: BigInt(i),
      type: 'book',
      url: items[i]!.url,
      scrapedAt: items[i]!.scraped_at,
    });
    const nothing = {
      change: null,
      title: null,
      price: null,
      pages: null,
      inStock: null,
      published: null,
      tags: null,
      more: null,
      _other: null,
    };
    assert.deepEqual(rows, [
      {
        ...nothing,
        ...head(0),
        title: 'Emma',
        price: 17.99,
        pages: 320n,
        inStock: true,
        published: '2026-11-23',
        tags: '["a","b"]',
      },
      {
        ...nothing,
        ...head(1),
        change: '{"kind":"new","fields":[]}',
        title: '',
        price: -0.5,
        pages: -1n,
        inStock: false,
        more: '{"x":null}',
      },
      { ...nothing, ...head(2), price: 3 },
    ]);
  });

  it('a value that its column cannot hold, or would change, is in `_other`', async () => {
    const data = '{"price":12345678901234567890,"pages":1.5,"inStock":"yes","title":{"a":1},"late":[1]}';
    const odd = '{"price":1e999,"pages":9223372036854775808,"inStock":0}';
    const items = [{}, {}, {}, {}].map((_, i) => storedItem(i, {}));
    Object.assign(items[2]!, { data });
    Object.assign(items[3]!, { data: odd });
    const [, , first, second] = await readBack((await fileOf(items)).file);
    assert.deepEqual([first?.price, first?.pages, first?.inStock, first?.title], [null, null, null, '{"a":1}']);
    assert.equal(first?._other, '{"late":[1],"price":12345678901234567890,"pages":1.5,"inStock":"yes"}');
    assert.equal(second?._other, odd);
  });

  it('row groups are bounded in bytes and written as they are ready', async () => {
    const items = Array.from({ length: 3000 }, (_, i) =>
      storedItem(i, { title: `${i} ${'é🙂x'.repeat(900)}`, price: i / 4 }),
    );
    const { pieces, file } = await fileOf(items, 100);
    const { row_groups: groups } = parquetMetadata(file);
    assert.ok(groups.length >= 4, `${groups.length} row groups`);
    assert.ok(groups.every(({ total_byte_size: size }) => size < 12_000_000n));
    assert.equal(pieces.slice(1, -1).filter(({ length }) => length > 0).length, groups.length - 1);
    const rows = await readBack(file);
    assert.deepEqual(
      rows.map(({ offset, title, price }) => ({ offset, title, price })),
      items.map(({ offset, data }) => ({
        offset: BigInt(offset),
        ...(JSON.parse(data) as { title: string; price: number }),
      })),
    );
  });

  it('no items, one column that is asked for, flattened paths', async () => {
    assert.deepEqual(await readBack((await fileOf([])).file), []);
    const item = storedItem(0, { specs: { weight: 3, deep: { x: 'y' } }, price: 1 });
    const [row] = await readBack((await fileOf([item], 1, { fields: ['specs.weight', 'price'], flatten: true })).file);
    assert.deepEqual([row?.['specs.weight'], row?.price, row?._other, 'specs.deep.x' in row!], ['3', 1, null, false]);
    const [flat] = await readBack((await fileOf([item], 1, { flatten: true })).file);
    assert.deepEqual([flat?.['specs.weight'], flat?.['specs.deep.x']], ['3', 'y']);
  });
});
