import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { openPool } from '../../dist/db/client.js';
import { MigrationError, migrate, readMigrations } from '../../dist/db/migrate.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
let dir: string;

before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

beforeEach(async () => {
  await database.sql`drop schema public cascade`;
  await database.sql`create schema public`;
  dir = await mkdtemp(join(tmpdir(), 'migrations-'));
});
afterEach(() => rm(dir, { recursive: true }));

const file = (name: string, text: string) => writeFile(join(dir, name), text);
const refused = (pattern: RegExp) => (error: Error) => error instanceof MigrationError && pattern.test(error.message);

test('the real migrations give their number, and again the same', async () => {
  const count = (await readMigrations()).length;
  assert.equal(await migrate(database.sql), count);
  assert.equal(await migrate(database.sql), count);
  const rows = await database.sql`select version, name from schema_migrations order by version`;
  assert.deepEqual(
    rows.map((row) => row.version),
    Array.from({ length: count }, (_, i) => i + 1),
  );
});

test('four nodes that start at once apply each file once', async () => {
  await file('0001_a.sql', 'create table log (n integer); insert into log values (1); select pg_sleep(0.1);');
  await file('0002_b.sql', 'insert into log values (2);');
  const pools = Array.from({ length: 4 }, () => openPool(database.url, 3, 'node'));
  try {
    assert.deepEqual(await Promise.all(pools.map((pool) => migrate(pool, dir))), [2, 2, 2, 2]);
  } finally {
    await Promise.all(pools.map((pool) => pool.end()));
  }
  assert.deepEqual(
    (await database.sql`select n from log order by n`).map((row) => row.n),
    [1, 2],
  );
});

test('a file that fails leaves nothing of itself, and the files before it stay', async () => {
  await file('0001_a.sql', 'create table a ();');
  await file('0002_b.sql', 'create table b (); select 1 / 0;');
  await assert.rejects(migrate(database.sql, dir), refused(/0002_b\.sql failed: division by zero/));
  const tables = await database.sql`select tablename from pg_tables where schemaname = 'public' order by 1`;
  assert.deepEqual(
    tables.map((row) => row.tablename),
    ['a', 'schema_migrations'],
  );
  await file('0002_b.sql', 'create table b ();');
  assert.equal(await migrate(database.sql, dir), 2);
});

test('a gap, a number twice and a strange name are refused', async () => {
  await file('0001_a.sql', 'select 1;');
  await file('0003_c.sql', 'select 1;');
  await assert.rejects(migrate(database.sql, dir), refused(/0003_c\.sql: number 2 was expected/));
  await rm(join(dir, '0003_c.sql'));
  await file('0001_b.sql', 'select 1;');
  await assert.rejects(migrate(database.sql, dir), refused(/0001_b\.sql: number 2 was expected/));
  await rm(join(dir, '0001_b.sql'));
  await file('2_b.sql', 'select 1;');
  await assert.rejects(migrate(database.sql, dir), refused(/2_b\.sql: the name/));
});

test('a database that is newer than the program is refused', async () => {
  await file('0001_a.sql', 'select 1;');
  await file('0002_b.sql', 'select 1;');
  await migrate(database.sql, dir);
  await rm(join(dir, '0002_b.sql'));
  await assert.rejects(migrate(database.sql, dir), refused(/has version 2, this program knows 1/));
});

test('an applied file that was changed is refused; other line ends are no change', async () => {
  await file('0001_a.sql', 'select 1;\nselect 2;\n');
  await migrate(database.sql, dir);
  await file('0001_a.sql', 'select 1;\r\nselect 2;\r\n');
  assert.equal(await migrate(database.sql, dir), 1);
  await file('0001_a.sql', 'select 1;\nselect 3;\n');
  await assert.rejects(migrate(database.sql, dir), refused(/0001_a\.sql was changed/));
});
