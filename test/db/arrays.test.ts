import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

/** As PostgreSQL has them, with `n` for the places of nulls. */
async function stored(values: readonly (string | null | undefined)[]) {
  const rows = await database.sql<{ value: string | null }[]>`
    select value from unnest(${values as string[]}::text[]) with ordinality as u (value, n) order by n`;
  return rows.map((row) => row.value);
}

const ODD = [
  ...['', ' ', 'null', 'NULL', '{}', '{a,b}', ',', '"', '\\', '\\"', '"\\', '\\\\', "'", '\\n', '\\u0041', '\\\\n'],
  ...['\n', '\r\n', '\t', '\b\f\v', '\u0001', '\u001f', '\u007f', '\u0085', '\\\n', '\\\\\n', 'a\\tb\tc'],
  ...['é', '漢字', '😀', '\u2028\u2029', '\ufeff', '\uffff', '\\ud83d', 'x'.repeat(10_000)],
  ...[JSON.stringify({ a: 'line\nend "q" \\ \u0007', b: ['😀', null] }), JSON.stringify('\\'.repeat(1000))],
];

test('31: a text comes out of an array as it went in, alone and beside every other', async () => {
  assert.deepEqual(await stored(ODD), ODD);
  assert.deepEqual(await stored([...ODD, null, undefined, 'null']), [...ODD, null, null, 'null']);
  for (const text of ODD) assert.deepEqual(await stored([text, null, 'plain']), [text, null, 'plain']);
  assert.deepEqual(await stored([]), []);
});

test('31: a megabyte of backslashes, or of line ends, is an element like others', async () => {
  const texts = ['\\'.repeat(1_000_000), '\n'.repeat(1_000_000), JSON.stringify('\\"'.repeat(250_000))];
  for (const text of texts) assert.ok((await stored([text, 'end']))[0] === text);
});

test('31: every character stays what it is', async () => {
  const texts: string[] = [];
  for (let code = 1; code < 0x3000; code++) texts.push(String.fromCharCode(code), `\\${String.fromCharCode(code)}\\`);
  assert.deepEqual(await stored(texts), texts);
});

test('numbers and nulls come out of arrays of their types', async () => {
  const numbers = [0, -1, 2.5, 1e21, -1e-7, 2 ** 53 - 1, null, Infinity, NaN];
  const [row] = await database.sql<[{ floats: string; ints: string; ids: string }]>`
    select ${numbers as number[]}::float8[]::text as floats, ${[1, null, -3]}::bigint[]::text as ints,
           ${['00000000000000000000000000000001', null]}::uuid[]::text as ids`;
  assert.deepEqual(row, {
    floats: '{0,-1,2.5,1e+21,-1e-07,9.007199254740991e+15,NULL,Infinity,NaN}',
    ints: '{1,NULL,-3}',
    ids: '{00000000-0000-0000-0000-000000000001,NULL}',
  });
});
