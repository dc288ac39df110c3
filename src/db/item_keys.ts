import type { Tx } from './client.ts';

/** A key that one stored item may have. */
export interface ItemKey {
  /** The crawl's id, or a UUID that stands for a spider. */
  space: string;
  /** 32 hex digits. */
  key: string;
}

/** @param keys in the order of the primary key, each once, so that two transactions meet in the same order */
export async function takeKeys(tx: Tx, keys: readonly ItemKey[]): Promise<ItemKey[]> {
  if (keys.length === 0) return [];
  return tx<ItemKey[]>`
    insert into item_keys (space, key)
    select space, key from unnest(${keys.map((k) => k.space)}::uuid[], ${keys.map((k) => k.key)}::uuid[]) as u (space, key)
    on conflict do nothing
    returning space, replace(key::text, '-', '') as key`;
}

/** Gives back keys that this transaction took. */
export async function releaseKeys(tx: Tx, keys: readonly ItemKey[]): Promise<void> {
  if (keys.length === 0) return;
  await tx`
    delete from item_keys i
    using unnest(${keys.map((k) => k.space)}::uuid[], ${keys.map((k) => k.key)}::uuid[]) as u (space, key)
    where i.space = u.space and i.key = u.key`;
}
