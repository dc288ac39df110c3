import { inTransaction, retried, type Sql, type Tx } from '../db/client.ts';
import { insertRuns, listRuns, placeByHand, type RunRow, skipQueued } from '../db/schedule_runs.ts';
import {
  databaseNow,
  deleteSchedule as deleteRows,
  findSchedule,
  insertSchedule,
  listSchedules as listRows,
  lockSchedule,
  type ScheduleFields,
  type ScheduleRow,
  updateSchedule,
} from '../db/schedules.ts';
import { ApiError, refuse } from '../errors.ts';
import type { StartCrawl } from '../model/crawl.ts';
import type { ChangeSchedule, NewSchedule, RunTimes, Schedule, ScheduleRun, Timing } from '../model/schedule.ts';
import { hiddenInParams, shownStart, withSecretsOfStart } from '../model/secrets.ts';
import type { Problem } from '../model/spider.ts';
import { wellFormed } from './crawl_input.ts';
import { localTime, nextTicks, type ReadTiming, readTiming, timingProblems, timingWarnings } from './cron.ts';
import { addOrigins, type Checks, newId, readInput, storeCrawl } from './lifecycle.ts';

// Schedules as clients see them. What becomes of their ticks: schedule_ticks.ts.

/** Where the crawl is in a schedule. */
export const CRAWL_AT = '/crawl';

/** @throws ApiError `invalid_request` or `invalid_spider` with every problem, `schedule_exists` */
export async function createSchedule(sql: Sql, input: NewSchedule, checks: Checks): Promise<Schedule> {
  const { overlap = 'skip', catchUp = 'last', enabled = true, name = null } = input;
  const now = await retried(() => databaseNow(sql));
  const { problems, secret } = await checkSchedule(sql, input, checks, now);
  refuse(problems, `${CRAWL_AT}/spider`);
  const fields = withTicks(
    {
      name,
      cron: input.cron,
      time_zone: input.timeZone ?? 'UTC',
      ...instantsOf(readTiming(input)),
      overlap,
      catch_up: catchUp,
      enabled,
      crawl: wellFormed(input.crawl),
      secret_params: secret,
    },
    now,
  );
  const id = newId();
  if (!(await retried(() => insertSchedule(sql, id, fields)))) throw nameTaken(name);
  return readSchedule(sql, id);
}

/** What is wrong with a schedule that is new, or as it would be changed. */
async function checkSchedule(sql: Sql, input: NewSchedule, checks: Checks, now: Date) {
  const { plan, problems } = await readInput(sql, input.crawl, checks);
  return {
    problems: [...timingProblems(input, now), ...policyProblems(input), ...ofCrawl(input.crawl, problems)],
    secret: plan.crawl.secretParams,
  };
}

/** The same of a part of the right shape. */
export async function scheduleProblems(sql: Sql, input: Partial<NewSchedule>, checks: Checks): Promise<Problem[]> {
  const crawl = input.crawl === undefined ? [] : (await readInput(sql, input.crawl, checks)).problems;
  const now = await retried(() => databaseNow(sql));
  return [...timingProblems(input, now), ...policyProblems(input), ...ofCrawl(input.crawl ?? {}, crawl)];
}

function ofCrawl({ webhooks = [] }: StartCrawl, problems: readonly Problem[]): Problem[] {
  const unknown = webhooks.flatMap(({ secret }, i): Problem[] => {
    if (secret !== undefined) return [];
    const message = 'each crawl would be given another secret, which nobody would see; give one, as `whsec_…`';
    return [{ pointer: `${CRAWL_AT}/webhooks/${i}/secret`, code: 'required', message }];
  });
  return [...problems.map((one) => ({ ...one, pointer: CRAWL_AT + one.pointer })), ...unknown];
}

function policyProblems({ overlap = 'skip', catchUp }: Partial<NewSchedule>): Problem[] {
  if (catchUp !== 'all' || overlap === 'queue') return [];
  const message = `\`all\` starts one missed run after the other, and \`overlap\` is ${overlap}; expected \`overlap: queue\` with it`;
  return [{ pointer: '/catchUp', code: 'conflict', message }];
}

/** The next runs of a timing, by which it may be tried out. @throws ApiError `invalid_request` */
export async function previewRuns(sql: Sql, timing: Timing): Promise<RunTimes> {
  const now = await retried(() => databaseNow(sql));
  refuse(timingProblems(timing, now));
  const ticks = nextTicks(readTiming(timing), now);
  return { nextRuns: ticks.map((tick) => localTime(tick, timing.timeZone ?? 'UTC')), warnings: timingWarnings(ticks) };
}

