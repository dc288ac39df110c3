import { CRAWL_STATES, type StartCrawl, StartCrawlSchema } from './crawl.ts';
import { NAME_PATTERN } from './name.ts';
import { type Static, Type } from './type.ts';

const OVERLAPS = ['skip', 'queue', 'cancel'] as const;
export type Overlap = (typeof OVERLAPS)[number];
const CATCH_UPS = ['none', 'last', 'all'] as const;
export type CatchUp = (typeof CATCH_UPS)[number];
const RUN_STATES = ['started', 'queued', 'skipped', 'failed'] as const;
export type RunState = (typeof RUN_STATES)[number];

const instant = (description: string) =>
  Type.Optional(Type.Union([Type.String({ maxLength: 40 }), Type.Null()], { description }));

const timing = {
  cron: Type.String({
    minLength: 1,
    maxLength: 200,
    description:
      'Minute, hour, day of the month, month, day of the week; with six fields the first is the second. `0 3 * * MON-FRI`, ' +
      '`*/15 * * * *`, `0 0 L * *`, `@daily`',
  }),
  timeZone: Type.Optional(
    Type.String({ minLength: 1, maxLength: 100, description: 'Of the IANA, as Europe/Berlin; default UTC' }),
  ),
  startAt: instant('No run before this time (RFC 3339)'),
  endAt: instant('No run at this time or later'),
};

const policy = {
  name: Type.Optional(
    Type.Union([Type.String({ pattern: NAME_PATTERN }), Type.Null()], { description: 'Which no other schedule has' }),
  ),
  overlap: Type.Optional(
    Type.Enum([...OVERLAPS], {
      description:
        'When the last crawl has not ended: skip leaves the run out (default), queue starts it afterwards (one waits at most), cancel ' +
        'cancels the last crawl',
    }),
  ),
  catchUp: Type.Optional(
    Type.Enum([...CATCH_UPS], {
      description:
        'Of the runs that were missed while no node was running: none, the last one (default), or all, a hundred at most; all ' +
        'needs `overlap: queue`',
    }),
  ),
  enabled: Type.Optional(
    Type.Boolean({ description: 'Default true; false: nothing is started, and nothing is made up for later' }),
  ),
};

export const TimingSchema = Type.Object(timing, { additionalProperties: false });
/** When a schedule fires. */
export type Timing = Static<typeof TimingSchema>;

export const NewScheduleSchema = Type.Object(
  { ...policy, ...timing, crawl: StartCrawlSchema },
  { additionalProperties: false },
);
export type NewSchedule = Static<typeof NewScheduleSchema>;

export const ChangeScheduleSchema = Type.Object(
  { ...policy, ...timing, cron: Type.Optional(timing.cron), crawl: Type.Optional(StartCrawlSchema) },
  { additionalProperties: false, minProperties: 1 },
);
export type ChangeSchedule = Static<typeof ChangeScheduleSchema>;

const time = Type.String({ format: 'date-time' });
const orNull = <T extends ReturnType<typeof Type.String>>(schema: T) => Type.Union([schema, Type.Null()]);

export const ScheduleRunSchema = Type.Object({
  tick: Type.String({ format: 'date-time', description: 'When it was due; of a manual one, when it was asked for' }),
  manual: Type.Boolean(),
  state: Type.Enum([...RUN_STATES]),
  crawl: Type.Union([
    Type.Object({
      id: Type.String({ format: 'uuid' }),
      state: Type.Union([Type.Enum([...CRAWL_STATES]), Type.Null()], { description: 'Null: it was deleted' }),
    }),
    Type.Null(),
  ]),
  detail: Type.Union([Type.String(), Type.Null()], { description: 'Why it was skipped, waits or failed' }),
  errors: Type.Array(Type.Object({ pointer: Type.String(), code: Type.String(), message: Type.String() }), {
    description: 'Of a failed one: what was wrong with the crawl by then; pointers into the schedule',
  }),
  decidedAt: time,
});
export type ScheduleRun = Static<typeof ScheduleRunSchema>;

export const RunTimesSchema = Type.Object({
  nextRuns: Type.Array(Type.String({ format: 'date-time' }), {
    description: 'Five at most, in the schedule’s time zone; none where it is not enabled or has ended',
  }),
  warnings: Type.Array(Type.String()),
});
export type RunTimes = Static<typeof RunTimesSchema>;

export const ScheduleSchema = Type.Object({
  id: Type.String({ format: 'uuid' }),
  name: orNull(Type.String()),
  cron: Type.String(),
  timeZone: Type.String(),
  startAt: orNull(time),
  endAt: orNull(time),
  overlap: Type.Enum([...OVERLAPS]),
  catchUp: Type.Enum([...CATCH_UPS]),
  enabled: Type.Boolean(),
  crawl: Type.Unsafe<StartCrawl>({ $ref: 'StartCrawl#' }),
  ...RunTimesSchema.properties,
  lastRun: Type.Union([Type.Unsafe<ScheduleRun>({ $ref: 'ScheduleRun#' }), Type.Null()]),
  createdAt: time,
  updatedAt: time,
});
export type Schedule = Static<typeof ScheduleSchema>;
