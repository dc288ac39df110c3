/** Readers of one crawl are woken at most once in this many milliseconds for each of them. */
const MS_PER_READER = 0.1;

/** A reader's place at the wake-ups of one crawl. Close it when done. */
export interface Subscription {
  /**
   * Resolves at the next wake-up, at once if one came since the last call; so a reader that waits, reads and waits again
   * loses none. Gives the time of the oldest commit it stands for (`performance.now()`), or null after `timeoutMs` or
   * when `signal` fires.
   */
  next(timeoutMs: number, signal: AbortSignal): Promise<number | null>;
  close(): void;
}

/** Readers of one crawl that are told together. */
interface Channel {
  readers: Set<Reader>;
  wokenAt: number;
  timer: NodeJS.Timeout | null;
}

/**
 * «Something was committed in this crawl», told inside the process. Hints only: a reader that gets none polls.
 * The engine publishes after each commit, and the listener for other nodes' commits does.
 */
export class Wakeups {
  readonly #channels = new Map<string, Channel>();
  #version = 0;

  /** One more at each `publish`. Two reads at the same version may share their answer. */
  get version(): number {
    return this.#version;
  }

  /** Subscriptions that are open. */
  get size(): number {
    let size = 0;
    for (const channel of this.#channels.values()) size += channel.readers.size;
    return size;
  }

  subscribe(crawlId: string): Subscription {
    const channel = this.#channels.get(crawlId) ?? { readers: new Set(), wokenAt: 0, timer: null };
    this.#channels.set(crawlId, channel);
    const reader = new Reader();
    channel.readers.add(reader);
    return {
      next: (timeoutMs, signal) => reader.next(timeoutMs, signal),
      close: () => {
        channel.readers.delete(reader);
        if (channel.readers.size > 0 || this.#channels.get(crawlId) !== channel) return;
        if (channel.timer !== null) clearTimeout(channel.timer);
        this.#channels.delete(crawlId);
      },
    };
  }

  /** Wakes the readers of these crawls. @param committedAt on the clock of `performance.now()` */
  publish(crawlIds: Iterable<string>, committedAt = performance.now()): void {
    this.#version += 1;
    for (const id of crawlIds) {
      const channel = this.#channels.get(id);
      if (channel === undefined) continue;
      for (const reader of channel.readers) reader.mark(committedAt);
      this.#wake(channel);
    }
  }

  /** At once for a few readers; a thousand are woken ten times a second, so that they never outweigh the crawl. */
  #wake(channel: Channel): void {
    if (channel.timer !== null) return;
    const wait = channel.wokenAt + channel.readers.size * MS_PER_READER - performance.now();
    const wake = () => {
      channel.timer = null;
      channel.wokenAt = performance.now();
      this.#version += 1;
      for (const reader of channel.readers) reader.wake();
    };
    if (wait < 1) wake();
    else channel.timer = setTimeout(wake, wait).unref();
  }
}

/** One subscription: the oldest commit that it has not been told, and who waits for it. */
class Reader {
  #committedAt: number | null = null;
  #woken = false;
  #resolve: (() => void) | null = null;

  mark(committedAt: number): void {
    this.#committedAt ??= committedAt;
  }

  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  async next(timeoutMs: number, signal: AbortSignal): Promise<number | null> {
    if (!this.#woken && !signal.aborted) await this.#sleep(timeoutMs, signal);
    if (!this.#woken) return null;
    const committedAt = this.#committedAt;
    this.#woken = false;
    this.#committedAt = null;
    return committedAt;
  }

  async #sleep(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    const stop = () => resolve();
    signal.addEventListener('abort', stop, { once: true });
    this.#resolve = resolve;
    await promise;
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    this.#resolve = null;
  }
}
