import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, type Sql } from '../db/client.ts';
import { abandonExports, type ClaimedExport, claimExports, isExportDue, readConsumed } from '../db/exports.ts';
import { ByteBudget } from './budget.ts';
import { ExportRun, type RunParts } from './export_run.ts';
import type { ExportTotals, KindTotals } from './protocol.ts';
import type { Target } from './target.ts';

/** Open at once; more take turns. */
const MAX_OPEN = 64;
/** One that has been at it for so long lets others in, where all places are taken. */
const TURN_MS = 10_000;
/** Of items in memory, over all exports. */
const MAX_BYTES = 16 * 1024 * 1024;
const CLAIM_MS = 2000;
const SURVEY_MS = 1000;
const BACK_OFF_MS = 1000;
const IDLE_MS = 60_000;

export interface RunnerOptions {
  sql: Sql;
  nodeId: string;
  /** What an export writes to, not opened yet. */
  makeTarget: (row: ClaimedExport) => Promise<Target>;
  /** Told the crawls whose news are wanted from now on. */
  onWatch: (crawlIds: string[]) => void;
  /** There has been nothing to do for so long; a minute unless told. */
  onIdle: () => void;
  idleMs?: number;
  maxOpen?: number;
  claimMs?: number;
  backOffMs?: number;
  turnMs?: number;
  warn: (detail: object, message: string) => void;
}

/**
 * All exports and webhooks that this node works on, each at its own pace: takes those that are due and have no living holder,
 * and lets each run by itself (`ExportRun`). What they read is bounded over all of them; none waits for another's target. One
 * statement a second, and after news, tells all of them how far their crawls are.
 */
export class Runner {
  readonly #options: RunnerOptions;
  readonly #stopping = new AbortController();
  readonly #killing = new AbortController();
  readonly #parts: RunParts;
  readonly #runs = new Map<ExportRun, Promise<void>>();
  readonly #totals: ExportTotals = {};
  readonly #news = new Set<string>();
  #wakeClaim: () => void = () => {};
  #wakeSurvey: () => void = () => {};
  #wantsClaim = false;
  #surveyedAt = 0;
  #busyAt = Date.now();
  #loops: Promise<unknown> | null = null;

  constructor(options: RunnerOptions) {
    this.#options = options;
    const { sql, nodeId, makeTarget, warn, backOffMs = BACK_OFF_MS } = options;
    const [stopping, killing] = [this.#stopping.signal, this.#killing.signal];
    this.#parts = { sql, nodeId, makeTarget, bytes: new ByteBudget(MAX_BYTES), stopping, killing, backOffMs, warn };
  }

  start(): void {
    this.#loops ??= Promise.all([this.#claimLoop(), this.#surveyLoop()]);
  }

  /** An export may be due. */
  look(): void {
    this.#wantsClaim = true;
    this.#wakeClaim();
  }

  /** These crawls have something new. */
  tell(crawlIds: readonly string[]): void {
    for (const id of crawlIds) this.#news.add(id);
    this.#wakeSurvey();
  }

  get totals(): ExportTotals {
    for (const totals of Object.values(this.#totals)) Object.assign(totals, { active: 0, lag: 0 });
    for (const run of this.#runs.keys()) {
      run.totals.active++;
      run.totals.lag += run.lag;
    }
    return this.#totals;
  }

  /** Lets what is under way end, stores the cursors and gives the exports back. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    this.#wakeClaim();
    this.#wakeSurvey();
    const timer = setTimeout(() => this.#killing.abort(new Error('the node stops')), graceMs);
    await this.#loops;
    await Promise.all(this.#runs.values());
    clearTimeout(timer);
  }

  async #claimLoop(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      this.#wantsClaim = false;
      await this.#patiently(async () => {
        const runs = [...this.#runs.keys()].map((run) => run.row);
        await abandonExports(this.#options.sql, this.#options.nodeId, runs);
        await this.#claim();
      });
      if (this.#runs.size > 0) this.#busyAt = Date.now();
      else if (Date.now() - this.#busyAt > (this.#options.idleMs ?? IDLE_MS)) this.#options.onIdle();
      if (!this.#wantsClaim) await this.#pause(this.#options.claimMs ?? CLAIM_MS, (wake) => (this.#wakeClaim = wake));
    }
  }

  async #claim(): Promise<void> {
    const { sql, nodeId, maxOpen = MAX_OPEN } = this.#options;
    const room = maxOpen - this.#runs.size;
    if (room > 0) {
      const rows = await claimExports(sql, nodeId, room);
      for (const row of rows) this.#begin(row);
      if (rows.length > 0) this.#watch();
      if (rows.length < room) return;
    }
    if (!(await isExportDue(sql))) return;
    const runs = [...this.#runs.keys()];
    const idle = runs.find((run) => run.isIdle);
    if (idle !== undefined) return idle.giveWay();
    // All are busy, maybe with targets that are slow: who has been at it for longest lets another in.
    const { turnMs = TURN_MS } = this.#options;
    runs.find((run) => run.openedAt < Date.now() - turnMs && !run.isTakingTurns)?.takeTurns();
  }

  #begin(row: ClaimedExport): void {
    this.#totals[row.kind] ??= noTotals();
    const run = new ExportRun(row, this.#totals[row.kind]!, this.#parts);
    const ended = run.run().then(() => {
      this.#runs.delete(run);
      this.#watch();
      this.#busyAt = Date.now();
      if (this.#runs.size >= (this.#options.maxOpen ?? MAX_OPEN) - 1) this.look();
    });
    this.#runs.set(run, ended);
  }

  #watch(): void {
    this.#options.onWatch([...new Set([...this.#runs.keys()].map((run) => run.row.crawl_id))]);
    this.#surveyedAt = 0;
    this.#wakeSurvey();
  }

  async #surveyLoop(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#patiently(() => this.#survey());
      const wait = this.#surveyedAt + SURVEY_MS - Date.now();
      if (this.#news.size === 0 && wait > 0) await this.#pause(wait, (wake) => (this.#wakeSurvey = wake));
    }
  }

  /** All crawls once a second, those with news at once. */
  async #survey(): Promise<void> {
    const isFull = Date.now() - this.#surveyedAt >= SURVEY_MS;
    if (isFull) this.#surveyedAt = Date.now();
    const runs = [...this.#runs.keys()].filter((run) => isFull || this.#news.has(run.row.crawl_id));
    this.#news.clear();
    if (runs.length === 0) return;
    const ids = [...new Set(runs.map((run) => run.row.crawl_id))];
    const crawls = new Map((await readConsumed(this.#options.sql, ids)).map((crawl) => [crawl.id, crawl]));
    for (const run of runs) run.see(crawls.get(run.row.crawl_id) ?? null);
  }

  /** What the database refuses is tried again at the next turn. */
  async #patiently(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (!isTransient(error)) this.#options.warn({ err: error }, 'exports could not be looked after; it is repeated');
      await sleep(200);
    }
  }

  async #pause(ms: number, onWake: (wake: () => void) => void): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    onWake(resolve);
    if (this.#stopping.signal.aborted) resolve();
    await promise;
    clearTimeout(timer);
  }
}

function noTotals(): KindTotals {
  return { active: 0, lag: 0, written: 0, failures: 0, failed: 0 };
}
