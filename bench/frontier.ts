/**
 * A frontier of a million queued requests beside one of ten thousand: `node bench/frontier.ts [--fan 1000]`. Memory of
 * the node and the speed of fetching (so of claiming) are to stay the same.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { residentMb, startSite } from './processes.ts';
import { type CrawlState, call, type Service, startCrawl, startService, stopCrawl } from './service.ts';
import { inWorkspace, saveResults } from './workspace.ts';

const ROOTS = 1000;
const CONTROL_FAN = 10;
/** Leaf pages over which the speed is measured. */
const MEASURED = 5000;
const POLL_MS = 100;
const QUEUE_DEADLINE_MS = 900_000;
const MEASURE_DEADLINE_MS = 120_000;
const SPIDER = { pages: [{ items: [{ fields: { title: 'title' } }], follow: [{ selector: 'a[href]' }] }] };

interface Measured {
  queued: number;
  /** Seconds until all links were in the ledger. */
  queueSeconds: number;
  rssMb: number;
  peakMb: number;
  leavesPerSecond: number;
}

/** Polls a crawl until it is as wanted. @throws Error where that takes longer than `deadlineMs` or the crawl ends */
async function until(
  service: Service,
  id: string,
  deadlineMs: number,
  wanted: (crawl: CrawlState) => boolean,
): Promise<CrawlState> {
  const end = performance.now() + deadlineMs;
  while (performance.now() < end) {
    const crawl = await call<CrawlState>(service, 'GET', `/crawls/${id}`);
    if (wanted(crawl)) return crawl;
    if (crawl.state !== 'queued' && crawl.state !== 'running') throw new Error(`the crawl is ${crawl.state}`);
    await sleep(POLL_MS);
  }
  throw new Error(`not as wanted after ${deadlineMs / 1000} s`);
}

/** Queues `fan` × 1,000 leaves, then fetches some of them, and cancels. */
async function measure(service: Service, origin: string, fan: number): Promise<Measured> {
  const started = performance.now();
  const { id } = await startCrawl(service, [`${origin}/${fan}/0.html`], {}, SPIDER);
  const total = 1 + ROOTS + ROOTS * fan;
  const full = await until(
    service,
    id,
    QUEUE_DEADLINE_MS,
    ({ stats }) => stats.discovered >= total && stats.done > ROOTS,
  );
  const queueSeconds = (performance.now() - started) / 1000;
  const rssMb = residentMb(service.child.pid!, 'VmRSS');
  const from = performance.now();
  const later = await until(service, id, MEASURE_DEADLINE_MS, ({ stats }) => stats.done >= full.stats.done + MEASURED);
  const seconds = (performance.now() - from) / 1000;
  const leavesPerSecond = (later.stats.done - full.stats.done) / seconds;
  await stopCrawl(service, id);
  return { queued: full.stats.queued, queueSeconds, rssMb, peakMb: service.peakMb(), leavesPerSecond };
}

const { values } = parseArgs({ options: { fan: { type: 'string', default: '1000' } } });

await inWorkspace(async (directory, database) => {
  const site = await startSite('tree');
  const service = await startService(await database.create('frontier'), join(directory, 'service'));
  try {
    const warmUp = await measure(service, site.origin, CONTROL_FAN);
    const small = await measure(service, site.origin, CONTROL_FAN);
    const large = await measure(service, site.origin, Number(values.fan));
    const results = { warmUp, small, large };
    console.table(
      Object.fromEntries(
        Object.entries(results).map(([name, r]) => [
          name,
          {
            queued: r.queued,
            'seconds to queue': r.queueSeconds.toFixed(1),
            'RSS MiB': r.rssMb.toFixed(0),
            'peak MiB': r.peakMb.toFixed(0),
            'then pages/s': r.leavesPerSecond.toFixed(0),
          },
        ]),
      ),
    );
    console.log(
      `a frontier ${(large.queued / small.queued).toFixed(0)} times as long: ` +
        `${(large.rssMb - small.rssMb).toFixed(0)} MiB more, ${((large.leavesPerSecond / small.leavesPerSecond) * 100).toFixed(0)} % of the speed`,
    );
    saveResults('frontier', { at: new Date().toISOString(), ...results });
  } finally {
    await Promise.all([service.stop(), site.stop()]);
  }
});
