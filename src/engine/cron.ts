import { Cron } from 'croner';
import { nearest } from '../model/nearest.ts';
import type { Timing } from '../model/schedule.ts';
import type { Problem } from '../model/spider.ts';

// When schedules fire. Where the clocks change, a run at a fixed time (no wildcard and no step in its seconds, minutes and
// hours) that falls into the lost hour is made when that is over, and one that falls into the doubled hour is made once, the
// first time; a run at intervals (`*/15 * * * *`) leaves the lost hour out, and is made in both halves of the doubled one.
// As cron of Debian and Vixie have it; the rules of croner under `no-wildcard`.

/** Runs that are shown. */
const SHOWN = 5;
/** Oftener than this, a crawl is likely to be asked for while the last one runs. */
const OFTEN_MS = 60_000;
/** RFC 3339; without an offset a time would mean another one on each machine. */
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/i;
const FIRST_INSTANT = Date.UTC(1970, 0);
const LAST_INSTANT = Date.UTC(9999, 11, 31);
/** Croner would take a time in place of fields, and fire once. */
const IS_TIME = /^\s*\d{4}-/;

/** When a schedule fires, its times read. */
export interface ReadTiming {
  cron: string;
  timeZone: string;
  startAt: Date | null;
  endAt: Date | null;
}

/** @param timing without problems */
export function readTiming({ cron, timeZone = 'UTC', startAt = null, endAt = null }: Timing): ReadTiming {
  return {
    cron,
    timeZone,
    startAt: startAt === null ? null : new Date(startAt),
    endAt: endAt === null ? null : new Date(endAt),
  };
}

/** What is wrong with when a schedule fires, beyond its schema. */
export function timingProblems(timing: Partial<Timing>, now: Date): Problem[] {
  const { cron, timeZone = 'UTC', startAt = null, endAt = null } = timing;
  const problems = [...instantProblems(startAt, '/startAt'), ...instantProblems(endAt, '/endAt')];
  if (problems.length === 0 && startAt !== null && endAt !== null && Date.parse(endAt) <= Date.parse(startAt))
    problems.push({
      pointer: '/endAt',
      code: 'conflict',
      message: 'it is not after `startAt`, so that nothing is ever run',
    });
  const zone = zoneProblems(timeZone);
  if (cron === undefined) return [...problems, ...zone];
  const wrong = cronProblem(cron);
  if (wrong !== null) problems.push(wrong);
  if (problems.length + zone.length === 0 && nextTick(readTiming({ ...timing, cron }), now) === null)
    problems.push(never(timing));
  return [...problems, ...zone];
}

function instantProblems(text: string | null, pointer: string): Problem[] {
  if (text === null || isInstant(text)) return [];
  const message = `found ${JSON.stringify(text)}; expected a time with its offset (RFC 3339), as 2027-03-01T06:00:00+01:00`;
  return [{ pointer, code: 'bad_format', message }];
}

/** A day that there is, in a year that a database knows as well. */
function isInstant(text: string): boolean {
  const time = RFC_3339.test(text) ? Date.parse(text) : Number.NaN;
  // The 30th of February would be read as a day in March.
  const isDay = new Date(`${text.slice(0, 10)}T00:00Z`).toJSON()?.startsWith(text.slice(0, 10)) ?? false;
  return isDay && time >= FIRST_INSTANT && time <= LAST_INSTANT;
}

function zoneProblems(zone: string): Problem[] {
  if (isZone(zone)) return [];
  const near = nearest(zone, Intl.supportedValuesOf('timeZone'));
  const hint = near === null ? 'as Europe/Berlin or UTC' : `did you mean ${near}?`;
  const message = `found ${JSON.stringify(zone)}; expected a time zone of the IANA, ${hint}`;
  return [{ pointer: '/timeZone', code: 'bad_time_zone', message }];
}

