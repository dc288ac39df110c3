import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planExports } from '../../dist/engine/export_input.js';

const CONNECTIONS = new Map([['store', 's3']] as const);

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
