import type { LeasedHost } from '../db/hosts.ts';
import type { Caller, HostSlot } from './host.ts';
import type { Leases } from './leases.ts';
import type { Scheduler } from './scheduler.ts';

/** Between two askings for a lease that another node holds. */
const FIRST_ASK_MS = 50;
const MAX_ASK_MS = 500;
/** A lease that serves calls alone is handed on after this where another node waits for it. */
const SLICE_MS = 1000;

interface Wish {
  resolve: (host: HostSlot) => void;
}

/** An origin whose lease calls wait for. */
interface Wanted {
  wishes: Set<Wish>;
  askAt: number;
  pauseMs: number;
}

export interface LoansOptions {
  leases: Leases;
  scheduler: Scheduler;
  /** There is something to ask the database. */
  wake: () => void;
  /** A call waits for its turn. */
  onCall: () => void;
}

/**
 * The leases that calls need (fetches of scripts and previews, which are in no ledger): invariant 5 holds for them as for
 * pages. A lease that this node holds serves both; a free one is taken for the calls alone and given back when idle.
 *
 * One that another node holds is asked for again and again until the call's time is over, and marked as wanted. A holder
 * that has calls alone hands it on after a second, so that nodes whose scripts call one origin share it by turns; one that
 * crawls the origin keeps it, because its pages' outcomes are fenced by it.
 */
export class Loans {
  readonly #options: LoansOptions;
  readonly #wanted = new Map<string, Wanted>();

  constructor(options: LoansOptions) {
    this.#options = options;
  }

  /**
   * The host of an origin once this node holds its lease; `release` is due.
   *
   * @throws the signal's reason
   */
  hold(origin: string, signal: AbortSignal): Promise<HostSlot> {
    signal.throwIfAborted();
    const host = this.#options.scheduler.hostOf(origin);
    if (host !== undefined && takesCalls(host)) {
      host.borrowed++;
      return Promise.resolve(host);
    }
    return new Promise((resolve, reject) => {
      const wish = {
        resolve: (granted: HostSlot) => {
          signal.removeEventListener('abort', giveUp);
          resolve(granted);
        },
      };
      const giveUp = () => {
        this.#drop(origin, wish);
        reject(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#want(origin, wish);
    });
  }

  release(host: HostSlot, now: number): void {
    host.borrowed--;
    host.idleSince = now;
  }

  /**
   * Waits until a call may be sent to a host that is held; `scheduler.callEnded` is then due.
   *
   * @returns false where the host is being handed on: hold it anew
   * @throws the signal's reason
   */
  turn(host: HostSlot, caller: Caller, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const { scheduler, onCall } = this.#options;
    if (scheduler.hosts.get(host.id) !== host || !takesCalls(host)) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        takeBack();
        reject(signal.reason);
      };
      const takeBack = scheduler.call(host, caller, (begun) => {
        signal.removeEventListener('abort', giveUp);
        resolve(begun);
      });
      signal.addEventListener('abort', giveUp, { once: true });
      onCall();
    });
  }

  /** When the database is to be asked again; Infinity: nothing is wanted. */
  get askAt(): number {
    let at = Infinity;
    for (const wanted of this.#wanted.values()) at = Math.min(at, wanted.askAt);
    return at;
  }

  /** Asks for the leases that are wanted and due. @returns those that were free; `grant` is due for each */
  async ask(now: number): Promise<LeasedHost[]> {
    const { leases, scheduler } = this.#options;
    const due = [...this.#wanted].filter(([, wanted]) => wanted.askAt <= now);
    if (due.length === 0 || !leases.valid) return [];
    for (const [origin, wanted] of due) {
      wanted.askAt = now + wanted.pauseMs;
      wanted.pauseMs = Math.min(MAX_ASK_MS, wanted.pauseMs * 2);
      const host = scheduler.hostOf(origin);
      if (host !== undefined && takesCalls(host)) this.grant(host);
    }
    const origins = due.map(([origin]) => origin).filter((origin) => this.#wanted.has(origin));
    return origins.length === 0 ? [] : leases.acquireOrigins(origins);
  }

  /** This node holds the host: whoever waits for it goes on. */
  grant(host: HostSlot): void {
    const wanted = this.#wanted.get(host.origin);
    if (wanted === undefined) return;
    this.#wanted.delete(host.origin);
    for (const wish of wanted.wishes) {
      host.borrowed++;
      wish.resolve(host);
    }
  }

  /** Hosts without pages that another node waits for: to be drained. */
  async overdue(now: number): Promise<HostSlot[]> {
    const { leases, scheduler } = this.#options;
    if (!leases.hasOthers) return [];
    const mayGo = (host: HostSlot) =>
      !host.draining && !hasPages(host) && (host.borrowed === 0 || now - host.since >= SLICE_MS);
    const lent = [...scheduler.hosts.values()].filter(mayGo);
    if (lent.length === 0) return [];
    const wanted = await leases.wantedByOthers();
    return lent.filter((host) => wanted.has(host.id) && mayGo(host));
  }

  #want(origin: string, wish: Wish): void {
    let wanted = this.#wanted.get(origin);
    if (wanted === undefined) {
      wanted = { wishes: new Set(), askAt: 0, pauseMs: FIRST_ASK_MS };
      this.#wanted.set(origin, wanted);
    }
    wanted.wishes.add(wish);
    this.#options.wake();
  }

  #drop(origin: string, wish: Wish): void {
    const wanted = this.#wanted.get(origin);
    if (wanted?.wishes.delete(wish) && wanted.wishes.size === 0) this.#wanted.delete(origin);
  }
}

/** A drained host still serves calls while pages of it are outstanding: one of them may be what such a page waits for. */
function takesCalls(host: HostSlot): boolean {
  return !host.draining || host.outstanding > 0;
}

/** Whether pages of the host are in progress here, or may come. */
export function hasPages(host: HostSlot): boolean {
  if (host.outstanding > 0) return true;
  for (const queue of host.queues.values())
    if (queue.rows.length > 0 || queue.more || queue.retryAt !== Infinity) return true;
  return false;
}

/** Held for calls alone. */
export function isLentOnly(host: HostSlot): boolean {
  return !host.draining && host.borrowed > 0 && !hasPages(host);
}

/** Nothing is fetched there, and nobody relies on the lease. */
export function isIdle(host: HostSlot): boolean {
  return host.inFlight === 0 && !hasPages(host) && (host.draining || host.borrowed === 0);
}
