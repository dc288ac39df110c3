import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planExports } from '../../dist/engine/export_input.js';
import type { Export } from '../../dist/model/export.js';

const CONNECTIONS = new Map([
  ['store', 's3'],
  ['pg', 'postgres'],
  ['my', 'mysql'],
  ['mongo', 'mongodb'],
  ['redis', 'redis'],
] as const);

test('27: two exports that would write the same objects, and gzip of what is compressed, are refused with their pointers', () => {
  const s3 = { connection: 'store', format: 'ndjson' } as const;
  const { problems } = planExports(
    {
      exports: [
        { s3 },
        { s3: { ...s3, prefix: '{crawl}/items' } },
        { s3: { ...s3, prefix: 'other' } },
        { s3: { ...s3, gzip: true } },
        { s3: { ...s3, format: 'parquet', gzip: true } },
        { file: { format: 'parquet', gzip: true } },
      ],
    },
    CONNECTIONS,
  );
  assert.deepEqual(
    problems.map(({ pointer, code }) => [pointer, code]),
    [
      ['/exports/4/s3/gzip', 'conflict'],
      ['/exports/5/file/gzip', 'conflict'],
      ['/exports/1/s3/prefix', 'conflict'],
    ],
  );
});

test('27: prefixes that come to the same keys, and ways out of a bucket or into a cursor, are refused', () => {
  const s3 = (prefix: string) => ({ s3: { connection: 'store', format: 'csv', prefix } }) as const;
  const file = (name: string) => ({ file: { format: 'csv', name } }) as const;
  const cursor = `a:orbweaver:${'0'.repeat(8)}-0000-7000-8000-${'0'.repeat(12)}:0`;
  const { problems } = planExports(
    {
      exports: [
        ...[s3('x'), s3('x-{crawl}'), s3('../x'), s3('a/../x'), s3('a..b')],
        ...[file('Items'), file('items')],
        ...['a', cursor].map((stream) => ({ redis: { connection: 'redis', stream } })),
      ],
    },
    CONNECTIONS,
  );
  assert.deepEqual(
    problems.map(({ pointer, code }) => [pointer, code]),
    [
      ['/exports/2/s3/prefix', 'bad_value'],
      ['/exports/3/s3/prefix', 'bad_value'],
      ['/exports/8/redis/stream', 'bad_value'],
      ['/exports/1/s3/prefix', 'conflict'],
      ['/exports/6/file/name', 'conflict'],
    ],
  );
});

const pg = { connection: 'pg', table: 't' };
const my = { connection: 'my', table: 't' };
const mongo = { connection: 'mongo', collection: 'c' };
const long = 'ä'.repeat(40);
const TABLES: [what: string, given: Export, found: [pointer: string, code: string][]][] = [
  [
    'all is well',
    { postgres: { ...pg, table: 's.t', columns: { a: 'a', 'b/c': { field: 'b' } }, key: ['a', 'b/c'] } },
    [],
  ],
  [
    'columns of what is flattened',
    { flatten: true, postgres: { ...pg, columns: { specs: { field: 'specs', type: 'json' } } } },
    [['/flatten', 'conflict']],
  ],
  ['the default columns are a key', { mysql: { ...my, key: ['url'] } }, []],
  ['a key names no column', { postgres: { ...pg, key: ['sku'] } }, [['/postgres/key/0', 'unknown_name']]],
  ['a key is JSON', { postgres: { ...pg, key: ['url', 'data'] } }, [['/postgres/key/1', 'bad_value']]],
  ['a key is there twice', { postgres: { ...pg, key: ['url', 'url'] } }, [['/postgres/key/1', 'duplicate_name']]],
  [
    'a column has two sources',
    { postgres: { ...pg, columns: { 'a/b': { field: 'a', meta: 'url' } } } },
    [['/postgres/columns/a~1b', 'bad_value']],
  ],
  ['no column at all', { postgres: { ...pg, columns: {} } }, [['/postgres/columns', 'required']]],
  [
    'PostgreSQL counts bytes',
    { postgres: { ...pg, columns: { [long]: 'a' } } },
    [[`/postgres/columns/${long}`, 'bad_value']],
  ],
  ['MySQL counts characters', { mysql: { ...my, columns: { [long]: 'a' } } }, []],
  [
    'MySQL knows no case',
    { mysql: { ...my, columns: { sku: 'a', SKU: 'b' } } },
    [['/mysql/columns/SKU', 'duplicate_name']],
  ],
  ['PostgreSQL knows case', { postgres: { ...pg, columns: { sku: 'a', SKU: 'b' } } }, []],
  ['a table with three parts', { postgres: { ...pg, table: 'a.b.c' } }, [['/postgres/table', 'bad_value']]],
  ['a table with an empty part', { mysql: { ...my, table: '.b' } }, [['/mysql/table', 'bad_value']]],
  [
    'a column of what `fields` leaves out',
    { fields: ['a', 'in'], postgres: { ...pg, columns: { a: 'a', b: 'b', c: 'in.c' } } },
    [['/postgres/columns/b', 'bad_value']],
  ],
  [
    'a column of a path, where `fields` has the path and not the field',
    { fields: ['in.c'], postgres: { ...pg, columns: { c: 'in.c' } } },
    [['/postgres/columns/c', 'bad_value']],
  ],
  [
    'a collection of the system',
    { mongodb: { ...mongo, collection: 'system.x' } },
    [['/mongodb/collection', 'bad_value']],
  ],
  [
    'a key that `fields` leaves out',
    { fields: ['a'], mongodb: { ...mongo, key: ['b'] } },
    [['/mongodb/key/0', 'bad_value']],
  ],
];
for (const [what, given, found] of TABLES)
  test(`27: tables and collections: ${what}`, () => {
    const { problems } = planExports({ exports: [given] }, CONNECTIONS);
    assert.deepEqual(
      problems.map(({ pointer, code }) => [pointer, code]),
      found.map(([pointer, code]) => [`/exports/0${pointer}`, code]),
    );
  });
