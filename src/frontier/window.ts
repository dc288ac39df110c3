import type { ClaimWant } from '../db/claims.ts';
import { delayOf, type HostQueue } from './host.ts';

const MAX_WINDOW = 256;
/** What a quick host begins in this time is claimed at once, but no more than twice the usual: a claim costs as much as a dozen pages. */
const QUICK_MS = 250;

/** How many requests of a host queue this node keeps claimed: about two seconds' worth where a delay decides. */
export function windowOf(queue: HostQueue): number {
  const delay = delayOf(queue.host);
  const { concurrencyPerHost, cache } = queue.run.settings;
  // What comes from the cache does not wait for the delay.
  const wanted = delay > 0 && cache === null ? Math.ceil(2000 / delay) : Infinity;
  const usual = concurrencyPerHost * 4;
  const quick = Math.min(usual * 2, Math.ceil(queue.pace * QUICK_MS));
  return Math.max(2, Math.min(MAX_WINDOW, Math.max(usual, quick), wanted));
}

/** Takes note of a claim: what the one before it brought is begun by now, but for half a window. @param now milliseconds */
export function noteClaim(queue: HostQueue, claimed: number, now: number): void {
  queue.pace = queue.claimed / Math.max(1, now - queue.claimedAt);
  queue.claimed = claimed;
  queue.claimedAt = now;
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
