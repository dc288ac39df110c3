import type { StoredItem } from '../model/item.ts';

/** Where an export is: every item before `next` is in the target, durably. */
export interface Cursor {
  next: number;
  /** What the target needs besides, to go on after a restart; JSON, by its kind. Null: nothing yet, or nothing at all. */
  position: unknown;
}

/** Items in offset order. Offsets may be missing where only some of the items are wanted. */
export interface Batch {
  items: readonly StoredItem[];
  /** The cursor behind this batch: every offset below has been looked at. */
  next: number;
}

/** How many items a target wants at once: it is given fewer when no more have come for `lingerMs`. */
export interface BatchLimits {
  /** 0: none; it is told how far the crawl is by batches without any, and nothing is read for it. */
  items: number;
  bytes: number;
  lingerMs: number;
}

/**
 * Where an export writes to. Its methods are called one after another, never two at once; after one has thrown, only
 * `close` is, and then a new target is opened. A cursor that a method returned is stored before the next method is called;
 * where it cannot be, because another node holds the export by now, nothing but `close` is called any more. So what a target
 * does in a later call than the one that returned the cursor, it does knowing that the cursor is stored.
 *
 * A target never counts on the process's end being orderly: whatever it has done without the cursor having been stored, it
 * is given again, and must not do twice. Nor is it alone for certain: a process that was frozen past its lease wakes up with
 * a target that another has opened meanwhile. What such a one writes may fail, or change nothing.
 */
export interface Target {
  readonly limits: BatchLimits;
  /**
   * Connects, and makes or checks what is written into.
   *
   * @param stored the cursor as our database has it
   * @returns where to go on, by the target's own knowledge: behind `stored` where the cursor of what was written was not
   *   stored any more, before it where the target has lost what it had
   */
  open(stored: Cursor, signal: AbortSignal): Promise<Cursor>;
  /** @returns the cursor that may be stored now; null: nothing is durable yet */
  write(batch: Batch, signal: AbortSignal): Promise<Cursor | null>;
  /**
   * Makes what was written durable where that can be done before the end: nothing came for a while, or the node stops.
   *
   * @param isLast the crawl has ended and all its items were written: `finish` follows, once the cursor is stored
   * @returns null: nothing new is durable
   */
  flush(signal: AbortSignal, isLast: boolean): Promise<Cursor | null>;
  /** The crawl has ended, all its items were written and flushed. May be called again for the same end. */
  finish(signal: AbortSignal): Promise<Cursor>;
  /**
   * The crawl was deleted: removes what only this export could have gone on with. Called with the cursor as it was stored
   * last, whether it was opened or not; `close` follows. Best effort. Absent: there is nothing of the kind.
   */
  discard?(stored: Cursor): Promise<void>;
  /** Gives up connections and files; never throws. Called however it ended. */
  close(): Promise<void>;
}

/** What an export's target is made with. */
export interface ExportJob {
  crawlId: string;
  n: number;
  /** Of the spider; null: it has none. */
  spider: string | null;
}

/** A target that could not do it. The message is shown to clients: it holds no address, password or data of the inside. */
export class ExportError extends Error {
  /** `connect`, `timeout`, `refused`, `schema`, `value`, `full`, `gone`, `other`. */
  readonly code: string;
  /** True where trying again cannot help: the export ends as failed until somebody resumes it. */
  readonly permanent: boolean;
  /** Not tried again before this time, milliseconds since 1970, nor before the runner's back-off is over. Null: that alone. */
  readonly retryAt: number | null;
  constructor(code: string, message: string, { permanent = false, retryAt = null as number | null } = {}) {
    super(message);
    this.code = code;
    this.permanent = permanent;
    this.retryAt = retryAt;
  }
}
