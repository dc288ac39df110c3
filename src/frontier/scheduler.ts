import { extraSize } from '../model/extra.ts';
import type { ClaimedRequest } from '../model/request.ts';
import { type CrawlRun, hasRoom } from './crawl_run.ts';
import { TimeHeap } from './time_heap.ts';

/** A host that this node holds the lease of. Times are milliseconds since the epoch. */
export interface HostSlot {
  readonly id: number;
  readonly origin: string;
  readonly fence: number;
  readonly queues: Map<string, HostQueue>;
  inFlight: number;
  /** Requests claimed and not yet committed, in flight or not. */
  outstanding: number;
  /** No fetch before this. */
  nextAt: number;
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
  /** Has queues that wait for it to open. */
  readonly parked: HostQueue[];
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
  place: 'nowhere' | 'ready' | 'parked';
}

interface Lane {
  run: CrawlRun;
  ready: HostQueue[];
  inRing: boolean;
}

/**
 * Which request next, of all that are claimed: fair between crawls (a ring of crawls, one request each turn), fair
 * between the hosts of a crawl, and never one whose host may not be fetched now.
 *
 * A host queue is in one place: **ready** in its crawl's lane while it has rows and its host is open; **parked** at its
 * host while the host is at its concurrency or must wait; **nowhere** while it has no rows. A host that must wait is one
 * entry in a heap by time and holds nothing else (invariant 6). A crawl without room is not in the ring. Each step is
 * O(1) but the heap's O(log hosts).
 *
 * A host's limits are the strictest among the crawls that have work on it: smallest concurrency, longest delay.
 */
export class Scheduler {
  readonly hosts = new Map<number, HostSlot>();
  readonly #lanes = new Map<string, Lane>();
  #ring: Lane[] = [];
  readonly #waiting = new TimeHeap<HostSlot>();
  /** Claimed and not begun, over all host queues. */
  windowed = 0;
  /** About the bytes that they hold beside their URLs: bodies, passed values. */
  windowedBytes = 0;
  inFlight = 0;

  addHost(lease: { id: number; origin: string; fence: number; backoffLevel: number }, nextAt: number): HostSlot {
    const host: HostSlot = {
      ...lease,
      queues: new Map(),
      inFlight: 0,
      outstanding: 0,
      nextAt,
      backedOffAt: 0,
      crawlDelayMs: 0,
      draining: false,
      suspect: false,
      idleSince: 0,
      parked: [],
      waiting: false,
    };
    this.hosts.set(host.id, host);
    return host;
  }

  /** Forgets a host. @returns its requests that were not begun */
  removeHost(host: HostSlot): ClaimedRequest[] {
    this.hosts.delete(host.id);
    return [...host.queues.values()].flatMap((queue) => this.removeQueue(queue));
  }

  queueOf(run: CrawlRun, host: HostSlot): HostQueue {
    let queue = host.queues.get(run.id);
    if (queue === undefined) {
      queue = { run, host, rows: [], outstanding: 0, more: true, claiming: false, retryAt: Infinity, place: 'nowhere' };
      host.queues.set(run.id, queue);
    }
    return queue;
  }

  /** Takes a host queue out. @returns its requests that were not begun */
  removeQueue(queue: HostQueue): ClaimedRequest[] {
    queue.host.queues.delete(queue.run.id);
    const rows = queue.rows.splice(0);
    this.#count(rows, -1);
    return rows;
  }

  /** Forgets a crawl. @returns its requests that were not begun */
  removeCrawl(crawlId: string): ClaimedRequest[] {
    this.#lanes.delete(crawlId);
    const rows: ClaimedRequest[] = [];
    for (const host of this.hosts.values()) {
      const queue = host.queues.get(crawlId);
      if (queue !== undefined) rows.push(...this.removeQueue(queue));
    }
    return rows;
  }

  /** Puts claimed requests into the window. */
  push(queue: HostQueue, rows: readonly ClaimedRequest[]): void {
    queue.rows.push(...rows);
    this.#count(rows, 1);
    if (queue.place === 'nowhere' && queue.rows.length > 0) this.#makeReady(queue);
  }

