/**
 * The bench's crawl with nobody, one and a thousand following its items, in turn: `node bench/streams.ts`.
 *
 * --rounds 3          of each; medians are shown
 * --followers 0,1,1000
 * --copies 4          how many copies of the corpus are one crawl
 * --coding identity   or gzip: what the followers accept
 * --profile           the service writes CPU profiles to bench/results/profile
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { commitTimes, type Database } from './database.ts';
import type { Followed } from './followers.ts';
import { besides, cpuSeconds, output, residentMb, start, startSite } from './processes.ts';
import { median } from './report.ts';
import { type CrawlState, call, crawl, type Service, startCrawl, startService, takeLoopDelayP99Ms } from './service.ts';
import { inWorkspace, saveResults } from './workspace.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    followers: { type: 'string', default: '0,1,1000' },
    copies: { type: 'string', default: '4' },
    coding: { type: 'string', default: 'identity' },
    profile: { type: 'boolean', default: false },
  },
});
const counts = values.followers.split(',').map(Number);
const rounds = Number(values.rounds);
const flags = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${besides('results/profile')}`] : [];

/** One crawl with its followers. */
interface Measurement {
  followers: number;
  pagesPerSecond: number;
  loopDelayP99Ms: number;
  /** Median; null without followers, and where it is not seen. */
  commitToReaderMs: number | null;
  /** To all of them, from the first page to the end of the last stream. */
  itemsPerSecond: number;
  megabytes: number;
  /** Of the service while they only stood open. */
  kbPerFollower: number | null;
  peakMb: number;
  /** Seconds of CPU of the service, and of the followers' process. */
  serviceCpu: number;
  followersCpu: number;
  reads: number;
}

/** Opens the streams; resolves when all have their headers. */
async function open(service: Service, id: string, followers: number): Promise<{ followed: Promise<Followed> | null }> {
  if (followers === 0) return { followed: null };
  const address = `${service.url}/crawls/${id}/items`;
  const running = start(process.execPath, [besides('followers.ts'), address, String(followers), values.coding]);
  const opened = new Promise<void>((resolve) => running.child.stdout!.once('data', () => resolve()));
  const printed = output(running.child);
  await Promise.race([opened, printed]);
  return { followed: printed.then((text) => JSON.parse(text.slice(text.indexOf('{'))) as Followed) };
}

/** A crawl that is paused before it has begun to run at speed, so that its followers are all there when it does. */
async function startPaused(service: Service, startUrls: string[]): Promise<CrawlState> {
  const { id } = await startCrawl(service, startUrls);
  await call(service, 'POST', `/crawls/${id}/pause`);
  return untilState(service, id, ['paused']);
}

