import type { ClaimWant } from '../db/claims.ts';
import { delayOf, type HostQueue } from './host.ts';

const MAX_WINDOW = 256;

/** How many requests of a host queue this node keeps claimed: about two seconds' worth where a delay decides. */
export function windowOf(queue: HostQueue): number {
  const delay = delayOf(queue.host);
  const { concurrencyPerHost, cache } = queue.run.settings;
  // What comes from the cache does not wait for the delay.
  const wanted = delay > 0 && cache === null ? Math.ceil(2000 / delay) : concurrencyPerHost * 4;
  return Math.max(2, Math.min(MAX_WINDOW, concurrencyPerHost * 4, wanted));
}

export function wantOf(queue: HostQueue): ClaimWant {
  const n = Math.ceil(windowOf(queue) - queue.rows.length - queue.held);
  return { crawlId: queue.run.id, hostId: queue.host.id, fence: queue.host.fence, n: Math.max(1, n) };
}

/** Claimed requests that need no turn at their host: `letGo` is due for each when it is begun or pushed. */
export function hold(scheduler: { windowed: number }, queue: HostQueue, n: number): void {
  queue.held += n;
  scheduler.windowed += n;
}

export function letGo(scheduler: { windowed: number }, queue: HostQueue): void {
  queue.held--;
  scheduler.windowed--;
}
