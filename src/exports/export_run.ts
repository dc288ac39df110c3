import { patiently, type Sql } from '../db/client.ts';
import {
  type ClaimedExport,
  type ConsumedCrawl,
  failExport,
  finishExport,
  type Hold,
  releaseExport,
  restExport,
  storeCursor,
} from '../db/exports.ts';
import { countItems, FILTERED_SPAN, PAGE_BYTES, readPage } from '../db/items.ts';
import type { ByteBudget } from './budget.ts';
import type { KindTotals } from './protocol.ts';
import { type Cursor, ExportError, type Target } from './target.ts';
import { narrowItems } from './targets.ts';

/** Nothing came for so long: what was written is made durable. */
const QUIET_MS = 1000;
/** So it is where something comes all the time, and the target has said nothing for so long. */
const UNSTORED_MS = 5000;
/** The longest that a call of a target may take. */
const CALL_MS = 120_000;
/** For a call to end once its signal has fired; then it is left alone. */
const ABORT_MS = 2000;
/** An export of a paused crawl is looked at again after this time, if nobody resumes it before. */
const REST_MS = 3_600_000;
/** A target that takes longer for a batch is slow: what it holds counts no more against what the others may hold. */
const SLOW_MS = 2000;
/** One that gave way to others waits so long at least. */
const TURN_MS = 2000;
const MAX_BACK_OFF_MS = 60_000;

/** What the runs of a node share. */
export interface RunParts {
  sql: Sql;
  nodeId: string;
  makeTarget: (row: ClaimedExport) => Promise<Target>;
  bytes: ByteBudget;
  /** Fires when the node stops. */
  stopping: AbortSignal;
  /** Fires when the time to stop is over. */
  killing: AbortSignal;
  /** The pause after a first failure; it doubles with each in a row, up to a minute. */
  backOffMs: number;
  warn: (detail: object, message: string) => void;
}

/** Another node holds the export by now, or its crawl was deleted. */
class HoldLost extends Error {}

/** What is noted of the export once its target is closed. */
type Leave = () => Promise<void>;

/**
 * One export while this node holds it: opens the target, gives it the items behind its cursor in batches, stores what is
 * durable, and gives the export back when it is done, has failed, must rest, or the node stops.
 *
 *   open ──► write … ──► flush (nothing came for a while) ──► … ──► flush, finish (the crawl has ended) ──► close ──► done
 *
 * Only what the target says to be durable is stored, and it is stored before the target's next call.
 */
export class ExportRun {
  readonly row: ClaimedExport;
  readonly totals: KindTotals;
  /** When its target was open; infinite: it is not. */
  openedAt = Number.POSITIVE_INFINITY;
  readonly #parts: RunParts;
  readonly #hold: Hold;
  #target: Target | null = null;
  /** As our database has it. */
  #stored: Cursor;
  /** Behind what the target was given. */
  #next: number;
  /** Null: not known yet. */
  #crawl: ConsumedCrawl | null = null;
  #isDeleted = false;
  /** When the items were noticed that wait for more of them; null: none wait. */
  #waitingSince: number | null = null;
  /** When the target was last given something, or the crawl's state changed, and it has not been flushed since; else null. */
  #unflushedSince: number | null = 0;
  /** Since when the target holds what our database does not know to be durable; null: nothing. */
  #unstoredSince: number | null = null;
  /** Failures are on record that what was done since does not bear out. */
  #isFailing: boolean;
  #givesWay = false;
  #takesTurns = false;
  #wake: () => void = () => {};

  constructor(row: ClaimedExport, totals: KindTotals, parts: RunParts) {
    this.row = row;
    this.totals = totals;
    this.#parts = parts;
    this.#hold = { crawlId: row.crawl_id, n: row.n, nodeId: parts.nodeId, fence: row.fence };
    this.#stored = { next: row.next_offset, position: row.position };
    this.#next = row.next_offset;
    this.#isFailing = row.failures > 0;
  }

