import { countLogLines, readLogs, type StoredLogLine } from '../db/crawl_logs.ts';
import { ApiError } from '../errors.ts';
import { LOG_LEVELS } from '../model/outcome.ts';
import { type Static, Type } from '../model/type.ts';
import { type Chunks, sendStream } from '../stream/send.ts';
import { errorResponses } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';
import { negotiate } from './negotiate.ts';

const FORMATS = { json: 'application/json', ndjson: 'application/x-ndjson' } as const;
const PAGE_LIMIT = 1000;

const LogQuery = Type.Object(
  {
    format: Type.Optional(Type.Enum(['json', 'ndjson'], { description: 'Instead of `Accept`' })),
    level: Type.Optional(Type.Enum([...LOG_LEVELS], { description: 'Lines of this level and above; default: all' })),
    after: Type.Optional(Type.Integer({ minimum: -1, description: '`next` of the page before; `n` of a line' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, description: 'A JSON page holds 100, 1000 at most; NDJSON all' })),
  },
  { additionalProperties: false },
);

const LogLine = Type.Object({
  n: Type.Integer({ description: 'Place in the crawl’s log: 0, 1, 2 …' }),
  at: Type.String({ format: 'date-time', description: 'When its page was fetched' }),
  level: Type.Enum([...LOG_LEVELS]),
  url: Type.String({ description: 'The page whose callback logged it' }),
  message: Type.String(),
});

const LogPage = Type.Object({
  logs: Type.Array(LogLine),
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
          'Lines of `ctx.log` and `console.log`, in the order of their commit; those of failed attempts are kept. NDJSON gives ' +
          'what there is, and ends: `GET /crawls/:id/events` tells what comes.',
        tags: ['crawls'],
        params: CrawlParams,
        querystring: LogQuery,
        response: { 200: logAnswer(), ...errorResponses },
      },
    },
    async (request, reply) => {
      const format = negotiate(FORMATS, request.query.format, request.headers.accept);
      const id = crawlId(request.params);
      const total = await countLogLines(deps.sql, id);
      if (total === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      const filter = readFilter(request.query);
      if (format === 'json') return logPage(deps, id, filter, total);
      reply.hijack();
      const headers = { ...reply.getHeaders(), 'content-type': FORMATS.ndjson, 'cache-control': 'no-store' };
      const chunks = () => logChunks(deps, id, filter, request.query.limit);
      const error = await sendStream(reply.raw, { headers, chunks, closing: deps.closing, farewell: null });
      if (error !== null) request.log.warn({ err: error, crawl: id }, 'a stream of log lines was broken off');
      return reply;
    },
  );
}

function logAnswer() {
  return {
    description: 'The lines',
    content: {
      'application/json': { schema: LogPage },
      'application/x-ndjson': { schema: { type: 'string', description: 'One line of the log a line' } },
    },
  };
}

interface LogFilter {
  levels: readonly string[];
  after: number;
  limit: number;
}

function readFilter({ level = 'debug', after = -1, limit = 100 }: Static<typeof LogQuery>): LogFilter {
  return { levels: LOG_LEVELS.slice(LOG_LEVELS.indexOf(level)), after, limit: Math.min(limit, PAGE_LIMIT) };
}

async function logPage(deps: RouteDeps, id: string, filter: LogFilter, total: number): Promise<Static<typeof LogPage>> {
  const rows = await readLogs(deps.sql, id, { ...filter, limit: filter.limit + 1 });
  const page = rows.slice(0, filter.limit);
  const next = rows.length > filter.limit ? (page.at(-1)?.n ?? null) : null;
  return { logs: page.map(toLine), next, total };
}

async function* logChunks(deps: RouteDeps, id: string, filter: LogFilter, limit = Infinity): Chunks {
  let { after } = filter;
  for (let left = limit; left > 0; ) {
    const rows = await readLogs(deps.sql, id, { ...filter, after, limit: Math.min(left, PAGE_LIMIT) });
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.n;
    left -= rows.length;
    yield { data: rows.map((row) => `${JSON.stringify(toLine(row))}\n`).join('') };
  }
}

function toLine({ at, ...line }: StoredLogLine): Static<typeof LogLine> {
  return { ...line, at: at.toISOString() };
}
