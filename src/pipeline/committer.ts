import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, type Sql } from '../db/client.ts';
import { hostIds } from '../db/hosts.ts';
import { extraSize } from '../model/extra.ts';
import type { Outcome } from '../model/outcome.ts';
import { type CommitResult, commitOutcomes } from './commit.ts';

/** A batch is committed when it is this large … */
const MAX_BATCH = 256;
const MAX_BATCH_BYTES = 1024 * 1024;
/** … or has collected this long … */
const LINGER_MS = 15;
/**
 * … and fewer than so many outcomes came in that time, or it has gone on so often. A commit costs the server and this process
 * some 2 ms of CPU each beside what its rows cost: in batches of 140 a page takes a tenth less than in batches of 76.
 */
const QUICK = 8;
const MAX_LINGERS = 8;
/** Outcomes waiting for a commit, above which the node fetches no more. */
const MAX_PENDING = 1024;
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
const MAX_CACHED_ORIGINS = 100_000;

export interface CommitterOptions {
  sql: Sql;
  nodeId: string;
  /** Whether other nodes want wake-ups. */
  notify: () => boolean;
  /** Nothing that is claimed is left to be begun: what a commit discovers would be the next. */
  isStarved: () => boolean;
  /** Requests that are claimed, and whose outcomes are not committed yet. */
  outstanding: () => number;
  onCommitted: (result: CommitResult, batch: readonly Outcome[]) => void;
  log: { warn: (detail: object, message: string) => void; error: (detail: object, message: string) => void };
}

/**
 * Batches the outcomes of all crawls by size and time and commits them, one transaction at a time. While a batch is being
 * committed the next one collects, so batches grow with the load by themselves.
 *
 * A database that is away is waited for: the batch is kept and repeated, `hasRoom` turns false, and the fetching stops.
 */
export class Committer {
  readonly #options: CommitterOptions;
  readonly #origins = new Map<string, number>();
  #pending: Outcome[] = [];
  #pendingBytes = 0;
  #running: Promise<void> | null = null;
  #wake: () => void = () => {};
  #isStopping = false;
  readonly #givenUp = new AbortController();
  /** Commits done, outcomes committed, and the time that the commits took together, in milliseconds. */
  readonly totals = { commits: 0, outcomes: 0, refused: 0, ms: 0 };

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /** Outcomes that wait for a commit or are in one. */
  get pending(): number {
    return this.#pending.length;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Have you room? */
  get hasRoom(): boolean {
    return this.#pending.length < MAX_PENDING && this.#pendingBytes < MAX_PENDING_BYTES;
  }

  add(outcome: Outcome): void {
    this.#pending.push(outcome);
    this.#pendingBytes += sizeOf(outcome);
    this.#running ??= this.#run();
    if (this.#isFull() || this.#isLast()) this.#wake();
  }

  /**
   * Commits what is pending, then resolves; gives up when the signal fires. What was not committed is fetched again by the
   * next holder of the lease.
   */
  async stop(signal: AbortSignal): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([this.#running ?? Promise.resolve(), aborted]);
    this.#givenUp.abort();
  }

  #isFull(): boolean {
    return this.#pending.length >= MAX_BATCH || this.#pendingBytes >= MAX_BATCH_BYTES;
  }

  /** No other outcome can come before this batch is committed. Asked of a node that is starved alone: it is a sum over all hosts. */
  #isLast(): boolean {
    return this.#options.isStarved() && this.#options.outstanding() <= this.#pending.length;
  }

  async #run(): Promise<void> {
    try {
      while (this.#pending.length > 0 && !this.#givenUp.signal.aborted) {
        await this.#collect();
        const batch = this.#nextBatch();
        await this.#commit(batch);
        // Only now do they leave the count, so that `hasRoom` sees a slow commit.
        this.#pending = this.#pending.slice(batch.length);
        for (const outcome of batch) this.#pendingBytes -= sizeOf(outcome);
      }
    } finally {
      // In the same turn as the last look at what is pending: what came between the two would wait for the next that comes.
      this.#running = null;
    }
  }

