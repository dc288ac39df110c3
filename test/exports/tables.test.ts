import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { type Connection, createConnection } from 'mysql2/promise';
import postgres from 'postgres';
import { tableChecks } from '../../dist/exports/check_tables.js';
import { mysqlTarget } from '../../dist/exports/mysql.js';
import { postgresTarget } from '../../dist/exports/postgres.js';
import type { Cursor, ExportJob, Target } from '../../dist/exports/target.js';
import type { TableTarget } from '../../dist/model/export.js';
import type { StoredItem } from '../../dist/model/item.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { type ForeignServer, startMariaDb, withoutMariaDb } from '../support/foreign_servers.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp_proxy.ts';
import { conform, type Place, someItems } from './conformance.ts';

type Rows = Record<string, unknown>[];

/** A database of one of the two families, with a proxy before it that can be cut. */
interface Base {
  url: string;
  proxy: TcpProxy;
  make: (job: ExportJob, target: TableTarget, url: string) => Target;
  ask(sql: string): Promise<Rows>;
  /** Connections of exports. */
  connections(): Promise<number>;
  /** Of a name in SQL. */
  quote: string;
  close(): Promise<void>;
}

async function postgresBase(): Promise<Base> {
  const database: TestDatabase = await testDatabase();
  const sql = postgres(database.url, { max: 1, onnotice: () => {} });
  const proxy = await startTcpProxy(database.url);
  const ask = async (text: string) => [...(await sql.unsafe(text))] as Rows;
  return {
    url: proxy.url,
    proxy,
    make: postgresTarget,
    ask,
    connections: async () =>
      (
        await ask(
          `select 1 from pg_stat_activity where application_name = 'orbweaver export' and datname = current_database()`,
        )
      ).length,
    quote: '"',
    close: async () => {
      await proxy.close();
      await sql.end({ timeout: 1 });
      await database.drop();
    },
  };
}

async function mysqlBase(): Promise<Base> {
  const server: ForeignServer = await startMariaDb(['--max-allowed-packet=2M']);
  const admin: Connection = await createConnection({ uri: server.url, supportBigNumbers: true, timezone: 'Z' });
  await admin.query('create database shop');
  await admin.query('use shop');
  const proxy = await startTcpProxy(`${server.url}shop`);
  const ask = async (text: string) => (await admin.query(text))[0] as Rows;
  return {
    url: proxy.url,
    proxy,
    make: mysqlTarget,
    ask,
    connections: async () =>
      (await ask("select 1 from information_schema.processlist where id <> connection_id() and user = 'orb'")).length,
    quote: '`',
    close: async () => {
      await proxy.close();
      await admin.end();
      await server.stop();
    },
  };
}

const KINDS = [
  ['PostgreSQL', postgresBase, false],
  ['MariaDB', mysqlBase, withoutMariaDb],
] as const;

for (const [kind, start, skip] of KINDS)
  describe(`exports into ${kind}`, { skip }, () => {
    let base: Base;
    let made = 0;
    before(async () => {
      base = await start();
    });
    after(() => base.close());

    conform(kind, async (): Promise<Place> => {
      const table = `place_${++made}`;
      const job = { crawlId: randomUUID(), n: 0, spider: null };
      const hopeless = base.make(job, { connection: 'x', table: 'not_there', create: false }, base.url);
      return {
        target: () => base.make(job, { connection: 'x', table }, base.url),
        read: async () => {
          const offset = `${base.quote}offset${base.quote}`;
          const rows = await base.ask(`select ${offset}, data from ${table} order by ${offset}`);
          return rows.map((row) => ({ offset: Number(row.offset), data: parsed(row.data) }));
        },
        away: () => base.proxy.cut(),
        back: () => base.proxy.restore(),
        hopeless: () => hopeless,
        open: () => none(base),
        remove: async () => {
          await base.ask(`drop table if exists ${table}`);
        },
      };
    });

    ownCases(() => base, kind);
  });

