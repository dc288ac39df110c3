import type { Sql } from '../db/client.ts';
import { nextDelayed } from '../db/host_queues.ts';
import type { HostQueue } from './host.ts';

/** Host queues with delayed requests, and when the first of each is due. */
export class Retries {
  readonly #queues = new Set<HostQueue>();

  /** @param at milliseconds since the epoch */
  add(queue: HostQueue, at: number): void {
    queue.retryAt = Math.min(queue.retryAt, at);
    this.#queues.add(queue);
  }

  forget(queue: HostQueue): void {
    this.#queues.delete(queue);
  }

  /** The queues that are to be asked for what is due; of their other delayed requests the claim and the ledger know. */
  takeDue(now: number): HostQueue[] {
    const due = [...this.#queues].filter((queue) => queue.retryAt <= now);
    for (const queue of due) {
      queue.retryAt = Infinity;
      this.#queues.delete(queue);
    }
    return due;
  }

  /** Learns from the ledger when the delayed requests of these queues are due. @param find null: the queue is gone */
  async load(
    sql: Sql,
    queues: readonly HostQueue[],
    find: (crawlId: string, hostId: number) => HostQueue | null,
  ): Promise<void> {
    if (queues.length === 0) return;
    const keys = queues.map((queue) => ({ crawlId: queue.run.id, hostId: queue.host.id }));
    const now = Date.now();
    for (const { crawlId, hostId, waitMs } of await nextDelayed(sql, keys)) {
      const queue = find(crawlId, hostId);
      if (queue !== null) this.add(queue, now + waitMs);
    }
  }
}
