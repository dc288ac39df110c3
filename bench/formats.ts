/**
 * Items of a finished crawl, read by one reader in each format in turn: `node bench/formats.ts`.
 *
 * --items 100000
 * --rounds 3      of each; medians are shown
 * --only 'csv;sse'  only these
 * --profile       the service writes CPU profiles to bench/results/profile
 */
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import postgres from 'postgres';
import { besides, cpuSeconds } from './processes.ts';
import { median } from './report.ts';
import { type CrawlState, call, type Service, startCrawl, startService, takeLoopDelayP99Ms } from './service.ts';
import { inWorkspace, saveResults } from './workspace.ts';

/** What is asked for, and in which coding. */
const FORMATS: Readonly<Record<string, { query: string; coding?: 'gzip' | 'zstd'; paged?: true }>> = {
  ndjson: { query: 'format=ndjson' },
  'ndjson, gzip': { query: 'format=ndjson', coding: 'gzip' },
  'ndjson, zstd': { query: 'format=ndjson', coding: 'zstd' },
  'ndjson, fields': { query: 'format=ndjson&fields=title,price' },
  'ndjson, flatten': { query: 'format=ndjson&flatten=true' },
  sse: { query: 'format=sse' },
  'json pages': { query: 'format=json&limit=1000', paged: true },
  'json-array': { query: 'format=json-array' },
  csv: { query: 'format=csv' },
  'csv, gzip': { query: 'format=csv', coding: 'gzip' },
  parquet: { query: 'format=parquet' },
};
const SPIDER = {
  pages: [
    {
      items: [
        {
          type: 'book',
          fields: {
            title: 'h1',
            price: { selector: '.price', as: 'number' },
            stock: { selector: '.stock', as: 'integer' },
            description: '.description',
            specs: { selector: '.specs', value: { weight: { selector: '.w', as: 'number' }, isbn: '.isbn' } },
            tags: ['.tag'],
          },
        },
      ],
    },
  ],
};

const { values } = parseArgs({
  options: {
    items: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: Object.keys(FORMATS).join(';') },
    profile: { type: 'boolean', default: false },
  },
});
const ITEMS = Number(values.items);
const names = Object.keys(FORMATS).filter((name) => values.only.split(';').includes(name));

interface Measurement {
  format: string;
  seconds: number;
  /** On the wire. */
  megabytes: number;
  loopDelayP99Ms: number;
  /** Of the service, in seconds. */
  cpu: number;
}

/** A crawl that has ended with so many items, written straight into the database. */
async function finishedCrawl(service: Service, databaseUrl: string): Promise<string> {
  const { id } = await startCrawl(service, ['http://127.0.0.1:9/'], { retries: 0 }, SPIDER);
  while (!['finished', 'failed'].includes((await call<CrawlState>(service, 'GET', `/crawls/${id}`)).state))
    await new Promise((resolve) => setTimeout(resolve, 100));
  const sql = postgres(databaseUrl, { max: 1 });
  await sql`
    insert into items (crawl_id, "offset", scraped_at, seq, size, type, url, data)
    select ${id}, n, now(), 0, octet_length(d), 'book', 'https://books.example/catalogue/book-' || n || '/index.html', d::json
    from generate_series(0, ${ITEMS}::int - 1) n, lateral (select json_build_object(
      'title', 'The book number ' || n, 'price', (n * 31 % 9973) / 100.0, 'stock', n % 23,
      'description', repeat('Words of it, "quoted" and not; ', 2 + n % 7) || md5(n::text),
      'specs', json_build_object('weight', n % 991, 'isbn', '978' || lpad((n::bigint * 104729 % 1000000000)::text, 10, '0')),
      'tags', json_build_array('fiction', 'shelf ' || n % 50))::text as d) data`;
  await sql`update crawls set items = ${ITEMS}, state = 'finished', stop_reason = 'finished' where id = ${id}`;
  await sql`vacuum analyze items`;
  await sql.end();
  return id;
}

function ask(url: string, coding: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { 'accept-encoding': coding }, agent: false }, resolve).once('error', reject);
  });
}

/** Reads a body to its end and forgets it. @returns its bytes */
async function drain(url: string, coding: string): Promise<number> {
  const response = await ask(url, coding);
  if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode}`);
  let bytes = 0;
  for await (const piece of response) bytes += (piece as Buffer).length;
  return bytes;
}

async function readPages(url: string): Promise<number> {
  let bytes = 0;
  for (let next: number | null = -1; next !== null; ) {
    const response = await ask(`${url}&after=${next}`, 'identity');
    const pieces: Buffer[] = [];
    for await (const piece of response) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    bytes += body.length;
    const end = body.toString('latin1', body.length - 60);
    next = JSON.parse(/"next":(\d+|null)/.exec(end)![1]!) as number | null;
  }
  return bytes;
}

async function measure(service: Service, id: string, format: string): Promise<Measurement> {
  const { query, coding = 'identity', paged } = FORMATS[format]!;
  const url = `${service.url}/crawls/${id}/items?${query}`;
  await takeLoopDelayP99Ms(service); // begins anew
  const cpuBefore = cpuSeconds(service.child.pid!);
  const from = performance.now();
  const bytes = paged ? await readPages(url) : await drain(url, coding);
  const seconds = (performance.now() - from) / 1000;
  const cpu = cpuSeconds(service.child.pid!) - cpuBefore;
  return { format, seconds, megabytes: bytes / 1e6, cpu, loopDelayP99Ms: await takeLoopDelayP99Ms(service) };
}

/** @throws Error where a text format has not every item */
async function check(service: Service, id: string): Promise<void> {
  for (const name of names) {
    const { query, coding = 'identity', paged } = FORMATS[name]!;
    if (paged || name === 'parquet') continue;
    const response = await ask(`${service.url}/crawls/${id}/items?${query}`, coding);
    const decoder = coding === 'gzip' ? createGunzip() : coding === 'zstd' ? createZstdDecompress() : null;
    let count = 0;
    for await (const piece of decoder === null ? response : response.pipe(decoder))
      count += String(piece).split('\n').length - 1;
    if (count < ITEMS) throw new Error(`${name}: ${count} of ${ITEMS} items`);
  }
}

function summarize(all: readonly Measurement[], format: string): Record<string, string> {
  const of = all.filter((one) => one.format === format);
  const bare = all.filter((one) => one.format === names[0]);
  const shown = (key: Exclude<keyof Measurement, 'format'>, digits: number) =>
    median(of.map((one) => one[key])).toFixed(digits);
  return {
    'items/s': (ITEMS / median(of.map(({ seconds }) => seconds))).toFixed(0),
    ratio: median(of.map(({ seconds }, i) => bare[i]!.seconds / seconds)).toFixed(2),
    'MB on the wire': shown('megabytes', 1),
    'loop p99 ms': shown('loopDelayP99Ms', 1),
    'CPU s': shown('cpu', 2),
  };
}

await inWorkspace(async (root, database) => {
  const url = await database.create('formats');
  const flags = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${besides('results/profile')}`] : [];
  const service = await startService(url, join(root, 'service'), flags);
  const id = await finishedCrawl(service, url);
  await check(service, id);
  const all: Measurement[] = [];
  for (let round = 0; round < Number(values.rounds); round++)
    for (const name of names) all.push(await measure(service, id, name));
  console.table(Object.fromEntries(names.map((name) => [name, summarize(all, name)])));
  saveResults('formats', { at: new Date().toISOString(), items: ITEMS, measurements: all });
  await service.stop();
});