const instantsOf = ({ startAt, endAt }: ReadTiming) => ({ start_at: startAt, end_at: endAt });

export const timingOf = (row: Pick<ScheduleRow, 'cron' | 'time_zone' | 'start_at' | 'end_at'>): ReadTiming => ({
  cron: row.cron,
  timeZone: row.time_zone,
  startAt: row.start_at,
  endAt: row.end_at,
});

/** With the ticks after `now`: what was missed while a schedule was not enabled, or had another timing, is not made up for. */
function withTicks(fields: Omit<ScheduleFields, 'next_at' | 'next_runs'>, now: Date): ScheduleFields {
  const ticks = fields.enabled ? nextTicks(timingOf(fields), now) : [];
  const shown = ticks.map((tick) => localTime(tick, fields.time_zone));
  return { ...fields, next_at: ticks[0] ?? null, next_runs: shown };
}

/**
 * Changes what is given. `crawl` is replaced whole; its `(hidden)` secrets stay as they are. Runs that wait are given up where
 * the schedule is no longer enabled.
 *
 * @throws ApiError `schedule_not_found`, `schedule_exists`, `invalid_request` or `invalid_spider`
 */
export async function changeSchedule(sql: Sql, id: string, change: ChangeSchedule, checks: Checks): Promise<Schedule> {
  for (let changed = false; !changed; ) {
    const row = await findOr404(sql, id);
    const fields = await changedFields(sql, row, change, checks);
    changed = await retried(() =>
      inTransaction(sql, async (tx) => {
        const locked = await lockSchedule(tx, id);
        if (locked === null) throw notFound(id);
        if (locked.version !== row.version) return false; // another change came first: this one is made upon it
        // A tick that came meanwhile is not brought back, and one that is due is not lost.
        const kept = isRetimed(change) ? fields : { ...fields, next_at: locked.next_at, next_runs: locked.next_runs };
        if (!(await updateSchedule(tx, id, kept))) throw nameTaken(fields.name);
        if (!fields.enabled) await skipQueued(tx, id, 'the schedule was disabled');
        return true;
      }),
    );
  }
  return readSchedule(sql, id);
}

const isRetimed = ({ cron, timeZone, startAt, endAt, enabled }: ChangeSchedule) =>
  [cron, timeZone, startAt, endAt, enabled].some((field) => field !== undefined);

async function changedFields(
  sql: Sql,
  row: ScheduleRow,
  change: ChangeSchedule,
  checks: Checks,
): Promise<ScheduleFields> {
  const stored = {
    name: row.name,
    ...{ cron: row.cron, timeZone: row.time_zone },
    ...{ startAt: row.start_at?.toISOString() ?? null, endAt: row.end_at?.toISOString() ?? null },
    ...{ overlap: row.overlap, catchUp: row.catch_up, enabled: row.enabled, crawl: row.crawl },
  };
  const kept = row.secret_params;
  const crawl = change.crawl === undefined ? row.crawl : withSecretsOfStart(change.crawl, row.crawl, kept);
  const input = { ...stored, ...change, crawl };
  const now = await retried(() => databaseNow(sql));
  // A crawl that was right when it was stored may be no more: that is no matter of another field's change.
  const checked = change.crawl === undefined ? null : await checkSchedule(sql, input, checks, now);
  const problems = checked?.problems ?? [
    ...(isRetimed(change) && input.enabled ? timingProblems(input, now) : []),
    ...policyProblems(input),
  ];
  const isNew = (one: Problem) => problems.every(({ pointer }) => pointer !== one.pointer);
  problems.push(...hiddenInParams(crawl.params, kept, `${CRAWL_AT}/params`).filter(isNew));
  refuse(problems, `${CRAWL_AT}/spider`);
  return withTicks(
    {
      name: input.name,
      cron: input.cron,
      time_zone: input.timeZone,
      ...instantsOf(readTiming(input)),
      ...{ overlap: input.overlap, catch_up: input.catchUp, enabled: input.enabled },
      crawl: wellFormed(crawl),
      secret_params: checked?.secret ?? kept,
    },
    now,
  );
}

