/**
 * A spider that burns its whole time limit on each page, beside an ordinary crawl: `node bench/burn.ts [--rounds 3]`.
 * The ordinary crawl is to keep 70 % of its speed on two cores, and the API its answers within 100 ms (p99).
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startSite } from './processes.ts';
import { median, quantile } from './report.ts';
import {
  type CrawlState,
  call,
  crawl,
  type Service,
  startCrawl,
  startService,
  stopCrawl,
  takeLoopDelayP99Ms,
} from './service.ts';
import { inWorkspace, saveResults } from './workspace.ts';

/** Several corpora in one crawl, so that it outlasts the time limits of many burning pages. */
const COPIES = 5;
const BURN_PAGES = 2000;
const SETTLE_MS = 3000;
/** So that a service that lets the ordinary crawl starve still gets its figure. */
const MAX_SECONDS = 60;
const API_INTERVAL_MS = 50;

/** Each of these takes a second or more on 20,000 siblings; all of them, far beyond the limit of two. */
const BURNER = {
  pages: [
    {
      items: [
        { fields: { siblings: ['i:has(~ b ~ u)'], odd: ['i:nth-last-of-type(odd)'], even: ['b:nth-child(even)'] } },
      ],
    },
  ],
};

/** Asks for a crawl twenty times a second until aborted; gives the milliseconds that each answer took. */
async function watchApi(service: Service, id: string, signal: AbortSignal): Promise<number[]> {
  const answers: Promise<number>[] = [];
  const ask = async () => {
    const asked = performance.now();
    await call(service, 'GET', `/crawls/${id}`);
    return performance.now() - asked;
  };
  while (!signal.aborted) {
    answers.push(ask());
    await sleep(API_INTERVAL_MS);
  }
  return Promise.all(answers);
}

interface Round {
  alone: number;
  beside: number;
  apiMs: number[];
  loopDelayMs: number;
  burned: CrawlState;
  reasons: Record<string, number>;
}

async function pagesPerSecond(service: Service, startUrls: string[]): Promise<number> {
  const crawled = await crawl(service, startUrls, { maxDurationSeconds: MAX_SECONDS });
  return crawled.crawl.stats.done / crawled.seconds;
}

/** Why the burning pages that ended did so. */
async function reasonsOf(service: Service, id: string): Promise<Record<string, number>> {
  const path = `/crawls/${id}/requests?state=failed&limit=100`;
  const { requests } = await call<{ requests: { reason: string }[] }>(service, 'GET', path);
  const reasons: Record<string, number> = {};
  for (const { reason } of requests) reasons[reason] = (reasons[reason] ?? 0) + 1;
  return reasons;
}

async function measureRound(service: Service, startUrls: string[], burnUrls: string[]): Promise<Round> {
  const alone = await pagesPerSecond(service, startUrls);
  console.log(`alone: ${alone.toFixed(0)} pages/s`);
  const burner = await startCrawl(service, burnUrls, {}, BURNER);
  await sleep(SETTLE_MS);
  const watching = new AbortController();
  const apiTimes = watchApi(service, burner.id, watching.signal);
  await takeLoopDelayP99Ms(service); // begins anew
  const beside = await pagesPerSecond(service, startUrls);
  const loopDelayMs = await takeLoopDelayP99Ms(service);
  watching.abort();
  const apiMs = await apiTimes;
  const burned = await stopCrawl(service, burner.id);
  return { alone, beside, apiMs, loopDelayMs, burned, reasons: await reasonsOf(service, burner.id) };
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '3' } } });

await inWorkspace(async (directory, database) => {
  const [site, burnSite] = [await startSite('small'), await startSite('burn')];
  const service = await startService(await database.create('burn'), join(directory, 'service'));
  try {
    const startUrls = Array.from({ length: COPIES }, (_, copy) => `${site.origin}/${copy}/index.html`);
    const burnUrls = Array.from({ length: BURN_PAGES }, (_, n) => `${burnSite.origin}/${n}.html`);
    await crawl(service, startUrls.slice(0, 1)); // warm-up
    const rounds: Round[] = [];
    for (let i = 0; i < Number(values.rounds); i++) {
      const round = await measureRound(service, startUrls, burnUrls);
      rounds.push(round);
      const { failed, done } = round.burned.stats;
      console.log(
        `beside the burner: ${round.beside.toFixed(0)} pages/s; burned: ${failed} failed, ${done} done, ${JSON.stringify(round.reasons)}`,
      );
    }
    const kept = median(rounds.map((round) => round.beside / round.alone));
    const apiP99 = quantile(
      rounds.flatMap((round) => round.apiMs),
      0.99,
    );
    const loopDelay = median(rounds.map((round) => round.loopDelayMs));
    console.log(`speed kept: ${(kept * 100).toFixed(0)} % (target ≥ 70 %): ${kept >= 0.7 ? 'met' : 'MISSED'}`);
    console.log(`API p99: ${apiP99.toFixed(1)} ms (target ≤ 100): ${apiP99 <= 100 ? 'met' : 'MISSED'}`);
    console.log(`event-loop delay p99: ${loopDelay.toFixed(1)} ms; peak memory ${service.peakMb().toFixed(0)} MiB`);
    const summary = rounds.map(({ alone, beside, reasons }) => ({ alone, beside, reasons }));
    saveResults('burn', {
      at: new Date().toISOString(),
      kept,
      apiP99,
      loopDelay,
      peakMb: service.peakMb(),
      rounds: summary,
    });
  } finally {
    await Promise.all([service.stop(), site.stop(), burnSite.stop()]);
  }
});
