import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../db/client.ts';
import { countDeletions, deleteBatch, isCrawling } from '../db/deletions.ts';
import { Loop, reporter } from './loop.ts';

/** A batch should take so long: no lock is held for longer, and no connection. */
const BATCH_MS = 30;
const FEWEST_ROWS = 50;
const MOST_ROWS = 5000;
/** Of its own time, a batch is followed by so many times a pause while crawls run, and else by so much. */
const PAUSES_BUSY = 4;
const PAUSES_IDLE = 0.25;
/** Deletions that another node has left behind are found after so long. */
const POLL_MS = 5000;

interface DeletionsOptions {
  sql: Sql;
  log: Parameters<typeof reporter>[0];
}

/**
 * Deletes in the background what is to go: crawls and ledgers, in batches that no crawl feels. The size of the batches follows
 * the time that they take, and so do the pauses between them: a database that is slow is left alone the longer.
 */
export class Deletions {
  readonly #sql: Sql;
  readonly #loop: Loop;
  readonly #stopping = new AbortController();
  #rows = FEWEST_ROWS;
  #left = { crawls: 0, rows: 0 };

  constructor({ sql, log }: DeletionsOptions) {
    this.#sql = sql;
    this.#loop = new Loop(POLL_MS, () => this.#step(), reporter(log, 'the deletion of crawls'));
  }

  /** What waited to be deleted, over all nodes, when this one last looked. */
  get left(): { crawls: number; rows: number } {
    return this.#left;
  }

  start(): void {
    this.#loop.start();
  }

  /** There is something to delete. */
  wake(): void {
    this.#loop.wake();
  }

  /** Safe before `start` and twice. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }

  async #step(): Promise<boolean> {
    const begun = performance.now();
    const deleted = await deleteBatch(this.#sql, this.#rows);
    this.#left = await countDeletions(this.#sql);
    if (deleted === null) return false;
    const ms = performance.now() - begun;
    // What a small crawl takes says nothing of a full batch.
    if (deleted >= this.#rows || ms > BATCH_MS) this.#rows = resized(this.#rows, ms);
    const pauses = (await isCrawling(this.#sql)) ? PAUSES_BUSY : PAUSES_IDLE;
    await sleep(ms * pauses, undefined, { signal: this.#stopping.signal }).catch(() => {});
    return true;
  }
}

/** At most doubled: one batch that was quick by chance is not trusted. */
function resized(rows: number, ms: number): number {
  const factor = Math.min(2, BATCH_MS / Math.max(1, ms));
  return Math.round(Math.min(MOST_ROWS, Math.max(FEWEST_ROWS, rows * factor)));
}
