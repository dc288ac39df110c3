import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { checkBooks, ENDED, getCrawl, getJson, type Item, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

const PAGES = 450;
const KILLS = 3;
let database: TestDatabase;
let dataDir: string;
let site: Site;
let hook: Site;
/** Bodies that the webhook took, by `webhook-id`. */
const messages = new Map<string, { type: string; data: { items?: Item[] } }>();

before(async () => {
  database = await testDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'orbweaver-exports-'));
  site = await startSite(treeSite(PAGES));
  hook = await startSite((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => {
      body += chunk;
    });
    req.on('end', () => {
      messages.set(String(req.headers['webhook-id']), JSON.parse(body));
      res.writeHead(204).end();
    });
  });
});
after(async () => {
  await Promise.all([site.close(), hook.close()]);
  await database.drop();
  await rm(dataDir, { recursive: true });
});

const start = () =>
  startService({
    DATABASE_URL: database.url,
    DATA_DIR: dataDir,
    CONNECTIONS: `shop=${database.url}`,
    WEBHOOK_EGRESS_ALLOW: '127.0.0.0/8',
    PARSER_THREADS: '1',
  });

interface Status {
  name: string;
  state: string;
  nextOffset: number;
  written: number;
  lag: number;
  failures: number;
}
const statuses = async (service: Service, id: string) =>
  (await getJson<{ exports: Status[] }>(`${service.url}/crawls/${id}/exports`)).exports;

async function exported(id: string): Promise<Item[]> {
  const directory = join(dataDir, 'exports', id);
  const names = (await readdir(directory)).sort();
  assert.ok(
    names.every((name) => /^items-\d{5}\.ndjson\.gz$/.test(name)),
    names.join(),
  );
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name))));
  const lines = texts.flatMap((text) => gunzipSync(text).toString().split('\n'));
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Item);
}

async function waitForDone(service: Service, id: string): Promise<Status[]> {
  for (let tries = 0; ; tries++) {
    const found = await statuses(service, id);
    if (found.every(({ state }) => state === 'done')) return found;
    assert.ok(tries < 600, `still ${JSON.stringify(found)}\n${service.output().slice(-2000)}`);
    await sleep(100);
  }
}

test('34, 38: kill -9 again and again, and SIGTERM: each item is once in the file, the table and the messages', async () => {
  let service = await start();
  const { id } = await postCrawl(service.url, {
    spider: TITLE_SPIDER,
    startUrls: [`${site.url}/`],
    settings: FAST,
    exports: [
      { file: { format: 'ndjson', gzip: true, maxBytes: 8000 } },
      { postgres: { connection: 'shop', table: 'crash_items' } },
    ],
    webhooks: [{ url: `${hook.url}/hook`, batch: { items: 50, seconds: 0.2 } }],
  });
  for (let kills = 0; kills < KILLS; kills++) {
    while ((await getCrawl(service.url, id)).stats.done < ((kills + 1) * PAGES) / (KILLS + 2)) await sleep(10);
    // An end in order, among the others.
    await service.signal(kills === 1 ? 'SIGTERM' : 'SIGKILL');
    service = await start();
  }
  try {
    await waitFor(service.url, id, ENDED, 120_000);
    const found = await waitForDone(service, id);
    const { items } = await checkBooks(service.url, id);
    assert.equal(items.length, PAGES);
    const offsets = items.map(({ offset }) => offset);
    assert.deepEqual(await exported(id), items, 'the files hold what the API gives');
    const rows = await database.sql<{ offset: number }[]>`select "offset" from crash_items order by "offset"`;
    assert.deepEqual(
      rows.map((row) => Number(row.offset)),
      offsets,
    );
    const told = [...messages.values()].flatMap(({ type, data }) => (type === 'items.created' ? data.items! : []));
    assert.deepEqual(
      told.map(({ offset }) => offset).sort((a, b) => a - b),
      offsets,
      'once by webhook-id',
    );
    for (const { name, written, nextOffset, lag, failures } of found)
      assert.deepEqual(
        { name, written, nextOffset, lag, failures },
        { name, written: PAGES, nextOffset: PAGES, lag: 0, failures: 0 },
      );
  } finally {
    await service.stop();
  }
});
