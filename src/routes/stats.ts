import { type CountRow, readCounts, readHosts } from '../db/counts.ts';
import { type CrawlRow, findCrawl, toStats } from '../db/crawls.ts';
import { ApiError } from '../errors.ts';
import { errorResponses, ref, type Stats } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';

const HOSTS = 100;

/** `GET /crawls/:id/stats`. */
export function statsRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/stats',
    {
      schema: {
        summary: 'Counts, rates, fill rates and latencies',
        tags: ['crawls'],
        params: CrawlParams,
        response: { 200: { description: 'The statistics', ...ref<Stats>('Stats') }, ...errorResponses },
      },
    },
    async (request): Promise<Stats> => {
      const id = crawlId(request.params);
      const [crawl, counts, hosts] = await Promise.all([
        findCrawl(deps.sql, id),
        readCounts(deps.sql, id),
        readHosts(deps.sql, id, HOSTS),
      ]);
      if (crawl === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      const hostStats = hosts.map(({ in_progress, left_alone_until, ...host }) => ({
        ...host,
        inProgress: in_progress,
        leftAloneUntil: left_alone_until?.toISOString() ?? null,
      }));
      return { ...progressOf(crawl), ...wordCounts(counts), hosts: hostStats };
    },
  );
}

/** State, counters and pace of a crawl: what changes from second to second. */
export function progressOf(
  crawl: CrawlRow,
): Pick<Stats, 'state' | 'stopReason' | 'counts' | 'seconds' | 'pagesPerSecond' | 'itemsPerSecond'> {
  const end = crawl.ended_at?.getTime() ?? Date.now();
  const seconds = crawl.started_at === null ? 0 : Math.max(0, end - crawl.started_at.getTime()) / 1000;
  const rate = (n: number) => (seconds === 0 ? 0 : Math.round((n / seconds) * 100) / 100);
  return {
    state: crawl.state,
    stopReason: crawl.stop_reason,
    counts: toStats(crawl),
    seconds,
    pagesPerSecond: rate(crawl.done),
    itemsPerSecond: rate(crawl.items),
  };
}

function wordCounts(
  rows: readonly CountRow[],
): Pick<
  Stats,
  | 'byReason'
  | 'byStatus'
  | 'dropped'
  | 'flags'
  | 'steps'
  | 'itemTypes'
  | 'changes'
  | 'fields'
  | 'fetchMs'
  | 'cpu'
  | 'calls'
> {
  const ofKind = (kind: CountRow['kind']) =>
    Object.fromEntries(rows.filter((row) => row.kind === kind).map((row) => [row.key, row.n]));
  const itemTypes = ofKind('type');
  return {
    byReason: ofKind('reason'),
    byStatus: ofKind('status'),
    dropped: ofKind('drop'),
    flags: ofKind('flag'),
    steps: ofKind('step'),
    itemTypes,
    changes: ofKind('change'),
    fields: fillRates(ofKind('field'), itemTypes),
    fetchMs: percentiles(rows.filter((row) => row.kind === 'fetch_ms')),
    cpu: cpuTimes(ofKind('cpu_us'), ofKind('cpu_pages')),
    calls: ofKind('call'),
  };
}

function cpuTimes(us: Record<string, number>, pages: Record<string, number>): Stats['cpu'] {
  const round = (ms: number) => Math.round(ms * 100) / 100;
  const times = Object.entries(pages).map(([key, n]) => {
    const ms = (us[key] ?? 0) / 1000;
    return [key, { pages: n, ms: round(ms), msPerPage: round(ms / n) }];
  });
  return Object.fromEntries(times);
}

/** Type and field names may hold dots, so a field belongs to the longest type that it begins with. */
function fillRates(filled: Record<string, number>, types: Record<string, number>): Stats['fields'] {
  const byLength = Object.keys(types).sort((a, b) => b.length - a.length);
  const rates = Object.entries(filled).map(([key, n]) => {
    const type = byLength.find((name) => key.startsWith(`${name}.`));
    const items = type === undefined ? 0 : types[type]!;
    return [key, { filled: n, rate: items === 0 ? 0 : Math.round((n / items) * 1000) / 1000 }];
  });
  return Object.fromEntries(rates);
}

function percentiles(rows: readonly CountRow[]): Stats['fetchMs'] {
  const buckets = rows.map((row) => ({ ms: Number(row.key), n: row.n })).sort((a, b) => a.ms - b.ms);
  const total = buckets.reduce((sum, bucket) => sum + bucket.n, 0);
  const at = (share: number) => {
    let below = 0;
    for (const { ms, n } of buckets) {
      below += n;
      if (below >= total * share) return ms;
    }
    return null;
  };
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}
