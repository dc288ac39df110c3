import type { Sql } from '../db/client.ts';
import { isTransient } from '../db/client.ts';
import { type CrawlHead, readHead } from '../db/crawls.ts';
import { FILTERED_SPAN, type ItemRange, PAGE_BYTES, readPage } from '../db/items.ts';
import { ENDED_STATES } from '../model/crawl.ts';
import type { StoredItem } from '../model/item.ts';
import type { ChangeKind } from '../model/outcome.ts';
import { type Piece, PieceCache, type PieceFormat } from './pieces.ts';
import type { Wakeups } from './wakeups.ts';

const PAGE_ROWS = 1000;
/** Of encoded pieces, over all crawls. */
const PIECES_BYTES = 16 * 1024 * 1024;
const NOTHING = new Uint8Array(0);
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

/** What a reader gets at a time. */
export interface Batch extends Piece {
  /** When the commit that brought it was made (`performance.now()`), if a wake-up told. */
  committedAt: number | null;
  /** Given with the last, empty batch: the crawl as it was when all that was asked for had been read. */
  end: CrawlHead | null;
}

/** Items of a crawl in offset order. */
export interface Page {
  items: StoredItem[];
  /** Every offset up to here has been looked at. */
  through: number;
}

/**
 * Reads items by offset for any number of readers. Offsets are gapless and in commit order, so an offset is all the place
 * a reader has. No connection is held between two pages. Readers that want the same page at the same time share one query,
 * and the followers of a crawl share its bytes as well: their pieces end at the same offsets, wherever they began.
 */
export class ItemReader {
  readonly #sql: Sql;
  readonly #wakeups: Wakeups;
  readonly #underWay = new Map<string, Promise<unknown>>();
  readonly #pieces: PieceCache;
  /** By crawl: its head as the readers of one round share it. */
  readonly #heads = new Map<string, { round: number; head: Promise<CrawlHead> }>();

  constructor(sql: Sql, wakeups: Wakeups, pieceBytes = PIECES_BYTES) {
    this.#sql = sql;
    this.#wakeups = wakeups;
    this.#pieces = new PieceCache(pieceBytes);
  }

  /** Bytes of pieces that are kept for readers to come. */
  get keptBytes(): number {
    return this.#pieces.bytes;
  }

  /** State and number of items of a crawl. @throws CrawlGone */
  head(crawlId: string): Promise<CrawlHead> {
    return this.#shared(`${crawlId} head`, () => this.#load(crawlId));
  }

  /** The next items after `query.after` of a crawl with `total` items; bounded in rows and in bytes. @throws CrawlGone */
  async page(crawlId: string, query: ItemQuery, total: number): Promise<Page> {
    const range = rangeOf(query, total);
    const { items, next } = await this.#shared(keyOf(crawlId, range), () =>
      withRetries(() => readPage(this.#sql, crawlId, range)),
    );
    // Offsets have no gaps: the items of a deleted crawl go in the background, the first ones first.
    const isPlain = query.type === undefined && query.changes === undefined;
    if (isPlain && range.from <= range.to && items[0]?.offset !== range.from) throw gone(crawlId);
    return { items, through: next - 1 };
  }

  /** The same as bytes. */
  piece(crawlId: string, query: ItemQuery, total: number, format: PieceFormat): Promise<Piece> {
    const make = async (): Promise<Piece> => {
      const { items, through } = await this.page(crawlId, query, total);
      return { bytes: items.length === 0 ? NOTHING : await format.encode(items), count: items.length, through };
    };
    if (format.key === null) return make();
    const key = keyOf(crawlId, rangeOf(query, total), format.key);
    return this.#pieces.take(crawlId, key, make, () => this.#wakeups.sizeOf(crawlId) > 1);
  }

  /**
   * The items of a crawl as they are committed, until it has ended and all was read, or the limit is reached, or (without
   * `follow`) what was there at the start was read. A paused crawl is waited for. A batch is empty when nothing came.
   *
   * @throws CrawlGone, the signal's reason, or the database's error when it lasts
   */
  async *follow(
    crawlId: string,
    query: ItemQuery,
    format: PieceFormat,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<Batch> {
    const subscription = this.#wakeups.subscribe(crawlId);
    signal.addEventListener('abort', subscription.close, { once: true });
    let { after, limit } = query;
    let committedAt: number | null = null;
    try {
      let head = await this.head(crawlId);
      for (;;) {
        while (after + 1 < head.items && limit > 0) {
          signal.throwIfAborted();
          const piece = await this.piece(crawlId, { ...query, after, limit }, head.items, format);
          after = piece.through;
          limit -= piece.count;
          yield { ...piece, committedAt, end: null };
        }
        signal.throwIfAborted();
        const ended = limit === 0 || !follow || ENDED_STATES.includes(head.state);
        yield { bytes: NOTHING, count: 0, through: after, committedAt: null, end: ended ? head : null };
        if (ended) return;
        const wake = await subscription.next();
        signal.throwIfAborted();
        if (wake === null) return; // closed by the signal alone
        committedAt = wake.committedAt;
        head = await this.#headOf(crawlId, wake.round);
      }
    } finally {
      signal.removeEventListener('abort', subscription.close);
      subscription.close();
      if (this.#wakeups.sizeOf(crawlId) === 0) this.#forget(crawlId);
    }
  }

  /**
   * The crawl's head for readers that were woken together: asked for after their wake-up, so that it knows of what woke
   * them, and once, so that they all read up to the same offset.
   */
  #headOf(crawlId: string, round: number): Promise<CrawlHead> {
    const known = this.#heads.get(crawlId);
    if (known !== undefined && known.round >= round) return known.head;
    const head = this.#load(crawlId);
    this.#heads.set(crawlId, { round, head });
    return head;
  }

  async #load(crawlId: string): Promise<CrawlHead> {
    const head = await withRetries(() => readHead(this.#sql, crawlId));
    if (head === null) throw gone(crawlId);
    return head;
  }

  #forget(crawlId: string): void {
    this.#heads.delete(crawlId);
    this.#pieces.forget(crawlId);
  }

  /** One query for all who ask the same at the same time. */
  #shared<T>(key: string, query: () => Promise<T>): Promise<T> {
    const known = this.#underWay.get(key);
    if (known !== undefined) return known as Promise<T>;
    const answer = query().finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, answer);
    return answer;
  }
}

/** Ranges end at multiples of their span, so that readers that began at different offsets come to the same ones. */
function rangeOf({ after, limit, type, changes }: ItemQuery, total: number): ItemRange {
  const from = after + 1;
  const span = type === undefined && changes === undefined ? PAGE_ROWS : FILTERED_SPAN;
  const to = Math.min(total, from - (from % span) + span) - 1;
  return { from, to, type, changes, rows: Math.min(PAGE_ROWS, limit), bytes: PAGE_BYTES };
}

function keyOf(crawlId: string, { from, to, rows, changes, type }: ItemRange, format?: string): string {
  return JSON.stringify([crawlId, from, to, rows, changes, type, format]);
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

function gone(crawlId: string): CrawlGone {
  return new CrawlGone(`the crawl ${crawlId} was deleted`);
}