  /** By size as well: sixteen pages of a thousand new links are as much work as 256 ordinary ones. */
  #nextBatch(): Outcome[] {
    let bytes = 0;
    const end = this.#pending.findIndex((outcome, i) => {
      bytes += sizeOf(outcome);
      return i > 0 && (i >= MAX_BATCH || bytes > MAX_BATCH_BYTES);
    });
    return end < 0 ? this.#pending.slice() : this.#pending.slice(0, end);
  }

  /**
   * Lets the batch grow. Few come where a crawl waits for what it discovers, and where nothing is left to be begun it is about
   * to: those wait no second time. (A crawl's first pages are so; that was a tenth of a second of each.) Where no other can come,
   * as with pages that each lead to the next one, it is not waited at all.
   */
  async #collect(): Promise<void> {
    if (this.#isLast()) return;
    for (let lingers = 0; lingers < MAX_LINGERS && !this.#isFull() && !this.#isStopping; lingers++) {
      const before = this.#pending.length;
      await this.#linger();
      if (this.#pending.length - before < QUICK || this.#options.isStarved()) return;
    }
  }

  #linger(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, LINGER_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Commits the batch, however long the database is away. A batch that it refuses for good is halved to find the culprit. */
  async #commit(batch: readonly Outcome[]): Promise<void> {
    for (let attempt = 0; !this.#givenUp.signal.aborted; attempt++) {
      try {
        return await this.#commitOnce(batch);
      } catch (error) {
        if (isTransient(error)) {
          if (attempt % 16 === 0) this.#options.log.warn({ err: error, attempt }, 'commit failed; it is repeated');
          await sleep(Math.min(2000, 20 * 2 ** attempt), undefined, { signal: this.#givenUp.signal }).catch(() => {});
        } else return this.#divide(batch, error);
      }
    }
  }

  async #divide(batch: readonly Outcome[], error: unknown): Promise<void> {
    const half = Math.ceil(batch.length / 2);
    if (batch.length > 1) {
      await this.#commit(batch.slice(0, half));
      await this.#commit(batch.slice(half));
      return;
    }
    const [outcome] = batch as [Outcome];
    const detail = `could not be stored: ${(error as Error).message}`.slice(0, 500);
    this.#options.log.error({ err: error, crawl: outcome.crawlId, url: outcome.url }, 'an outcome could not be stored');
    // Nothing of it is remembered: its items are not stored.
    const { note, ...failed } = outcome;
    const { logs, calls, warnings, cookies, ...bare } = failed;
    const wasRead = outcome.state !== 'failed' || outcome.page !== null;
    if (wasRead)
      return this.#commit([{ ...failed, state: 'failed', reason: 'parse_error', detail, page: null, readyAt: null }]);
    if ([note, logs, calls, warnings, cookies].every((part) => part === undefined)) throw error;
    await this.#commit([{ ...bare, detail }]);
  }

  async #commitOnce(batch: readonly Outcome[]): Promise<void> {
    const started = performance.now();
    const { sql, nodeId } = this.#options;
    await this.#resolveOrigins(batch);
    const result = await commitOutcomes(sql, nodeId, batch, this.#origins, this.#options.notify());
    this.totals.commits++;
    this.totals.outcomes += result.applied.length;
    this.totals.refused += batch.length - result.applied.length - result.postponed.length;
    this.totals.ms += performance.now() - started;
    this.#options.onCommitted(result, batch);
    for (const outcome of result.postponed) this.add(outcome);
  }

  async #resolveOrigins(batch: readonly Outcome[]): Promise<void> {
    if (this.#origins.size > MAX_CACHED_ORIGINS) this.#origins.clear();
    const missing = new Set<string>();
    for (const { page } of batch)
      for (const { origin } of page?.links ?? [])
        if (origin !== null && !this.#origins.has(origin)) missing.add(origin);
    if (missing.size === 0) return;
    for (const [origin, id] of await hostIds(this.#options.sql, [...missing])) this.#origins.set(origin, id);
  }
}

/** By outcome: it is asked when one comes, when it is batched and when it goes, and some have 50,000 links. */
const sizes = new WeakMap<Outcome, number>();

/** About the bytes that an outcome holds in memory until it is committed. */
function sizeOf(outcome: Outcome): number {
  let size = sizes.get(outcome);
  if (size === undefined) {
    size = measure(outcome);
    sizes.set(outcome, size);
  }
  return size;
}

function measure(outcome: Outcome): number {
  let bytes = 500;
  for (const line of outcome.logs ?? outcome.page?.logs ?? []) bytes += line.message.length + 100;
  for (const { cookie } of outcome.cookies ?? []) bytes += cookie.length + 100;
  if (outcome.page === null) return bytes;
  for (const value of Object.values(outcome.page.state ?? {})) bytes += (value?.length ?? 0) + 200;
  for (const item of outcome.page.items)
    bytes += item.size + 100 + (item.keys?.length ?? 0) * 100 + (item.state?.fields.length ?? 0);
  bytes += outcome.page.remembered?.length ?? 0;
  for (const link of outcome.page.links) bytes += link.url.length + 200 + extraSize(link.extra);
  return bytes + outcome.page.linkedFps.length * 40;
}
