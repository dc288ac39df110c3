import type { Downloader } from '../downloader/downloader.ts';
import type { Frontier } from '../frontier/frontier.ts';
import type { HostQueue } from '../frontier/host.ts';
import type { Leases } from '../frontier/leases.ts';
import type { ParserPool } from '../parser/pool.ts';
import type { Committer } from '../pipeline/committer.ts';
import type { Admission } from './admission.ts';
import type { Pages } from './pages.ts';

/** Bodies under way, above which nothing more is fetched. */
const MAX_BODY_BYTES = 256 * 1024 * 1024;

export interface StarterOptions {
  frontier: Frontier;
  admission: Admission;
  pages: Pages;
  committer: Committer;
  leases: Leases;
  downloader: Downloader;
  parser: ParserPool;
  maxFetches: number;
  /** A host queue is to be refilled. */
  onLow: () => void;
}

/** Starts requests: backpressure is asked for here, before a request, never inside a body. */
export class Starter {
  readonly #options: StarterOptions;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /** Starts every request that may start now, stored and fetched ones in turn, and sets the time of the next. */
  run(): void {
    const { pages, admission } = this.#options;
    const { scheduler } = this.#options.frontier;
    const now = Date.now();
    while (!this.#stopped && this.#hasRoom()) {
      const stored = admission.cachedPages.next();
      if (stored !== null) {
        this.#begun(stored.queue);
        void pages.runCached(stored);
      }
      const next = scheduler.next(now);
      if (next !== null) {
        this.#begun(next.queue);
        void pages.run(next.request, next.queue);
      } else if (stored === null) break;
    }
    this.#setTimer(scheduler.nextAt, now);
  }

  get isStopped(): boolean {
    return this.#stopped;
  }

  /** Nothing is started any more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #hasRoom(): boolean {
    const { frontier, committer, leases, downloader, parser, maxFetches } = this.#options;
    return (
      frontier.scheduler.inFlight < maxFetches &&
      committer.hasRoom &&
      parser.hasRoom &&
      downloader.bufferedBytes < MAX_BODY_BYTES &&
      leases.valid
    );
  }

  #begun(queue: HostQueue): void {
    const { frontier, admission, onLow } = this.#options;
    admission.begun();
    if (!frontier.isLow(queue)) return;
    frontier.began(queue);
    onLow();
  }

  #setTimer(at: number, now: number): void {
    clearTimeout(this.#timer);
    if (at === Infinity || this.#stopped) return;
    this.#timer = setTimeout(() => this.run(), Math.max(1, Math.min(at - now, 60_000)));
  }
}
