import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { refuseOwn } from '../../dist/exports/own_tables.js';
import { postgresTarget } from '../../dist/exports/postgres.js';
import { inSlices } from '../../dist/routes/item_formats.js';
import { commitItems, type TestApi, testApi } from '../routes/api.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

const SECRET = 'S3cretOfMine';
const startUrls = ['https://books.example/'];

describe('hostile clients of exports, webhooks and schedules', () => {
  let api: TestApi;
  before(async () => {
    api = await testApi();
  });
  after(() => api?.stop());

  it('no secret is shown again by the message that refuses it', async () => {
    const long = SECRET.repeat(1000);
    const webhooks: object[] = [
      { secret: long },
      { secret: SECRET },
      { headers: SECRET },
      { headers: { 'X-Any': long } },
      { headers: { 'X-Any': `${SECRET}\n` } },
      { headers: { 'X-Any': [SECRET] } },
    ];
    const settings: object[] = [
      { headers: { authorization: long } },
      { auth: [{ hosts: ['a.example'], bearer: long }] },
      { initialCookies: [{ name: 'a', value: long, url: 'https://a.example/' }] },
    ];
    for (const given of [
      ...webhooks.map((one) => ({ webhooks: [{ url: 'https://a.example/', ...one }] })),
      ...settings.map((one) => ({ settings: one })),
    ]) {
      const crawl = { startUrls, ...given };
      for (const [url, body] of [
        ['/crawls', crawl],
        ['/schedules', { cron: '@daily', crawl }],
      ] as const) {
        const answer = await api.call('POST', url, body);
        assert.equal(answer.status, 422, JSON.stringify(given).slice(0, 200));
        assert.ok(!answer.text.includes(SECRET), answer.text.slice(0, 500));
      }
    }
    for (const body of webhooks) {
      const answer = await api.call('POST', '/webhooks/test', { url: 'https://a.example/', ...body });
      assert.deepEqual([answer.status, answer.text.includes(SECRET)], [422, false]);
    }
  });

  it('times that no database knows, and days that are none, are refused', async () => {
    const crawl = { startUrls };
    const bad = [
      '0000-01-01T00:00:00Z',
      '0000-01-01T00:00:00+14:00',
      '9999-12-31T23:59:59-23:59',
      '2027-02-31T00:00:00Z',
    ];
    for (const at of bad)
      for (const member of ['startAt', 'endAt']) {
        const answer = await api.call('POST', '/schedules', { cron: '@daily', [member]: at, crawl });
        assert.equal(answer.status, 422, at);
        assert.deepEqual((answer.json.errors as { pointer: string }[])[0]?.pointer, `/${member}`);
      }
    const once = await api.call('POST', '/schedules', { cron: '2027-02-01T00:00:00', crawl });
    assert.equal((once.json.errors as { code: string }[])[0]?.code, 'bad_cron');
    const made = await api.call('POST', '/schedules', { cron: '@daily', crawl });
    for (const cursor of [
      '-271821-04-20T00:00:00.000Z',
      '+275760-09-13T00:00:00.000Z',
      '0000-01-01T00:00:00Z',
      '1',
      ' ',
    ])
      assert.equal(
        (await api.call('GET', `/schedules/${made.json.id}/runs?cursor=${encodeURIComponent(cursor)}`)).status,
        422,
      );
  });

  it('a table of thousands of columns is written a few rows a turn', async () => {
    const id = await api.start();
    await commitItems(api.sql, id, 300);
    const fields = Array.from({ length: 2000 }, (_, i) => i.toString(36)).join(',');
    const answer = await api.call('GET', `/crawls/${id}/items?format=csv&follow=false&fields=${fields}`);
    assert.equal(answer.text.split('\r\n').length, 302);
    const sizes: number[] = [];
    const items = Array.from({ length: 300 }, () => ({ size: 10 }) as never);
    const note = (slice: readonly unknown[]) => {
      sizes.push(slice.length);
      return Buffer.alloc(0);
    };
    await inSlices(items, note, 16_200);
    assert.deepEqual([...new Set(sizes)], [5]);
  });
});

describe('exports into the database that Orbweaver lives in', () => {
  let database: TestDatabase;
  before(async () => {
    database = await testDatabase();
  });
  after(() => database?.drop());

  const open = async (table: string) => {
    const target = postgresTarget(
      { crawlId: crypto.randomUUID(), n: 0, spider: null },
      { connection: 'own', table },
      database.url,
    );
    try {
      await target.open({ next: 0, position: null }, new AbortController().signal);
      return 'opened';
    } catch (error) {
      return (error as Error).message;
    } finally {
      await target.close();
    }
  };

  it('write into none of its tables, nor of the system’s, nor into the cursors', async () => {
    const tables = await database.sql<{ name: string }[]>`
      select tablename as name from pg_tables where schemaname = 'public' order by 1`;
    for (const { name } of tables) assert.throws(() => refuseOwn('public', name, true), /Orbweaver itself/, name);
    for (const table of ['crawls', 'public.exports', 'orbweaver_cursors', 'pg_authid', 'pg_catalog.pg_proc'])
      assert.match(await open(table), /name another table$/, table);
    assert.equal(await open('products'), 'opened');
    await database.sql`create schema shop`;
    assert.equal(await open('shop.items'), 'opened');
  });

  it('names are names, whatever is in them', async () => {
    for (const table of ['a"; drop table crawls; --', "b'c", 'select', '$1', '?', 'é'.repeat(31)])
      assert.equal(await open(table), 'opened', table);
    const [row] = await database.sql<{ there: boolean }[]>`select to_regclass('crawls') is not null as there`;
    assert.ok(row!.there);
  });
});