function parsed(data: unknown): unknown {
  return typeof data === 'string' ? JSON.parse(data) : data;
}

/** A server sees a little later that a client has gone. */
async function none(base: Base): Promise<number> {
  let n = await base.connections();
  for (let tries = 0; n > 0 && tries < 2000; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    n = await base.connections();
  }
  return n;
}

const signal = new AbortController().signal;
const START: Cursor = { next: 0, position: null };

function items(data: unknown[], from = 0): StoredItem[] {
  return someItems(from + data.length, (i) => JSON.stringify(data[i - from] ?? null)).slice(from);
}

function ownCases(base: () => Base, kind: string): void {
  let made = 0;
  const newTable = () => `own_${++made}`;

  /** Opens, writes all in one batch, closes. */
  async function write(target: TableTarget, given: StoredItem[], job: ExportJob = newJob()): Promise<Cursor> {
    const one = base().make(job, target, base().url);
    try {
      await one.open(START, signal);
      return (await one.write({ items: given, next: (given.at(-1)?.offset ?? -1) + 1 }, signal))!;
    } finally {
      await one.close();
    }
  }
  const newJob = (): ExportJob => ({ crawlId: randomUUID(), n: 0, spider: null });

  test('columns take fields, paths and what is known of an item, by their types', async () => {
    const table = newTable();
    const columns: TableTarget['columns'] = {
      title: 'title',
      weight: { field: 'specs.weight', type: 'number' },
      'dotted.name': 'a.b',
      stock: { field: 'stock', type: 'integer' },
      sold: { field: 'sold', type: 'boolean' },
      seen: { field: 'seen', type: 'timestamp' },
      tags: { field: 'tags', type: 'json' },
      crawl: { meta: 'crawl' },
      n: { meta: 'offset' },
      kind: { meta: 'type' },
      at: { meta: 'scrapedAt' },
      whole: { meta: 'data' },
    };
    const job = newJob();
    const data = [
      {
        title: 'Größe 🕷',
        specs: { weight: 1.25 },
        'a.b': 'literal',
        stock: 9007199254740991,
        sold: true,
        seen: '2026-02-03T04:05:06.789+02:00',
        tags: ['a', { b: null }],
      },
      { title: 7, specs: { weight: '12.5' }, stock: '42', sold: 'false', seen: '2026-02-03', tags: ['text'] },
      {},
    ];
    const cursor = await write({ connection: 'x', table, columns }, items(data), job);
    assert.deepEqual(cursor, { next: 3, position: null });
    const q = base().quote;
    const rows = await base().ask(`select * from ${table} order by n`);
    const shown = rows.map((row) => ({
      ...row,
      n: Number(row.n),
      stock: row.stock === null ? null : String(row.stock),
      sold: row.sold === null ? null : Boolean(row.sold),
      tags: parsed(row.tags),
      whole: parsed(row.whole),
    }));
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    const none = { title: null, weight: null, 'dotted.name': null, stock: null, sold: null, seen: null, tags: null };
    const known = (n: number) => ({
      crawl: job.crawlId,
      n,
      kind: n === 2 ? 'other' : 'page',
      at: at(n),
      whole: data[n],
    });
    // A JSON column of PostgreSQL's gives a text as what it stands for; MariaDB's is the text.
    assert.deepEqual(
      shown.map(({ tags: _, ...row }) => row),
      [
        {
          ...without(none),
          title: 'Größe 🕷',
          weight: 1.25,
          'dotted.name': 'literal',
          stock: '9007199254740991',
          sold: true,
          seen: new Date('2026-02-03T02:05:06.789Z'),
          ...known(0),
        },
        {
          ...without(none),
          title: '7',
          weight: 12.5,
          stock: '42',
          sold: false,
          seen: new Date('2026-02-03T00:00:00Z'),
          ...known(1),
        },
        { ...without(none), ...known(2) },
      ],
    );
    const [first] = await base().ask(`select tags from ${table} where n = 0`);
    assert.deepEqual(parsed(first!.tags), ['a', { b: null }]);
    assert.equal((await base().ask(`select ${q}dotted.name${q} as d from ${table} where n = 0`))[0]!.d, 'literal');
  });

  test('an item with the key of another replaces it, in one batch and in later ones; without a key value it is its own', async () => {
    const table = newTable();
    const target: TableTarget = {
      connection: 'x',
      table,
      columns: { sku: 'sku', price: { field: 'price', type: 'number' } },
      key: ['sku'],
    };
    const data = [
      { sku: 'a', price: 1 },
      { sku: 'A', price: 2 },
      { sku: 'a', price: 3 },
      { price: 4 },
      { price: 5 },
      { sku: 'a ', price: 6 },
    ];
    await write(target, items(data));
    await write(target, items([{ sku: 'A', price: 7 }]));
    const rows = await base().ask(`select sku, price from ${table} order by price`);
    assert.deepEqual(
      rows.map(({ sku, price }) => [sku, price]),
      [
        ['a', 3],
        [null, 4],
        [null, 5],
        ['a ', 6],
        ['A', 7],
      ],
    );
  });

  test('a key of two columns, and of nothing but the key', async () => {
    const table = newTable();
    const target: TableTarget = {
      connection: 'x',
      table,
      columns: { shop: 'shop', sku: { field: 'sku', type: 'integer' } },
      key: ['shop', 'sku'],
    };
    await write(
      target,
      items([
        { shop: 'x', sku: 1 },
        { shop: 'x', sku: 1 },
        { shop: 'x', sku: 2 },
        { shop: 'y', sku: 1 },
      ]),
    );
    const rows = await base().ask(`select shop, sku from ${table} order by shop, sku`);
    assert.deepEqual(
      rows.map(({ shop, sku }) => [shop, Number(sku)]),
      [
        ['x', 1],
        ['x', 2],
        ['y', 1],
      ],
    );
  });

  test('32: what a column does not take is set aside with its reason, and the others are written', async () => {
    const table = newTable();
    await base().ask(
      `create table ${table} (name varchar(5), price bigint, note varchar(20) not null default '', constraint ${table}_positive check (price > 0))`,
    );
    const target: TableTarget = { connection: 'x', table, columns: { name: 'name', price: 'price' } };
    const data = Array.from({ length: 40 }, (_, i) => ({ name: `n${i}`, price: i + 1 })) as Record<string, unknown>[];
    data[3] = { name: 'n3', price: 1.5 };
    data[7] = { name: 'far too long', price: 1 };
    data[20] = { name: 'n20', price: -1 };
    data[21] = { name: 'n21', price: 'twelve' };
    data[39] = { name: 'n39', price: '99999999999999999999' };
    const job = newJob();
    const cursor = await write(target, items(data), job);
    const { count, first } = cursor.position as { count: number; first: { offset: number; reason: string }[] };
    assert.equal(count, 5);
    assert.deepEqual(
      first.map(({ offset }) => offset).sort((a, b) => a - b),
      [3, 7, 20, 21, 39],
    );
    const reasons = new Map(first.map(({ offset, reason }) => [offset, reason]));
    assert.equal(
      reasons.get(21)?.replace(/is \S+ and/, 'is a number and'),
      'column "price" is a number and does not take "twelve"',
    );
    assert.match(reasons.get(20)!, /positive/);
    assert.equal((await base().ask(`select count(*) as n from ${table}`))[0]!.n?.toString(), '35');
    // The list is beside the rows: the cursor that we had stored may be lost.
    const again = base().make(job, target, base().url);
    assert.deepEqual(await again.open(START, signal), cursor);
    await again.close();
  });

  const wrong: [
    what: string,
    ddl: string | null,
    target: Omit<TableTarget, 'connection' | 'table'>,
    message: RegExp,
  ][] = [
    ['a column that is not there', '(a text)', { columns: { b: 'b' } }, /no column "b"; it has a/],
    [
      'a column that takes another type',
      '(a int)',
      { columns: { a: { field: 'a', type: 'text' } } },
      /"a" is int\S*, which takes no text/,
    ],
    [
      'a column that nothing fills',
      '(a int, c int not null)',
      { columns: { a: 'a' } },
      /"c" of the table takes no null/,
    ],
    [
      'a key without a unique index',
      '(a int, b int)',
      { columns: { a: 'a', b: 'b' }, key: ['a'] },
      /no unique index on \(a\)/,
    ],
    ['a table that is not to be made', null, { create: false }, /there is no table/],
  ];
  if (kind === 'MariaDB')
    wrong.push(
      [
        'a second unique index',
        '(a int unique, b int unique)',
        { columns: { a: 'a', b: 'b' }, key: ['a'] },
        /another unique index, on \(b\)/,
      ],
      ['a table without transactions', '(a int) engine = MyISAM', { columns: { a: 'a' } }, /alter it to InnoDB/],
    );
  for (const [what, ddl, rest, message] of wrong)
    test(`refuses for good: ${what}`, async () => {
      const table = newTable();
      if (ddl !== null) await base().ask(`create table ${table} ${ddl}`);
      const error = { code: 'schema', permanent: true, message };
      await assert.rejects(write({ connection: 'x', table, ...rest }, []), error);
    });

  test('27: a posted crawl is told what is wrong with its tables, where their database answers', async () => {
    const table = newTable();
    await base().ask(`create table ${table} (a int, b int not null)`);
    const name = kind === 'MariaDB' ? 'mysql' : 'postgres';
    const connections = { x: base().url, away: base().url.replace(/:\d+\//, ':1/') };
    const check = tableChecks(new Map(Object.entries(connections)));
    const target: TableTarget = {
      connection: 'x',
      table,
      columns: { a: { field: 'a', type: 'text' }, 'no/such': 'c' },
    };
    const problems = await check([
      { file: { format: 'csv' } },
      { [name]: target },
      { [name]: { connection: 'x', table: 'not_there', create: false } },
      { [name]: { connection: 'x', table: 'not_there' } },
      { [name]: { connection: 'away', table: 'not_there' } },
    ]);
    assert.deepEqual(
      problems.map(({ pointer, code }) => [pointer, code]),
      [
        [`/exports/1/${name}/columns/a`, 'bad_value'],
        [`/exports/1/${name}/columns/no~1such`, 'unknown_name'],
        [`/exports/1/${name}/columns`, 'required'],
        [`/exports/2/${name}/table`, 'unknown_name'],
      ],
    );
    assert.equal(await none(base()), 0);
  });

  test('a table that was dropped is made and filled again, by every export into it', async () => {
    const table = newTable();
    const target: TableTarget = { connection: 'x', table };
    const jobs = [newJob(), newJob()];
    const targets = jobs.map((job) => base().make(job, target, base().url));
    for (const one of targets) {
      await one.open(START, signal);
      await one.write({ items: someItems(3), next: 3 }, signal);
    }
    await base().ask(`drop table ${table}`);
    const more = { items: someItems(6).slice(3), next: 6 };
    await assert.rejects(targets[0]!.write(more, signal), { code: 'schema', permanent: false });
    await targets[0]!.close();
    const again = base().make(jobs[0]!, target, base().url);
    assert.equal((await again.open({ next: 3, position: null }, signal)).next, 0);
    await again.close();
    await assert.rejects(targets[1]!.write(more, signal), { code: 'gone', permanent: false });
    await targets[1]!.close();
  });

  test('two exports make one table at once', async () => {
    const table = newTable();
    await Promise.all(Array.from({ length: 4 }, () => write({ connection: 'x', table }, someItems(5))));
    assert.equal((await base().ask(`select count(*) as n from ${table}`))[0]!.n?.toString(), '20');
  });

  test('27: a user who may write rows alone is told which table to make, when the crawl is posted and later', async () => {
    const [name, table] = [kind === 'MariaDB' ? 'mysql' : 'postgres', newTable()];
    const url = new URL(base().url);
    const user = `limited_${randomUUID().slice(0, 8)}`;
    const schema = kind === 'MariaDB' ? 'rights' : `"${user}"`;
    const isMine = `create ${kind === 'MariaDB' ? 'database' : 'schema'} ${schema}`;
    const grants =
      kind === 'MariaDB'
        ? [
            `create user ${user}@'127.0.0.1' identified by 'x'`,
            `grant select, insert on ${schema}.* to ${user}@'127.0.0.1'`,
          ]
        : [
            `create role ${user} login password 'x'`,
            `grant usage on schema ${schema} to ${user}`,
            `grant select, insert on ${schema}.${table} to ${user}`,
          ];
    for (const sql of [isMine, `create table ${schema}.${table} (a int)`, ...grants]) await base().ask(sql);
    try {
      [url.username, url.password] = [user, 'x'];
      if (kind === 'MariaDB') url.pathname = `/${schema}`;
      const target = { connection: 'x', table: `${schema.replaceAll('"', '')}.${table}`, columns: { a: 'a' } };
      const check = tableChecks(new Map([['x', url.href]]));
      const said = await check([{ [name]: target }]);
      if (kind !== 'MariaDB') assert.match(said[0]!.message, /may not create the table orbweaver_cursors/);
      const export_ = base().make(newJob(), target, url.href);
      const message = /may not create the table orbweaver_cursors|no right to CREATE of the table orbweaver_cursors/;
      await assert.rejects(export_.open(START, signal), { permanent: true, message });
      await export_.close();
    } finally {
      await base().ask(kind === 'MariaDB' ? `drop database ${schema}` : `drop schema ${schema} cascade`);
      await base().ask(kind === 'MariaDB' ? `drop user ${user}@'127.0.0.1'` : `drop role ${user}`);
    }
  });

  test('27: a schema that is not there is said at once, and a login that is refused in words', async () => {
    const isMaria = kind === 'MariaDB';
    const wrong = new URL(base().url);
    wrong.password = 'wrong-secret';
    const none = new URL(base().url);
    none.pathname = '/nosuch';
    for (const [url, message] of [
      ...(isMaria ? [[wrong, /refuses the user or the password/] as const] : []),
      [none, /there is no such database/],
    ] as const) {
      const target = base().make(newJob(), { connection: 'x', table: 'nowhere' }, url.href);
      await assert.rejects(target.open(START, signal), { code: 'refused', permanent: false, message });
      await target.close();
    }
    if (isMaria) return;
    const check = tableChecks(new Map([['x', base().url]]));
    const said = await check([{ postgres: { connection: 'x', table: 'nosuch.products' } }]);
    assert.deepEqual(said, [
      {
        pointer: '/exports/0/postgres/table',
        code: 'bad_value',
        message: 'there is no schema "nosuch" in the database; create it, or name another in `table`',
      },
    ]);
  });

  test('no address, user or password is told where the database cannot be had', async () => {
    const url = new URL(base().url);
    for (const [part, value] of [
      ['password', 'wrong-secret'],
      ['port', '1'],
    ] as const) {
      const other = new URL(url.href);
      other[part] = value;
      const target = base().make(newJob(), { connection: 'x', table: 'nowhere' }, other.href);
      await assert.rejects(target.open(START, signal), (error: Error & { permanent: boolean }) => {
        assert.equal(error.permanent, false);
        assert.doesNotMatch(error.message, /127\.0\.0\.1|secret|orb|postgres/i);
        return true;
      });
      await target.close();
    }
  });
}

function without<T extends object>(none: T): T {
  const { tags: _, ...rest } = none as T & { tags?: unknown };
  return rest as T;
}
