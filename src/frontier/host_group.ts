import { type HostGroup, type HostSettings, type HostSlot, oneDelay } from './host.ts';

/** The groups of the hosts that this node holds, by address. */
export class HostGroups {
  readonly #groups = new Map<string, HostGroup>();

  /** Addresses at which somebody who died had hosts, and when this node took them over. */
  readonly #touched = new Map<string, number>();

  get addresses(): string[] {
    return [...this.#groups.keys()];
  }

  /**
   * @param now milliseconds since the epoch
   * @param waitMs how long the hosts of this address may have to be left alone for a fetch by others; one delay at most counts
   */
  join(host: HostSlot, address: string, now: number, waitMs: number): void {
    this.part(host);
    let group = this.#groups.get(address);
    if (group === undefined) {
      const empty = { inFlight: 0, nextAt: 0, last: null, delayMs: 0, concurrency: Infinity };
      group = { address, members: new Set(), ...empty };
      this.#groups.set(address, group);
    }
    group.members.add(host);
    group.inFlight += host.inFlight;
    host.group = group;
    refreshGroup(group);
    const touchedAt = this.#touched.get(address) ?? -Infinity;
    this.#touched.delete(address);
    group.nextAt = Math.max(group.nextAt, now + Math.min(waitMs, group.delayMs), touchedAt + group.delayMs);
  }

  /** When a host at this address was fetched from last is not known: whoever joins waits for one delay from now on. */
  touch(address: string, now: number): void {
    this.#touched.set(address, now);
  }

  part(host: HostSlot): void {
    const { group } = host;
    if (group === null) return;
    host.group = null;
    group.inFlight -= host.inFlight;
    group.members.delete(host);
    if (group.last === host) group.last = null;
    if (group.members.size === 0 && this.#groups.get(group.address) === group) this.#groups.delete(group.address);
  }
}

/** Draws the delay anew. Looks at every host of the group: once for each fetch, not for each question. */
export function refreshGroup(group: HostGroup): void {
  let concurrency = Infinity;
  let delayMs = 0;
  for (const host of group.members)
    for (const settings of settingsOf(host)) {
      if (settings.hostGroup !== 'address') continue;
      concurrency = Math.min(concurrency, settings.concurrencyPerHost);
      delayMs = Math.max(delayMs, oneDelay(host, settings));
    }
  group.concurrency = concurrency;
  group.delayMs = delayMs;
}

function* settingsOf(host: HostSlot): Generator<HostSettings> {
  for (const { run } of host.queues.values()) yield run.settings;
  for (const { caller } of host.calls.values()) yield caller.settings;
}
