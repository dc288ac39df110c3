import { inKeyedTransaction, type Sql, type Tx } from '../db/client.ts';
import { endFetched } from '../db/crawl_counters.ts';
import {
  addItems,
  type EndedRequest,
  type FetchedCrawl,
  lockFetched,
  readEnded,
  type Sight,
  sightOf,
  UNSEEN,
} from '../db/gone.ts';
import { CountDeltas, notifyCrawls } from '../db/outcomes.ts';
import { keyFurtherOn, lockUnseen, moveGone, type UnseenItem } from '../db/spider_items.ts';
import { forgetPages } from '../db/spider_pages.ts';
import type { CrawlState } from '../model/crawl.ts';
import { ENDED_EARLY } from '../model/outcome.ts';
import { STATE } from '../model/request.ts';
import type { Spider } from '../model/spider.ts';
import { fingerprint } from '../model/url.ts';
import { spaceOf } from './dedupe.ts';

// What is gone: an item that earlier crawls of the spider have seen, that this one has not, though it looked where the item
// was. A page of which the crawl knows nothing (a failure, robots.txt, a limit) says nothing of its items.

/**
 * Items that are looked at in one transaction, those of them that were not seen, and their bytes: no commit waits long for it,
 * and of a spider with millions of items no statement runs into its timeout.
 */
const MAX_SCANNED = 20_000;
const MAX_ITEMS = 2000;
const MAX_BYTES = 8 * 1024 * 1024;
/** Redirects that are followed to where an item may be now. */
const MAX_HOPS = 5;

/** `after`: the last key that was looked at; null: that was all. `ended`: null then where the crawl was paused, or ended elsewhere. */
type GoneStep = { after: string; ended: null } | { after: null; ended: CrawlState | null };

/**
 * Lists some of the items that are gone at the end of a crawl whose requests have all ended; after the last one, ends the
 * crawl. What is listed is taken from what is remembered in the same transaction: after a crash any node goes on from the
 * first key, and none is listed twice.
 *
 * @param after of the step before; null: from the first. @param notify whether other nodes want a wake-up
 */
export function listGone(sql: Sql, crawlId: string, after: string | null, notify: boolean): Promise<GoneStep> {
  return inKeyedTransaction(sql, (tx) => listSome(tx, crawlId, after, notify));
}

async function listSome(tx: Tx, crawlId: string, after: string | null, notify: boolean): Promise<GoneStep> {
  const crawl = await lockFetched(tx, crawlId);
  if (crawl === null) return { after: null, ended: null };
  const sight = await sightOf(tx, crawl);
  const hasRead = crawl.done > 0 || sight.recalled;
  const { unseen, next } = hasRead ? await readUnseen(tx, crawl, after) : { unseen: [], next: null };
  await moveToEnd(tx, crawl, await goneOf(tx, crawl, unseen, sight));
  const step: GoneStep =
    next === null ? { after: null, ended: await endFetched(tx, crawlId, hasRead) } : { after: next, ended: null };
  if (notify) await notifyCrawls(tx, [crawlId]);
  return step;
}

/**
 * The next items that this crawl has not seen, as many as are dealt with at once, and the last key that was looked at; null:
 * that was all.
 */
async function readUnseen(
  tx: Tx,
  crawl: FetchedCrawl,
  after: string | null,
): Promise<{ unseen: UnseenItem[]; next: string | null }> {
  const types = keyedTypes(crawl.pages ?? []);
  if (types.length === 0) return { unseen: [], next: null };
  const space = spaceOf(crawl);
  const upTo = await keyFurtherOn(tx, space, after, MAX_SCANNED);
  const items = await lockUnseen(tx, space, types, crawl.startedAt, { after, upTo }, MAX_ITEMS);
  let bytes = 0;
  const end = items.findIndex(({ size }, i) => {
    bytes += size;
    return i > 0 && bytes > MAX_BYTES;
  });
  const unseen = end < 0 ? items : items.slice(0, end);
  const isCut = end >= 0 || items.length === MAX_ITEMS;
  return { unseen, next: isCut ? unseen.at(-1)!.key : upTo };
}

