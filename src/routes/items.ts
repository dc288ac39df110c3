import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import { ApiError } from '../errors.ts';
import { itemJson } from '../formats/item_json.ts';
import type { Narrowing } from '../formats/members.ts';
import { sseEvent } from '../formats/sse.ts';
import { ENDED_STATES } from '../model/crawl.ts';
import type { StoredItem } from '../model/item.ts';
import { CHANGE_KINDS, type ChangeKind } from '../model/outcome.ts';
import type { PieceFormat } from '../stream/pieces.ts';
import { type Batch, CrawlGone, type ItemQuery } from '../stream/reader.ts';
import { type Chunk, type Chunks, sendStream } from '../stream/send.ts';
import { errorResponses, ref } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';
import { negotiate } from './negotiate.ts';
import { invalid } from './schemas.ts';

const FORMATS = { ndjson: 'application/x-ndjson', sse: 'text/event-stream', json: 'application/json' } as const;
const HEARTBEAT_MS = 15_000;
const RECONNECT_MS = 1000;
const PAGE_LIMIT = 1000;

const ItemsQuery = Type.Object(
  {
    format: Type.Optional(Type.Enum(['ndjson', 'sse', 'json'], { description: 'Instead of `Accept`' })),
    after: Type.Optional(Type.Integer({ minimum: -1, description: 'Exclusive offset; absent or -1: from the first' })),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, description: 'At most so many items; a JSON page holds 100, 1000 at most' }),
    ),
    follow: Type.Optional(Type.Boolean({ description: 'Stay open until the crawl ends; default true, not for JSON' })),
    type: Type.Optional(Type.String({ description: 'Only items of this type' })),
    change: Type.Optional(
      Type.String({
        pattern: `^(?:${CHANGE_KINDS.join('|')})(?:,(?:${CHANGE_KINDS.join('|')}))*$`,
        description: `Only items that are so against earlier crawls: some of ${CHANGE_KINDS.join(', ')}, comma-separated`,
      }),
    ),
    fields: Type.Optional(
      Type.String({
        description:
          'Only these top-level fields of the data, comma-separated; with `flatten` also paths, as `specs.weight`',
      }),
    ),
    flatten: Type.Optional(
      Type.Boolean({ description: 'Objects inside the data become fields as `specs.weight`; lists stay' }),
    ),
  },
  { additionalProperties: false },
);
type ItemsQuery = Static<typeof ItemsQuery>;

/** What a client asked for, read from query and headers. */
interface Wanted {
  id: string;
  query: ItemQuery;
  follow: boolean;
  narrowing: Narrowing;
}

/** `GET /crawls/:id/items` in its formats. */
export function itemRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/items',
    {
      schema: {
        summary: 'The items, while the crawl runs and afterwards',
        description:
          'In offset order from `after`. NDJSON and SSE stay open until the crawl has ended. A stream that is cut off is ' +
          'incomplete (NDJSON: the body has no end; SSE: there is no `end` event): ask again with the last offset as `after`.',
        tags: ['items'],
        params: CrawlParams,
        querystring: ItemsQuery,
        response: { 200: itemsAnswer(), ...errorResponses },
      },
    },
    async (request, reply) => {
      const format = negotiate(FORMATS, request.query.format, request.headers.accept);
      const wanted = readWanted(request);
      await headOr404(deps, wanted.id);
      if (format === 'json') return sendPage(deps, reply, wanted, request.query.limit ?? 100);
      await sendItems(deps, request, reply, wanted, format);
      return reply;
    },
  );
}

function itemsAnswer() {
  return {
    description: 'The items',
    content: {
      'application/x-ndjson': { schema: { type: 'string', description: 'One Item a line' } },
      'text/event-stream': {
        schema: {
          type: 'string',
          description: '`event: item` with an Item, `id` its offset; `event: end` with state and stopReason',
        },
      },
      'application/json': { schema: ref('ItemPage') },
    },
  };
}

function readWanted(request: FastifyRequest<{ Params: { id: string }; Querystring: ItemsQuery }>): Wanted {
  const { after, limit, follow = true, type, change, fields, flatten = false } = request.query;
  const changes = change === undefined ? undefined : ([...new Set(change.split(','))].sort() as ChangeKind[]);
  const query = { after: after ?? lastEventId(request) ?? -1, limit: limit ?? Number.MAX_SAFE_INTEGER, type, changes };
  return {
    id: crawlId(request.params),
    query,
    follow,
    narrowing: { fields: fields === undefined ? null : new Set(fields.split(',')), flatten },
  };
}

