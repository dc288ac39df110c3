import { countLogLines, readLogs, type StoredLogLine } from '../db/crawl_logs.ts';
import { findCrawl } from '../db/crawls.ts';
import { type FailedRow, readFailedSince } from '../db/ledger.ts';
import { ApiError } from '../errors.ts';
import { sseEvent } from '../formats/sse.ts';
import { type CrawlState, ENDED_STATES } from '../model/crawl.ts';
import { LOG_LEVELS } from '../model/outcome.ts';
import { type Chunks, sendStream } from '../stream/send.ts';
import { errorResponses } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';
import { progressOf } from './stats.ts';

const TICK_MS = 1000;
const HEARTBEAT_TICKS = 15;
/** Failures may commit a little out of the order of their times. */
const LOOK_BACK_MS = 5000;
const ERRORS_PER_TICK = 100;
const LINES_PER_TICK = 100;

/** `GET /crawls/:id/events`: what happens in a crawl, as server-sent events. */
export function eventRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/events',
    {
      schema: {
        summary: 'Progress once a second, changes of state, failed requests, the log',
        description:
          '`state` when it changes (and first), `progress` once a second while it runs, `error` for each failed request ' +
          '(at most a hundred a second: the ledger has all), `log` for each line that the script logs from now on (so too: ' +
          'GET /crawls/:id/logs), `end` with state and stopReason.',
        tags: ['crawls'],
        params: CrawlParams,
        response: {
          200: { description: 'The events', content: { 'text/event-stream': { schema: { type: 'string' } } } },
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const id = crawlId(request.params);
      if ((await findCrawl(deps.sql, id)) === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      reply.hijack();
      const headers = {
        ...reply.getHeaders(),
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      };
      const chunks = (signal: AbortSignal) => eventChunks(deps, id, signal);
      const farewell = ': broken off; connect again\n\n';
      const error = await sendStream(reply.raw, { headers, chunks, closing: deps.closing, farewell });
      if (error !== null) request.log.warn({ err: error, crawl: id }, 'an event stream was broken off');
      return reply;
    },
  );
}

async function* eventChunks(deps: RouteDeps, id: string, signal: AbortSignal): Chunks {
  yield { data: 'retry: 1000\n\n' };
  const failures = new Failures();
  let logged = ((await countLogLines(deps.sql, id)) ?? 0) - 1;
  let state: CrawlState | null = null;
  for (let tick = 1; ; tick++) {
    const crawl = await findCrawl(deps.sql, id);
    if (crawl === null) return;
    const progress = progressOf(crawl);
    const end = { state: crawl.state, stopReason: crawl.stop_reason };
    const ended = ENDED_STATES.includes(crawl.state);
    const events: string[] = [];
    if (crawl.state !== state) events.push(sseEvent('state', JSON.stringify(end)));
    for (const failed of await failures.next(deps, id)) events.push(sseEvent('error', failedJson(failed)));
    const lines = await readLogs(deps.sql, id, { levels: LOG_LEVELS, after: logged, limit: LINES_PER_TICK });
    for (const line of lines) events.push(sseEvent('log', logJson(line)));
    logged = lines.at(-1)?.n ?? logged;
    if (ended || crawl.state === 'running' || crawl.state === 'pausing')
      events.push(sseEvent('progress', JSON.stringify(progress)));
    if (ended) events.push(sseEvent('end', JSON.stringify(end)));
    if (events.length === 0 && tick % HEARTBEAT_TICKS === 0) events.push(': \n\n');
    state = crawl.state;
    yield { data: events.join('') };
    if (ended) return;
    await sleep(TICK_MS, signal);
  }
}

/** Failed requests since the reader came, each once. */
class Failures {
  #newest = Date.now();
  readonly #seen = new Map<number, number>();

  async next(deps: RouteDeps, id: string): Promise<FailedRow[]> {
    const since = this.#newest - LOOK_BACK_MS;
    for (const [seq, at] of this.#seen) if (at <= since) this.#seen.delete(seq);
    const rows = await readFailedSince(deps.sql, id, new Date(since), [...this.#seen.keys()], ERRORS_PER_TICK);
    for (const row of rows) {
      this.#seen.set(row.seq, row.finished_at.getTime());
      this.#newest = Math.max(this.#newest, row.finished_at.getTime());
    }
    return rows;
  }
}

function failedJson(row: FailedRow): string {
  const { url, reason, detail, status, attempts, finished_at } = row;
  return JSON.stringify({ url, reason, detail, status, attempts, finishedAt: finished_at.toISOString() });
}

function logJson({ at, ...line }: StoredLogLine): string {
  return JSON.stringify({ ...line, at: at.toISOString() });
}

/** @throws the signal's reason, at once */
async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const stop = () => resolve();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) resolve();
  await promise;
  clearTimeout(timer);
  signal.removeEventListener('abort', stop);
  signal.throwIfAborted();
}