/** Names alone: `+02:00` has no summer time, and whoever writes it may not mean that. */
function isZone(zone: string): boolean {
  if (!/^[A-Za-z]/.test(zone)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

function cronProblem(cron: string): Problem | null {
  try {
    if (IS_TIME.test(cron)) throw new Error('a time is no pattern');
    open(cron, 'UTC');
    return null;
  } catch (error) {
    const why = (error as Error).message.replace(/^CronPattern: /, '');
    const message = `found ${JSON.stringify(cron)}: ${why}; expected five fields (minute, hour, day, month, weekday) or six (with seconds first), as "30 3 * * MON-FRI"`;
    return { pointer: '/cron', code: 'bad_cron', message };
  }
}

function never({ cron, startAt = null, endAt = null }: Partial<Timing>): Problem {
  const isBounded = startAt !== null || endAt !== null;
  const where = isBounded ? ' between now (or `startAt`) and `endAt`' : ': there is no such day';
  return { pointer: '/cron', code: 'bad_cron', message: `found ${JSON.stringify(cron)}, which never fires${where}` };
}

function open(cron: string, timezone: string): Cron {
  return new Cron(cron, { paused: true, timezone, mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard' });
}

/** The first ticks after a time; of whole seconds. */
export function nextTicks({ cron, timeZone, startAt, endAt }: ReadTiming, after: Date, n = SHOWN): Date[] {
  // One at the very moment of `startAt` is inside.
  const from = startAt !== null && startAt > after ? new Date(startAt.getTime() - 1) : after;
  const job = open(cron, timeZone);
  const ticks: Date[] = [];
  for (let last = from; ticks.length < n; ) {
    const next = job.nextRun(last);
    if (next === null || (endAt !== null && next >= endAt)) break;
    if (next > from) ticks.push(next);
    last = next > last ? next : new Date(last.getTime() + 1000);
  }
  return ticks;
}

function nextTick(timing: ReadTiming, after: Date): Date | null {
  return nextTicks(timing, after, 1)[0] ?? null;
}

/** The ticks from one that is due, itself included, to now; where they are more than `most`, the last ones. In order of time. */
export function dueTicks({ cron, timeZone, endAt }: ReadTiming, first: Date, now: Date, most: number): Date[] {
  const job = open(cron, timeZone);
  const isDue = (tick: Date) => tick > first && tick <= now && (endAt === null || tick < endAt);
  // Backwards, so that a year without a node is no year of ticks to go through; and no further than needed, since the hundredth
  // tick of one that fires on each 29th of February lies four centuries back.
  for (let n = 1; ; n = Math.min(most, 4 * n)) {
    const ticks = job.previousRuns(n, new Date(now.getTime() + 1000));
    const later = ticks.filter(isDue).reverse();
    if (later.length === most) return later;
    if (n === most || ticks.length < n || ticks.at(-1)! <= first) return [first, ...later];
  }
}

/** What is odd about a schedule, but may be meant. @param ticks its next ones */
export function timingWarnings(ticks: readonly Date[]): string[] {
  const gaps = ticks.slice(1).map((tick, i) => tick.getTime() - ticks[i]!.getTime());
  const least = Math.min(...gaps);
  if (least >= OFTEN_MS) return [];
  return [`it fires every ${least / 1000} s; with five fields it would fire on whole minutes`];
}

/** A time as the clocks of a zone show it, with its offset. */
export function localTime(time: Date, timeZone: string): string {
  const parts = new Intl.DateTimeFormat('en', {
    timeZone,
    hourCycle: 'h23',
    ...{ year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' },
    timeZoneName: 'longOffset',
  } as Intl.DateTimeFormatOptions).formatToParts(time);
  const part = Object.fromEntries(parts.map(({ type, value }) => [type, value]));
  const offset = part.timeZoneName?.replace(/^GMT(\+00:00)?/, '') || 'Z';
  return `${part.year}-${part.month}-${part.day}T${part.hour}:${part.minute}:${part.second}${offset}`;
}
