import type { LearnedHost } from '../db/hosts.ts';
import { crawlDelayOf, type HostSlot, opensAt } from './host.ts';
import type { Leases } from './leases.ts';

/** Between two statements that store what was learned, but for what must not be lost: that a host is to be left alone. */
const STORE_MS = 500;
/** A throttle that differs by less from what is stored is not worth a write. */
const THROTTLE_CHANGE = 0.2;

/** What this node learned of its hosts and the database does not know yet. Without back-off and throttle there is nothing. */
export class HostMemory {
  readonly #leases: Leases;
  readonly #unstored = new Set<HostSlot>();
  /** Of what is stored; a host that is not there has none. */
  readonly #throttles = new WeakMap<HostSlot, number>();
  #storedAt = 0;

  constructor(leases: Leases) {
    this.#leases = leases;
  }

  /** The host was told to be left alone for a while, or is no longer: the next holder must know. */
  note(host: HostSlot): void {
    this.#unstored.add(host);
    this.#storedAt = 0;
  }

  /** Its throttle may have changed. */
  noteThrottle(host: HostSlot): void {
    const { throttleMs } = host;
    if (throttleMs === null) return;
    const stored = this.#throttles.get(host) ?? 0;
    if (Math.abs(throttleMs - stored) > stored * THROTTLE_CHANGE) this.#unstored.add(host);
  }

  /** robots.txt was read for somebody. */
  noteCrawlDelay(host: HostSlot): void {
    let longest = 0;
    for (const { run } of host.queues.values())
      if (run.settings.robots) longest = Math.max(longest, crawlDelayOf(host, run.settings));
    if (longest === host.storedCrawlDelayMs) return;
    host.storedCrawlDelayMs = longest;
    this.#unstored.add(host);
  }

  /** Stores what is due. @param held the hosts that this node holds */
  async store(now: number, held: ReadonlyMap<number, HostSlot>): Promise<void> {
    if (this.#unstored.size === 0 || now < this.#storedAt + STORE_MS) return;
    this.#storedAt = now;
    const hosts = [...this.#unstored].filter((host) => held.get(host.id) === host);
    this.#unstored.clear();
    try {
      await this.#leases.store(hosts.map((host) => learnedOf(host, now)));
      for (const host of hosts) if (host.throttleMs !== null) this.#throttles.set(host, host.throttleMs);
    } catch (error) {
      for (const host of hosts) this.#unstored.add(host);
      throw error;
    }
  }
}

export function learnedOf(host: HostSlot, now: number): LearnedHost {
  const { id, fence, backoffLevel } = host;
  return {
    id,
    fence,
    waitMs: opensAt(host) - now,
    backoffLevel,
    crawlDelayMs: host.storedCrawlDelayMs,
    throttleMs: host.throttleMs ?? 0,
    address: host.group?.address ?? host.address,
  };
}
