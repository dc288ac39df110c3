import { inTransaction, isTransient, retried, type Sql, type Tx } from '../db/client.ts';
import { endCrawl, lockCrawl } from '../db/crawls.ts';
import { reviveExports } from '../db/exports.ts';
import { decideQueued, insertRuns, knownTicks, type NewRun, openCrawls, queuedTicks } from '../db/schedule_runs.ts';
import { dueSchedules, freeSchedules, lockSchedule, nextDue, type ScheduleRow, setNextRuns } from '../db/schedules.ts';
import { ENDED_STATES, type StartCrawl } from '../model/crawl.ts';
import type { Problem } from '../model/spider.ts';
import type { PlannedCrawl } from './crawl_input.ts';
import { dueTicks, localTime, nextTicks } from './cron.ts';
import { addOrigins, type Checks, newId, readInput, storeCrawl } from './lifecycle.ts';
import { Loop, reporter } from './loop.ts';
import { CRAWL_AT, scheduledCrawl, timingOf } from './schedules.ts';

/** A tick that is seen later than this was missed: `catchUp` says what becomes of it. */
export const LATE_MS = 60_000;
/** Missed ticks of one schedule that are looked at: the last ones. */
const MOST_TICKS = 100;
/** Schedules that another node was told of are found after so long. */
const POLL_MS = 30_000;
/** The same while a run waits for a crawl to end. */
const WAITING_MS = 1000;
/** The same after a failure. */
const FAILED_MS = 5000;
const SCHEDULES_AT_ONCE = 20;
/** To work a crawl out within the time limits of that. */
const TRIES = 3;

type Log = Parameters<typeof reporter>[0] & { info: (detail: object, message: string) => void };

interface ScheduleTicksOptions {
  sql: Sql;
  checks: Checks;
  /** A crawl was `started`, or `cancelled` for the next one. */
  onCrawlChanged: (crawlId: string, what: 'started' | 'cancelled') => void;
  log: Log;
}

/** A schedule that is due: ticks to be recorded as missed, ticks to be run, and what would be started. */
interface Due {
  row: ScheduleRow;
  now: Date;
  missed: Date[];
  ticks: Date[];
  start: Start | null;
}

interface Start {
  crawlId: string;
  /** Null: there are problems that keep it from being worked out at all. */
  plan: PlannedCrawl | null;
  problems: Problem[];
}

/** What a transaction did; null: another node had done it. */
type Done = { started: boolean; cancelled: string[]; runs: readonly NewRun[] } | null;

/**
 * Starts what schedules ask for. Every node does it, at the moment that is due by the database's clock, and what becomes of a
 * tick is decided under the lock of the schedule's row, in the transaction that stores the crawl: so there is one start per
 * tick, and a node that dies leaves the tick to the next. What is prepared before that (the spider looked up, start URLs worked
 * out in a parser thread) may be done by several nodes, and is thrown away by all but one.
 */
export class ScheduleTicks {
  readonly #options: ScheduleTicksOptions;
  readonly #loop: Loop;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  /** In the last step, for a reason that will not pass by itself. */
  #failed = false;

  constructor(options: ScheduleTicksOptions) {
    this.#options = options;
    this.#loop = new Loop(POLL_MS, () => this.#step(), reporter(options.log, 'the schedules'));
  }

  start(): void {
    this.#loop.start();
  }

  /** A schedule is new or changed. */
  wake(): void {
    this.#loop.wake();
  }

