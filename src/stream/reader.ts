import type { Sql } from '../db/client.ts';
import { isTransient } from '../db/client.ts';
import { type CrawlHead, readHead } from '../db/crawls.ts';
import { type ItemRange, readItems } from '../db/items.ts';
import { ENDED_STATES } from '../model/crawl.ts';
import type { StoredItem } from '../model/item.ts';
import type { ChangeKind } from '../model/outcome.ts';
import type { Wakeups } from './wakeups.ts';

const PAGE_ROWS = 500;
const PAGE_BYTES = 1024 * 1024;
/** Offsets looked at in one statement when only items of a type, or with a change, are wanted. */
const FILTERED_SPAN = 10_000;
const POLL_MS = 1000;
const RETRIES = 10;

/** The crawl was deleted while it was read. */
export class CrawlGone extends Error {}

export interface ItemQuery {
  /** Exclusive; −1 reads from the first. */
  after: number;
  limit: number;
  type?: string | undefined;
  changes?: readonly ChangeKind[] | undefined;
}

/** A piece of a crawl's items, in offset order. */
export interface ItemBatch {
  items: StoredItem[];
  /** Every offset up to here has been looked at. */
  through: number;
  /** When the commit that brought it was made (`performance.now()`), if a wake-up told. */
  committedAt: number | null;
  /** Given with the last, empty batch: the crawl as it was when all that was asked for had been read. */
  end: CrawlHead | null;
}

/**
 * Reads items by offset for any number of readers. Offsets are gapless and in commit order, so an offset is all the place
 * a reader has. No connection is held between two pages, and readers that want the same page at the same time share one
 * query: a thousand followers of a crawl cost the database little more than one.
 */
export class ItemReader {
  readonly #sql: Sql;
  readonly #wakeups: Wakeups;
  readonly #underWay = new Map<string, Promise<unknown>>();

  constructor(sql: Sql, wakeups: Wakeups) {
    this.#sql = sql;
    this.#wakeups = wakeups;
  }

  /** State and number of items of a crawl. @throws CrawlGone */
  async head(crawlId: string): Promise<CrawlHead> {
    // The version is part of the key: an answer asked for before a wake-up may not know of it.
    const key = `${crawlId} head ${this.#wakeups.version}`;
    const head = await this.#shared(key, () => readHead(this.#sql, crawlId));
    if (head === null) throw new CrawlGone(`the crawl ${crawlId} was deleted`);
    return head;
  }

  /** The next piece after `query.after` of a crawl with `total` items; bounded in rows and in bytes. */
  async page(crawlId: string, query: ItemQuery, total: number): Promise<Pick<ItemBatch, 'items' | 'through'>> {
    const from = query.after + 1;
    const { type, changes } = query;
    const span = type === undefined && changes === undefined ? PAGE_ROWS : FILTERED_SPAN;
    const to = Math.min(total, from + span) - 1;
    const range: ItemRange = { from, to, type, changes, rows: Math.min(PAGE_ROWS, query.limit), bytes: PAGE_BYTES };
    const key = `${crawlId} ${from} ${to} ${range.rows} ${changes ?? ''} ${type ?? ''}`;
    const items = await this.#shared(key, () => readItems(this.#sql, crawlId, range));
    const last = items.at(-1);
    const whole = last === undefined || (items.length < range.rows && sizeOf(items) < PAGE_BYTES);
    return { items, through: whole ? to : last.offset };
  }

  /**
   * The items of a crawl as they are committed, until it has ended and all was read, or the limit is reached, or (without
   * `follow`) what was there at the start was read. A paused crawl is waited for. A batch is empty when nothing came.
   *
   * @throws CrawlGone, the signal's reason, or the database's error when it lasts
   */
  async *follow(crawlId: string, query: ItemQuery, follow: boolean, signal: AbortSignal): AsyncGenerator<ItemBatch> {
    const subscription = this.#wakeups.subscribe(crawlId);
    let { after, limit } = query;
    let committedAt: number | null = null;
    try {
      for (;;) {
        signal.throwIfAborted();
        const head = await this.head(crawlId);
        while (after + 1 < head.items && limit > 0) {
          const page = await this.page(crawlId, { ...query, after, limit }, head.items);
          after = page.through;
          limit -= page.items.length;
          yield { ...page, committedAt, end: null };
          signal.throwIfAborted();
        }
        const ended = limit === 0 || !follow || ENDED_STATES.includes(head.state);
        yield { items: [], through: after, committedAt: null, end: ended ? head : null };
        if (ended) return;
        committedAt = await subscription.next(POLL_MS - (Date.now() % POLL_MS), signal);
      }
    } finally {
      subscription.close();
    }
  }

  /** One query for all who ask the same at the same time; run again while the database is restarting. */
  #shared<T>(key: string, query: () => Promise<T>): Promise<T> {
    const known = this.#underWay.get(key);
    if (known !== undefined) return known as Promise<T>;
    const answer = withRetries(query).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, answer);
    return answer;
  }
}

function sizeOf(items: readonly StoredItem[]): number {
  return items.reduce((sum, item) => sum + item.size, 0);
}

/** Waits out a short absence of the database, about fifteen seconds. */
async function withRetries<T>(query: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await query();
    } catch (error) {
      if (attempt > RETRIES || !isTransient(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.min(2000, 100 * 2 ** attempt)));
    }
  }
}