  /** Items that wait for it. */
  get lag(): number {
    return Math.max(0, (this.#crawl?.items ?? 0) - this.#stored.next);
  }

  /** Whether it has nothing to do at the moment. */
  get isIdle(): boolean {
    return this.#target !== null && this.#crawl !== null && this.#next >= this.#crawl.items;
  }

  get isTakingTurns(): boolean {
    return this.#takesTurns;
  }

  /** The crawl as it is now; null: it was deleted. */
  see(crawl: ConsumedCrawl | null): void {
    if (crawl?.state !== this.#crawl?.state) this.#unflushedSince ??= Date.now();
    this.#crawl = crawl;
    this.#isDeleted = crawl === null;
    this.#wake();
  }

  /** Others wait for the place that this one does not need. */
  giveWay(): void {
    this.#givesWay = true;
    this.#wake();
  }

  /** Others wait for a place: it leaves its own to them as soon as the target holds nothing that would have to be given again. */
  takeTurns(): void {
    this.#takesTurns = true;
    this.#wake();
  }

  /** Never fails. Resolves when the target is closed and the export given back, as far as the database is there. */
  async run(): Promise<void> {
    const { stopping, warn } = this.#parts;
    const onStop = () => this.#wake();
    stopping.addEventListener('abort', onStop);
    let leave: Leave;
    try {
      await this.#open();
      leave = await this.#carry();
    } catch (error) {
      leave = this.#failed(error);
    }
    stopping.removeEventListener('abort', onStop);
    await this.#close();
    await leave().catch((error: unknown) => {
      // The runner does it, or this node's row ends.
      warn({ err: error, crawl: this.row.crawl_id, export: this.row.name }, 'an export was not given back');
    });
  }

  async #open(): Promise<void> {
    const target = await this.#parts.makeTarget(this.row);
    this.#target = target;
    const cursor = await this.#call((signal) => target.open(this.#stored, signal));
    this.#next = cursor.next;
    await this.#store(cursor);
    this.openedAt = Date.now();
  }

  async #carry(): Promise<Leave> {
    const { stopping, sql } = this.#parts;
    for (;;) {
      const crawl = this.#crawl;
      if (this.#isDeleted) {
        await this.#call(async () => this.#target!.discard?.(this.#stored));
        return async () => {};
      }
      if (this.#takesTurns && this.#stored.next >= this.#next) return () => releaseExport(sql, this.#hold, TURN_MS);
      if (stopping.aborted || this.#givesWay) {
        await this.#flush(false);
        return () => releaseExport(sql, this.#hold, stopping.aborted ? 0 : TURN_MS);
      }
      if (crawl === null) await this.#sleep(QUIET_MS);
      else if (this.#next < crawl.items) await this.#writeOrWait(crawl);
      else if (crawl.ended) return this.#finish();
      else if (this.#isFailing) await this.#recover();
      else if (this.#unflushedSince !== null) await this.#flushOrWait(this.#unflushedSince);
      else if (crawl.state === 'paused') return () => restExport(sql, this.#hold, REST_MS);
      else await this.#sleep(REST_MS);
    }
  }

  /** A batch that is not full waits for more items until the first of them has waited for long enough. */
  async #writeOrWait(crawl: ConsumedCrawl): Promise<void> {
    const { items, lingerMs } = this.#target!.limits;
    this.#waitingSince ??= Date.now();
    const wait = this.#waitingSince + lingerMs - Date.now();
    const isFull = items > 0 && crawl.items - this.#next >= items;
    if (wait > 0 && !isFull && !crawl.ended) await this.#sleep(wait);
    else await this.#writeBatch(crawl);
  }

  async #writeBatch({ items: total }: ConsumedCrawl): Promise<void> {
    const { sql, bytes: budget, killing } = this.#parts;
    const { items: rows, bytes: most } = this.#target!.limits;
    const { type, changes } = this.row.definition;
    const bytes = Math.min(most, PAGE_BYTES);
    const held = await budget.take(rows === 0 ? 0 : bytes);
    let slow: NodeJS.Timeout | undefined;
    try {
      const span = type === undefined && changes === undefined ? rows : FILTERED_SPAN;
      const to = Math.min(total, this.#next + span) - 1;
      const range = { from: this.#next, to, type, changes, rows, bytes };
      const page = () => readPage(sql, this.row.crawl_id, range);
      const { items, next } = rows === 0 ? { items: [], next: total } : await patiently(page, killing);
      // A target that is slow holds no more than it has.
      held.shrinkTo(items.reduce((sum, item) => sum + item.size, 0));
      this.#unflushedSince = Date.now();
      this.#unstoredSince ??= Date.now();
      const batch = { items: narrowItems(this.row, items), next };
      // Runs are bounded in number, and none waits for others that are slow.
      slow = setTimeout(() => held.shrinkTo(0), SLOW_MS);
      const cursor = await this.#call((signal) => this.#target!.write(batch, signal));
      this.#next = next;
      this.totals.written += items.length;
      if (this.#next >= (this.#crawl?.items ?? 0)) this.#waitingSince = null;
      await this.#store(cursor);
      if (this.#unstoredSince !== null && Date.now() - this.#unstoredSince > UNSTORED_MS) await this.#flush(false);
    } finally {
      clearTimeout(slow);
      held.end();
    }
  }

  async #flushOrWait(since: number): Promise<void> {
    const wait = since + QUIET_MS - Date.now();
    if (wait > 0) await this.#sleep(wait);
    else await this.#flush(false);
  }

  async #flush(isLast: boolean): Promise<void> {
    this.#unflushedSince = null;
    // One that can make nothing durable before its end is not asked with every batch.
    this.#unstoredSince = null;
    await this.#store(await this.#call((signal) => this.#target!.flush(signal, isLast)));
  }

  async #finish(): Promise<Leave> {
    await this.#flush(true);
    const cursor = await this.#call((signal) => this.#target!.finish(signal));
    if (cursor.next < this.#next) throw new Error(`finished at ${cursor.next}, and was given all before ${this.#next}`);
    await this.#store(cursor);
    const { sql, killing } = this.#parts;
    return () => patiently(() => finishExport(sql, this.#hold), killing);
  }

  /** It is open, and nothing waits: what failed is over. */
  async #recover(): Promise<void> {
    this.#isFailing = false;
    await this.#storeAs(this.#stored, true);
  }

  async #store(cursor: Cursor | null): Promise<void> {
    if (cursor === null) return;
    const isSame =
      cursor.next === this.#stored.next && JSON.stringify(cursor.position) === JSON.stringify(this.#stored.position);
    if (!isSame) await this.#storeAs(cursor, cursor.next > this.#stored.next);
  }

  /** @param isSound forgets the failures */
  async #storeAs(cursor: Cursor, isSound: boolean): Promise<void> {
    const { sql, killing } = this.#parts;
    const { next: from } = this.#stored;
    const isHeld = await patiently(async () => {
      const written = await this.#count(from, cursor.next);
      return storeCursor(sql, this.#hold, { ...cursor, from, written, isSound });
    }, killing);
    if (!isHeld) throw new HoldLost('the export is not held any more');
    this.#stored = cursor;
    this.#unstoredSince = cursor.next < this.#next ? Date.now() : null;
    if (isSound) this.#isFailing = false;
  }

  /** Items between two cursors; below 0 where it goes back. */
  async #count(from: number, next: number): Promise<number> {
    const { type, changes } = this.row.definition;
    if (this.#target!.limits.items === 0) return 0;
    if (from === next || (type === undefined && changes === undefined)) return next - from;
    const range = { from: Math.min(from, next), to: Math.max(from, next) - 1, type, changes };
    return Math.sign(next - from) * (await countItems(this.#parts.sql, this.row.crawl_id, range));
  }

  /** What it does when it could not go on. */
  #failed(error: unknown): Leave {
    const { sql, killing, backOffMs } = this.#parts;
    if (error instanceof HoldLost || this.#isDeleted) return async () => {};
    if (killing.aborted) return () => releaseExport(sql, this.#hold, 0);
    const { message, permanent, retryAt } = error instanceof ExportError ? error : this.#unexpected(error);
    this.totals.failures++;
    if (permanent) this.totals.failed++;
    const failures = this.#isFailing ? this.row.failures : 0;
    const backOff = Math.min(MAX_BACK_OFF_MS, backOffMs * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2);
    // Who asks to be tried again at once is tried again for ever.
    const retryInMs = Math.round(Math.max(backOff, (retryAt ?? 0) - Date.now()));
    return () => patiently(() => failExport(sql, this.#hold, { message, permanent, retryInMs }), killing);
  }

  /** Its message may hold what is not for clients. */
  #unexpected(error: unknown): ExportError {
    this.#parts.warn({ err: error, crawl: this.row.crawl_id, export: this.row.name }, 'an export failed');
    return new ExportError('other', 'an unexpected error, which the log of the service has');
  }

  /** A call of the target, within its time. */
  async #call<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { killing } = this.#parts;
    const breaking = new AbortController();
    const late = Promise.withResolvers<never>();
    let lateTimer: NodeJS.Timeout | undefined;
    const abort = (reason: unknown) => {
      breaking.abort(reason);
      lateTimer ??= setTimeout(() => late.reject(reason), ABORT_MS);
    };
    const timer = setTimeout(() => abort(new ExportError('timeout', `no answer within ${CALL_MS / 1000} s`)), CALL_MS);
    const kill = () => abort(killing.reason);
    killing.addEventListener('abort', kill);
    try {
      if (killing.aborted) kill();
      return await Promise.race([work(breaking.signal), late.promise]);
    } catch (error) {
      throw breaking.signal.aborted ? breaking.signal.reason : error;
    } finally {
      clearTimeout(timer);
      clearTimeout(lateTimer);
      killing.removeEventListener('abort', kill);
    }
  }

  async #close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ABORT_MS);
    await Promise.race([this.#target?.close(), promise]);
    clearTimeout(timer);
  }

  /** Until something changed, at most so long. */
  async #sleep(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
    this.#wake = () => {};
  }
}