  /** Safe before `start` and twice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop.stop();
    clearTimeout(this.#timer);
  }

  async #step(): Promise<boolean> {
    const { sql } = this.#options;
    const due = await dueSchedules(sql, SCHEDULES_AT_ONCE);
    this.#failed = false;
    for (const row of due) await this.#guarded(row, () => this.#tick(row));
    const free = await freeSchedules(sql, SCHEDULES_AT_ONCE);
    for (const row of free) await this.#guarded(row, () => this.#startQueued(row));
    clearTimeout(this.#timer);
    const { ms, waiting } = await nextDue(sql);
    const wait = Math.min(ms ?? POLL_MS, waiting ? WAITING_MS : POLL_MS);
    const least = this.#failed ? FAILED_MS : 1;
    if (!this.#stopped) this.#timer = setTimeout(() => this.#loop.wake(), Math.max(least, Math.ceil(wait)));
    return due.length === SCHEDULES_AT_ONCE && !this.#failed;
  }

  /** What is wrong with one schedule keeps no other from its time. */
  async #guarded(row: ScheduleRow, work: () => Promise<void>): Promise<void> {
    if (this.#stopped) return;
    try {
      await work();
    } catch (error) {
      if (isTransient(error) || this.#stopped) throw error;
      this.#failed = true;
      this.#options.log.error({ err: error, schedule: row.id }, 'a schedule could not be looked at; it is tried again');
    }
  }

  async #tick(row: ScheduleRow & { next_at: Date; now: Date }): Promise<void> {
    const { sql } = this.#options;
    const { now } = row;
    const { missed, ticks } = chooseTicks(row, dueTicks(timingOf(row), row.next_at, now, MOST_TICKS), now);
    const start = ticks.length === 0 ? null : await this.#prepare(row);
    this.#tell(
      row,
      start,
      await retried(() => inTransaction(sql, (tx) => decide(tx, { row, now, missed, ticks, start }))),
    );
  }

  async #startQueued(row: ScheduleRow): Promise<void> {
    const start = await this.#prepare(row);
    this.#tell(
      row,
      start,
      await retried(() => inTransaction(this.#options.sql, (tx) => decideFirstQueued(tx, row, start))),
    );
  }

  /** Everything but the storing. The spider is looked up by now, so that a name without version is its newest. */
  async #prepare(row: ScheduleRow): Promise<Start> {
    const { sql, log } = this.#options;
    const crawlId = newId();
    const crawl = scheduledCrawl(row);
    try {
      const { plan, problems } = await this.#read(crawl);
      if (problems.length === 0) await addOrigins(sql, plan);
      return { crawlId, plan, problems: problems.map((one) => ({ ...one, pointer: CRAWL_AT + one.pointer })) };
    } catch (error) {
      if (isTransient(error) || this.#stopped) throw error;
      log.error({ err: error, schedule: row.id }, 'the crawl of a schedule could not be worked out');
      const message = `it could not be worked out: ${(error as Error).message}`;
      return { crawlId, plan: null, problems: [{ pointer: CRAWL_AT, code: 'invalid', message }] };
    }
  }

  /** What took too long on a machine that was busy is tried again: nobody is there to do that. */
  async #read(crawl: StartCrawl) {
    const { sql, checks } = this.#options;
    for (let tries = 1; ; tries++) {
      const read = await retried(() => readInput(sql, crawl, checks));
      if (tries === TRIES || this.#stopped || !read.problems.some(({ code }) => code === 'too_complex')) return read;
    }
  }

  #tell(row: ScheduleRow, start: Start | null, done: Done): void {
    if (done === null) return;
    const { log, onCrawlChanged } = this.#options;
    const schedule = row.name ?? row.id;
    for (const { state, tick, detail } of done.runs)
      log[state === 'failed' ? 'warn' : 'info']({ schedule, tick, detail }, `a run of a schedule: ${state}`);
    for (const id of done.cancelled) onCrawlChanged(id, 'cancelled');
    if (done.started) onCrawlChanged(start!.crawlId, 'started');
  }
}

/** Which of the ticks that are due are run, and which are recorded as missed. */
export function chooseTicks(
  { catch_up }: Pick<ScheduleRow, 'catch_up'>,
  due: readonly Date[],
  now: Date,
): { missed: Date[]; ticks: Date[] } {
  const late = due.filter((tick) => now.getTime() - tick.getTime() > LATE_MS);
  const onTime = due.slice(late.length);
  switch (catch_up) {
    case 'none':
      return { missed: late, ticks: onTime };
    case 'last':
      // One that is just due makes up for those before it.
      return onTime.length > 0 ? { missed: late, ticks: onTime } : { missed: late.slice(0, -1), ticks: late.slice(-1) };
    case 'all':
      return { missed: [], ticks: [...due] };
    default:
      return catch_up satisfies never;
  }
}

const skipped = (tick: Date, detail: string): NewRun => ({
  tick,
  state: 'skipped',
  crawlId: null,
  detail,
  problems: [],
});

