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
  #isDue = false;
  #stopped = false;

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /**
   * Something may be started: looks at the end of this turn of the event loop, once for all that its turn brings. A page calls
   * this three times, when its download, its parsing and its outcome leave room; a look each time was 3 % of the loop's time.
   */
  wake(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(run, this);
  }

  /** Starts every request that may start now, stored and fetched ones in turn, and sets the time of the next. */
  run(): void {
    this.#isDue = false;
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
    this.#timer = setTimeout(run, Math.max(1, Math.min(at - now, 60_000)), this);
  }
}

function run(starter: Starter): void {
  starter.run();
}
