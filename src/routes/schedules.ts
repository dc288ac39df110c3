import {
  CRAWL_AT,
  changeSchedule,
  createSchedule,
  deleteSchedule,
  listSchedules,
  previewRuns,
  readRuns,
  readSchedule,
  runNow,
  scheduleProblems,
} from '../engine/schedules.ts';
import { ApiError } from '../errors.ts';
import {
  type ChangeSchedule,
  ChangeScheduleSchema,
  type NewSchedule,
  NewScheduleSchema,
  RunTimesSchema,
  type Schedule,
  type ScheduleRun,
  TimingSchema,
} from '../model/schedule.ts';
import type { Spider } from '../model/spider.ts';
import { type Static, Type } from '../model/type.ts';
import { errorResponses, ref } from './components.ts';
import type { App, RouteDeps } from './deps.ts';
import { type Beyond, refuseBody } from './mistakes.ts';
import { invalid } from './schemas.ts';

const ScheduleParams = Type.Object({ id: Type.String({ description: 'Id of the schedule' }) });
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** A cursor of the runs: the tick of the last one of the page before. */
const TICK = /^[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const limit = Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Default 20' }));
const cursor = Type.Optional(Type.String({ description: '`next` of the page before' }));
const PageQuery = Type.Object({ cursor, limit }, { additionalProperties: false });
const next = Type.Union([Type.String(), Type.Null()], { description: 'Give it as `cursor` for the next page' });
const ScheduleList = Type.Object({ schedules: Type.Array(ref<Schedule>('Schedule')), next });
const RunList = Type.Object({ runs: Type.Array(ref<ScheduleRun>('ScheduleRun')), next });

const tags = ['schedules'];
const answer = (description: string) => ({ 200: { description, ...ref<Schedule>('Schedule') }, ...errorResponses });

/** `/schedules`: crawls that are started by the clock. */
export function scheduleRoutes(app: App, deps: RouteDeps): void {
  createRoute(app, deps);
  previewRoute(app, deps);
  listRoute(app, deps);
  oneScheduleRoutes(app, deps);
  changeRoute(app, deps);
  runRoutes(app, deps);
}

/** @throws ApiError `schedule_not_found` where it cannot be an id */
function scheduleId({ id }: { id: string }): string {
  if (!UUID.test(id)) throw new ApiError('schedule_not_found', `There is no schedule ${id.slice(0, 100)}`);
  return id.toLowerCase();
}

function beyondSchema(deps: RouteDeps): Beyond<NewSchedule> {
  return {
    ofRest: (rest) => scheduleProblems(deps.sql, rest, { ...deps, checkSpider: async () => [] }),
    ofSpider: (spider) => deps.checkSpider(spider as Spider),
    spiderAt: `${CRAWL_AT}/spider`,
  };
}

function createRoute(app: App, deps: RouteDeps): void {
  app.post(
    '/schedules',
    {
      attachValidation: true,
      schema: {
        summary: 'Schedule a crawl',
        description:
          '`crawl` is what POST /crawls takes, and is checked whole; a spider that it names is looked up at each run.',
        tags,
        body: ref<NewSchedule>('NewSchedule'),
        response: { 201: { description: 'It was stored', ...ref<Schedule>('Schedule') }, ...errorResponses },
      },
    },
    async (request, reply) => {
      if (request.validationError !== undefined) await refuseBody(request, NewScheduleSchema, beyondSchema(deps));
      const schedule = await createSchedule(deps.sql, request.body, deps);
      deps.onScheduled();
      return reply.code(201).header('location', `/schedules/${schedule.id}`).send(schedule);
    },
  );
}

function previewRoute(app: App, deps: RouteDeps): void {
  app.post(
    '/schedules/preview',
    {
      schema: {
        summary: 'When a schedule would run',
        description: 'Stores nothing.',
        tags,
        body: TimingSchema,
        response: { 200: { description: 'The next runs', ...RunTimesSchema }, ...errorResponses },
      },
    },
    (request) => previewRuns(deps.sql, request.body),
  );
}

function listRoute(app: App, deps: RouteDeps): void {
  app.get(
    '/schedules',
    {
      schema: {
        summary: 'List the schedules, oldest first',
        tags,
        querystring: PageQuery,
        response: { 200: { description: 'A page of schedules', ...ScheduleList }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof ScheduleList>> => {
      const { cursor: after = null, limit: most = 20 } = request.query;
      if (after !== null && !UUID.test(after)) throw badCursor();
      const found = await listSchedules(deps.sql, after, most + 1);
      const schedules = found.slice(0, most);
      return { schedules, next: found.length > most ? (schedules.at(-1)?.id ?? null) : null };
    },
  );
}

function oneScheduleRoutes(app: App, deps: RouteDeps): void {
  const common = { tags, params: ScheduleParams };
  app.get(
    '/schedules/:id',
    { schema: { ...common, summary: 'One schedule', response: answer('The schedule') } },
    (request) => readSchedule(deps.sql, scheduleId(request.params)),
  );
  app.delete(
    '/schedules/:id',
    {
      schema: {
        ...common,
        summary: 'Delete a schedule with its runs',
        description: 'The crawls that it started stay, and go on.',
        response: { 204: { description: 'It is gone', type: 'null' }, ...errorResponses },
      },
    },
    async (request, reply) => {
      await deleteSchedule(deps.sql, scheduleId(request.params));
      return reply.code(204).send();
    },
  );
}

function changeRoute(app: App, deps: RouteDeps): void {
  app.patch(
    '/schedules/:id',
    {
      attachValidation: true,
      schema: {
        summary: 'Change a schedule',
        description:
          '`crawl` is replaced whole; secrets given as `(hidden)` stay. What was missed while it was not enabled is not made up for.',
        tags,
        params: ScheduleParams,
        body: ref<ChangeSchedule>('ChangeSchedule'),
        response: answer('The schedule, changed'),
      },
    },
    async (request) => {
      const id = scheduleId(request.params);
      if (request.validationError !== undefined)
        await refuseBody(request, ChangeScheduleSchema, { ...beyondSchema(deps), ofRest: () => [] });
      const schedule = await changeSchedule(deps.sql, id, request.body, deps);
      deps.onScheduled();
      return schedule;
    },
  );
}

function runRoutes(app: App, deps: RouteDeps): void {
  app.post(
    '/schedules/:id/run',
    {
      schema: {
        summary: 'Start the crawl of a schedule now',
        description: 'Whatever runs, and also where it is not enabled.',
        tags,
        params: ScheduleParams,
        response: { 201: { description: 'It was started', ...ref<ScheduleRun>('ScheduleRun') }, ...errorResponses },
      },
    },
    async (request, reply) => {
      const run = await runNow(deps.sql, scheduleId(request.params), deps);
      deps.onCrawlChanged(run.crawl.id, 'started');
      return reply.code(201).header('location', `/crawls/${run.crawl.id}`).send(run);
    },
  );
  app.get(
    '/schedules/:id/runs',
    {
      schema: {
        summary: 'What became of each tick, the last one first',
        description: 'The last thousand are kept.',
        tags,
        params: ScheduleParams,
        querystring: PageQuery,
        response: { 200: { description: 'A page of runs', ...RunList }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof RunList>> => {
      const { cursor: from, limit: most = 20 } = request.query;
      if (from !== undefined && !TICK.test(from)) throw badCursor();
      const before = from === undefined ? null : new Date(from);
      if (before !== null && Number.isNaN(before.getTime())) throw badCursor();
      const found = await readRuns(deps.sql, scheduleId(request.params), before, most + 1);
      const runs = found.slice(0, most);
      return { runs, next: found.length > most ? (runs.at(-1)?.tick ?? null) : null };
    },
  );
}

function badCursor(): ApiError {
  return invalid([{ pointer: '?cursor', code: 'bad_format', message: 'expected the `next` of the page before' }]);
}
