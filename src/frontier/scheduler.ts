import type { LeasedHost } from '../db/hosts.ts';
import { extraSize } from '../model/extra.ts';
import type { ClaimedRequest } from '../model/request.ts';
import { type CrawlRun, hasRoom } from './crawl_run.ts';
import {
  type AnyQueue,
  type Caller,
  type CallQueue,
  delayOf,
  type HostQueue,
  type HostSlot,
  isOpen,
  isThere,
  leaveIfEmpty,
  newHost,
  opensAt,
} from './host.ts';
import { HostGroups, refreshGroup } from './host_group.ts';
import { TimeHeap } from './time_heap.ts';

/** The ready queues of one crawl, or of one caller. */
interface Lane {
  readonly id: string;
  readonly isOfCalls: boolean;
  readonly hasRoom: () => boolean;
  readonly ready: AnyQueue[];
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
 * Calls (what a script fetches while its page waits) have queues and lanes of their own beside those of the pages, so the
 * two take turns at a host, and neither starves: a page that waits for a call gets it however long the host's queue is.
 * A call does not count in its crawl's concurrency, whose slots the waiting pages do not hold either: no deadlock.
 *
 * A host's limits are the strictest among the crawls and callers that have work on it: smallest concurrency, longest delay.
 */
export class Scheduler {
  readonly hosts = new Map<number, HostSlot>();
  readonly #byOrigin = new Map<string, HostSlot>();
  readonly #lanes = new Map<string, Lane>();
  #ring: Lane[] = [];
  readonly #waiting = new TimeHeap<HostSlot>();
  readonly groups = new HostGroups();
  /** Claimed and not begun, over all host queues. */
  windowed = 0;
  /** About the bytes that they hold beside their URLs: bodies, passed values. */
  windowedBytes = 0;
  inFlight = 0;

  /** @param now milliseconds since the epoch */
  addHost(lease: LeasedHost, now: number): HostSlot {
    const host = newHost(lease, now);
    if (lease.isOrphaned && lease.address !== null) this.groups.touch(lease.address, now);
    this.hosts.set(host.id, host);
    this.#byOrigin.set(host.origin, host);
    return host;
  }

  /** The host of an origin, where this node holds its lease. */
  hostOf(origin: string): HostSlot | undefined {
    return this.#byOrigin.get(origin);
  }

  /** Forgets a host; the calls that wait there are told. @returns its requests that were not begun */
  removeHost(host: HostSlot): ClaimedRequest[] {
    this.hosts.delete(host.id);
    if (this.#byOrigin.get(host.origin) === host) this.#byOrigin.delete(host.origin);
    this.turnAway(host);
    const { group } = host;
    this.groups.part(host);
    if (group !== null) this.#reopenAll(group.members, Date.now());
    return [...host.queues.values()].flatMap((queue) => this.removeQueue(queue));
  }

  queueOf(run: CrawlRun, host: HostSlot): HostQueue {
    let queue = host.queues.get(run.id);
    if (queue === undefined) {
      queue = {
        run,
        host,
        rows: [],
        outstanding: 0,
        held: 0,
        more: true,
        claiming: false,
        claimed: 0,
        claimedAt: 0,
        pace: 0,
        retryAt: Infinity,
        place: 'nowhere',
      };
      host.queues.set(run.id, queue);
      this.#respect(host);
    }
    return queue;
  }

  /** Takes a host queue out. @returns its requests that were not begun */
  removeQueue(queue: HostQueue): ClaimedRequest[] {
    queue.host.queues.delete(queue.run.id);
    return this.unload(queue);
  }

  /** Empties a window: its host waits for long. @returns the requests that were not begun */
  unload(queue: HostQueue): ClaimedRequest[] {
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

  /**
   * The next request whose host may be fetched now; it counts as in flight until `ended`. Null: none. Calls whose turn comes
   * meanwhile are begun by the way.
   */
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
      if (!lane.hasRoom()) continue;
      const queue = this.#firstOpen(lane, now);
      if (queue === null) {
        this.#retire(lane);
        continue;
      }
      if ('run' in queue) {
        const request = this.#begin(queue, now);
        this.#enter(lane);
        return { request, queue };
      }
      this.#beginCall(queue, now);
      this.#enter(lane);
      this.#retire(lane);
    }
  }

