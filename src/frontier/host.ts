import type { ClaimedRequest } from '../model/request.ts';
import type { Settings } from '../model/settings.ts';
import type { CrawlRun } from './crawl_run.ts';

/** A host that this node holds the lease of. Times are milliseconds since the epoch. */
export interface HostSlot {
  readonly id: number;
  readonly origin: string;
  readonly fence: number;
  readonly queues: Map<string, HostQueue>;
  /** Calls that wait for this host or are in flight there, by caller. */
  readonly calls: Map<string, CallQueue>;
  /** Pages and calls. */
  inFlight: number;
  /** Requests claimed and not yet committed, in flight or not. */
  outstanding: number;
  /** No fetch before this. */
  nextAt: number;
  /** The delay that was drawn for the fetch begun last; 0: none. */
  drawnDelay: number;
  /** When that fetch went out; Infinity: it has not yet, and where there is a delay nothing else is begun. */
  sentAt: number;
  /** Answers of 429 and 503 in a row. */
  backoffLevel: number;
  /** When the level last rose. */
  backedOffAt: number;
  /** From robots.txt; 0: none. */
  crawlDelayMs: number;
  /** Being handed on: nothing more is claimed or fetched. */
  draining: boolean;
  /** The answer to a claim was lost: recover before the next claim. */
  suspect: boolean;
  idleSince: number;
  /** When this node got the lease. */
  readonly since: number;
  /** Calls that rely on the lease, waiting or in flight: it is not given back for idleness. */
  borrowed: number;
  /** Has queues that wait for it to open. */
  readonly parked: AnyQueue[];
  /** Is in the heap of waiting hosts. */
  waiting: boolean;
}

/** The window of one host queue: claimed requests that are not begun. */
export interface HostQueue {
  readonly run: CrawlRun;
  readonly host: HostSlot;
  readonly rows: ClaimedRequest[];
  outstanding: number;
  /** The ledger may have more to claim. */
  more: boolean;
  claiming: boolean;
  /** When a delayed request is due; Infinity: none known. */
  retryAt: number;
  place: Place;
}

type Place = 'nowhere' | 'ready' | 'parked';

/** Whoever makes calls: a crawl by its scripts, or a preview. How many it makes at once it bounds itself. */
export interface Caller {
  /** No crawl's id. */
  readonly id: string;
  readonly settings: Pick<Settings, 'concurrencyPerHost' | 'delayMs' | 'randomizeDelay'>;
}

/** The calls of one caller to one host: fetches that are in no ledger. */
export interface CallQueue {
  readonly caller: Caller;
  readonly host: HostSlot;
  /** Each is told once: true, it may be sent now and `callEnded` is due; false, the host is being handed on. */
  readonly rows: ((begun: boolean) => void)[];
  inFlight: number;
  place: Place;
}

export type AnyQueue = HostQueue | CallQueue;

/** Whether the queue may still be served: its crawl was not dropped, its host not lost, and pages' hosts not drained. */
export function isThere(queue: AnyQueue): boolean {
  const { host } = queue;
  if ('run' in queue) return !host.draining && host.queues.get(queue.run.id) === queue;
  return host.calls.get(queue.caller.id) === queue;
}

export function leaveIfEmpty(queue: CallQueue): void {
  const { host, caller } = queue;
  if (queue.rows.length === 0 && queue.inFlight === 0 && host.calls.get(caller.id) === queue)
    host.calls.delete(caller.id);
}

/** Whether a fetch may be begun there now, of all that has to do with the host. */
export function isOpen(host: HostSlot, now: number): boolean {
  return host.nextAt <= now && (host.drawnDelay === 0 || host.sentAt <= now) && host.inFlight < concurrencyOf(host);
}

function concurrencyOf(host: HostSlot): number {
  let least = Infinity;
  for (const { run } of host.queues.values()) least = Math.min(least, run.settings.concurrencyPerHost);
  for (const { caller } of host.calls.values()) least = Math.min(least, caller.settings.concurrencyPerHost);
  return least;
}

/** Until the host's next fetch: the longest delay of its crawls, 0.5 to 1.5 of it where that crawl randomises. */
export function delayOf(host: HostSlot): number {
  let longest = host.crawlDelayMs;
  for (const { run } of host.queues.values()) longest = Math.max(longest, oneDelay(run.settings));
  for (const { caller } of host.calls.values()) longest = Math.max(longest, oneDelay(caller.settings));
  return longest;
}

function oneDelay({ delayMs, randomizeDelay }: Caller['settings']): number {
  return delayMs > 0 && randomizeDelay ? delayMs * (0.5 + Math.random()) : delayMs;
}
