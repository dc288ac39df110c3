import type { CrawlState, StopReason } from '../model/crawl.ts';
import type { Db, Tx } from './client.ts';

/** A state that a crawl came to. */
export interface CrawlChange {
  /** 0, 1, 2 … in the order of the commits. */
  n: number;
  at: Date;
  state: CrawlState;
  stop_reason: StopReason | null;
}

/**
 * Notes the states that these crawls have come to. Called by whatever changes a crawl's state, in its transaction, which
 * holds the crawl's row lock: so the numbers have no gap. Where the state is the one that was noted last, nothing is done.
 */
export async function noteChanges(tx: Tx, crawlIds: readonly string[]): Promise<void> {
  if (crawlIds.length === 0) return;
  await tx`
    insert into crawl_changes (crawl_id, n, state, stop_reason)
    select c.id, (select count(*) from crawl_changes h where h.crawl_id = c.id), c.state, c.stop_reason
    from crawls c
    where c.id = any (${crawlIds as string[]}::uuid[])
      and c.state is distinct from (
        select l.state from crawl_changes l where l.crawl_id = c.id order by l.n desc limit 1)`;
}

/** How much has happened in a crawl, of each kind, as of one moment: all that is numbered below is there to be read. */
export interface EventCounts {
  changes: number;
  failures: number;
  /** Lines logged, those beyond the bound included. */
  logs: number;
}

/** Null: there is no such crawl. */
export async function countEvents(
  db: Db,
  crawlId: string,
): Promise<(EventCounts & { state: CrawlState; stop_reason: StopReason | null }) | null> {
  const [row] = await db<(EventCounts & { state: CrawlState; stop_reason: StopReason | null })[]>`
    select state, stop_reason, failed as failures, log_lines as logs,
      (select count(*) from crawl_changes h where h.crawl_id = c.id) as changes
    from crawls c where id = ${crawlId}`;
  return row ?? null;
}

/** Changes with numbers from `from` to below `to`. */
export async function readChanges(db: Db, crawlId: string, from: number, to: number): Promise<CrawlChange[]> {
  return db<CrawlChange[]>`
    select n, at, state, stop_reason from crawl_changes
    where crawl_id = ${crawlId} and n >= ${from} and n < ${to} order by n`;
}