async function untilState(service: Service, id: string, states: string[]): Promise<CrawlState & { endedAt: string }> {
  for (;;) {
    const state = await call<CrawlState & { endedAt: string }>(service, 'GET', `/crawls/${id}`);
    if (states.includes(state.state)) return state;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function measure(service: Service, databaseUrl: string, startUrls: string[], n: number): Promise<Measurement> {
  const { id, stats } = await startPaused(service, startUrls);
  const pid = service.child.pid!;
  const idleMb = residentMb(pid, 'VmRSS');
  const { followed: reading } = await open(service, id, n);
  const openMb = residentMb(pid, 'VmRSS');
  const cpuBefore = cpuSeconds(pid);
  await takeLoopDelayP99Ms(service); // begins anew
  const resumedAt = Date.now();
  await call(service, 'POST', `/crawls/${id}/resume`);
  const ended = await untilState(service, id, ['finished']);
  const loopDelayP99Ms = await takeLoopDelayP99Ms(service);
  const followed = (await reading) ?? undefined;
  const endOfStreams = Date.now();
  if (followed !== undefined) check(followed, n, ended.stats.items);
  const seconds = (Date.parse(ended.endedAt) - resumedAt) / 1000;
  const commits = followed === undefined ? [] : await commitTimes(databaseUrl, id);
  const waits = followed?.arrivals.map((at, i) => at - commits[followed.offsets[i]!]!).slice(stats.items);
  return {
    followers: n,
    pagesPerSecond: (ended.stats.done - stats.done) / seconds,
    loopDelayP99Ms,
    commitToReaderMs: waits === undefined || waits.length === 0 ? null : median(waits),
    itemsPerSecond: (n * ended.stats.items) / ((endOfStreams - resumedAt) / 1000),
    megabytes: (followed?.bytes ?? 0) / 1e6,
    kbPerFollower: n < 100 ? null : ((openMb - idleMb) * 1024) / n,
    peakMb: service.peakMb(),
    serviceCpu: cpuSeconds(pid) - cpuBefore,
    followersCpu: followed?.cpu ?? 0,
    reads: followed?.reads ?? 0,
  };
}

/** @throws Error where one did not get every item once */
function check({ whole, offsets }: Followed, followers: number, items: number): void {
  const gap = offsets.findIndex((offset, i) => offset !== i);
  if (offsets.length !== items || gap >= 0) throw new Error(`the first got ${offsets.length} of ${items}, ${gap}`);
  if (whole !== followers) throw new Error(`${followers - whole} of ${followers} got other bytes than the first`);
}

async function measureAll(root: string, database: Database, startUrls: string[]): Promise<Measurement[]> {
  const url = await database.create('streams');
  const all: Measurement[] = [];
  for (let round = 0; round < rounds; round++)
    for (const n of counts.map((_, i) => counts[(i + round) % counts.length]!)) {
      const directory = join(root, `${n}-${round}`);
      mkdirSync(directory);
      const service = await startService(url, directory, flags);
      try {
        await crawl(service, startUrls.slice(0, 1));
        const one = await measure(service, url, startUrls, n);
        console.log(`${round + 1}/${rounds}`, JSON.stringify(one));
        all.push(one);
      } finally {
        await service.stop();
      }
    }
  return all;
}

function summarize(all: readonly Measurement[], n: number): Record<string, string> {
  const of = all.filter((one) => one.followers === n);
  const bare = all.filter((one) => one.followers === counts[0]);
  const shown = (key: Exclude<keyof Measurement, 'commitToReaderMs' | 'kbPerFollower'>, digits = 0) =>
    median(of.map((one) => one[key])).toFixed(digits);
  const known = (key: 'commitToReaderMs' | 'kbPerFollower') =>
    of.some((one) => one[key] === null) ? '' : median(of.map((one) => one[key]!)).toFixed(0);
  const extra = of.map((one, i) => one.serviceCpu - bare[i]!.serviceCpu);
  return {
    'pages/s': shown('pagesPerSecond'),
    ratio: median(of.map((one, i) => one.pagesPerSecond / bare[i]!.pagesPerSecond)).toFixed(2),
    'loop p99 ms': shown('loopDelayP99Ms', 1),
    'commit to reader ms': known('commitToReaderMs'),
    'items/s delivered': shown('itemsPerSecond'),
    'MB delivered': shown('megabytes'),
    'KB a follower': known('kbPerFollower'),
    'peak MiB': shown('peakMb'),
    'CPU ms/MB': n < 100 ? '' : median(extra.map((s, i) => (s * 1000) / of[i]!.megabytes)).toFixed(2),
    'followers’ CPU s': shown('followersCpu', 1),
  };
}

await inWorkspace(async (root, database) => {
  const site = await startSite('small');
  const startUrls = Array.from({ length: Number(values.copies) }, (_, i) => `${site.origin}/${i}/index.html`);
  const all = await measureAll(root, database, startUrls);
  console.table(Object.fromEntries(counts.map((n) => [n, summarize(all, n)])));
  saveResults('streams', { at: new Date().toISOString(), measurements: all });
  await site.stop();
});
