import { Worker } from 'node:worker_threads';
import type { DeliveryData, ExportTotals, FromDelivery, ToDelivery } from './protocol.ts';

const POLL_MS = 5000;
/** News of many commits in a row are told together. */
const NEWS_MS = 20;
const PAUSE_MS = 1000;
const MAX_PAUSE_MS = 60_000;
/** Beyond the grace time, for the thread to say that it has stopped. */
const TERMINATE_MS = 2000;
const LIMITS = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 16 };

type Report = (detail: object, message: string) => void;

export interface ExportThreadOptions {
  /** The thread's program. */
  entry: URL;
  data: DeliveryData;
  /** Whether an export waits for a node. */
  isDue: () => Promise<boolean>;
  /** Before it is replaced when it has died; longer with each death in a row. A second unless told. */
  pauseMs?: number;
  log: { warn: Report; error: Report };
}

/**
 * The thread in which this node's exports and webhooks run, seen from the event loop. It is there only while there is
 * something to do: started when an export is due, stopped after a minute without any, and started again, ever later, when it
 * dies. Hints of commits are told to it for the crawls that it has open alone.
 */
export class ExportThread {
  readonly #options: ExportThreadOptions;
  #worker: Worker | null = null;
  #gone: Promise<void> = Promise.resolve();
  #watched: ReadonlySet<string> = new Set();
  readonly #news = new Set<string>();
  #newsTimer: NodeJS.Timeout | undefined;
  #poll: NodeJS.Timeout | undefined;
  #looking = false;
  #lookAgain = false;
  #deaths = 0;
  /** The thread was told to stop. */
  #isAsked = false;
  /** What the last thread held is still this node's, which is alive, so that nobody else takes it: the next one gives it back. */
  #hasDied = false;
  #notBefore = 0;
  #isStopped = false;
  #totals: ExportTotals = {};
  /** Of threads that have ended. */
  #past: ExportTotals = {};

  constructor(options: ExportThreadOptions) {
    this.#options = options;
  }

  start(): void {
    this.#poll = setInterval(() => this.look(), POLL_MS).unref();
    this.look();
  }

  /** An export may be due: a crawl with some was started, resumed or ended while it was paused. */
  look(): void {
    if (this.#isStopped) return;
    if (this.#worker !== null) this.#post({ kind: 'look' });
    else void this.#launchIfDue();
  }

  /** Something was committed in these crawls. */
  publish(crawlIds: Iterable<string>): void {
    if (this.#watched.size === 0) return;
    for (const id of crawlIds) if (this.#watched.has(id)) this.#news.add(id);
    if (this.#news.size > 0) this.#newsTimer ??= setTimeout(() => this.#tellNews(), NEWS_MS).unref();
  }

  get isRunning(): boolean {
    return this.#worker !== null;
  }

  /** Since the start of the node; by kind. */
  get totals(): ExportTotals {
    return added(this.#past, this.#totals);
  }

  /** Lets what is under way end, stores the cursors and gives the exports back. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#poll);
    clearTimeout(this.#newsTimer);
    const worker = this.#worker;
    if (worker === null) return;
    this.#askToStop(graceMs);
    const timer = setTimeout(() => void worker.terminate(), graceMs + TERMINATE_MS);
    await this.#gone;
    clearTimeout(timer);
  }

  #post(message: ToDelivery): void {
    this.#worker?.postMessage(message);
  }

  #askToStop(graceMs: number): void {
    this.#isAsked = true;
    this.#post({ kind: 'stop', graceMs });
  }

  #tellNews(): void {
    this.#newsTimer = undefined;
    this.#post({ kind: 'news', crawlIds: [...this.#news] });
    this.#news.clear();
  }

  async #launchIfDue(): Promise<void> {
    if (this.#looking || Date.now() < this.#notBefore) {
      this.#lookAgain = this.#looking;
      return;
    }
    this.#looking = true;
    try {
      do {
        this.#lookAgain = false;
        if (!(this.#hasDied || (await this.#options.isDue()))) continue;
        if (!this.#isStopped && this.#worker === null) this.#launch();
      } while (this.#lookAgain && this.#worker === null);
    } catch {
      // the database is away: the next poll asks again
    } finally {
      this.#looking = false;
    }
  }

  #launch(): void {
    const { entry, data, log } = this.#options;
    const worker = new Worker(entry, { workerData: data, resourceLimits: LIMITS, env: { PATH: process.env.PATH } });
    this.#worker = worker;
    this.#hasDied = this.#isAsked = false;
    let failure: Error | null = null;
    worker.on('message', (message: FromDelivery) => this.#receive(message));
    worker.on('error', (error: Error) => {
      failure = error;
    });
    const startedAt = Date.now();
    this.#gone = new Promise((resolve) => {
      worker.once('exit', (code) => {
        this.#ended();
        if (failure !== null || code !== 0 || !this.#isAsked) {
          this.#pause(Date.now() - startedAt);
          log.error({ err: failure ?? new Error(`exit code ${code}`) }, 'the thread of exports ended; it is replaced');
        }
        resolve();
      });
    });
  }

  #receive(message: FromDelivery): void {
    switch (message.kind) {
      case 'watch':
        this.#watched = new Set(message.crawlIds);
        return;
      case 'totals':
        this.#totals = message.totals;
        return;
      case 'log':
        this.#options.log.warn(message.detail, message.message);
        return;
      case 'idle':
        this.#askToStop(0);
        return;
    }
  }

  #ended(): void {
    this.#worker = null;
    this.#watched = new Set();
    this.#past = added(this.#past, this.#totals, true);
    this.#totals = {};
  }

  /** After a death; one that had lived for long is the first in a row. */
  #pause(livedMs: number): void {
    this.#deaths = livedMs > MAX_PAUSE_MS ? 1 : this.#deaths + 1;
    const { pauseMs = PAUSE_MS } = this.#options;
    this.#notBefore = Date.now() + Math.min(MAX_PAUSE_MS, pauseMs * 2 ** (this.#deaths - 1));
    this.#hasDied = true;
  }
}

/** @param isOver what is open now is not counted */
function added(past: ExportTotals, now: ExportTotals, isOver = false): ExportTotals {
  const kinds = new Set([...Object.keys(past), ...Object.keys(now)]);
  return Object.fromEntries(
    [...kinds].map((kind) => {
      const [a, b] = [past[kind], now[kind]];
      const sum = (of: 'written' | 'failures' | 'failed') => (a?.[of] ?? 0) + (b?.[of] ?? 0);
      const open = isOver ? { active: 0, lag: 0 } : { active: b?.active ?? 0, lag: b?.lag ?? 0 };
      return [kind, { ...open, written: sum('written'), failures: sum('failures'), failed: sum('failed') }];
    }),
  );
}
