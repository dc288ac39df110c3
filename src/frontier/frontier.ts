import { type ClaimResult, type ClaimWant, claim, handBack, recoverHosts } from '../db/claims.ts';
import type { Sql } from '../db/client.ts';
import { crawlStates } from '../db/crawl_runs.ts';
import { queueKey } from '../db/host_budgets.ts';
import { activeQueues } from '../db/host_queues.ts';
import type { LeasedHost } from '../db/hosts.ts';
import type { ClaimedRequest } from '../model/request.ts';
import type { CrawlRuns } from './crawl_run.ts';
import { Exhausted } from './exhausted.ts';
import { Grouping, type GroupingOptions } from './grouping.ts';
import type { HostQueue, HostSlot } from './host.ts';
import { HostMemory, learnedOf } from './host_memory.ts';
import type { Leases } from './leases.ts';
import { hasPages, isIdle, isLentOnly, Loans } from './loans.ts';
import { Retries } from './retries.ts';
import { Scheduler } from './scheduler.ts';
import { noteClaim, wantOf, windowOf } from './window.ts';

const MAX_WANTS = 512;
const MAX_CLAIM = 1024;
/** Claimed and not begun: the bound on what a node takes out of the ledger. */
const MAX_WINDOWED = 20_000;
const MAX_WINDOWED_BYTES = 64 * 1024 * 1024;
/** A lease without work is given back after this. */
const IDLE_MS = 2000;
/** Nothing is claimed for a host that waits for longer: what is claimed counts in its crawl's `maxPages`. */
const LONG_WAIT_MS = 2000;

export interface FrontierOptions {
  sql: Sql;
  leases: Leases;
  runs: CrawlRuns;
  /** Brings the jars of crawls with cookies up to date, by the version that is stored; before anything of theirs is claimed. */
  syncCookies: (versions: ReadonlyMap<string, number>) => Promise<void>;
  addressOf: GroupingOptions['addressOf'];
  /** Claimed requests of one host queue; whoever gets them calls `push` with those that may be fetched. */
  onClaimed: (queue: HostQueue, requests: ClaimedRequest[]) => void;
  /** Calls want a lease that this node does not hold: `lend` is due. */
  onWanted: () => void;
  /** A call waits for its turn: `scheduler.next` is due. */
  onCall: () => void;
}

/**
 * Which request next: keeps a small window of claimed requests per host queue, filled from the ledger in batches, and the
 * leases that they are claimed under. Its steps (`survey`, `refill`, `rebalance`) are run by the engine's loop, one at a time.
 */
export class Frontier {
  readonly scheduler = new Scheduler();
  readonly loans: Loans;
  /** What is learned of the hosts is told to it. */
  readonly memory: HostMemory;
  readonly grouping: Grouping;
  readonly #options: FrontierOptions;
  /** Host queues that may have more to claim. */
  readonly #hungry = new Set<HostQueue>();
  readonly #exhausted = new Exhausted();
  readonly #retries = new Retries();
  /** Claimed, not begun, and without a place any more: to be handed back at the next step. */
  readonly #strays: ClaimedRequest[] = [];
  /** The database may say that this node holds leases that it does not know of: an answer was lost, or a lease. */
  #unsure = false;
  readonly totals = { claims: 0, claimed: 0, ms: 0 };

  constructor(options: FrontierOptions) {
    this.#options = options;
    const { leases, onWanted, onCall } = options;
    this.memory = new HostMemory(leases);
    const { scheduler } = this;
    const giveUp = (host: HostSlot) => this.#drain(host);
    this.grouping = new Grouping({ leases, scheduler, addressOf: options.addressOf, giveUp });
    this.loans = new Loans({ leases, scheduler, wake: onWanted, onCall });
  }

  /** Finds work: takes free leases, and sees which host queues of the held ones have something queued. */
  async survey(): Promise<void> {
    const { sql, leases, runs } = this.#options;
    await this.#takeLeases();
    const active = await activeQueues(sql, leases.nodeId);
    await runs.refresh(new Map(active.map((queue) => [queue.crawlId, queue.settingsVersion])));
    const withCookies = active.filter((queue) => queue.cookiesVersion > 0);
    if (withCookies.length > 0)
      await this.#options.syncCookies(new Map(withCookies.map((queue) => [queue.crawlId, queue.cookiesVersion])));
    this.#exhausted.clear();
    const fresh: HostQueue[] = [];
    for (const { crawlId, hostId, isReady } of active) {
      const queue = this.#queue(crawlId, hostId);
      if (queue === null || queue.host.draining) continue;
      // Also where this node found nothing the last time: another node's commit may have queued it.
      if (isReady) queue.more = true;
      if (queue.outstanding <= 0 && queue.retryAt === Infinity) fresh.push(queue);
      this.#want(queue);
    }
    await this.#retries.load(sql, fresh, (crawlId, hostId) => this.#queue(crawlId, hostId));
    await this.#dropIdleCrawls(new Set(active.map((queue) => queue.crawlId)));
  }

