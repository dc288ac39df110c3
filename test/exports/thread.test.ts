import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isExportDue, listExports } from '../../dist/db/exports.js';
import { startCrawl } from '../../dist/engine/lifecycle.js';
import type { DeliveryData } from '../../dist/exports/protocol.js';
import { ExportThread } from '../../dist/exports/thread.js';
import { planStart } from '../../dist/parser/start_requests.js';
import { commitItems } from '../routes/api.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST } from '../support/pages.ts';

let database: TestDatabase;
let dataDir: string;
before(async () => {
  database = await testDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'orbweaver-thread-'));
});
after(async () => {
  await database.drop();
  await rm(dataDir, { recursive: true });
});

/** The thread as it ships, in which something dies once an export is held, a new way with each of the first three threads. */
const MORTAL = `
  import { workerData } from 'node:worker_threads';
  const deaths = [
    () => { throw new Error('a driver threw'); },
    () => process.exit(0),
    () => { for (const all = []; ; ) all.push(Array(1e6).fill(0.5)); },
  ];
  const die = deaths[Atomics.add(workerData.starts, 0, 1)];
  if (die !== undefined) setInterval(() => { if (Atomics.load(workerData.held, 0) > 0) die(); }, 5);
  await import(${JSON.stringify(new URL('../../dist/delivery.js', import.meta.url).href)});`;

test('34: the thread of exports dies of an error, an exit and its memory: another goes on, each item is once in the file', async () => {
  const { sql, url } = database;
  const nodeId = randomUUID();
  await sql`insert into nodes (id, role, alive_until) values (${nodeId}, 'all', now() + interval '1 hour')`;
  const input = {
    startUrls: ['https://books.example/'],
    settings: FAST,
    exports: [{ file: { format: 'ndjson', maxBytes: 2000 } as const }],
  };
  const parts = {
    checkSpider: async () => [],
    planStart: async (start: Parameters<typeof planStart>[0]) => planStart(start),
  };
  const { id } = (await startCrawl(sql, input, parts)).crawl;
  await sql`update crawls set state = 'running', started_at = now() where id = ${id}`;
  const counter = () => new Int32Array(new SharedArrayBuffer(4));
  const [starts, held] = [counter(), counter()];
  const errors: string[] = [];
  const data: DeliveryData = { databaseUrl: url, nodeId, dataDir, connections: new Map(), webhookEgressAllow: [] };
  const thread = new ExportThread({
    entry: new URL(`data:text/javascript,${encodeURIComponent(MORTAL)}`),
    data: { ...data, starts, held } as DeliveryData,
    isDue: () => isExportDue(sql),
    pauseMs: 10,
    log: { warn: () => {}, error: ({ err }: { err?: Error }) => errors.push(String(err?.message)) },
  });
  try {
    thread.start();
    for (let round = 1; round <= 4; round++) {
      while (starts[0]! < round) {
        thread.look();
        await sleep(20);
      }
      await commitItems(sql, id, 25);
      await until(async () => (await listExports(sql, id))[0]!.node_id === nodeId);
      held[0] = 1;
      if (round === 4) break;
      await until(async () => errors.length === round);
      held[0] = 0;
    }
    await sql`update crawls set state = 'finished', stop_reason = 'done', ended_at = now() where id = ${id}`;
    await until(async () => (await listExports(sql, id))[0]!.state === 'done');
    assert.match(errors.join(), /^a driver threw,exit code 0,.*memory/);
    const directory = join(dataDir, 'exports', id);
    const texts = await Promise.all(
      (await readdir(directory)).sort().map((name) => readFile(join(directory, name), 'utf8')),
    );
    const lines = texts.join('').trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { offset: number }).offset),
      Array.from({ length: 100 }, (_, i) => i),
    );
  } finally {
    await thread.stop(1000);
  }
});

async function until(check: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await check()); tries++) {
    assert.ok(tries < 5000, 'it does not come');
    await sleep(20);
  }
}
