import type { Sql } from '../db/client.ts';
import { endOverdueCrawls } from '../db/crawl_counters.ts';
import { findFetched } from '../db/gone.ts';
import { listGone } from '../pipeline/gone.ts';

export interface EndingsOptions {
  sql: Sql;
  /** Whether other nodes want wake-ups. */
  notify: () => boolean;
  /** @param how its new state, or its stop reason */
  onEnded: (crawlId: string, how: string) => void;
  /** These crawls have something new. */
  onCommitted: (crawlIds: string[]) => void;
}

/**
 * Ends the crawls that no commit ends: those whose time is over, and those that compare with earlier ones, for which what is
 * gone is listed first, some of it at each step. Every node may do it, and one that dies leaves nothing to another but the
 * crawl's row.
 */
export class Endings {
  readonly #options: EndingsOptions;
  /** By crawl: the last key of its spider's items that was looked at. */
  #after = new Map<string, string>();

  constructor(options: EndingsOptions) {
    this.#options = options;
  }

  /** @returns whether there may be more to do at once */
  async step(): Promise<boolean> {
    const { sql, onEnded, onCommitted } = this.#options;
    const overdue = await endOverdueCrawls(sql);
    for (const id of overdue) onEnded(id, 'max_duration');
    if (overdue.length > 0) onCommitted(overdue);
    return this.#listGone();
  }

  async #listGone(): Promise<boolean> {
    const { sql, notify, onEnded, onCommitted } = this.#options;
    const left = new Map<string, string>();
    const failures: unknown[] = [];
    for (const id of await findFetched(sql))
      try {
        const { after, ended } = await listGone(sql, id, this.#after.get(id) ?? null, notify());
        if (after !== null) left.set(id, after);
        if (ended !== null) onEnded(id, ended);
        onCommitted([id]);
      } catch (error) {
        failures.push(error); // the others are not kept from their end
      }
    this.#after = left;
    if (failures.length > 0) throw failures[0];
    return left.size > 0;
  }
}
