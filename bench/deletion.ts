/**
 * A crawl alone, and beside the deletion of another one of a million rows, in turn: `node bench/deletion.ts`.
 *
 * --rounds 3         of each; medians are shown
 * --rows 1000000     of the crawl that is deleted: half requests, half items
 * --fan 8            the crawl has 1,000 × as many pages
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import type { Database } from './database.ts';
import { cpuSeconds, startSite } from './processes.ts';
import { median } from './report.ts';
import { call, crawl, type Service, startCrawl, startService, stopCrawl, takeLoopDelayP99Ms } from './service.ts';
import { inWorkspace, saveResults } from './workspace.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    rows: { type: 'string', default: '1000000' },
    fan: { type: 'string', default: '8' },
  },
});
const rows = Number(values.rows);

interface Measured {
  beside: boolean;
  pagesPerSecond: number;
  loopDelayP99Ms: number;
  /** Milliseconds of CPU for each page: the service, and the database. */
  serviceCpu: number;
  databaseCpu: number;
  /** Rows that went while the crawl ran. */
  rowsPerSecond: number;
}

/** A crawl that has ended, with so many rows. */
async function bigCrawl(service: Service, sql: postgres.Sql, startUrl: string): Promise<string> {
  const { id } = await startCrawl(service, [startUrl]);
  await call(service, 'POST', `/crawls/${id}/pause`);
  await stopCrawl(service, id);
  await sql`
    insert into requests (crawl_id, fp, seq, rank, depth, state, url, finished_at)
    select ${id}, md5(${id} || n)::uuid, n, n, 1, 3, 'https://books.example/catalogue/a-page-of-the-usual-length-' || n, now()
    from generate_series(1000000, ${1_000_000 + rows / 2 - 1}::int) n`;
  await sql`
    insert into items (crawl_id, "offset", scraped_at, seq, size, type, url, data)
    select ${id}, n, now(), n, 200, 'book', 'https://books.example/catalogue/a-page-of-the-usual-length-' || n,
      json_build_object('title', repeat('words ', 10), 'price', n, 'text', repeat('and more ', 10))
    from generate_series(1000000, ${1_000_000 + rows / 2 - 1}::int) n`;
  await sql`update crawls set next_seq = ${1_000_000 + rows / 2}::bigint where id = ${id}`;
  await sql`vacuum analyze requests, items`;
  await sql`checkpoint`;
  return id;
}

async function rowsOf(sql: postgres.Sql, id: string): Promise<number> {
  const [row] = await sql<{ n: number }[]>`
    select ((select count(*) from requests where crawl_id = ${id}) + (select count(*) from items where crawl_id = ${id}))::float8 as n`;
  return row!.n;
}

async function measure(
  service: Service,
  { sql, pid }: { sql: postgres.Sql; pid: number },
  startUrl: string,
  beside: boolean,
): Promise<Measured> {
  const id = await bigCrawl(service, sql, startUrl);
  await takeLoopDelayP99Ms(service); // begins anew
  const cpu = () => [cpuSeconds(service.child.pid!), cpuSeconds(pid)] as const;
  const before = cpu();
  if (beside) {
    const response = await fetch(`${service.url}/crawls/${id}`, { method: 'DELETE' });
    if (response.status !== 204) throw new Error(`DELETE: ${response.status}`);
  }
  const { crawl: done, seconds } = await crawl(service, [startUrl]);
  const after = cpu();
  const loopDelayP99Ms = await takeLoopDelayP99Ms(service);
  const left = await rowsOf(sql, id);
  const { done: pages } = done.stats;
  return {
    beside,
    pagesPerSecond: pages / seconds,
    loopDelayP99Ms,
    serviceCpu: ((after[0] - before[0]) / pages) * 1000,
    databaseCpu: ((after[1] - before[1]) / pages) * 1000,
    rowsPerSecond: (rows - left) / seconds,
  };
}

/** A service and a database of its own for each: what one leaves to be vacuumed is not the next one's burden. */
async function measureAll(root: string, database: Database, startUrl: string) {
  const all: Measured[] = [];
  for (let round = 0; round < Number(values.rounds); round++)
    for (const beside of round % 2 === 0 ? [false, true] : [true, false]) {
      const name = `${beside ? 'beside' : 'alone'}${round}`;
      const directory = join(root, name);
      mkdirSync(directory);
      const url = await database.create(name);
      const service = await startService(url, directory);
      const sql = postgres(url, { max: 1, onnotice: () => {} });
      try {
        const one = await measure(service, { sql, pid: database.pid }, startUrl, beside);
        console.log(JSON.stringify(one));
        all.push(one);
      } finally {
        await sql.end();
        await service.stop();
      }
      await sleep(1000);
    }
  return all;
}

await inWorkspace(async (root, database) => {
  const site = await startSite('tree');
  const all = await measureAll(root, database, `${site.origin}/${values.fan}/0.html`);
  const shown = (beside: boolean) => {
    const of = all.filter((one) => one.beside === beside);
    return {
      'pages/s': median(of.map((one) => one.pagesPerSecond)).toFixed(0),
      'loop p99 ms': median(of.map((one) => one.loopDelayP99Ms)).toFixed(1),
      'CPU ms/page': median(of.map((one) => one.serviceCpu)).toFixed(2),
      'database CPU ms/page': median(of.map((one) => one.databaseCpu)).toFixed(2),
      'rows deleted/s': median(of.map((one) => one.rowsPerSecond)).toFixed(0),
    };
  };
  console.table({ alone: shown(false), 'beside a deletion': shown(true) });
  const speed = (beside: boolean) =>
    median(all.filter((one) => one.beside === beside).map((one) => one.pagesPerSecond));
  console.log(`${((speed(true) / speed(false)) * 100).toFixed(0)} % of the speed`);
  saveResults('deletion', { at: new Date().toISOString(), rows, measurements: all });
  await site.stop();
});