  /**
   * A fetch that was begun goes out; due before `ended` and `callEnded`. Only now its delay begins: a connection may have had to
   * be opened first, and the next fetch would reach the server sooner after this one by as much (with two thousand hosts that
   * begin at once, by 80 ms).
   *
   * @returns whether the host may have come to wait: `nextAt` is to be looked at
   */
  sent(host: HostSlot, now: number): boolean {
    if (host.drawnDelay === 0 || host.sentAt !== Infinity) return false;
    host.sentAt = now;
    this.#delay(host, now);
    this.#reopenAround(host, now);
    return true;
  }

  /** A fetch is over (its outcome may still be on the way). */
  ended(queue: HostQueue, now: number): void {
    const { host, run } = queue;
    run.inFlight--;
    this.#leave(host, now);
    this.#reopenAround(host, now);
    this.freed(run);
  }

  /** A call waits for its turn at this host. @returns takes it back where it was not begun */
  call(host: HostSlot, caller: Caller, row: CallQueue['rows'][number]): () => void {
    let queue = host.calls.get(caller.id);
    if (queue === undefined) {
      queue = { caller, host, rows: [], inFlight: 0, place: 'nowhere' };
      host.calls.set(caller.id, queue);
      this.#respect(host);
    }
    queue.rows.push(row);
    if (queue.place === 'nowhere') this.#makeReady(queue);
    const joined = queue;
    return () => {
      const at = joined.rows.indexOf(row);
      if (at >= 0) joined.rows.splice(at, 1);
      leaveIfEmpty(joined);
    };
  }

  /** A call that was begun is over. */
  callEnded(host: HostSlot, caller: Caller, now: number): void {
    const queue = host.calls.get(caller.id);
    if (queue !== undefined) {
      queue.inFlight--;
      leaveIfEmpty(queue);
    }
    this.#leave(host, now);
    this.#reopenAround(host, now);
  }

  /** Tells the calls that wait at a host that it is being handed on. */
  turnAway(host: HostSlot): void {
    for (const queue of [...host.calls.values()]) {
      const rows = queue.rows.splice(0);
      leaveIfEmpty(queue);
      for (const row of rows) row(false);
    }
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

  /** Claimed requests that have not left the node: neither committed, nor refused, nor handed back. */
  get outstanding(): number {
    return this.hosts.values().reduce((sum, host) => sum + host.outstanding, 0);
  }

  /** When a waiting host opens; Infinity: none waits. */
  get nextAt(): number {
    return this.#waiting.nextAt;
  }

  /** How long to leave the host alone after its last holder is known only with what its crawls want. */
  #respect(host: HostSlot): void {
    if (host.group !== null) refreshGroup(host.group);
    if (host.touchedAt > 0) this.block(host, host.touchedAt + delayOf(host));
  }

  #count(rows: readonly ClaimedRequest[], sign: 1 | -1): void {
    this.windowed += sign * rows.length;
    for (const { extra } of rows) if (extra !== null) this.windowedBytes += sign * extraSize(extra);
  }

