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
export async function dueCrawls(sql: Sql, { items }: Kept, waiting: boolean): Promise<string[]> {
  const isActive = sql`exists (select from exports e where e.crawl_id = c.id and e.state = 'active')`;
  const rows = await sql<{ id: string }[]>`
    select c.id from crawls c where ${isOver(sql, 'keep_items', items)} and ${waiting ? sql`` : sql`not`} ${isActive}
    limit ${AT_ONCE}`;
  return rows.map(({ id }) => id);
}

/** Crawls whose ledger is due to be deleted. */
export async function dueLedgers(sql: Sql, { ledger }: Kept): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select c.id from crawls c where c.ledger_deleted_at is null and ${isOver(sql, 'keep_ledger', ledger)} limit ${AT_ONCE}`;
  return rows.map(({ id }) => id);
}

/** Whether the crawl's row, which is locked, is due, and nothing waits for it. */
export async function isDue(tx: Tx, crawlId: string, what: 'items' | 'ledger', kept: Kept): Promise<boolean> {
  const column = what === 'items' ? 'keep_items' : 'keep_ledger';
  const rows = await tx`
    select from crawls c where c.id = ${crawlId} and ${isOver(tx, column, kept[what])}
      and ${what === 'ledger' ? tx`c.ledger_deleted_at is null` : tx`not exists (select from exports e where e.crawl_id = c.id and e.state = 'active')`}`;
  return rows.length > 0;
}

/** `ended_at` stands alone on its side, for its indexes; a crawl that has not ended has none. */
function isOver(db: Db, column: 'keep_items' | 'keep_ledger', seconds: number | null) {
  const own = db`(c.${db(column)} >= 0 and c.ended_at < now() - c.${db(column)} * interval '1 s')`;
  if (seconds === null) return db`(c.ended_at is not null and ${own})`;
  return db`(c.ended_at is not null and (${own} or (c.${db(column)} is null and c.ended_at < now() - ${seconds} * interval '1 s')))`;
}

/** Deletes the ledger of a crawl that has ended: for everyone at once, its rows in the background. Its row lock is held. */
export async function deleteLedger(tx: Tx, crawlId: string, requests: number): Promise<void> {
  await tx`update crawls set ledger_deleted_at = clock_timestamp() where id = ${crawlId}`;
  await insertDeletion(tx, crawlId, false, requests);
}
