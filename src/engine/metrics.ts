import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Downloader } from '../downloader/downloader.ts';
import type { ExportTotals } from '../exports/protocol.ts';
import type { ParserPool } from '../parser/pool.ts';
import type { Deletions } from './deletions.ts';
import type { Engine } from './engine.ts';
import type { ScriptRunner } from './scripts.ts';

const LOOP_RESOLUTION_MS = 10;
const LOOP_WINDOW_MS = 60_000;
/** Above this, in a minute in which crawls ran, something is on the loop that should not be, or the machine is too small. */
const SLOW_LOOP_S = 0.05;
const QUANTILES = [0.5, 0.9, 0.99, 1];
type LoopMonitor = ReturnType<typeof monitorEventLoopDelay>;

/**
 * Event-loop delay over the last one to two minutes: two monitors that take turns, so that an old spike is forgotten.
 * The monitor's timer fires every 10 ms and reports the whole interval; what is beyond 10 ms is the delay.
 */
class LoopDelay {
  #current = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  #previous: LoopMonitor | null = null;
  readonly #timer: NodeJS.Timeout;
  readonly #onWindow: (p99: number) => void;

  /** @param onWindow told the 99th percentile of each minute, in seconds */
  constructor(onWindow: (p99: number) => void) {
    this.#onWindow = onWindow;
    this.#current.enable();
    this.#timer = setInterval(() => this.#turn(), LOOP_WINDOW_MS).unref();
  }

  /** Seconds. */
  quantile(q: number): number {
    return Math.max(read(this.#current, q), this.#previous === null ? 0 : read(this.#previous, q));
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#current.disable();
  }

  #turn(): void {
    this.#current.disable();
    this.#onWindow(read(this.#current, 0.99));
    this.#previous = this.#current;
    this.#current = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
    this.#current.enable();
  }
}

function read(monitor: LoopMonitor, q: number): number {
  if (monitor.count === 0) return 0;
  const ns = q >= 1 ? monitor.max : monitor.percentile(q * 100);
  return Math.max(0, ns / 1e9 - LOOP_RESOLUTION_MS / 1000);
}

/** What the metrics read. */
export interface Measured {
  engine: Engine;
  downloader: Downloader;
  parser: ParserPool;
  streams: () => number;
  /** Of exports and webhooks, by kind. */
  exports: () => ExportTotals;
  /** Null: scripts are off. */
  scripts: ScriptRunner | null;
  deletions: Deletions;
  /** Told the 99th percentile of the event-loop delay, in milliseconds, of a minute in which it was above 50. */
  onSlowLoop?: (p99Ms: number) => void;
}

/** The Prometheus metrics of one node. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #loop: LoopDelay;
  readonly #delivery: Histogram;

  constructor(measured: Measured) {
    this.#loop = new LoopDelay((p99) => {
      if (p99 > SLOW_LOOP_S && measured.engine.crawls > 0) measured.onSlowLoop?.(Math.round(p99 * 1000));
    });
    collectDefaultMetrics({ register: this.#registry, prefix: 'orbweaver_', eventLoopMonitoringPrecision: 1000 });
    this.#delivery = new Histogram({
      name: 'orbweaver_commit_to_stream_seconds',
      help: 'From the commit of items to their writing on an open stream',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5],
      registers: [this.#registry],
    });
    this.#addLoopDelay();
    this.#addStages(measured);
    this.#addExports(measured);
  }

  /** A batch of items was written to an open stream so many milliseconds after its commit. */
  delivered(ms: number): void {
    this.#delivery.observe(ms / 1000);
  }

