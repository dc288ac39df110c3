import type postgres from 'postgres';
import type { KeepFor } from '../model/settings.ts';
import type { Db, Sql, Tx } from './client.ts';
import { insertDeletion } from './deletions.ts';

/** Seconds after a crawl's end that it is kept where it does not say so itself; null: for ever. */
interface Kept {
  items: number | null;
  ledger: number | null;
}

const FOR_EVER = -1;
/** Crawls of one kind that are looked at in one go. */
const AT_ONCE = 100;

/** Copies `keepFor` to where what is due is asked for; absent in it: as the operator says. */
export async function setKeepFor(tx: Tx, crawlId: string, keepFor: KeepFor | null): Promise<void> {
  const column = (seconds: number | null | undefined) => (seconds === undefined ? null : (seconds ?? FOR_EVER));
  await tx`
    update crawls set keep_items = ${column(keepFor?.items)}, keep_ledger = ${column(keepFor?.ledger)} where id = ${crawlId}`;
}

/** Crawls that are due to be deleted whole. @param waiting those whose exports or webhooks are at work still; else the others */
export async function dueCrawls(sql: Sql, kept: Kept, waiting: boolean): Promise<string[]> {
  const chosen = waiting ? isWaiting(sql) : sql`not ${isWaiting(sql)}`;
  return due(sql, overBy(sql, 'items', kept), chosen);
}

/** Crawls whose ledger is due to be deleted. */
export async function dueLedgers(sql: Sql, kept: Kept): Promise<string[]> {
  return due(sql, overBy(sql, 'ledger', kept), sql`c.ledger_deleted_at is null`);
}

type Condition = postgres.PendingQuery<postgres.Row[]>;

/** Each condition is asked for by itself: joined by `or` they would have every crawl that has ended read. */
async function due(sql: Sql, over: readonly Condition[], chosen: Condition): Promise<string[]> {
  const ids: string[] = [];
  for (const condition of over) {
    const rows = await sql<{ id: string }[]>`
      select c.id from crawls c where ${condition} and ${chosen} limit ${AT_ONCE}`;
    ids.push(...rows.map(({ id }) => id));
  }
  return ids;
}

/** Whether the crawl's row, which is locked, is due, and nothing waits for it. */
export async function isDue(tx: Tx, crawlId: string, what: keyof Kept, kept: Kept): Promise<boolean> {
  const free = what === 'ledger' ? tx`c.ledger_deleted_at is null` : tx`not ${isWaiting(tx)}`;
  for (const condition of overBy(tx, what, kept)) {
    const rows = await tx`select from crawls c where c.id = ${crawlId} and ${condition} and ${free}`;
    if (rows.length > 0) return true;
  }
  return false;
}

function isWaiting(db: Db): Condition {
  return db`exists (select from exports e where e.crawl_id = c.id and e.state = 'active')`;
}

/** When a crawl's time is over, by its own word or the operator's. One that has not ended has no `ended_at`. */
function overBy(db: Db, what: keyof Kept, kept: Kept): Condition[] {
  const column = db(what === 'items' ? 'keep_items' : 'keep_ledger');
  const seconds = kept[what];
  const own = db`(c.${column} >= 0 and c.ended_at < now() - c.${column} * interval '1 s')`;
  if (seconds === null) return [own];
  return [own, db`(c.${column} is null and c.ended_at < now() - ${seconds} * interval '1 s')`];
}

/** Deletes the ledger of a crawl that has ended: for everyone at once, its rows in the background. Its row lock is held. */
export async function deleteLedger(tx: Tx, crawlId: string, requests: number): Promise<void> {
  await tx`update crawls set ledger_deleted_at = clock_timestamp() where id = ${crawlId}`;
  await insertDeletion(tx, crawlId, false, requests);
}
