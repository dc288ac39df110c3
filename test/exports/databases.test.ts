/** Every database at once, through the service. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@redis/client';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { listExports } from '../../dist/db/exports.js';
import { ENDED, postCrawl, waitFor } from '../support/client.ts';
import { testDatabase } from '../support/database.ts';
import { startMariaDb, startRedis, withoutMariaDb, withoutRedis } from '../support/foreign_servers.ts';
import { startMongoServer } from '../support/mongo_server.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { startService } from '../support/service.ts';
import { startSite } from '../support/site.ts';

const PAGES = 60;

test(
  'every item of a crawl is once in every database when its exports are done',
  { skip: withoutMariaDb || withoutRedis },
  async (t) => {
    const [site, database, mariaDb, redis, mongo] = await Promise.all([
      startSite(treeSite(PAGES)),
      testDatabase(),
      startMariaDb(),
      startRedis(),
      startMongoServer(),
    ]);
    const mysql = await createConnection(mariaDb.url);
    await mysql.query('create database shop');
    const stream = createClient({ url: redis.url, RESP: 2 });
    stream.on('error', () => {});
    await stream.connect();
    const urls = { pg: database.url, my: `${mariaDb.url}shop`, red: redis.url, mon: mongo.url };
    const CONNECTIONS = Object.entries(urls)
      .map(([name, url]) => `${name}=${url.replaceAll(',', '%2C')}`)
      .join(',');
    const env = { DATABASE_URL: database.url, CONNECTIONS };
    const service = await startService(env);
    t.after(async () => {
      await service.stop();
      stream.destroy();
      await mysql.end();
      await Promise.all([site.close(), database.drop(), mariaDb.stop(), redis.stop(), mongo.close()]);
    });

    const columns = { title: 'title', n: { meta: 'offset' } } as const;
    const { id } = await postCrawl(service.url, {
      spider: TITLE_SPIDER,
      startUrls: [`${site.url}/`],
      settings: FAST,
      exports: [
        { postgres: { connection: 'pg', table: 'public.titles', columns } },
        { mysql: { connection: 'my', table: 'titles', columns } },
        { mongodb: { connection: 'mon', collection: 'titles' } },
        { redis: { connection: 'red', stream: 'titles' } },
      ],
    });
    await waitFor(service.url, id, ENDED);
    for (let tries = 0; (await listExports(database.sql, id)).some(({ state }) => state !== 'done'); tries++) {
      assert.ok(tries < 1200, JSON.stringify(await listExports(database.sql, id)));
      await sleep(50);
    }
    const items = await database.sql<{ n: number; title: string }[]>`
    select "offset" as n, data->>'title' as title from items where crawl_id = ${id} order by "offset"`;
    assert.equal(items.length, PAGES);
    const expected = items.map(({ n, title }) => [Number(n), title]);
    const [rows] = await mysql.query<RowDataPacket[]>('select n, title from shop.titles order by n');
    const entries = await stream.sendCommand<[string, string[]][]>(['XRANGE', 'titles', '-', '+']);
    const found = {
      postgres: (await database.sql`select n, title from titles order by n`).map(({ n, title }) => [Number(n), title]),
      mysql: rows.map(({ n, title }) => [Number(n), title]),
      mongodb: mongo
        .documents('titles')
        .sort((a, b) => a.offset - b.offset)
        .map(({ offset, data }) => [offset, data.title]),
      redis: entries.map(([, fields]) => [
        Number(fields[fields.indexOf('offset') + 1]),
        JSON.parse(fields[fields.indexOf('data') + 1]!).title,
      ]),
    };
    assert.deepEqual(found, { postgres: expected, mysql: expected, mongodb: expected, redis: expected });
  },
);
