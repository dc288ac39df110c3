/**
 * Readers of one crawl are woken at most once in this many milliseconds for each of them, and a second at most: so few
 * that a single reader is told at once, and a thousand get few pieces, and large ones. A write costs some 50 µs besides the
 * kernel's 0.4 ms for each megabyte that it copies; with a wake-up each 100 ms a thousand readers would have 10,000 a second.
 */
const MS_PER_READER = 1;
const MAX_WAIT_MS = 1000;
/** A crawl's readers are woken after this long without a wake-up, so that a hint that was lost costs no more. */
const POLL_MS = 1000;
/** Readers that are woken in one turn of the event loop: some 10 µs each. */
const GROUP = 50;

/** Why a reader was woken. */
export interface Wake {
  /** The same for all readers that are woken together: they may share what they read. Counts over all crawls. */
  round: number;
  /** Of the oldest commit that it stands for (`performance.now()`); null: nothing was told, it is time to look. */
  committedAt: number | null;
}

/** A reader's place at the wake-ups of one crawl. Close it when done. */
export interface Subscription {
  /**
   * Resolves at the next wake-up, at once if one came since the last call; so a reader that waits, reads and waits again
   * loses none. Null: it was closed.
   */
  next(): Promise<Wake | null>;
  /** Ends a wait. Safe twice. */
  close(): void;
}

/**
 * «Something was committed in this crawl», told inside the process. Hints only: a reader that gets none is woken by time.
 * The engine publishes after each commit, and the listener for other nodes' commits does.
 */
export class Wakeups {
  readonly #channels = new Map<string, Channel>();
  #rounds = 0;

  /** Subscriptions that are open. */
  get size(): number {
    let size = 0;
    for (const channel of this.#channels.values()) size += channel.size;
    return size;
  }

  /** Subscriptions to a crawl that are open. */
  sizeOf(crawlId: string): number {
    return this.#channels.get(crawlId)?.size ?? 0;
  }

  subscribe(crawlId: string): Subscription {
    const channel = this.#channels.get(crawlId) ?? new Channel(() => ++this.#rounds);
    this.#channels.set(crawlId, channel);
    const reader = new Reader();
    channel.add(reader);
    return {
      next: () => reader.next(),
      close: () => {
        reader.close();
        channel.remove(reader);
        if (channel.size === 0 && this.#channels.get(crawlId) === channel) this.#channels.delete(crawlId);
      },
    };
  }

  /** Wakes the readers of these crawls. @param committedAt on the clock of `performance.now()` */
  publish(crawlIds: Iterable<string>, committedAt = performance.now()): void {
    for (const id of crawlIds) this.#channels.get(id)?.publish(committedAt);
  }
}

/** Readers of one crawl that are told together, by one timer for all of them. */
class Channel {
  readonly #readers = new Set<Reader>();
  readonly #nextRound: () => number;
  #committedAt: number | null = null;
  #wokenAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #isDue = false;
  #isWaking = false;

  constructor(nextRound: () => number) {
    this.#nextRound = nextRound;
  }

  get size(): number {
    return this.#readers.size;
  }

  add(reader: Reader): void {
    this.#readers.add(reader);
    if (this.#timer === null && !this.#isWaking) this.#plan(POLL_MS);
  }

  remove(reader: Reader): void {
    this.#readers.delete(reader);
    if (this.#readers.size > 0 || this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  publish(committedAt: number): void {
    this.#committedAt ??= committedAt;
    if (this.#isDue) return;
    this.#isDue = true;
    if (!this.#isWaking) this.#planDue();
  }

  #planDue(): void {
    const interval = Math.min(MAX_WAIT_MS, this.#readers.size * MS_PER_READER);
    const wait = this.#wokenAt + interval - performance.now();
    if (wait < 1) this.#wake();
    else this.#plan(wait);
  }

  #plan(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#wake(), ms).unref();
  }

  /** A thousand readers that read and write in one turn would hold the loop for a tenth of a second. */
  #wake(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const wake: Wake = { round: this.#nextRound(), committedAt: this.#committedAt };
    this.#committedAt = null;
    this.#isDue = false;
    this.#isWaking = true;
    this.#wokenAt = performance.now();
    this.#wakeSome([...this.#readers], 0, wake);
  }

  #wakeSome(readers: readonly Reader[], from: number, wake: Wake): void {
    for (const reader of readers.slice(from, from + GROUP)) reader.wake(wake);
    if (from + GROUP < readers.length) {
      setImmediate(() => this.#wakeSome(readers, from + GROUP, wake));
      return;
    }
    this.#isWaking = false;
    if (this.#isDue) this.#planDue();
    else if (this.#readers.size > 0) this.#plan(POLL_MS);
  }
}

/** One subscription: the wake-up that it has not been told yet, and who waits for it. */
class Reader {
  #wake: Wake | null = null;
  #isClosed = false;
  #resolve: (() => void) | null = null;

  wake({ round, committedAt }: Wake): void {
    this.#wake = { round, committedAt: this.#wake?.committedAt ?? committedAt };
    this.#resolve?.();
  }

  close(): void {
    this.#isClosed = true;
    this.#resolve?.();
  }

  async next(): Promise<Wake | null> {
    if (this.#wake === null && !this.#isClosed) await new Promise<void>((resolve) => (this.#resolve = resolve));
    this.#resolve = null;
    const wake = this.#isClosed ? null : this.#wake;
    this.#wake = null;
    return wake;
  }
}
