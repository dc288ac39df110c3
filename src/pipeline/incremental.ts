import type { Tx } from '../db/client.ts';
import type { CountDeltas, LockedCrawl, NewItem } from '../db/outcomes.ts';
import {
  type Comparison,
  compareStates,
  compareWithKnown,
  keepItems,
  readStarts,
  type SeenItem,
  touchItems,
} from '../db/spider_items.ts';
import { keepPages, renewPages, type ScrapedPage } from '../db/spider_pages.ts';
import type { ChangeKind, ItemState } from '../model/outcome.ts';
import { spaceOf } from './dedupe.ts';
import type { AppliedOutcome } from './discoveries.ts';

// What a crawl with `dedup.scope: spider` leaves for the next crawl of its spider, and what it finds of the one before. All of
// it is in the commit's transaction, so that what is remembered is what is stored.

/**
 * Says of each stored item with a key what it is against its last state, and remembers it. Others are left as they are.
 *
 * @param dropped items that were found and are not stored: they are not gone
 */
export async function compareItems(
  tx: Tx,
  items: readonly NewItem[],
  dropped: readonly { crawlId: string; state: ItemState }[],
  crawls: ReadonlyMap<string, LockedCrawl>,
  counts: CountDeltas,
): Promise<void> {
  const spaces = new Spaces(crawls);
  // With those that are kept, so that all are locked in one order: another crawl of the spider may commit at once.
  if (dropped.length > 0) await touchItems(tx, keysOf([...dropped, ...items], spaces));
  const last = new Map<string, Stated>();
  const first: Stated[] = [];
  const again: { earlier: Stated; later: Stated }[] = [];
  for (const item of items) {
    if (item.state === undefined) continue;
    const stated = { item, state: item.state, space: spaces.of(item.crawlId) };
    const id = stated.space + item.state.key;
    const earlier = last.get(id);
    if (earlier === undefined) first.push(stated);
    else again.push({ earlier, later: stated });
    last.set(id, stated);
  }
  if (first.length === 0) return;
  const told = [...(await compareFirst(tx, first)), ...(await compareAgain(tx, again))];
  for (const { item, kind, fields } of told) {
    item.change = `{"kind":"${kind}","fields":${fields}}`;
    counts.add(item.crawlId, 'change', kind);
  }
  const sorted = [...last].sort(([a], [b]) => (a < b ? -1 : 1));
  const starts = await readStarts(tx, [...new Set(sorted.map(([, { item }]) => item.crawlId))]);
  await keepItems(
    tx,
    sorted.map(([, stated]) => seenItem(stated, starts.get(stated.item.crawlId)!)),
  );
}

interface Stated {
  item: NewItem;
  state: ItemState;
  space: string;
}

interface Told {
  item: NewItem;
  kind: ChangeKind;
  /** JSON list. */
  fields: string;
}

async function compareFirst(tx: Tx, first: readonly Stated[]): Promise<Told[]> {
  const states = first.map(({ space, state }) => ({ space, ...state }));
  const known = new Map((await compareWithKnown(tx, states)).map((one) => [one.i, one]));
  return first.map(({ item }, i) => {
    const found = known.get(i);
    return found === undefined ? { item, kind: 'new', fields: '[]' } : { item, ...told(found) };
  });
}

/** One key twice in a batch: the later is compared with the earlier. */
async function compareAgain(tx: Tx, again: readonly { earlier: Stated; later: Stated }[]): Promise<Told[]> {
  const pairs = again.map(({ earlier, later }) => ({ before: earlier.state.fields, after: later.state.fields }));
  const found = await compareStates(tx, pairs);
  return found.map((one) => ({ item: again[one.i]!.later.item, ...told(one) }));
}

function told({ same, fields }: Comparison): Pick<Told, 'kind' | 'fields'> {
  return { kind: same ? 'same' : 'changed', fields };
}

function seenItem({ item, state, space }: Stated, start: string): SeenItem {
  const { pageFp, size, type, url, data } = item;
  return { space, start, pageFp, size, type, url, data, ...state };
}

/** Of those with a state, each once, in the order of the primary key. */
function keysOf(
  items: readonly { crawlId: string; state?: ItemState }[],
  spaces: Spaces,
): { space: string; key: string }[] {
  const keys = new Map<string, { space: string; key: string }>();
  for (const { crawlId, state } of items) {
    if (state === undefined) continue;
    const space = spaces.of(crawlId);
    keys.set(space + state.key, { space, key: state.key });
  }
  return [...keys].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, key]) => key);
}

/**
 * Remembers the pages that were scraped, or found unchanged.
 *
 * @param cut pages of whose items fewer were stored than they had
 */
export async function rememberPages(
  tx: Tx,
  applied: readonly AppliedOutcome[],
  crawls: ReadonlyMap<string, LockedCrawl>,
  cut: readonly { crawlId: string; fp: string; items: number }[],
): Promise<void> {
  const noted = applied.filter(({ outcome }) => outcome.note !== undefined);
  if (noted.length === 0) return;
  const spaces = new Spaces(crawls);
  const kept = new Map(cut.map(({ crawlId, fp, items }) => [crawlId + fp, items]));
  const scraped = new Map<string, ScrapedPage>();
  const unchanged = [];
  for (const { outcome } of noted) {
    const { crawlId, fp, page } = outcome;
    const note = outcome.note!;
    const space = spaces.of(crawlId);
    if (note.kind === 'unchanged') unchanged.push({ space, fp, crawlId });
    else {
      const { definition, etag, lastModified } = note;
      const items = kept.get(crawlId + fp) ?? page?.items.length ?? 0;
      const links = page?.remembered ?? null;
      scraped.set(space + fp, { space, fp, crawlId, definition, items, etag, lastModified, links });
    }
  }
  const pages = [...scraped].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, page]) => page);
  // With those that are kept, so that all are locked in one order: another crawl of the spider may commit at once.
  if (unchanged.length > 0)
    await renewPages(
      tx,
      [...unchanged, ...pages].sort((a, b) => (a.space + a.fp < b.space + b.fp ? -1 : 1)),
    );
  await keepPages(tx, pages);
}

/** The space of each crawl's spider, worked out once. */
class Spaces {
  readonly #crawls: ReadonlyMap<string, LockedCrawl>;
  readonly #known = new Map<string, string>();

  constructor(crawls: ReadonlyMap<string, LockedCrawl>) {
    this.#crawls = crawls;
  }

  of(crawlId: string): string {
    let space = this.#known.get(crawlId);
    if (space === undefined) {
      space = spaceOf(this.#crawls.get(crawlId)!);
      this.#known.set(crawlId, space);
    }
    return space;
  }
}
