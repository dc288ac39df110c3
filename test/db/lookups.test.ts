import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LookupFailed, Lookups } from '../../dist/db/lookups.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
let lookups: Lookups;
before(async () => {
  database = await testDatabase();
  lookups = new Lookups(
    new Map([
      ['shop', database.url],
      ['dead', 'postgres://nobody:secret-word@127.0.0.1:1/none'],
    ]),
  );
  const { sql } = database;
  await sql`create table products (id int primary key, isbn text, sku text, price numeric, tags text[])`;
  await sql`
    insert into products select n, 'isbn-' || n, 'sku-' || n, n * 1.5, array['t' || n, 'all'] from generate_series(1, 1000) n`;
  await sql`insert into products values (2000, ${`it's "quoted" \\ $1`}, 'odd', 1, '{}')`;
});
after(async () => {
  await lookups.close();
  await database.drop();
});

const ask = (query: string, questions: unknown[][], timeoutMs = 5000) =>
  lookups.ask('shop', query, questions, timeoutMs);
const rows = async (query: string, ...params: unknown[]) =>
  (await ask(query, [params])).map((answer) => (answer instanceof LookupFailed ? answer : JSON.parse(answer)))[0];

test('many questions are one statement, and each gets its own row', async () => {
  const before = lookups.statements;
  const numbers = [...Array(500).keys()].map((n) => n + 1);
  const answers = await ask(
    'select sku, price from products where isbn = $1',
    numbers.map((n) => [n % 2 === 0 ? `isbn-${n}` : `none-${n}`]),
  );
  assert.equal(lookups.statements - before, 1);
  assert.deepEqual(
    answers.map((answer) => JSON.parse(answer as string)),
    numbers.map((n) => (n % 2 === 0 ? [{ sku: `sku-${n}`, price: n * 1.5 }] : [])),
  );
});

test('the first row counts, in the order of the query', async () => {
  assert.deepEqual(await rows('select id from products where id < 10 order by id desc'), [{ id: 9 }]);
});

const SHAPES: [string, string, unknown[], unknown][] = [
  ['no parameters', 'select 1 as a', [], [{ a: 1 }]],
  ['an integer parameter takes a number', 'select sku from products where id = $1', [7], [{ sku: 'sku-7' }]],
  ['and its text', 'select sku from products where id = $1', ['7'], [{ sku: 'sku-7' }]],
  ['a cast parameter', 'select $1::date + 1 as day', ['2026-11-23'], [{ day: '2026-11-24' }]],
  ['a parameter used twice', 'select $1::int + $1 as n', [2], [{ n: 4 }]],
  ['null', 'select $1::text is null as empty', [null], [{ empty: true }]],
  ['a boolean', 'select not $1 as no', [true], [{ no: false }]],
  [
    'a list for any()',
    'select count(*) as n from products where sku = any ($1)',
    [['sku-1', 'sku-2', 'x"\\,']],
    [{ n: 2 }],
  ],
  ['an object as jsonb', "select $1::jsonb -> 'a' as a", [{ a: [1, "'"] }], [{ a: [1, "'"] }]],
  ['a comment at the end', 'select 1 as a -- $1', [], [{ a: 1 }]],
  ['a semicolon at the end', 'select 1 as a;', [], [{ a: 1 }]],
  ['with', 'with a as (select $1::int as n) select n + 1 as n from a', [1], [{ n: 2 }]],
  ['values', 'values (1)', [], [{ column1: 1 }]],
  ['limit by a parameter', 'select id from products order by id limit $1', [3], [{ id: 1 }]],
  [
    'aliases that the wrapping might use',
    'select n, p.n as m, u.r from (select 1 as n) p, (select 2 as r) u',
    [],
    [{ n: 1, m: 1, r: 2 }],
  ],
  ['a character type is not cut', "select 'abc'::char(3) = $1 as same", ['abc'], [{ same: true }]],
  ['a dollar string', 'select $$it is $1$$ as a, $1::int as b', [1], [{ a: 'it is $1', b: 1 }]],
];
for (const [name, query, params, expected] of SHAPES)
  test(`a query with ${name}`, async () => assert.deepEqual(await rows(query, ...params), expected));

test('values are never part of the text', async () => {
  const evil = ["'; drop table products; --", "' or '1'='1", '$1', '\\', "E'\\'", '$$', '"', '{}', '{"a",null}', '%'];
  const answers = await ask('select $1::text as back, (select count(*) from products where isbn = $1) as n', [
    ...evil.map((text) => [text]),
    [`it's "quoted" \\ $1`],
  ]);
  assert.deepEqual(
    answers.map((answer) => JSON.parse(answer as string)[0]),
    [...evil.map((back) => ({ back, n: 0 })), { back: `it's "quoted" \\ $1`, n: 1 }],
  );
});

test('a value that the database cannot take fails alone', async () => {
  const answers = await ask('select sku from products where id = $1', [[1], ['abc'], [3], ['\0'], [99999999999], [5]]);
  assert.deepEqual(
    answers.map((answer) => (answer instanceof LookupFailed ? answer.code : JSON.parse(answer)[0].sku)),
    ['sku-1', 'bad_value', 'sku-3', 'bad_value', 'bad_value', 'sku-5'],
  );
});

const WRITES = [
  'insert into products (id) values (5000)',
  'delete from products',
  'update products set sku = null returning sku',
  'with gone as (delete from products returning id) select * from gone',
  'select 1) as x; delete from products where (id > 0',
  "select set_config('transaction_read_only', 'off', true), nextval('hosts_id_seq')",
  'select * from products for update',
  'create table owned (a int)',
  "copy products to '/tmp/x'",
];
for (const query of WRITES)
  test(`refused: ${query}`, async () => {
    const answer = await rows(query);
    assert.ok(answer instanceof LookupFailed, JSON.stringify(answer));
    assert.equal(answer.code, 'bad_query');
  });

