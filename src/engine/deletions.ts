import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../db/client.ts';
import { countDeletions, deleteBatch, isCrawling } from '../db/deletions.ts';
import { Loop, reporter } from './loop.ts';

/** A batch should take so long: no lock is held for longer, and no connection. */
const BATCH_MS = 20;
/** Fewer would cost more in round trips than in rows: 2,000 take the database 3 ms. */
const FEWEST_ROWS = 500;
const MOST_ROWS = 10_000;
/**
 * Of its own time, a batch is followed by so many times a pause while crawls run, and else by so much. With 15 a crawl on the
 * same two cores kept 83 % of its speed (bench/deletion.ts, medians of two), with 60 all of it (of three).
 */
const PAUSES_BUSY = 60;
const PAUSES_IDLE = 0.25;
/** Deletions that another node has left behind are found after so long. */
const POLL_MS = 5000;
/** How much is left, and whether crawls run, is asked for so often at most. */
const LOOK_MS = 1000;

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
  #isBusy = true;
  #lookAt = 0;

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
    const ms = performance.now() - begun;
    if (deleted === null || begun >= this.#lookAt) await this.#look();
    if (deleted === null) return false;
    // What a small crawl takes says nothing of a full batch.
    if (deleted >= this.#rows || ms > BATCH_MS) this.#rows = resized(this.#rows, ms);
    const pause = this.#isBusy ? ms * PAUSES_BUSY : ms * PAUSES_IDLE;
    await sleep(pause, undefined, { signal: this.#stopping.signal }).catch(() => {});
    return true;
  }

  async #look(): Promise<void> {
    this.#lookAt = performance.now() + LOOK_MS;
    this.#left = await countDeletions(this.#sql);
    this.#isBusy = this.#left.crawls > 0 && (await isCrawling(this.#sql));
  }
}

/** At most doubled: one batch that was quick by chance is not trusted. */
function resized(rows: number, ms: number): number {
  const factor = Math.min(2, BATCH_MS / Math.max(1, ms));
  return Math.round(Math.min(MOST_ROWS, Math.max(FEWEST_ROWS, rows * factor)));
}
