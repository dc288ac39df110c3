import { queueKey } from '../db/host_budgets.ts';
import type { HostQueue } from './host.ts';

/**
 * Crawls, and host queues, whose limit of pages (`maxPages`, `maxPagesPerHost`) is used up by what is in progress: they are
 * asked again when something of theirs ends.
 */
export class Exhausted {
  readonly #keys = new Set<string>();

  has({ run, host }: HostQueue): boolean {
    if (this.#keys.size === 0) return false;
    return this.#keys.has(run.id) || this.#keys.has(queueKey({ crawlId: run.id, hostId: host.id }));
  }

  /** @param keys ids of crawls, and `queueKey`s */
  add(keys: Iterable<string>): void {
    for (const key of keys) this.#keys.add(key);
  }

  /** Something of this host queue ended. */
  ended(crawlId: string, hostId: number): void {
    if (this.#keys.size === 0) return;
    this.#keys.delete(crawlId);
    this.#keys.delete(queueKey({ crawlId, hostId }));
  }

  clear(): void {
    this.#keys.clear();
  }
}
