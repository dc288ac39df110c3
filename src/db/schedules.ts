import type { StartCrawl } from '../model/crawl.ts';
import type { CatchUp, Overlap } from '../model/schedule.ts';
import type { Db, Sql, Tx } from './client.ts';
import type { RunRow } from './schedule_runs.ts';

/** A row of `schedules`, as the driver gives it. */
export interface ScheduleRow {
  id: string;
  name: string | null;
  version: number;
  created_at: Date;
  updated_at: Date;
  cron: string;
  time_zone: string;
  start_at: Date | null;
  end_at: Date | null;
  overlap: Overlap;
  catch_up: CatchUp;
  enabled: boolean;
  crawl: StartCrawl;
  secret_params: string[];
  next_at: Date | null;
  /** As they are shown. */
  next_runs: string[];
}

/** What a schedule is, but for its history. */
export type ScheduleFields = Omit<ScheduleRow, 'id' | 'version' | 'created_at' | 'updated_at'>;

const FIELDS = [
  'id',
  'name',
  'version',
  'created_at',
  'updated_at',
  'cron',
  'time_zone',
  'start_at',
  'end_at',
  'overlap',
  'catch_up',
  'enabled',
  'crawl',
  'secret_params',
  'next_at',
  'next_runs',
] as const satisfies readonly (keyof ScheduleRow)[];

/** The time by the database's clock, which all nodes go by; in whole milliseconds, as far as a `Date` can tell. */
export async function databaseNow(db: Db): Promise<Date> {
  const [row] = await db<{ now: Date }[]>`select clock_timestamp() as now`;
  return row!.now;
}

/** @returns false where its name is taken; twice under one id is once */
export async function insertSchedule(db: Db, id: string, fields: ScheduleFields): Promise<boolean> {
  const rows = await db`
    insert into schedules (id, name, cron, time_zone, start_at, end_at, overlap, catch_up, enabled, crawl, secret_params,
      next_at, next_runs)
    values (${id}, ${fields.name}, ${fields.cron}, ${fields.time_zone}, ${fields.start_at}, ${fields.end_at},
      ${fields.overlap}, ${fields.catch_up}, ${fields.enabled}, ${JSON.stringify(fields.crawl)}::text::json,
      ${JSON.stringify(fields.secret_params)}::text::json, ${fields.next_at}, ${JSON.stringify(fields.next_runs)}::text::json)
    on conflict do nothing returning 1`;
  if (rows.length > 0) return true;
  return (await findSchedule(db, id)) !== null;
}

/** Writes a schedule's fields; the caller holds its row lock. @returns false where its name is taken */
export async function updateSchedule(tx: Tx, id: string, fields: ScheduleFields): Promise<boolean> {
  const { name } = fields;
  const taken = name === null ? [] : await tx`select from schedules where name = ${name} and id <> ${id}`;
  if (taken.length > 0) return false;
  await tx`
    update schedules set version = version + 1, updated_at = clock_timestamp(), name = ${name}, cron = ${fields.cron},
      time_zone = ${fields.time_zone}, start_at = ${fields.start_at}, end_at = ${fields.end_at}, overlap = ${fields.overlap},
      catch_up = ${fields.catch_up}, enabled = ${fields.enabled}, crawl = ${JSON.stringify(fields.crawl)}::text::json,
      secret_params = ${JSON.stringify(fields.secret_params)}::text::json, next_at = ${fields.next_at},
      next_runs = ${JSON.stringify(fields.next_runs)}::text::json
    where id = ${id}`;
  return true;
}

/** Writes the next ticks of a schedule; the caller holds its row lock. */
export async function setNextRuns(tx: Tx, id: string, nextAt: Date | null, nextRuns: readonly string[]): Promise<void> {
  await tx`
    update schedules set next_at = ${nextAt}, next_runs = ${JSON.stringify(nextRuns)}::text::json where id = ${id}`;
}

export async function findSchedule(db: Db, id: string): Promise<ScheduleRow | null> {
  const [row] = await db<ScheduleRow[]>`select ${db(FIELDS)} from schedules where id = ${id}`;
  return row ?? null;
}

/** The schedule's row, locked until the transaction ends: whatever becomes of its ticks is decided under this lock. */
export async function lockSchedule(tx: Tx, id: string): Promise<ScheduleRow | null> {
  const [row] = await tx<ScheduleRow[]>`select ${tx(FIELDS)} from schedules where id = ${id} for update`;
  return row ?? null;
}

/** A page of schedules, oldest first, each with its last run. @param after exclusive: an id; null: from the first */
export async function listSchedules(
  db: Db,
  after: string | null,
  limit: number,
): Promise<(ScheduleRow & { last_run: RunRow | null })[]> {
  const rows = await db<ScheduleRow[]>`
    select ${db(FIELDS)} from schedules ${after === null ? db`` : db`where id > ${after}`} order by id limit ${limit}`;
  const last = await db<RunRow[]>`
    select r.*, c.state as crawl_state from unnest(${rows.map(({ id }) => id)}::uuid[]) as s (id)
    join lateral (select * from schedule_runs where schedule_id = s.id order by tick desc limit 1) r on true
    left join crawls c on c.id = r.crawl_id`;
  const bySchedule = new Map(last.map((run) => [run.schedule_id, run]));
  return rows.map((row) => ({ ...row, last_run: bySchedule.get(row.id) ?? null }));
}

/** Deletes a schedule with its runs; the crawls that it started stay. @returns false where there is none */
export async function deleteSchedule(tx: Tx, id: string): Promise<boolean> {
  const rows = await tx`delete from schedules where id = ${id} returning 1`;
  await tx`delete from schedule_runs where schedule_id = ${id}`;
  return rows.length > 0;
}

/** Schedules with a tick that is due, the first due first, and the time by which it is. */
export async function dueSchedules(sql: Sql, limit: number): Promise<(ScheduleRow & { next_at: Date; now: Date })[]> {
  return sql<(ScheduleRow & { next_at: Date; now: Date })[]>`
    select ${sql(FIELDS)}, clock_timestamp() as now from schedules
    where next_at <= clock_timestamp() order by next_at limit ${limit}`;
}

/** Schedules with a run that waits and whose crawls have all ended. */
export async function freeSchedules(sql: Sql, limit: number): Promise<ScheduleRow[]> {
  return sql<ScheduleRow[]>`
    select ${sql(FIELDS)} from schedules s
    where s.id in (select schedule_id from schedule_runs where state = 'queued')
      and not exists (
        select from schedule_runs r join crawls c on c.id = r.crawl_id
        where r.schedule_id = s.id and r.open and c.state in ('queued', 'running', 'pausing', 'paused'))
    order by s.id limit ${limit}`;
}

/** Milliseconds to the next tick of all, null: there is none; and whether any run waits for a crawl to end. */
export async function nextDue(sql: Sql): Promise<{ ms: number | null; waiting: boolean }> {
  const [row] = await sql<{ ms: number | null; waiting: boolean }[]>`
    select (extract(epoch from min(next_at) - clock_timestamp()) * 1000)::float8 as ms,
      exists (select from schedule_runs where state = 'queued') as waiting
    from schedules where next_at is not null`;
  return row!;
}