  async #takeLeases(): Promise<void> {
    const { leases } = this.#options;
    // Else it would take its own hosts from itself, and refuse what it has in flight there.
    if (!leases.valid) return;
    const held = this.scheduler.hosts.values().filter((host) => !isLentOnly(host));
    await this.#add(() => leases.acquire(held.toArray().length));
    const { addresses } = this.scheduler.groups;
    if (addresses.length > 0 && leases.hasOthers) await this.#add(() => leases.acquireAt(addresses));
  }

  /** Takes the leases that calls wait for, as far as they are free. */
  async lend(now: number): Promise<void> {
    if (this.loans.askAt > now && !this.#unsure) return;
    for (const host of await this.#add(() => this.loans.ask(now))) this.loans.grant(host);
  }

  async #add(acquire: () => Promise<LeasedHost[]>): Promise<HostSlot[]> {
    const { sql, leases } = this.#options;
    const wasUnsure = this.#unsure;
    this.#unsure = false;
    try {
      if (wasUnsure) await leases.releaseAllBut(this.scheduler.hosts.keys());
      const taken = await acquire();
      if (taken.length > 0) await recoverHosts(sql, leases.nodeId, taken, true);
      // Where this node lost leases, what it did there at last is as little known as with a holder that died.
      return taken.map((lease) =>
        this.scheduler.addHost(wasUnsure ? { ...lease, isOrphaned: true } : lease, Date.now()),
      );
    } catch (error) {
      this.#unsure = true;
      throw error;
    }
  }

  /** Claims what the windows have room for. @returns true where there may be more to claim at once */
  async refill(now: number): Promise<boolean> {
    await this.#handBackStrays();
    for (const queue of this.#retries.takeDue(now)) {
      queue.more = true;
      this.#want(queue);
    }
    await this.#recoverSuspects();
    const queues = this.#pickHungry(now);
    if (queues.length === 0) return false;
    const wants = queues.map((queue) => wantOf(queue));
    for (const queue of queues) queue.claiming = true;
    const started = performance.now();
    try {
      const result = await claim(this.#options.sql, this.#options.leases.nodeId, wants);
      this.totals.claims++;
      this.totals.claimed += result.requests.length;
      this.totals.ms += performance.now() - started;
      this.#takeClaim(queues, wants, result);
      return this.#hungry.size > 0;
    } catch (error) {
      // Whether it happened is not known: the hosts are recovered when nothing of theirs is outstanding.
      for (const queue of queues) queue.host.suspect = true;
      throw error;
    } finally {
      for (const queue of queues) queue.claiming = false;
    }
  }

  /** Puts claimed requests into the window, for `scheduler.next`. */
  push(queue: HostQueue, requests: readonly ClaimedRequest[]): void {
    if (queue.host.queues.get(queue.run.id) === queue) this.scheduler.push(queue, requests);
    else this.putBack(queue, requests);
  }

  /** Claimed requests of one host queue that are not to be begun now go back to the ledger; their attempt does not count. */
  putBack(queue: HostQueue, requests: readonly ClaimedRequest[]): void {
    queue.outstanding -= requests.length;
    queue.host.outstanding -= requests.length;
    queue.more = true;
    this.#strays.push(...requests);
  }

  /** The host is to be left alone. For long: it keeps no claimed request, which would count in its crawl's `maxPages`. */
  leaveAlone(host: HostSlot, now: number, waitMs: number): void {
    this.scheduler.block(host, now + waitMs);
    this.memory.note(host);
    if (waitMs <= LONG_WAIT_MS) return;
    for (const queue of host.queues.values()) this.putBack(queue, this.scheduler.unload(queue));
  }

  /** A request of this host queue left the node: committed, refused, or handed back. */
  settled(crawlId: string, hostId: number, fence: number, retryAt: number | null): void {
    this.#exhausted.ended(crawlId, hostId);
    const host = this.scheduler.hosts.get(hostId);
    // Fetched under an earlier lease of this node: the host counts only what is of this one.
    if (host === undefined || host.fence !== fence) return;
    const queue = host.queues.get(crawlId);
    host.outstanding--;
    if (queue === undefined) return;
    queue.outstanding--;
    if (retryAt !== null) this.#retries.add(queue, retryAt);
    this.#want(queue);
  }

  /** Something became queued there. @returns false where this node does not hold the host: a survey may take it */
  queued(crawlId: string, hostId: number): boolean {
    const queue = this.#queue(crawlId, hostId);
    if (queue === null) return false;
    queue.more = true;
    this.#want(queue);
    return true;
  }

  /** Takes a host queue's window; true where it should be asked for more now. */
  isLow(queue: HostQueue): boolean {
    return queue.more && queue.rows.length + queue.held <= windowOf(queue) / 2;
  }

  /** A request left the window: the host queue may have room again. */
  began(queue: HostQueue): void {
    if (this.isLow(queue)) this.#want(queue);
  }

  get isHungry(): boolean {
    return this.#hungry.size > 0;
  }

  /** The crawl does not run any more, or not here. @returns its requests that were not begun */
  dropCrawl(crawlId: string): ClaimedRequest[] {
    for (const host of this.scheduler.hosts.values()) {
      const queue = host.queues.get(crawlId);
      if (queue !== undefined) this.#forget(queue);
    }
    const rows = this.scheduler.removeCrawl(crawlId);
    for (const row of rows) this.#leave(row.hostId);
    return rows;
  }

  /** Another node took these hosts. What is in flight there will be refused. */
  loseHosts(ids: Iterable<number>): void {
    for (const id of ids) {
      this.#unsure = true;
      const host = this.scheduler.hosts.get(id);
      if (host === undefined) continue;
      for (const queue of host.queues.values()) this.#forget(queue);
      this.scheduler.removeHost(host);
    }
  }

  /** After a lapse of the lease: drops what the database says is held by another node by now. */
  async reconcile(): Promise<void> {
    const held = await this.#options.leases.held();
    this.loseHosts([...this.scheduler.hosts.values()].filter((h) => held.get(h.id) !== h.fence).map((h) => h.id));
  }

  /** Gives back leases without work, and those above the fair share or wanted elsewhere once they are drained. */
  async rebalance(now: number): Promise<void> {
    const hosts = [...this.scheduler.hosts.values()];
    const busy = hosts.filter(hasPages);
    const surplus = busy.filter((h) => !h.draining).length - this.#options.leases.fairShare;
    if (surplus > 0)
      for (const host of busy
        .filter((h) => !h.draining && h.group === null)
        .sort((a, b) => a.inFlight - b.inFlight)
        .slice(0, surplus))
        this.#drain(host);
    for (const host of await this.loans.overdue(now)) this.#drain(host);
    for (const host of hosts) {
      if (!isIdle(host)) host.idleSince = now;
      if (host.draining && host.outstanding === 0) this.scheduler.turnAway(host);
    }
    await this.#handBackStrays(); // the next holder would take them for those of a crash
    await this.#release(
      hosts.filter((host) => isIdle(host) && (host.draining || now - host.idleSince > IDLE_MS)),
      now,
    );
  }

  /** Hands everything back: what is not begun, then every lease. Called when nothing is in flight any more. */
  async close(now: number): Promise<void> {
    const hosts = [...this.scheduler.hosts.values()];
    for (const host of hosts) this.#drain(host);
    await this.#handBackStrays();
    const left = hosts.filter((host) => host.outstanding > 0 || host.suspect);
    const { sql, leases } = this.#options;
    if (left.length > 0) await recoverHosts(sql, leases.nodeId, left, false);
    await this.#release(hosts, now);
  }

  #drain(host: HostSlot): void {
    host.draining = true;
    const rows: ClaimedRequest[] = [];
    for (const queue of [...host.queues.values()]) {
      this.#forget(queue);
      rows.push(...this.scheduler.removeQueue(queue));
    }
    host.outstanding -= rows.length;
    this.#strays.push(...rows);
  }

  async #handBackStrays(): Promise<void> {
    if (this.#strays.length === 0) return;
    const rows = this.#strays.slice();
    await handBack(this.#options.sql, rows);
    this.#strays.splice(0, rows.length);
  }

  async #release(hosts: readonly HostSlot[], now: number): Promise<void> {
    const released = hosts.map((host) => learnedOf(host, now));
    for (const host of hosts) this.scheduler.removeHost(host);
    try {
      await this.#options.leases.release(released);
    } catch (error) {
      this.#unsure = true;
      throw error;
    }
  }

  #queue(crawlId: string, hostId: number): HostQueue | null {
    const host = this.scheduler.hosts.get(hostId);
    const run = this.#options.runs.get(crawlId);
    return host === undefined || run === undefined || host.draining ? null : this.scheduler.queueOf(run, host);
  }

  /** Not for one whose crawl was dropped meanwhile: the crawl may be back with another, and both would get one claim. */
  #want(queue: HostQueue): void {
    if (queue.host.queues.get(queue.run.id) !== queue) return;
    if (queue.more && !this.#exhausted.has(queue)) this.#hungry.add(queue);
  }

  #forget(queue: HostQueue): void {
    this.#hungry.delete(queue);
    this.#retries.forget(queue);
  }

  #leave(hostId: number): void {
    const host = this.scheduler.hosts.get(hostId);
    if (host !== undefined) host.outstanding--;
  }

  #pickHungry(now: number): HostQueue[] {
    const picked: HostQueue[] = [];
    let rows = 0;
    const { windowed, windowedBytes } = this.scheduler;
    if (windowed >= MAX_WINDOWED || windowedBytes >= MAX_WINDOWED_BYTES) return picked;
    for (const queue of this.#hungry) {
      if (picked.length >= MAX_WANTS || rows >= MAX_CLAIM) break;
      this.#hungry.delete(queue);
      if (!this.isLow(queue) || queue.host.suspect || queue.claiming) continue;
      if (queue.host.nextAt > now + LONG_WAIT_MS) continue; // the next survey asks again
      if (this.#exhausted.has(queue)) continue;
      picked.push(queue);
      rows += windowOf(queue);
    }
    return picked;
  }

  #takeClaim(queues: readonly HostQueue[], wants: readonly ClaimWant[], result: ClaimResult): void {
    const byQueue = Map.groupBy(result.requests, queueKey);
    this.#exhausted.add(result.exhausted);
    this.loseHosts(wants.map((want) => want.hostId).filter((id) => !result.held.has(id)));
    for (const [i, queue] of queues.entries()) {
      const { host, run } = queue;
      const key = queueKey({ crawlId: run.id, hostId: host.id });
      const requests = byQueue.get(key) ?? [];
      // A crawl that does not run was granted nothing: that is no reason to ask again and again until it does.
      const isMore = result.exhausted.has(run.id) || (result.running.has(run.id) && requests.length >= wants[i]!.n);
      queue.more = result.spent.get(key) ?? isMore;
      noteClaim(queue, requests.length, performance.now());
      queue.outstanding += requests.length;
      host.outstanding += requests.length;
      if (requests.length > 0) this.#options.onClaimed(queue, requests);
      if (this.isLow(queue)) this.#want(queue);
    }
  }

  async #recoverSuspects(): Promise<void> {
    const suspects = [...this.scheduler.hosts.values()].filter((host) => host.suspect && host.outstanding === 0);
    if (suspects.length === 0) return;
    await recoverHosts(this.#options.sql, this.#options.leases.nodeId, suspects, false);
    for (const host of suspects) {
      host.suspect = false;
      for (const queue of host.queues.values()) this.queued(queue.run.id, host.id);
    }
  }

  /** Crawls of this node without queued work: done, paused, cancelled, deleted, or just waiting for what is in flight. */
  async #dropIdleCrawls(active: ReadonlySet<string>): Promise<void> {
    const idle = [...this.#options.runs.all()].map((run) => run.id).filter((id) => !active.has(id));
    if (idle.length === 0) return;
    const states = await crawlStates(this.#options.sql, idle);
    for (const id of idle) {
      const state = states.get(id);
      if (state === 'running' || state === 'queued') continue;
      // What is in flight of a pausing crawl goes on; what is not begun goes back.
      if (state === 'pausing') this.#strays.push(...this.dropCrawl(id));
      else {
        this.dropCrawl(id);
        this.#options.runs.drop(id);
      }
    }
  }
}