  /** Event-loop delay over the last one to two minutes. */
  get loopDelayMs(): { p50: number; p99: number; max: number } {
    const ms = (q: number) => Math.round(this.#loop.quantile(q) * 100_000) / 100;
    return { p50: ms(0.5), p99: ms(0.99), max: ms(1) };
  }

  /** The text of `/metrics`. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  stop(): void {
    this.#loop.stop();
    this.#registry.clear();
  }

  #addLoopDelay(): void {
    const loop = this.#loop;
    new Gauge({
      name: 'orbweaver_event_loop_delay_seconds',
      help: 'Event-loop delay over the last one to two minutes',
      labelNames: ['quantile'],
      registers: [this.#registry],
      collect() {
        for (const q of QUANTILES) this.set({ quantile: String(q) }, loop.quantile(q));
      },
    });
  }

  #addExports({ exports }: Measured): void {
    const rows = [
      ['exports_active', 'Exports and webhooks that this node works on', 'active'],
      ['export_lag_items', 'Items that wait for them', 'lag'],
      ['export_items_total', 'Items that exports and webhooks were given', 'written'],
      ['export_failures_total', 'Tries of exports and webhooks that failed', 'failures'],
      ['exports_failed_total', 'Exports and webhooks that ended as failed', 'failed'],
    ] as const;
    for (const [name, help, of] of rows)
      new Gauge({
        name: `orbweaver_${name}`,
        help,
        labelNames: ['kind'],
        registers: [this.#registry],
        collect() {
          for (const [kind, totals] of Object.entries(exports())) this.set({ kind }, totals[of]);
        },
      });
  }

  #addStages({ engine, downloader, parser, scripts, streams, deletions }: Measured): void {
    const { frontier, committer, cache } = engine;
    const { scheduler } = frontier;
    const rows: [string, string, () => number][] = [
      ['crawls_running', 'Crawls that this node works on', () => engine.crawls],
      ['host_leases', 'Host leases that this node holds', () => scheduler.hosts.size],
      ['frontier_windowed', 'Requests claimed and not begun', () => scheduler.windowed],
      ['frontier_claims_total', 'Claim transactions', () => frontier.totals.claims],
      ['frontier_claimed_total', 'Requests claimed', () => frontier.totals.claimed],
      ['frontier_claim_seconds_total', 'Time in claim transactions', () => frontier.totals.ms / 1000],
      ['downloader_in_flight', 'Fetches under way', () => scheduler.inFlight],
      ['downloader_buffered_bytes', 'Bytes of bodies under way', () => downloader.bufferedBytes],
      ['parser_queued_jobs', 'Pages waiting for a parser thread', () => parser.queuedJobs],
      ['parser_queued_bytes', 'Bytes of these pages', () => parser.queuedBytes],
      ['parser_busy_threads', 'Parser threads at work', () => parser.busyThreads],
      ['parser_kills_total', 'Parser threads killed at a limit', () => parser.kills],
      ['script_busy_processes', 'Processes of scripts at work', () => scripts?.busyProcesses ?? 0],
      ['script_kills_total', 'Processes of scripts that had to be ended', () => scripts?.kills ?? 0],
      ['committer_pending', 'Outcomes waiting for their commit', () => committer.pending],
      ['committer_pending_bytes', 'Bytes of these outcomes', () => committer.pendingBytes],
      ['commits_total', 'Commit transactions', () => committer.totals.commits],
      ['committed_outcomes_total', 'Outcomes committed', () => committer.totals.outcomes],
      ['refused_outcomes_total', 'Outcomes refused by fence or state', () => committer.totals.refused],
      ['commit_seconds_total', 'Time in commit transactions', () => committer.totals.ms / 1000],
      ['cache_hits_total', 'Responses that came from the cache', () => cache.totals.hits],
      ['cache_misses_total', 'Requests of crawls with a cache that it did not have', () => cache.totals.misses],
      ['cache_stored_bytes_total', 'Bytes that this node stored in the cache', () => cache.totals.bytes],
      ['cache_bytes', 'Bytes in the cache when this node last looked', () => cache.totals.held],
      ['item_streams_open', 'Open item streams', streams],
      ['deletions_crawls', 'Crawls and ledgers that are being deleted, over all nodes', () => deletions.left.crawls],
      ['deletions_rows', 'About how many rows these still have', () => deletions.left.rows],
    ];
    for (const [name, help, value] of rows)
      new Gauge({
        name: `orbweaver_${name}`,
        help,
        registers: [this.#registry],
        collect() {
          this.set(value());
        },
      });
  }
}