/** Decides what becomes of the ticks of a schedule, unless that has been done. */
async function decide(tx: Tx, { row, now, missed, ticks, start }: Due): Promise<Done> {
  const locked = await lockSchedule(tx, row.id);
  if (locked?.version !== row.version || locked.next_at?.getTime() !== row.next_at?.getTime()) return null;
  const known = await knownTicks(tx, row.id, [...missed, ...ticks]);
  const isNew = (tick: Date) => !known.has(tick.getTime());
  const running = await openCrawls(tx, row.id);
  const waiting = (await queuedTicks(tx, row.id)).length;
  const wanted = outcomes(row, ticks.filter(isNew), { now, running, waiting });
  const { runs, started, cancelled } = await begin(tx, wanted, start, row.overlap === 'cancel' ? running : []);
  const all = [...missed.filter(isNew).map((tick) => skipped(tick, 'missed: no node was running then')), ...runs];
  if (all.length > 0) await insertRuns(tx, row.id, all);
  const next = nextTicks(timingOf(row), now);
  await setNextRuns(
    tx,
    row.id,
    next[0] ?? null,
    next.map((tick) => localTime(tick, row.time_zone)),
  );
  return { started, cancelled, runs: all };
}

interface Situation {
  now: Date;
  /** Crawls that have not ended. */
  running: readonly string[];
  /** Runs that are queued. */
  waiting: number;
}

/** What becomes of each tick, by `overlap`; `started` of one at most, which has no crawl yet. */
function outcomes(row: ScheduleRow, ticks: readonly Date[], { now, running, waiting }: Situation): NewRun[] {
  const started = (tick: Date): NewRun => ({ tick, state: 'started', crawlId: null, detail: null, problems: [] });
  let isFree = running.length === 0;
  let queue = waiting;
  return ticks.map((tick, i) => {
    switch (row.overlap) {
      case 'cancel':
        return i === ticks.length - 1 ? started(tick) : skipped(tick, 'a later one came at the same moment');
      case 'skip':
        if (!isFree)
          return skipped(tick, running[0] === undefined ? 'the one before it has just begun' : stillRuns(running[0]));
        isFree = false;
        return started(tick);
      case 'queue': {
        if (isFree && queue === 0) {
          isFree = false;
          return started(tick);
        }
        const isLate = now.getTime() - tick.getTime() > LATE_MS;
        if (queue >= (isLate ? MOST_TICKS : 1)) return skipped(tick, 'another one waits already');
        queue++;
        return {
          tick,
          state: 'queued',
          crawlId: null,
          detail: 'it waits for the crawl before it to end',
          problems: [],
        };
      }
      default:
        return row.overlap satisfies never;
    }
  });
}

const stillRuns = (crawlId: string) => `the crawl ${crawlId} had not ended`;

/** Stores the crawl of the run that starts; where it cannot, the run has failed, and nothing is cancelled for it. */
async function begin(tx: Tx, runs: readonly NewRun[], start: Start | null, toCancel: readonly string[]) {
  const first = runs.find(({ state }) => state === 'started');
  if (first === undefined || start === null) return { runs, started: false, cancelled: [] };
  const plan = start.problems.length === 0 ? start.plan : null;
  const cancelled = plan === null ? [] : await cancelAll(tx, toCancel);
  if (plan !== null) await storeCrawl(tx, start.crawlId, plan);
  const begun = beginning(first.tick, start);
  return { runs: runs.map((run) => (run === first ? begun : run)), started: plan !== null, cancelled };
}

function beginning(tick: Date, { crawlId, problems }: Start): NewRun {
  const [first] = problems;
  if (first === undefined) return { tick, state: 'started', crawlId, detail: null, problems };
  return { tick, state: 'failed', crawlId: null, detail: `${first.pointer}: ${first.message}`, problems };
}

/** @returns those that had not ended meanwhile */
async function cancelAll(tx: Tx, ids: readonly string[]): Promise<string[]> {
  const cancelled: string[] = [];
  for (const id of ids) {
    const crawl = await lockCrawl(tx, id);
    if (crawl === null || ENDED_STATES.includes(crawl.state)) continue;
    await reviveExports(tx, id);
    await endCrawl(tx, id, 'cancelled', 'cancelled', 'the next run of its schedule began');
    cancelled.push(id);
  }
  return cancelled;
}

/** Starts the first run that waits, unless that has been done, or a crawl of the schedule runs. */
async function decideFirstQueued(tx: Tx, { id, version }: ScheduleRow, start: Start): Promise<Done> {
  const locked = await lockSchedule(tx, id);
  if (locked?.version !== version || (await openCrawls(tx, id)).length > 0) return null;
  const [tick] = await queuedTicks(tx, id);
  if (tick === undefined) return null;
  const { runs, started, cancelled } = await begin(tx, [{ ...skipped(tick, ''), state: 'started' }], start, []);
  await decideQueued(tx, id, runs[0]!);
  return { started, cancelled, runs };
}
