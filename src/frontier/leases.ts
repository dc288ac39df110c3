import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Sql } from '../db/client.ts';
import {
  acquireHosts,
  acquireOrigins,
  claimAddress,
  countActiveHosts,
  heldHosts,
  type LearnedHost,
  type LeasedHost,
  releaseHosts,
  releaseOthers,
  storeHosts,
  wantedHosts,
} from '../db/hosts.ts';
import {
  buryNodes,
  heartbeat,
  LEASE_MS,
  type Liveness,
  type NodeIdentity,
  neighbours,
  removeNode,
} from '../db/nodes.ts';

/** Leases that one node may hold. */
const MAX_HOSTS = 20_000;
const MAX_AT_ONCE = 1000;

/**
 * This node's place among the nodes: its heartbeat, which renews every host lease it holds, and the taking and giving back
 * of leases. Nothing is fetched while `valid` is false: the lease may have run out, and another node may be fetching.
 */
export class Leases {
  readonly #sql: Sql;
  readonly nodeId: string;
  readonly #me: NodeIdentity;
  /** On this process's monotonic clock; taken before the heartbeat is sent, so it is never later than the database's. */
  #validUntil = 0;
  #liveness: Liveness = { others: 0, workers: 1 };
  #fairShare = MAX_HOSTS;

  constructor(sql: Sql, nodeId: string, role: string) {
    this.#sql = sql;
    this.nodeId = nodeId;
    this.#me = { id: nodeId, role, machine: machineName(), pid: process.pid };
  }

  get valid(): boolean {
    return performance.now() < this.#validUntil;
  }

  /** Whether other nodes are there to be woken. */
  get hasOthers(): boolean {
    return this.#liveness.others > 0;
  }

  /** Hosts that this node should hold at most, so that each node that fetches has its share. */
  get fairShare(): number {
    return this.#fairShare;
  }

  /** @returns false where the lease had run out before: what the node holds must be checked against the database */
  async beat(): Promise<boolean> {
    const started = performance.now();
    const kept = started < this.#validUntil;
    this.#liveness = await heartbeat(this.#sql, this.#me);
    // A second less than the database grants, for the checks between here and the wire.
    this.#validUntil = started + LEASE_MS - 1000;
    return kept;
  }

  /**
   * Ends the leases of nodes of this machine whose process is gone, so that a restart after a kill goes on at once. Should
   * a process be thought dead that is not, its commits are refused like those of any node that lost its lease.
   */
  async buryDeadNeighbours(): Promise<void> {
    const dead = (await neighbours(this.#sql, this.#me)).filter(({ pid }) => pid === process.pid || !isRunning(pid));
    if (dead.length > 0)
      await buryNodes(
        this.#sql,
        dead.map((node) => node.id),
      );
  }

  /** Takes leases of hosts that have work and no holder, up to the fair share. */
  async acquire(held: number): Promise<LeasedHost[]> {
    const { workers } = this.#liveness;
    // Counted now, not at the heartbeat: a host that has just got work would wait until the next one.
    this.#fairShare = workers <= 1 ? MAX_HOSTS : Math.ceil((await countActiveHosts(this.#sql)) / workers);
    const room = Math.min(MAX_AT_ONCE, Math.min(MAX_HOSTS, this.#fairShare) - held);
    return room > 0 ? acquireHosts(this.#sql, this.nodeId, room, null) : [];
  }

  /** Takes leases of hosts at these addresses, above the fair share: nobody else may fetch there. */
  acquireAt(addresses: readonly string[]): Promise<LeasedHost[]> {
    return acquireHosts(this.#sql, this.nodeId, MAX_AT_ONCE, addresses);
  }

  /** @returns as `claimAddress` in db/hosts.ts */
  claimAddress(host: { id: number; fence: number }, address: string): Promise<number | null> {
    return claimAddress(this.#sql, this.nodeId, host, address);
  }

  /** Takes leases of these origins, known or not, as far as nobody holds them; those that are held are marked as wanted. */
  acquireOrigins(origins: readonly string[]): Promise<LeasedHost[]> {
    return acquireOrigins(this.#sql, this.nodeId, origins);
  }

  /** Ids of the hosts of this node that another node waits for. */
  wantedByOthers(): Promise<Set<number>> {
    return wantedHosts(this.#sql, this.nodeId);
  }

  async release(hosts: readonly LearnedHost[]): Promise<void> {
    if (hosts.length > 0) await releaseHosts(this.#sql, this.nodeId, hosts);
  }

  /** What was learned of hosts that are kept: it outlives this process. */
  async store(hosts: readonly LearnedHost[]): Promise<void> {
    if (hosts.length > 0) await storeHosts(this.#sql, this.nodeId, hosts);
  }

  /** Gives back what the database says this node holds and the node does not know of. */
  async releaseAllBut(known: Iterable<number>): Promise<void> {
    await releaseOthers(this.#sql, this.nodeId, [...known]);
  }

  held(): Promise<Map<number, number>> {
    return heldHosts(this.#sql, this.nodeId);
  }

  async leave(): Promise<void> {
    this.#validUntil = 0;
    await removeNode(this.#sql, this.nodeId);
  }
}

/** Names the place where process ids mean something: host name, boot, process namespace. Empty where that is not known. */
function machineName(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${hostname()} ${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return '';
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
