import { countEvents } from '../db/crawl_changes.ts';
import { ApiError } from '../errors.ts';
import { Type } from '../model/type.ts';
import { type EventPiece, type EventPlace, EventReader, isBehind, parsePlace, placeText } from '../stream/events.ts';
import { type Chunks, sendStream } from '../stream/send.ts';
import { errorResponses } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';
import { invalid } from './schemas.ts';
import { progressOf } from './stats.ts';

const TICK_MS = 1000;
const HEARTBEAT_TICKS = 15;

const EventsQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({
        description: 'The `id` of the last event that was read, also as `Last-Event-ID`; none: from now on',
      }),
    ),
  },
  { additionalProperties: false },
);

/** `GET /crawls/:id/events`: what happens in a crawl, as server-sent events. */
export function eventRoutes(app: App, deps: RouteDeps): void {
  const reader = new EventReader(deps.sql, progressOf);
  app.get(
    '/crawls/:id/events',
    {
      schema: {
        summary: 'Progress once a second, changes of state, failed requests, the log',
        description:
          'First the `state`, then each change of it; `progress` once a second while it runs; `error` for each failed ' +
          'request; `log` for each line that the script logs (the first 10,000 are kept); `end` with state and stopReason. ' +
          'Each event has an `id`: a client that connects again with it as `Last-Event-ID` or `after`, to any node, gets ' +
          'each change of state, error and line since then, once. `0.0.0` tells all from the beginning.',
        tags: ['crawls'],
        params: CrawlParams,
        querystring: EventsQuery,
        response: {
          200: { description: 'The events', content: { 'text/event-stream': { schema: { type: 'string' } } } },
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const id = crawlId(request.params);
      const after = placeOf(request.query.after, request.headers['last-event-id']);
      const now = await countEvents(deps.sql, id);
      if (now === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      if (after !== null && !isBehind(after, now))
        throw badPlace(request.query.after, `found one behind all events of this crawl, ${placeText(now)}`);
      reply.hijack();
      const headers = {
        ...reply.getHeaders(),
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      };
      const chunks = (signal: AbortSignal) => eventChunks(reader, id, after, signal);
      const farewell = ': broken off; connect again\n\n';
      const error = await sendStream(reply.raw, { headers, chunks, closing: deps.closing, farewell });
      if (error !== null) request.log.warn({ err: error, crawl: id }, 'an event stream was broken off');
      return reply;
    },
  );
}

async function* eventChunks(reader: EventReader, id: string, after: EventPlace | null, signal: AbortSignal): Chunks {
  yield { data: 'retry: 1000\n\n' };
  let place = after;
  for (let silent = 0; ; ) {
    const piece: EventPiece | null = await (place === null ? reader.begin(id) : reader.next(id, place));
    if (piece === null) return;
    place = piece.place;
    silent = piece.text === '' ? silent + 1 : 0;
    if (piece.text !== '') yield { data: piece.text };
    else if (silent % HEARTBEAT_TICKS === 0) yield { data: ': \n\n' };
    if (piece.go === 'never') return;
    if (piece.go === 'later') await sleep(TICK_MS - (Date.now() % TICK_MS), signal);
    signal.throwIfAborted();
  }
}

/** The place after which a client goes on: `after`, or what a browser sends when it connects again; null: from now on. */
function placeOf(after: string | undefined, lastEventId: string | string[] | undefined): EventPlace | null {
  const given = after ?? (lastEventId === '' ? undefined : lastEventId);
  if (given === undefined) return null;
  const place = typeof given === 'string' ? parsePlace(given) : null;
  if (place !== null) return place;
  throw badPlace(after, 'found something else');
}

function badPlace(after: string | undefined, found: string): ApiError {
  const pointer = after === undefined ? 'last-event-id:' : '?after';
  return invalid([{ pointer, code: 'bad_format', message: `expected the id of an event, as 3.17.204; ${found}` }]);
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
