import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { commitTimes, createItemsTable, type Database, takeItems, type Written, written } from './database.ts';
import { besides, output, type Running, start } from './processes.ts';
import { median } from './report.ts';
import { crawl, type Service, SPIDERS, type SpiderForm, startService, takeLoopDelayP99Ms } from './service.ts';

/** One run of one contender. */
export interface Measurement {
  seconds: number;
  pages: number;
  /** `url` and the fields of each item, as JSON; sorted. */
  items: string[];
  peakMb: number;
  loopDelayP99Ms: number | null;
  /** Median, in milliseconds; only the service's. */
  commitToStreamMs: number | null;
  /** Per page; null where nothing goes to a database. */
  written: Written | null;
}

/** What a run needs. */
export interface Bench {
  startUrls: string[];
  database: Database;
  /** A fresh directory of this run. */
  directory: string;
  /** Source of a regular expression: the URLs that are followed. */
  follow: string;
  /** Flags of node for the service. */
  serviceFlags: string[];
}

export type Contender = (bench: Bench) => Promise<Measurement>;

interface Item {
  url: string;
  title?: string | null;
  h1?: string | null;
  h2?: string[] | null;
}

function comparable(items: Item[]): string[] {
  return items.map(({ url, title, h1, h2 }) => JSON.stringify([url, title ?? '', h1 ?? '', h2 ?? []])).sort();
}

function parseLines(text: string): unknown[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

/** Adds what `work` wrote to the database, per page. @param crawls that `work` does, each of as many pages */
async function withWritten(url: string, crawls: number, work: () => Promise<Measurement>): Promise<Measurement> {
  const before = await written(url);
  const measurement = await work();
  const after = await written(url);
  const pages = crawls * measurement.pages;
  const perPage = {
    walBytes: (after.walBytes - before.walBytes) / pages,
    rows: (after.rows - before.rows) / pages,
    commits: (after.commits - before.commits) / pages,
  };
  return { ...measurement, written: perPage };
}

const databaseUrls = new Map<string, Promise<string>>();
/** The URL of a contender's database; it is created, and filled with what it needs, at the first call. */
function databaseUrl(database: Database, name: string, prepare: (url: string) => Promise<void>): Promise<string> {
  const make = async () => {
    const url = await database.create(name);
    await prepare(url);
    return url;
  };
  if (!databaseUrls.has(name)) databaseUrls.set(name, make());
  return databaseUrls.get(name)!;
}

/** Two crawls, the second measured; what is written is counted over both, when the service has stopped. */
function service(form: SpiderForm): Contender {
  return async ({ startUrls, follow, database, directory, serviceFlags }) => {
    const spider = SPIDERS[form](follow);
    // The first start creates the tables, which is not a crawl's doing.
    const url = await databaseUrl(database, `service_${form}`, async (fresh) => {
      const first = await startService(fresh, directory);
      await first.stop();
    });
    return withWritten(url, 2, async () => {
      const running = await startService(url, directory, serviceFlags);
      try {
        await crawl(running, startUrls, {}, spider);
        return await measureCrawl(running, startUrls, url, spider);
      } finally {
        await running.stop();
      }
    });
  };
}

async function measureCrawl(running: Service, startUrls: string[], url: string, spider: object): Promise<Measurement> {
  await takeLoopDelayP99Ms(running); // begins anew
  const crawled = await crawl(running, startUrls, {}, spider);
  const loopDelay = await takeLoopDelayP99Ms(running);
  const commits = await commitTimes(url, crawled.crawl.id);
  const items = crawled.lines.map((line) => JSON.parse(line) as { url: string; data: Omit<Item, 'url'> });
  return {
    seconds: crawled.seconds,
    pages: crawled.crawl.stats.done,
    items: comparable(items.map((item) => ({ ...item.data, url: item.url }))),
    peakMb: running.peakMb(),
    loopDelayP99Ms: loopDelay,
    commitToStreamMs: median(crawled.arrivals.map((at, offset) => at - commits[offset]!)),
    written: null,
  };
}

async function report(running: Running, readItems: () => Promise<unknown[]>): Promise<Measurement> {
  const { seconds, loopDelayP99Ms } = JSON.parse(await output(running.child)) as Measurement;
  const items = comparable((await readItems()) as Item[]);
  const peakMb = running.peakMb();
  return { seconds, pages: items.length, items, peakMb, loopDelayP99Ms, commitToStreamMs: null, written: null };
}

function nodePeer(file: string, disk: boolean): Contender {
  return ({ startUrls, follow, directory }) => {
    if (!existsSync(besides('node_modules'))) throw new Error('the peers are not installed: run bench/setup.sh');
    const itemsFile = join(directory, 'items.jsonl');
    const env = { FOLLOW: follow, ...(disk ? { CRAWLEE_DISK: join(directory, 'storage') } : {}) };
    const running = start(process.execPath, [besides(file), itemsFile, ...startUrls], env);
    return report(running, async () => parseLines(readFileSync(itemsFile, 'utf8')));
  };
}

/** Debian's Scrapy, so Debian's Python. */
function startScrapy(mode: string, { directory, follow, startUrls }: Bench, env: Record<string, string>): Running {
  const packages = '/usr/lib/python3/dist-packages';
  for (const name of ['scrapy', 'asyncpg'])
    if (!existsSync(join(packages, name))) throw new Error(`python3-${name} is not installed: run bench/setup.sh`);
  return start('/usr/bin/python3', [besides('peers/scrapy_peer.py'), mode, directory, ...startUrls], {
    FOLLOW: follow,
    ...env,
  });
}

const scrapyFeed: Contender = (bench) =>
  report(startScrapy('feed', bench, {}), async () =>
    parseLines(readFileSync(join(bench.directory, 'items.jsonl'), 'utf8')),
  );

const scrapyJobdir: Contender = async (bench) => {
  const url = await databaseUrl(bench.database, 'scrapy', createItemsTable);
  return withWritten(url, 1, () => report(startScrapy('jobdir', bench, { DATABASE_URL: url }), () => takeItems(url)));
};

/** A contender, and how many times as fast the service means to be on each corpus. */
interface Entry {
  run: Contender;
  target: { small: number; large: number } | null;
  /** Left out of the large corpus, where nothing is asked of it: it would take too long. */
  smallOnly?: true;
}

/** All contenders by name. */
export const CONTENDERS: Record<string, Entry> = {
  service: { run: service('css'), target: null },
  'service-html5': { run: service('html5'), target: null, smallOnly: true },
  'service-xpath': { run: service('xpath'), target: null, smallOnly: true },
  'service-script': { run: service('script'), target: null, smallOnly: true },
  'crawlee-memory': { run: nodePeer('peers/crawlee.ts', false), target: { small: 6, large: 9 } },
  'crawlee-disk': { run: nodePeer('peers/crawlee.ts', true), target: { small: 7, large: 7 }, smallOnly: true },
  'scrapy-feed': { run: scrapyFeed, target: { small: 10, large: 20 } },
  'scrapy-jobdir-pg': { run: scrapyJobdir, target: { small: 8, large: 8 }, smallOnly: true },
  bare: { run: nodePeer('peers/bare.ts', false), target: { small: 1.2, large: 2.2 } },
};
