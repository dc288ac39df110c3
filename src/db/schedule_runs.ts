import type { CrawlState } from '../model/crawl.ts';
import type { RunState } from '../model/schedule.ts';
import type { Problem } from '../model/spider.ts';
import type { Db, Tx } from './client.ts';

/** Runs that are kept of one schedule. */
const KEPT_RUNS = 1000;

/** A row of `schedule_runs`, with the state of its crawl. */
export interface RunRow {
  schedule_id: string;
  tick: Date;
  manual: boolean;
  state: RunState;
  crawl_id: string | null;
  /** Null: it has none, or that was deleted. */
  crawl_state: CrawlState | null;
  detail: string | null;
  problems: Problem[];
  decided_at: Date;
}

/** What became of a tick. */
export interface NewRun {
  tick: Date;
  manual?: boolean;
  state: RunState;
  crawlId: string | null;
  detail: string | null;
  problems: readonly Problem[];
}

/** Those of the ticks of which something has become already. The schedule's row is locked by the caller. */
export async function knownTicks(tx: Tx, scheduleId: string, ticks: readonly Date[]): Promise<Set<number>> {
  const rows = await tx<{ tick: Date }[]>`
    select tick from schedule_runs
    where schedule_id = ${scheduleId} and tick = any (${ticks.map((tick) => tick.toISOString())}::text[]::timestamptz[])`;
  return new Set(rows.map(({ tick }) => tick.getTime()));
}

/**
 * Where a run by hand is entered: the first millisecond from a time on that no run has; `isKnown` where it stands there already,
 * an earlier try having been committed. The schedule's row is locked by the caller.
 */
export async function placeByHand(
  tx: Tx,
  scheduleId: string,
  crawlId: string,
  from: Date,
): Promise<{ tick: Date; isKnown: boolean }> {
  const rows = await tx<{ tick: Date; crawl_id: string | null }[]>`
    select tick, crawl_id from schedule_runs where schedule_id = ${scheduleId} and tick >= ${from}`;
  const known = rows.find((row) => row.crawl_id === crawlId);
  if (known !== undefined) return { tick: known.tick, isKnown: true };
  const taken = new Set(rows.map(({ tick }) => tick.getTime()));
  let at = from.getTime();
  while (taken.has(at)) at++;
  return { tick: new Date(at), isKnown: false };
}

/** Stores what became of ticks, which were not known, and forgets the oldest. The schedule's row is locked by the caller. */
export async function insertRuns(tx: Tx, scheduleId: string, runs: readonly NewRun[]): Promise<void> {
  await tx`
    insert into schedule_runs (schedule_id, tick, manual, state, open, crawl_id, detail, problems)
    select ${scheduleId}, tick::timestamptz, manual::boolean, state, state in ('started', 'queued'), crawl_id, detail, problems::json
    from unnest(${runs.map(({ tick }) => tick.toISOString())}::text[],
      ${runs.map(({ manual }) => (manual ? 1 : 0))}::int[], ${runs.map(({ state }) => state)}::text[],
      ${runs.map(({ crawlId }) => crawlId)}::uuid[], ${runs.map(({ detail }) => detail)}::text[],
      ${runs.map(({ problems }) => JSON.stringify(problems))}::text[])
      as u (tick, manual, state, crawl_id, detail, problems)`;
  await tx`
    delete from schedule_runs where schedule_id = ${scheduleId} and not open and tick < (
      select tick from schedule_runs where schedule_id = ${scheduleId} order by tick desc limit 1 offset ${KEPT_RUNS - 1})`;
}

/** The crawls of a schedule that have not ended; those that have are not asked for again. Under the schedule's row lock. */
export async function openCrawls(tx: Tx, scheduleId: string): Promise<string[]> {
  await tx`
    update schedule_runs r set open = false
    where r.schedule_id = ${scheduleId} and r.open and r.state = 'started' and not exists (
      select from crawls c where c.id = r.crawl_id and c.state in ('queued', 'running', 'pausing', 'paused'))`;
  const rows = await tx<{ crawl_id: string }[]>`
    select crawl_id from schedule_runs where schedule_id = ${scheduleId} and open and state = 'started' order by crawl_id`;
  return rows.map((row) => row.crawl_id);
}

/** The ticks that wait, the first one first. */
export async function queuedTicks(tx: Tx, scheduleId: string): Promise<Date[]> {
  const rows = await tx<{ tick: Date }[]>`
    select tick from schedule_runs where schedule_id = ${scheduleId} and open and state = 'queued' order by tick`;
  return rows.map(({ tick }) => tick);
}

/** What has become of a tick that waited. */
export async function decideQueued(tx: Tx, scheduleId: string, run: NewRun): Promise<void> {
  await tx`
    update schedule_runs set state = ${run.state}, open = ${run.state === 'started'}, crawl_id = ${run.crawlId},
      detail = ${run.detail}, problems = ${JSON.stringify(run.problems)}::text::json, decided_at = clock_timestamp()
    where schedule_id = ${scheduleId} and tick = ${run.tick} and state = 'queued'`;
}

/** No tick of the schedule waits any more. */
export async function skipQueued(tx: Tx, scheduleId: string, detail: string): Promise<void> {
  await tx`
    update schedule_runs set state = 'skipped', open = false, detail = ${detail}, decided_at = clock_timestamp()
    where schedule_id = ${scheduleId} and open and state = 'queued'`;
}

/** A page of runs, the last one first. @param before exclusive; null: from the last */
export async function listRuns(db: Db, scheduleId: string, before: Date | null, limit: number): Promise<RunRow[]> {
  return db<RunRow[]>`
    select r.*, c.state as crawl_state from schedule_runs r left join crawls c on c.id = r.crawl_id
    where r.schedule_id = ${scheduleId} ${before === null ? db`` : db`and r.tick < ${before}`}
    order by r.tick desc limit ${limit}`;
}