  #begin(queue: HostQueue, now: number): ClaimedRequest {
    const { host, run } = queue;
    const request = queue.rows.shift()!;
    this.#count([request], -1);
    this.#stayReady(queue, run.id);
    run.inFlight++;
    this.#occupy(host, now);
    return request;
  }

  #beginCall(queue: CallQueue, now: number): void {
    const begin = queue.rows.shift()!;
    this.#stayReady(queue, queue.caller.id);
    queue.inFlight++;
    this.#occupy(queue.host, now);
    begin(true);
  }

  #stayReady(queue: AnyQueue, laneId: string): void {
    if (queue.rows.length > 0) {
      queue.place = 'ready';
      this.#lanes.get(laneId)!.ready.push(queue);
    } else queue.place = 'nowhere';
  }

  #occupy(host: HostSlot, now: number): void {
    host.inFlight++;
    this.inFlight++;
    const { group } = host;
    if (group !== null) {
      group.inFlight++;
      group.last = host;
      refreshGroup(group);
    }
    host.drawnDelay = delayOf(host);
    host.sentAt = Infinity;
    if (host.drawnDelay > 0) this.#shut(host, now + host.drawnDelay);
  }

  /** Its group with it. */
  #shut(host: HostSlot, until: number): void {
    this.block(host, until);
    if (host.group !== null && until > host.group.nextAt) host.group.nextAt = until;
  }

  /**
   * When the server was asked, by its own clock, is somewhere between the sending and its answer: the delay counts from the answer,
   * so that no way there, however slow, makes two requests come too close. Where several are in flight, which take longer than
   * the delay, that would slow them down: of the time after the sending a twentieth of the delay counts then.
   */
  #leave(host: HostSlot, now: number): void {
    host.inFlight--;
    this.inFlight--;
    if (host.group !== null) host.group.inFlight--;
    const isLast = host.inFlight === 0;
    if (host.sentAt !== Infinity) this.#delay(host, isLast ? now : Math.min(now, host.sentAt + host.drawnDelay / 20));
    else if (isLast) host.sentAt = now;
  }

  /** The clock's milliseconds are cut off, so that one more is waited for. */
  #delay(host: HostSlot, from: number): void {
    if (host.drawnDelay > 0) this.#shut(host, from + host.drawnDelay + 1);
  }

  #firstOpen(lane: Lane, now: number): AnyQueue | null {
    for (let queue = lane.ready.shift(); queue !== undefined; queue = lane.ready.shift()) {
      queue.place = 'nowhere';
      const { host } = queue;
      if (queue.rows.length === 0 || !isThere(queue)) continue;
      if (isOpen(host, now)) return queue;
      queue.place = 'parked';
      host.parked.push(queue);
      this.#wait(host, now);
    }
    return null;
  }

  /** A host that is closed by time alone is woken by the heap; one at its concurrency, by `ended`. */
  #wait(host: HostSlot, now: number): void {
    const at = opensAt(host);
    if (host.waiting || at <= now) return;
    host.waiting = true;
    this.#waiting.push(at, host);
  }

  #reopenAround(host: HostSlot, now: number): void {
    if (host.group === null) this.#reopen(host, now);
    else this.#reopenAll(host.group.members, now);
  }

  #reopenAll(hosts: Iterable<HostSlot>, now: number): void {
    for (const host of hosts) this.#reopen(host, now);
  }

  #reopen(host: HostSlot, now: number): void {
    if (host.waiting || host.parked.length === 0) return;
    if (opensAt(host) > now) {
      this.#wait(host, now);
      return;
    }
    if (!isOpen(host, now)) return;
    for (const queue of host.parked.splice(0)) {
      queue.place = 'nowhere';
      if (queue.rows.length > 0 && isThere(queue)) this.#makeReady(queue);
    }
  }

  #makeReady(queue: AnyQueue): void {
    const id = 'run' in queue ? queue.run.id : queue.caller.id;
    let lane = this.#lanes.get(id);
    if (lane === undefined) {
      const isOfCalls = 'caller' in queue;
      lane = { id, isOfCalls, hasRoom: isOfCalls ? () => true : () => hasRoom(queue.run), ready: [], inRing: false };
      this.#lanes.set(id, lane);
    }
    queue.place = 'ready';
    lane.ready.push(queue);
    this.#enter(lane);
  }

  /** A caller's lane goes when nothing is ready in it: callers come and go, and nobody tells when. */
  #retire(lane: Lane): void {
    if (lane.isOfCalls && lane.ready.length === 0) this.#lanes.delete(lane.id);
  }

  #enter(lane: Lane): void {
    if (lane.inRing || lane.ready.length === 0 || this.#lanes.get(lane.id) !== lane) return;
    lane.inRing = true;
    this.#ring.push(lane);
  }
}