function keyedTypes(pages: NonNullable<Spider['pages']>): string[] {
  const types = pages.flatMap(({ name, items = [] }) =>
    items.filter(({ key = [] }) => key.length > 0).map(({ type }) => type ?? name ?? 'item'),
  );
  return [...new Set(types)];
}

interface GoneItem extends UnseenItem {
  /** Of the page that it should have been on; −1: the crawl did not come there. */
  seq: number;
}

async function goneOf(
  tx: Tx,
  crawl: FetchedCrawl,
  unseen: readonly UnseenItem[],
  { blind }: Sight,
): Promise<GoneItem[]> {
  if (unseen.length === 0) return [];
  const pages = await pagesOf(tx, crawl.id, [...new Set(unseen.map(({ pageFp }) => pageFp))]);
  return unseen
    .filter(({ pageFp, start }) => isGone(pages, pageFp, start === crawl.start && !blind))
    .map((item) => ({ ...item, seq: pages.get(item.pageFp)?.seq ?? -1 }));
}

/** How the crawl came out at these pages, and at those to which they redirect. */
async function pagesOf(tx: Tx, crawlId: string, fps: readonly string[]): Promise<Map<string, EndedRequest>> {
  const pages = new Map<string, EndedRequest>();
  for (let wanted = fps, hop = 0; wanted.length > 0 && hop <= MAX_HOPS; hop++) {
    const rows = await readEnded(tx, crawlId, wanted);
    for (const row of rows) pages.set(row.fp, row);
    const targets = rows.flatMap((row) => targetOf(row) ?? []);
    wanted = [...new Set(targets)].filter((fp) => !pages.has(fp));
  }
  return pages;
}

/** The fingerprint of the page that a redirect led to; null: it is none. */
function targetOf({ reason, detail }: EndedRequest): string | null {
  if (reason !== 'redirected' && reason !== 'redirect_duplicate') return null;
  return fingerprint('GET', detail ?? '', '');
}

/**
 * Whether what was on a page, and was not seen, is gone.
 *
 * @param hasLooked whether the crawl would have come to the page if anything still led there
 */
function isGone(pages: ReadonlyMap<string, EndedRequest>, fp: string, hasLooked: boolean): boolean {
  let page = pages.get(fp);
  if (page === undefined) return hasLooked;
  for (let hop = 0; hop <= MAX_HOPS && page !== undefined; hop++) {
    const target = targetOf(page);
    if (target === null) return showsNothing(page);
    page = pages.get(target);
  }
  return false;
}

/** The page was read, is not there any more, or is none of the spider's any more. */
function showsNothing({ state, reason, status, detail }: EndedRequest): boolean {
  if (state === STATE.done) return !detail?.startsWith(ENDED_EARLY);
  if (state === STATE.failed) return status === 404 || status === 410;
  return reason !== 'unchanged' && reason !== 'already_scraped' && reason !== null && !UNSEEN.includes(reason);
}

/** Their pages are forgotten as well: one that comes back is to be scraped, whatever its validators say. */
async function moveToEnd(tx: Tx, crawl: FetchedCrawl, gone: readonly GoneItem[]): Promise<void> {
  if (gone.length === 0) return;
  const space = spaceOf(crawl);
  await moveGone(
    tx,
    crawl.id,
    space,
    gone.map(({ key, seq }, i) => ({ key, seq, offset: crawl.items + i })),
  );
  await forgetPages(tx, space, [...new Set(gone.map(({ pageFp }) => pageFp))]);
  const bytes = gone.reduce((sum, { size }) => sum + size, 0);
  await addItems(tx, crawl.id, gone.length, bytes);
  const counts = new CountDeltas();
  counts.add(crawl.id, 'change', 'gone', gone.length);
  await counts.store(tx);
}
