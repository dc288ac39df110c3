/**
 * Many hosts, one delay: `node bench/broad.ts [--hosts 2000] [--pages 10] [--delay 1000] [--profile]`. Every host has a
 * robots.txt. First a crawl of one host without a delay, of as many pages at most: what the machine gives. Then all hosts at
 * once: as fast as that, or as fast as the delays allow, with memory flat and every delay kept by the site's clock.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { besides, cpuSeconds, residentMb, startSite } from './processes.ts';
import { type CrawlState, call, type Service, startCrawl, startService, takeLoopDelayP99Ms } from './service.ts';
import { inWorkspace, saveResults } from './workspace.ts';

const POLL_MS = 1000;
/** Pages of the crawl of one host: enough for a steady pace. */
const CONTROL_PAGES = 10_000;
const SPIDER = {
  pages: [{ items: [{ fields: { title: 'title', h1: 'h1' } }], follow: [{ selector: 'a[href]' }] }],
};

/** What the site saw; times in milliseconds. */
interface Seen {
  hosts: number;
  /** The smallest time between two pages of each host. */
  gaps: number[];
  /** When each host was first asked for a page, since the epoch. */
  firsts: number[];
  /** Connections open at once at most, and open now. */
  most: number;
  open: number;
}

interface Processes {
  service: Service;
  databasePid: number;
  site: { origin: string; pid: number };
}

interface Measured {
  pages: number;
  seconds: number;
  /** Seconds of CPU for a thousand pages: of the node, of PostgreSQL, of the site. */
  cpu: { node: number; database: number; site: number };
  loopDelayP99Ms: number;
  /** Of the node, once a second. */
  rssMb: number[];
  /** Done at each of these seconds. */
  done: number[];
  seen: Seen;
  lastFirstSeconds: number;
}

const { values } = parseArgs({
  options: {
    hosts: { type: 'string', default: '2000' },
    pages: { type: 'string', default: '10' },
    delay: { type: 'string', default: '1000' },
    control: { type: 'string', default: String(CONTROL_PAGES) },
    profile: { type: 'boolean', default: false },
  },
});
const hosts = Number(values.hosts);
const pages = Number(values.pages);
const delayMs = Number(values.delay);

/** 127.1.0.1, 127.1.0.2 … */
function addressOf(i: number): string {
  return `127.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
}

function cpuOf({ service, databasePid, site }: Processes): number[] {
  return [service.child.pid!, databasePid, site.pid].map(cpuSeconds);
}

/** Crawls to the end. @throws Error where a page is missing */
async function measure(
  processes: Processes,
  startUrls: string[],
  settings: object,
  expected: number,
): Promise<Measured> {
  const { service, site } = processes;
  const ask = async () => (await (await fetch(`${site.origin}/seen`)).json()) as Seen;
  await ask();
  await takeLoopDelayP99Ms(service);
  const cpuBefore = cpuOf(processes);
  const startedAt = Date.now();
  const { id } = await startCrawl(service, startUrls, settings, SPIDER);
  const rssMb: number[] = [];
  const done: number[] = [];
  let crawl: CrawlState;
  do {
    await sleep(POLL_MS);
    crawl = await call<CrawlState>(service, 'GET', `/crawls/${id}`);
    rssMb.push(Math.round(residentMb(service.child.pid!, 'VmRSS')));
    done.push(crawl.stats.done);
  } while (crawl.state === 'running' || crawl.state === 'queued');
  const { startedAt: began, endedAt } = crawl as CrawlState & { startedAt: string; endedAt: string };
  const cpu = cpuOf(processes).map((seconds, i) => ((seconds - cpuBefore[i]!) / expected) * 1000);
  if (crawl.stats.done !== expected)
    throw new Error(`${crawl.stats.done} of ${expected} pages: ${JSON.stringify(crawl)}`);
  const seen = await ask();
  return {
    pages: expected,
    seconds: (Date.parse(endedAt) - Date.parse(began)) / 1000,
    cpu: { node: cpu[0]!, database: cpu[1]!, site: cpu[2]! },
    loopDelayP99Ms: await takeLoopDelayP99Ms(service),
    rssMb,
    done,
    seen,
    lastFirstSeconds: (Math.max(...seen.firsts) - startedAt) / 1000,
  };
}

function row(measured: Measured): Record<string, string | number> {
  const { cpu, rssMb, seen } = measured;
  return {
    'pages/s': Math.round(measured.pages / measured.seconds),
    'node ms/page': cpu.node.toFixed(2),
    'PostgreSQL ms/page': cpu.database.toFixed(2),
    'site ms/page': cpu.site.toFixed(2),
    'loop p99 ms': measured.loopDelayP99Ms.toFixed(0),
    'RSS MiB, middle → end': `${rssMb[rssMb.length >> 1]} → ${rssMb.at(-1)}`,
    'last host begun after s': measured.lastFirstSeconds.toFixed(1),
    'smallest gap ms': Math.min(...seen.gaps).toFixed(1),
    connections: `${seen.most} → ${seen.open}`,
  };
}

await inWorkspace(async (directory, database) => {
  const site = await startSite('broad');
  const flags = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${besides('results/profile')}`] : [];
  const service = await startService(await database.create('broad'), join(directory, 'service'), flags);
  const processes = { service, databasePid: database.pid, site };
  const { port } = new URL(site.origin);
  const starts = (count: number) =>
    Array.from({ length: count }, (_, i) => `http://${addressOf(i + 1)}:${port}/${pages}/0.html`);
  const polite = { delayMs, randomizeDelay: false, concurrencyPerHost: 1, concurrency: 512, robots: true };
  try {
    const n = Math.min(Number(values.control), hosts * pages);
    const free = { concurrency: 32, concurrencyPerHost: 32, robots: true };
    const warmUp = await measure(processes, [`${site.origin}/${n}/0.html`], free, n);
    const control = await measure(processes, [`${site.origin}/${n}/0.html`], free, n);
    const broad = await measure(processes, starts(hosts), polite, hosts * pages);
    console.table({ 'one host': row(control), [`${hosts} hosts`]: row(broad) });
    const late = broad.seen.gaps.filter((gap) => gap < delayMs).length;
    const pace = broad.pages / broad.seconds;
    const ideal = Math.min((hosts * 1000) / delayMs, control.pages / control.seconds);
    console.log(`${late} of ${hosts} hosts were asked sooner than after ${delayMs} ms`);
    console.log(
      `${((pace / ideal) * 100).toFixed(0)} % of ${ideal.toFixed(0)} pages/s, what the delays or the machine allow`,
    );
    console.log(`RSS, MiB, each second: ${broad.rssMb.join(' ')}\ndone: ${broad.done.join(' ')}`);
    saveResults(`broad-${hosts}`, { at: new Date().toISOString(), hosts, pages, delayMs, warmUp, control, broad });
  } finally {
    await Promise.all([service.stop(), site.stop()]);
  }
});