test('nothing was written, and no setting outlives its query', async () => {
  await rows("select set_config('statement_timeout', '1', false), set_config('search_path', 'nowhere', false)");
  await Promise.all([...Array(8).keys()].map(() => rows('select sku from products where id = 1')));
  assert.deepEqual(await rows('select count(*) as n from products'), [{ n: 1001 }]);
});

test('a query that is wrong says what the database says', async () => {
  const answer = await rows('select nothing from products');
  assert.equal(answer.code, 'bad_query');
  assert.match(answer.message, /nothing/);
  const fewer = await rows('select $1::int, $2::int', 1);
  assert.match(fewer.message, /2 parameters, and 1 values/);
});

test('a query that takes too long ends at its time limit, and others go on', async () => {
  const slow = [...Array(6).keys()].map(() => ask('select pg_sleep(30)', [[]], 200));
  for (const [answer] of await Promise.all(slow)) assert.equal((answer as LookupFailed).code, 'timeout');
  assert.deepEqual(await rows('select 1 as a'), [{ a: 1 }]);
});

test('an answer that is too large is refused', async () => {
  assert.equal((await rows("select repeat('x', 70000) as a")).code, 'too_large');
});

test('a script gets all rows up to a thousand, of any connection by name', async () => {
  const signal = new AbortController().signal;
  const text = await lookups.query('shop', 'select id from products where id <= $1 order by id', [3], signal);
  assert.deepEqual(JSON.parse(text), [{ id: 1 }, { id: 2 }, { id: 3 }]);
  const many = JSON.parse(await lookups.query('shop', 'select * from generate_series(1, 5000)', [], signal));
  assert.equal(many.length, 1000);
  await assert.rejects(lookups.query('nope', 'select 1', [], signal), {
    code: 'unknown_connection',
    message: 'there is no connection "nope" in CONNECTIONS; known: shop, dead',
  });
  const gone = new AbortController();
  const waiting = lookups.query('shop', 'select pg_sleep(1)', [], gone.signal);
  gone.abort();
  await assert.rejects(waiting, { code: 'timeout' });
});

test('a database that is away fails within the time limit, and nothing tells its address or password', async () => {
  const answers = await lookups.ask('dead', 'select 1', [[], []], 3000);
  for (const answer of answers) {
    assert.ok(answer instanceof LookupFailed);
    assert.equal(answer.code, 'connect');
    assert.doesNotMatch(answer.message, /secret-word|nobody|127\.0\.0\.1/);
  }
});

test('a spider’s queries are checked by the database where it answers', async () => {
  const lookup = (connection: string, query: string) => ({
    lookup: { connection, query, params: [], set: { a: 'a' } },
  });
  const problems = await lookups.check({
    pipeline: [
      lookup('shop', 'select 1 as a'),
      lookup('shop', 'select nothing from products'),
      lookup('nope', 'select 1'),
      lookup('dead', 'select nothing'),
      lookup('shop', 'delete from products'),
      lookup('shop', 'select sku, price from products'),
    ],
  });
  assert.deepEqual(
    problems.map(({ pointer, code }) => [pointer, code]),
    [
      ['/pipeline/1/lookup/query', 'bad_query'],
      ['/pipeline/2/lookup/connection', 'unknown_connection'],
      ['/pipeline/4/lookup/query', 'bad_query'],
      ['/pipeline/5/lookup/set/a', 'unknown_name'],
    ],
  );
  assert.equal(problems[3]!.message, 'the query has no column "a"; it has sku, price');
  assert.match(problems[2]!.message, /can stand in parentheses/);
});

test('a query keeps no lock of the session, whether it ends well or not', async () => {
  // Of this database alone: `pg_locks` shows those of the whole server, where other tests migrate theirs.
  const held = () => database.sql`
    select 1 from pg_locks join pg_database on pg_database.oid = pg_locks.database
    where locktype = 'advisory' and datname = current_database()`;
  assert.deepEqual(await rows('select pg_try_advisory_lock(7) as held'), [{ held: true }]);
  assert.equal((await held()).length, 0);
  assert.ok((await rows('select pg_advisory_lock(8), 1 / (random() * 0)::int as n')) instanceof LookupFailed);
  const [slow] = await ask('select pg_advisory_lock(9), pg_sleep(60)', [[]], 300);
  assert.ok(slow instanceof LookupFailed && slow.code === 'timeout');
  for (let tries = 0; (await held()).length > 0; tries++) {
    assert.ok(tries < 1000, 'they are given back');
    await sleep(10);
  }
});

test('what would write, or change the connection, comes to nothing', async () => {
  const queries = [
    "select set_config('transaction_read_only', 'off', false)",
    "select query_to_xml('insert into products values (3000)', true, true, '')",
    'with x as (insert into products values (3001) returning id) select * from x',
    'select * from products for update',
    "copy products to program 'id'",
    'select 1; drop table products',
    'select 1) as x, (select 2',
    'do $$ begin end $$',
  ];
  for (const query of queries) assert.ok((await rows(query)) instanceof LookupFailed, query);
  // PostgreSQL 15 lets a read-only transaction make large objects; it is rolled back like every other.
  await rows('select lo_create(0)');
  assert.equal((await rows('select count(*) as n from pg_largeobject_metadata'))[0].n, 0);
  await rows("select set_config('search_path', 'elsewhere', false), set_config('role', 'none', false)");
  assert.equal((await rows('select count(*) as n from products'))[0].n, 1001);
});