/** What a browser sends when it connects an event stream again. */
function lastEventId(request: FastifyRequest): number | null {
  const text = request.headers['last-event-id'];
  if (text === undefined || text === '') return null;
  if (typeof text === 'string' && /^\d{1,15}$/.test(text)) return Number(text);
  throw invalid([{ pointer: 'last-event-id:', code: 'bad_format', message: 'expected the offset of an item' }]);
}

async function headOr404(deps: RouteDeps, id: string) {
  try {
    return await deps.reader.head(id);
  } catch (error) {
    if (error instanceof CrawlGone) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
    throw error;
  }
}

async function sendPage(deps: RouteDeps, reply: FastifyReply, wanted: Wanted, limit: number): Promise<FastifyReply> {
  const head = await headOr404(deps, wanted.id);
  const query = { ...wanted.query, limit: Math.min(limit, PAGE_LIMIT) };
  const lines: string[] = [];
  let after = query.after;
  // Pages without an item of the wanted type are passed over, a few at a time: the client goes on with `next`.
  for (let pages = 0; pages < 20 && lines.length < query.limit && after + 1 < head.items; pages++) {
    const page = await deps.reader.page(wanted.id, { ...query, after, limit: query.limit - lines.length }, head.items);
    for (const item of page.items) lines.push(itemJson(item, wanted.narrowing));
    after = page.through;
    if (lines.length > 0 && page.items.length > 0 && wanted.query.type === undefined) break;
  }
  const next = ENDED_STATES.includes(head.state) && after + 1 >= head.items ? 'null' : after;
  const text = `{"items":[${lines.join(',')}],"next":${next},"state":"${head.state}"}`;
  return reply.type('application/json; charset=utf-8').serializer(String).send(text);
}

async function sendItems(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  wanted: Wanted,
  format: 'ndjson' | 'sse',
): Promise<void> {
  reply.hijack();
  const error = await sendStream(reply.raw, {
    headers: {
      ...reply.getHeaders(),
      'content-type': format === 'sse' ? 'text/event-stream; charset=utf-8' : 'application/x-ndjson; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    },
    chunks: (signal) => {
      const piece = pieceFormat(format, wanted.narrowing);
      const batches = deps.reader.follow(wanted.id, wanted.query, piece, wanted.follow, signal);
      return format === 'sse' ? sseChunks(batches, deps) : ndjsonChunks(batches, deps);
    },
    closing: deps.closing,
    farewell: format === 'sse' ? ': broken off; connect again to go on\n\n' : null,
  });
  if (error !== null) request.log.warn({ err: error, crawl: wanted.id }, 'an item stream was broken off');
}

function pieceFormat(format: 'ndjson' | 'sse', narrowing: Narrowing): PieceFormat {
  const one: (item: StoredItem) => string =
    format === 'sse'
      ? (item) => sseEvent('item', itemJson(item, narrowing), item.offset)
      : (item) => `${itemJson(item, narrowing)}\n`;
  return {
    key: JSON.stringify([format, narrowing.fields && [...narrowing.fields].sort(), narrowing.flatten]),
    encode: (items) => Buffer.from(items.map(one).join('')),
  };
}

async function* ndjsonChunks(batches: AsyncIterable<Batch>, deps: RouteDeps): Chunks {
  for await (const batch of batches) if (batch.count > 0) yield chunk(batch, deps);
}

async function* sseChunks(batches: AsyncIterable<Batch>, deps: RouteDeps): Chunks {
  yield { data: `retry: ${RECONNECT_MS}\n\n` };
  let writtenAt = Date.now();
  for await (const batch of batches) {
    const { end } = batch;
    const silent = batch.count === 0 && end === null;
    if (silent && Date.now() - writtenAt < HEARTBEAT_MS) continue;
    writtenAt = Date.now();
    if (end !== null)
      yield { data: sseEvent('end', JSON.stringify({ state: end.state, stopReason: end.stop_reason })) };
    else yield silent ? { data: ': \n\n' } : chunk(batch, deps);
  }
}

function chunk({ bytes, committedAt }: Batch, deps: RouteDeps): Chunk {
  if (committedAt === null || deps.onDelivered === undefined) return { data: bytes };
  return { data: bytes, sent: () => deps.onDelivered?.(performance.now() - committedAt) };
}