  /** The next request whose host may be fetched now; it counts as in flight until `ended`. Null: none. */
  next(now: number): { request: ClaimedRequest; queue: HostQueue } | null {
    while (this.#waiting.nextAt <= now) {
      const host = this.#waiting.pop()!;
      host.waiting = false;
      this.#reopen(host, now);
    }
    for (;;) {
      const lane = this.#ring.shift();
      if (lane === undefined) return null;
      lane.inRing = false;
      if (!hasRoom(lane.run)) continue;
      const queue = this.#firstOpen(lane, now);
      if (queue === null) continue;
      const request = this.#begin(queue, now);
      this.#enter(lane);
      return { request, queue };
    }
  }

  /** A fetch is over (its outcome may still be on the way). */
  ended(queue: HostQueue, now: number): void {
    const { host, run } = queue;
    host.inFlight--;
    run.inFlight--;
    this.inFlight--;
    this.#reopen(host, now);
    this.freed(run);
  }

  /** The crawl may have room again. */
  freed(run: CrawlRun): void {
    const lane = this.#lanes.get(run.id);
    if (lane !== undefined) this.#enter(lane);
  }

  /** No fetch from this host before `until`. */
  block(host: HostSlot, until: number): void {
    if (until > host.nextAt) host.nextAt = until;
  }

  /** When a waiting host opens; Infinity: none waits. */
  get nextAt(): number {
    return this.#waiting.nextAt;
  }

  #count(rows: readonly ClaimedRequest[], sign: 1 | -1): void {
    this.windowed += sign * rows.length;
    for (const { extra } of rows) if (extra !== null) this.windowedBytes += sign * extraSize(extra);
  }

  #begin(queue: HostQueue, now: number): ClaimedRequest {
    const { host, run } = queue;
    const request = queue.rows.shift()!;
    this.#count([request], -1);
    if (queue.rows.length > 0) {
      queue.place = 'ready';
      this.#lanes.get(run.id)!.ready.push(queue);
    } else queue.place = 'nowhere';
    host.inFlight++;
    run.inFlight++;
    this.inFlight++;
    const delay = delayOf(host);
    if (delay > 0) this.block(host, now + delay);
    return request;
  }

  #firstOpen(lane: Lane, now: number): HostQueue | null {
    for (let queue = lane.ready.shift(); queue !== undefined; queue = lane.ready.shift()) {
      queue.place = 'nowhere';
      const { host } = queue;
      if (queue.rows.length === 0 || host.draining || host.queues.get(queue.run.id) !== queue) continue;
      if (host.inFlight < concurrencyOf(host) && host.nextAt <= now) return queue;
      queue.place = 'parked';
      host.parked.push(queue);
      this.#wait(host, now);
    }
    return null;
  }

  /** A host that is closed by time alone is woken by the heap; one at its concurrency, by `ended`. */
  #wait(host: HostSlot, now: number): void {
    if (host.waiting || host.nextAt <= now) return;
    host.waiting = true;
    this.#waiting.push(host.nextAt, host);
  }

  #reopen(host: HostSlot, now: number): void {
    if (host.waiting || host.parked.length === 0) return;
    if (host.nextAt > now) {
      this.#wait(host, now);
      return;
    }
    if (host.inFlight >= concurrencyOf(host)) return;
    for (const queue of host.parked.splice(0)) {
      queue.place = 'nowhere';
      if (queue.rows.length > 0 && host.queues.get(queue.run.id) === queue) this.#makeReady(queue);
    }
  }

  #makeReady(queue: HostQueue): void {
    let lane = this.#lanes.get(queue.run.id);
    if (lane === undefined) {
      lane = { run: queue.run, ready: [], inRing: false };
      this.#lanes.set(queue.run.id, lane);
    }
    queue.place = 'ready';
    lane.ready.push(queue);
    this.#enter(lane);
  }

  #enter(lane: Lane): void {
    if (lane.inRing || lane.ready.length === 0 || this.#lanes.get(lane.run.id) !== lane) return;
    lane.inRing = true;
    this.#ring.push(lane);
  }
}

function concurrencyOf(host: HostSlot): number {
  let least = Infinity;
  for (const { run } of host.queues.values()) least = Math.min(least, run.settings.concurrencyPerHost);
  return least;
}

/** Until the host's next fetch: the longest delay of its crawls, 0.5 to 1.5 of it where that crawl randomises. */
export function delayOf(host: HostSlot): number {
  let longest = host.crawlDelayMs;
  for (const { run } of host.queues.values()) {
    const { delayMs, randomizeDelay } = run.settings;
    if (delayMs > 0) longest = Math.max(longest, randomizeDelay ? delayMs * (0.5 + Math.random()) : delayMs);
  }
  return longest;
}
