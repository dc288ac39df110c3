import { type Static, Type } from 'typebox';
import { countLogLines, readLogs } from '../db/crawl_logs.ts';
import { ApiError } from '../errors.ts';
import { LOG_LEVELS } from '../model/outcome.ts';
import { errorResponses } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';

const LogQuery = Type.Object(
  {
    level: Type.Optional(Type.Enum([...LOG_LEVELS], { description: 'Lines of this level and above; default: all' })),
    after: Type.Optional(Type.Integer({ minimum: -1, description: '`next` of the page before; `n` of a line' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'Default 100' })),
  },
  { additionalProperties: false },
);

const LogPage = Type.Object({
  logs: Type.Array(
    Type.Object({
      n: Type.Integer({ description: 'Place in the crawl’s log: 0, 1, 2 …' }),
      at: Type.String({ format: 'date-time', description: 'When its page was fetched' }),
      level: Type.Enum([...LOG_LEVELS]),
      url: Type.String({ description: 'The page whose callback logged it' }),
      message: Type.String(),
    }),
  ),
  next: Type.Union([Type.Integer(), Type.Null()], { description: 'Give it as `after`; null: there is no more now' }),
  total: Type.Integer({ description: 'Lines logged so far; the first 10,000 are kept' }),
});

/** `GET /crawls/:id/logs`: what scripts logged, failed attempts included. */
export function logRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/logs',
    {
      schema: {
        summary: 'What the script logged',
        description:
          'Lines of `ctx.log` and `console.log`, in the order of their commit; those of failed attempts are kept.',
        tags: ['crawls'],
        params: CrawlParams,
        querystring: LogQuery,
        response: { 200: { description: 'A page of lines', ...LogPage }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof LogPage>> => {
      const id = crawlId(request.params);
      const { level = 'debug', after = -1, limit = 100 } = request.query;
      const levels = LOG_LEVELS.slice(LOG_LEVELS.indexOf(level));
      const [total, rows] = await Promise.all([
        countLogLines(deps.sql, id),
        readLogs(deps.sql, id, { levels, after, limit: limit + 1 }),
      ]);
      if (total === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      const page = rows.slice(0, limit);
      const next = rows.length > limit ? (page.at(-1)?.n ?? null) : null;
      return { logs: page.map(({ at, ...line }) => ({ ...line, at: at.toISOString() })), next, total };
    },
  );
}
