import type { Crawl } from '../model/crawl.ts';
import type { Db, Tx } from './client.ts';

/** The answer that a key was first given. */
export interface StoredAnswer {
  body_hash: string;
  status: number;
  location: string;
  response: Crawl;
}

/** Looks a key up, and forgets the keys that are older than a day. */
export async function findAnswer(db: Db, principal: string, key: string): Promise<StoredAnswer | null> {
  await db`delete from idempotency_keys where created_at < now() - interval '1 day'`;
  const [row] = await db<StoredAnswer[]>`
    select body_hash, status, location, response from idempotency_keys
    where principal = ${principal} and key = ${key}`;
  return row ?? null;
}

/**
 * Keeps an answer, its keys in their order (as text: jsonb would sort them); false where the key is taken. Waits for a transaction that is about to take the same key, so that of
 * two requests at once one starts a crawl and the other finds its answer.
 */
export async function keepAnswer(tx: Tx, principal: string, key: string, answer: StoredAnswer): Promise<boolean> {
  const kept = await tx`
    insert into idempotency_keys (principal, key, body_hash, status, location, response)
    values (${principal}, ${key}, ${answer.body_hash}, ${answer.status}, ${answer.location},
      ${JSON.stringify(answer.response)}::text::json)
    on conflict do nothing
    returning 1`;
  return kept.length === 1;
}
