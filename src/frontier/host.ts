import type { LeasedHost } from '../db/hosts.ts';
import type { ClaimedRequest } from '../model/request.ts';
import type { Settings } from '../model/settings.ts';
import type { CrawlRun } from './crawl_run.ts';
import { throttledDelay } from './throttle.ts';

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
  /** Crawl-delay in milliseconds by the user agent that robots.txt was read for. */
  readonly crawlDelays: Map<string, number>;
  /** The longest that the last holder kept to: it counts until robots.txt was read here. */
  storedCrawlDelayMs: number;
  /** The delay that autothrottle has come to; null: no latency is known. */
  throttleMs: number | null;
  /** Somebody unknown may have fetched until then: nothing is fetched within one delay of it. 0: nobody. */
  touchedAt: number;
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
  /** With which it shares delay and concurrency; null: with none. */
  group: HostGroup | null;
  /** Of a host that another node's group claims: stored when the lease is given back. */
  address: string | null;
}

/**
 * The hosts at one address, of crawls with `hostGroup: address`. Delay and concurrency are the strictest of those crawls, on
 * whichever of the hosts; Retry-After and back-off stay with the host that asked for them.
 */
export interface HostGroup {
  readonly address: string;
  readonly members: Set<HostSlot>;
  inFlight: number;
  nextAt: number;
  /** Of the fetch begun last. */
  last: HostSlot | null;
  /** As drawn last. */
  delayMs: number;
  concurrency: number;
}

/** @param now milliseconds since the epoch */
export function newHost(lease: LeasedHost, now: number): HostSlot {
  const { id, origin, fence, backoffLevel } = lease;
  return {
    id,
    origin,
    fence,
    backoffLevel,
    queues: new Map(),
    calls: new Map(),
    inFlight: 0,
    outstanding: 0,
    nextAt: now + Math.max(0, lease.waitMs),
    drawnDelay: 0,
    sentAt: Infinity,
    backedOffAt: 0,
    crawlDelays: new Map(),
    storedCrawlDelayMs: lease.crawlDelayMs,
    throttleMs: lease.throttleMs > 0 ? lease.throttleMs : null,
    touchedAt: lease.isOrphaned ? now : 0,
    draining: false,
    suspect: false,
    idleSince: 0,
    since: now,
    borrowed: 0,
    parked: [],
    waiting: false,
    group: null,
    address: null,
  };
}

/** The window of one host queue: claimed requests that are not begun. */
export interface HostQueue {
  readonly run: CrawlRun;
  readonly host: HostSlot;
  readonly rows: ClaimedRequest[];
  outstanding: number;
  /** Claimed, not begun and not in `rows`: their stored responses are to be read, for which no turn at the host is needed. */
  held: number;
  /** The ledger may have more to claim. */
  more: boolean;
  claiming: boolean;
  /** What the last claim brought, and when, in milliseconds. */
  claimed: number;
  claimedAt: number;
  /** Requests a millisecond between the last two claims. */
  pace: number;
  /** When a delayed request is due; Infinity: none known. */
  retryAt: number;
  place: Place;
}

type Place = 'nowhere' | 'ready' | 'parked';

/** What a host hears of the settings of whoever has work there. */
export type HostSettings = Pick<
  Settings,
  | 'concurrencyPerHost'
  | 'delayMs'
  | 'randomizeDelay'
  | 'robots'
  | 'userAgent'
  | 'maxCrawlDelayMs'
  | 'maxRetryAfterMs'
  | 'autothrottle'
  | 'hostGroup'
>;

/** Whoever makes calls: a crawl by its scripts, or a preview. How many it makes at once it bounds itself. */
export interface Caller {
  /** No crawl's id. */
  readonly id: string;
  readonly settings: HostSettings;
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
  if (host.nextAt > now || !isSent(host, now) || host.inFlight >= concurrencyOf(host)) return false;
  const { group } = host;
  if (group === null) return true;
  return group.nextAt <= now && group.inFlight < group.concurrency && (group.last === null || isSent(group.last, now));
}

/** Where there is a delay, nothing is begun before the fetch before it went out. */
function isSent(host: HostSlot, now: number): boolean {
  return host.drawnDelay === 0 || host.sentAt <= now;
}

/** When time alone no longer keeps it closed. */
export function opensAt(host: HostSlot): number {
  return host.group === null ? host.nextAt : Math.max(host.nextAt, host.group.nextAt);
}

function concurrencyOf(host: HostSlot): number {
  let least = Infinity;
  for (const { run } of host.queues.values()) least = Math.min(least, run.settings.concurrencyPerHost);
  for (const { caller } of host.calls.values()) least = Math.min(least, caller.settings.concurrencyPerHost);
  return least;
}

/** Until the host's next fetch: the longest delay of its crawls, 0.5 to 1.5 of it where that crawl randomises. */
export function delayOf(host: HostSlot): number {
  let longest = host.group?.delayMs ?? 0;
  for (const { run } of host.queues.values()) longest = Math.max(longest, oneDelay(host, run.settings));
  for (const { caller } of host.calls.values()) longest = Math.max(longest, oneDelay(host, caller.settings));
  return longest;
}

/** What one crawl or caller wants there. */
export function oneDelay(host: HostSlot, settings: HostSettings): number {
  const { delayMs, autothrottle, randomizeDelay, robots } = settings;
  const least = autothrottle === null ? delayMs : Math.max(delayMs, throttledDelay(host.throttleMs, autothrottle));
  const delay = least > 0 && randomizeDelay ? least * (0.5 + Math.random()) : least;
  return robots ? Math.max(delay, crawlDelayOf(host, settings)) : delay;
}

/** What robots.txt asks of this user agent, to the crawl's cap. Of several crawls the longest counts. */
export function crawlDelayOf(host: HostSlot, { userAgent, maxCrawlDelayMs }: HostSettings): number {
  if (host.crawlDelays.size === 0) return Math.min(host.storedCrawlDelayMs, maxCrawlDelayMs);
  return Math.min(host.crawlDelays.get(userAgent) ?? 0, maxCrawlDelayMs);
}