/** @throws ApiError `schedule_not_found` */
export async function readSchedule(sql: Sql, id: string): Promise<Schedule> {
  const row = await findOr404(sql, id);
  const [last] = await retried(() => listRuns(sql, id, null, 1));
  return toSchedule(row, last ?? null);
}

/** A page of schedules, oldest first. @param after exclusive: an id; null: from the first */
export async function listSchedules(sql: Sql, after: string | null, limit: number): Promise<Schedule[]> {
  const rows = await retried(() => listRows(sql, after, limit));
  return rows.map((row) => toSchedule(row, row.last_run));
}

/** Its crawls go on. @throws ApiError `schedule_not_found` */
export async function deleteSchedule(sql: Sql, id: string): Promise<void> {
  const found = await retried(async (attempt) => (await inTransaction(sql, (tx) => deleteRows(tx, id))) || attempt > 1);
  if (!found) throw notFound(id);
}

/** A page of runs, the last one first. @param before exclusive; null: from the last @throws ApiError `schedule_not_found` */
export async function readRuns(sql: Sql, id: string, before: Date | null, limit: number): Promise<ScheduleRun[]> {
  await findOr404(sql, id);
  return (await retried(() => listRuns(sql, id, before, limit))).map(toRun);
}

/**
 * Starts a schedule's crawl now, whatever runs and whether it is enabled or not: who asks for it wants it. Later ticks find it
 * running.
 *
 * @throws ApiError `schedule_not_found`; `invalid_request` or `invalid_spider` where the crawl is not right any more
 */
export async function runNow(sql: Sql, id: string, checks: Checks): Promise<ScheduleRun & { crawl: { id: string } }> {
  const row = await findOr404(sql, id);
  const { plan, problems } = await readInput(sql, scheduledCrawl(row), checks);
  refuse(ofCrawl({}, problems), `${CRAWL_AT}/spider`);
  await addOrigins(sql, plan);
  const crawlId = newId();
  const now = await retried(() => databaseNow(sql));
  const store = async (tx: Tx) => {
    if ((await lockSchedule(tx, id)) === null) throw notFound(id);
    const { crawl } = await storeCrawl(tx, crawlId, plan);
    const { tick, isKnown } = await placeByHand(tx, id, crawlId, now);
    const run = { tick, manual: true, state: 'started', crawlId, detail: null, problems: [] } as const;
    if (!isKnown) await insertRuns(tx, id, [run]);
    return { ...run, schedule_id: id, crawl_id: crawlId, crawl_state: crawl.state, decided_at: now, problems: [] };
  };
  const run = toRun(await retried(() => inTransaction(sql, store)));
  return { ...run, crawl: run.crawl! };
}

/** The crawl that a tick starts: with a label that leads back to the schedule, unless it has one of that name. */
export function scheduledCrawl({ id, name, crawl }: ScheduleRow): StartCrawl {
  return { ...crawl, labels: { schedule: name ?? id, ...crawl.labels } };
}

async function findOr404(sql: Sql, id: string): Promise<ScheduleRow> {
  const row = await retried(() => findSchedule(sql, id));
  if (row === null) throw notFound(id);
  return row;
}

function toSchedule(row: ScheduleRow, last: RunRow | null): Schedule {
  return {
    id: row.id,
    name: row.name,
    cron: row.cron,
    timeZone: row.time_zone,
    startAt: row.start_at?.toISOString() ?? null,
    endAt: row.end_at?.toISOString() ?? null,
    overlap: row.overlap,
    catchUp: row.catch_up,
    enabled: row.enabled,
    crawl: shownStart(row.crawl, row.secret_params),
    nextRuns: row.next_runs,
    warnings: timingWarnings(row.next_runs.map((time) => new Date(time))),
    lastRun: last === null ? null : toRun(last),
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

function toRun(row: RunRow): ScheduleRun {
  return {
    tick: row.tick.toISOString(),
    manual: row.manual,
    state: row.state,
    crawl: row.crawl_id === null ? null : { id: row.crawl_id, state: row.crawl_state },
    detail: row.detail,
    errors: row.problems,
    decidedAt: row.decided_at.toISOString(),
  };
}

function notFound(id: string): ApiError {
  return new ApiError('schedule_not_found', `There is no schedule ${id}`);
}

function nameTaken(name: string | null): ApiError {
  return new ApiError('schedule_exists', `There is a schedule ${name}; names are unique, and may be left away`);
}
