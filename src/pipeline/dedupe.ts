import { createHash } from 'node:crypto';
import type { Tx } from '../db/client.ts';
import { type ItemKey, releaseKeys, takeKeys } from '../db/item_keys.ts';
import type { LockedCrawl } from '../db/outcomes.ts';
import type { ItemRow } from '../model/outcome.ts';
import type { AppliedOutcome } from './discoveries.ts';

/**
 * The keys of a batch's items: taken in the commit's transaction all at once, claimed by the items in the order of their
 * offsets, and given back where no item that is stored claims them. So of any number of items with one key, in however
 * many pages, nodes and repeated commits, exactly one is stored, and a key is held by stored items only.
 */
export class BatchKeys {
  readonly #taken: Map<string, ItemKey>;
  readonly #claimed = new Set<string>();

  constructor(taken: readonly ItemKey[]) {
    this.#taken = new Map(taken.map((key) => [key.space + key.key, key]));
  }

  /** Takes every key that nobody has. */
  static async take(
    tx: Tx,
    applied: readonly AppliedOutcome[],
    crawls: ReadonlyMap<string, LockedCrawl>,
  ): Promise<BatchKeys> {
    const wanted = new Map<string, ItemKey>();
    for (const { outcome } of applied)
      for (const item of outcome.page?.items ?? [])
        for (const key of keysOf(item, crawls.get(outcome.crawlId)!)) wanted.set(key.space + key.key, key);
    const sorted = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, key]) => key);
    return new BatchKeys(await takeKeys(tx, sorted));
  }

  /** Whether another item has one of its keys. */
  isDuplicate(item: ItemRow, crawl: LockedCrawl): boolean {
    return keysOf(item, crawl).some(
      ({ space, key }) => !this.#taken.has(space + key) || this.#claimed.has(space + key),
    );
  }

  /** The item is stored. */
  claim(item: ItemRow, crawl: LockedCrawl): void {
    for (const { space, key } of keysOf(item, crawl)) this.#claimed.add(space + key);
  }

  /** Gives back what no stored item has. */
  async release(tx: Tx): Promise<void> {
    await releaseKeys(
      tx,
      [...this.#taken].filter(([id]) => !this.#claimed.has(id)).map(([, key]) => key),
    );
  }
}

/** Of items of one page, as a preview has them: the first of each key. */
export function withoutDuplicates(items: readonly ItemRow[]): ItemRow[] {
  const seen = new Set<string>();
  return items.filter(({ keys = [] }) => {
    const ids = keys.map(({ scope, key }) => scope + key);
    if (ids.some((id) => seen.has(id))) return false;
    for (const id of ids) seen.add(id);
    return true;
  });
}

function keysOf({ keys = [] }: ItemRow, crawl: LockedCrawl): ItemKey[] {
  return keys.map(({ scope, key }) => ({ space: scope === 'spider' ? spaceOf(crawl) : crawl.id, key }));
}

/** A UUID that stands for a crawl's spider. A crawl without a spider's name is a spider of its own. */
export function spaceOf({ id, spiderName }: Pick<LockedCrawl, 'id' | 'spiderName'>): string {
  if (spiderName === null) return id;
  const hex = createHash('sha256').update(`spider:${spiderName}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}
