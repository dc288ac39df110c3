import type { HostSlot } from './host.ts';
import type { Leases } from './leases.ts';
import type { Scheduler } from './scheduler.ts';

export interface GroupingOptions {
  leases: Leases;
  scheduler: Scheduler;
  /** Where an origin is reached; null: nowhere. */
  addressOf: (origin: string) => Promise<string | null>;
  /** The host is to be handed on. */
  giveUp: (host: HostSlot) => void;
}

/** Which hosts share delay and concurrency because they are at one address, over all nodes. */
export class Grouping {
  readonly #options: GroupingOptions;

  constructor(options: GroupingOptions) {
    this.#options = options;
  }

  /**
   * Sees to it that the host is in the group of its address; before anything is fetched there for whom `hostGroup: address`
   * is set.
   *
   * @returns false where another node has the hosts of that address: this one is given up
   */
  async place(host: HostSlot): Promise<boolean> {
    const { leases, scheduler, addressOf, giveUp } = this.#options;
    const address = await addressOf(host.origin);
    if (address === null || host.group?.address === address) return true;
    const waitMs = await leases.claimAddress(host, address);
    if (scheduler.hosts.get(host.id) !== host) return false;
    if (waitMs !== null) scheduler.groups.join(host, address, Date.now(), waitMs);
    else {
      host.address = address;
      giveUp(host);
    }
    return waitMs !== null;
  }
}
