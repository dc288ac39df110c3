import type { Db, Tx } from './client.ts';

/** A value that a script stored. */
export interface StateChange {
  crawlId: string;
  key: string;
  /** JSON text; null deletes. */
  value: string | null;
}

/** Stores the changes, at most one for each key, sorted by it. */
export async function storeState(tx: Tx, changes: readonly StateChange[]): Promise<void> {
  const kept = changes.filter(({ value }) => value !== null);
  const gone = changes.filter(({ value }) => value === null);
  if (kept.length > 0)
    await tx`
      insert into crawl_state (crawl_id, key, value)
      select crawl_id, key, value::json
      from unnest(${kept.map((c) => c.crawlId)}::uuid[], ${kept.map((c) => c.key)}::text[],
                  ${kept.map((c) => c.value)}::text[]) as u (crawl_id, key, value)
      on conflict (crawl_id, key) do update set value = excluded.value`;
  if (gone.length > 0)
    await tx`
      delete from crawl_state s
      using unnest(${gone.map((c) => c.crawlId)}::uuid[], ${gone.map((c) => c.key)}::text[]) as u (crawl_id, key)
      where s.crawl_id = u.crawl_id and s.key = u.key`;
}

/** A committed value as JSON text; null: none. */
export async function readState(db: Db, crawlId: string, key: string): Promise<string | null> {
  const [row] = await db<{ value: string }[]>`
    select value::text as value from crawl_state where crawl_id = ${crawlId} and key = ${key}`;
  return row?.value ?? null;
}
