import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from '../errors.ts';
import { beginBody, CODINGS, type Coding, pieceOf } from '../formats/codings.ts';
import { FormatThread } from '../formats/format_thread.ts';
import { hasRoomForZstd } from '../formats/zstd.ts';
import { ENDED_STATES } from '../model/crawl.ts';
import { CHANGE_KINDS, type ChangeKind } from '../model/outcome.ts';
import { type Static, Type } from '../model/type.ts';
import { CrawlGone } from '../stream/reader.ts';
import { errorResponses, ref } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';
import { encodeJson } from './item_formats.ts';
import { asFile, STREAMS, sendItems, type Wanted } from './item_stream.ts';
import { negotiate, negotiateCoding } from './negotiate.ts';
import { invalid } from './schemas.ts';

/** By name in `?format=`. The page has the media type of the array, and comes first. */
const FORMATS = {
  ndjson: 'application/x-ndjson',
  sse: 'text/event-stream',
  json: 'application/json',
  csv: 'text/csv',
  parquet: 'application/vnd.apache.parquet',
  'json-array': 'application/json',
} as const;
type FormatName = keyof typeof FORMATS;
const PAGE_LIMIT = 1000;
const PAGE_TYPE = 'application/json; charset=utf-8';

const ItemsQuery = Type.Object(
  {
    format: Type.Optional(
      Type.Enum(Object.keys(FORMATS) as FormatName[], {
        description: 'Instead of `Accept`. `json` is a page, `json-array` all of it as one array',
      }),
    ),
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

type ItemsRequest = FastifyRequest<{ Params: { id: string }; Querystring: ItemsQuery }>;

/** `GET /crawls/:id/items` in its formats, and `HEAD`. */
export function itemRoutes(app: App, deps: RouteDeps): void {
  const thread = new FormatThread();
  app.addHook('onClose', () => thread.stop());
  app.get(
    '/crawls/:id/items',
    {
      schema: {
        summary: 'The items, while the crawl runs and afterwards',
        description:
          'In offset order from `after`. All formats but the page stay open until the crawl has ended. A stream that is ' +
          'cut off is incomplete (the body has no end; server-sent events: there is no `end` event): ask again with the last offset as `after`. ' +
          'Compressed with gzip or zstd by `Accept-Encoding`, but for Parquet.',
        tags: ['items'],
        params: CrawlParams,
        querystring: ItemsQuery,
        response: { 200: itemsAnswer(), ...errorResponses },
      },
    },
    async (request, reply) => {
      const { format, coding } = negotiated(request);
      const wanted = readWanted(request);
      await headOr404(deps, wanted.id);
      setHeaders(reply, coding);
      if (format === 'json')
        return sendPage(deps, thread, reply, wanted, { limit: request.query.limit ?? 100, coding });
      await sendItems(deps, thread, { request, reply }, wanted, { format, coding });
      return reply;
    },
  );
  headRoute(app, deps);
}

function headRoute(app: App, deps: RouteDeps): void {
  app.head(
    '/crawls/:id/items',
    {
      schema: {
        summary: 'How many items there are',
        description:
          'The headers that GET would answer with, and the crawl’s counts: `x-total-items` (all that are committed, whatever ' +
          '`type` and `change` leave), `x-next-offset` (of the next item that is committed) and `x-crawl-state`.',
        tags: ['items'],
        params: CrawlParams,
        querystring: ItemsQuery,
        response: { 200: { description: 'Headers alone', type: 'null' }, ...errorResponses },
      },
    },
    async (request, reply) => {
      const { format, coding } = negotiated(request);
      const { id } = readWanted(request);
      const head = await headOr404(deps, id);
      setHeaders(reply, coding);
      if (format !== 'json') reply.headers(asFile(format, id));
      reply.headers({ 'x-total-items': head.items, 'x-next-offset': head.items, 'x-crawl-state': head.state });
      return reply.type(format === 'json' ? PAGE_TYPE : STREAMS[format]).send();
    },
  );
}

/** @throws ApiError `not_acceptable` */
function negotiated(request: ItemsRequest): { format: FormatName; coding: Coding } {
  const format = negotiate(FORMATS, request.query.format, request.headers.accept);
  const codings: readonly Coding[] = format === 'parquet' ? ['identity'] : CODINGS;
  const free = codings.filter((coding) => coding !== 'zstd' || hasRoomForZstd());
  return { format, coding: negotiateCoding(free, request.headers['accept-encoding']) };
}

function setHeaders(reply: FastifyReply, coding: Coding): void {
  reply.header('vary', 'Accept, Accept-Encoding');
  if (coding !== 'identity') reply.header('content-encoding', coding);
}

function itemsAnswer() {
  const binary = { type: 'string', format: 'binary' } as const;
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
      'application/json': {
        schema: { anyOf: [ref('ItemPage'), { type: 'array', items: ref('Item') }] },
      },
      'text/csv': {
        schema: {
          type: 'string',
          description:
            'offset, type, url, scrapedAt, with `dedup.scope: spider` change, then the fields; `_other` holds what has no column, as JSON',
        },
      },
      'application/vnd.apache.parquet': { schema: { ...binary, description: 'Columns as in CSV, typed' } },
    },
  };
}

function readWanted(request: ItemsRequest): Wanted {
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

async function sendPage(
  deps: RouteDeps,
  thread: FormatThread,
  reply: FastifyReply,
  wanted: Wanted,
  { limit, coding }: { limit: number; coding: Coding },
): Promise<FastifyReply> {
  const head = await headOr404(deps, wanted.id);
  const query = { ...wanted.query, limit: Math.min(limit, PAGE_LIMIT) };
  const pieces: Uint8Array[] = [];
  let [after, count] = [query.after, 0];
  // Pages without an item of the wanted type are passed over, a few at a time: the client goes on with `next`.
  for (let pages = 0; pages < 20 && count < query.limit && after + 1 < head.items; pages++) {
    const page = await deps.reader.page(wanted.id, { ...query, after, limit: query.limit - count }, head.items);
    pieces.push(await encodeJson(page.items, wanted.narrowing, thread, commaEach));
    count += page.items.length;
    after = page.through;
    if (count > 0 && page.items.length > 0 && wanted.query.type === undefined) break;
  }
  const next = ENDED_STATES.includes(head.state) && after + 1 >= head.items ? 'null' : after;
  const items = Buffer.concat(pieces).subarray(1);
  const text = [Buffer.from('{"items":['), items, Buffer.from(`],"next":${next},"state":"${head.state}"}`)];
  return reply.type(PAGE_TYPE).send(await wholeBody(Buffer.concat(text), coding));
}

/** Members of an array, with a comma before each. */
function commaEach(lines: readonly string[]): string {
  return lines.map((line) => `,${line}`).join('');
}

async function wholeBody(bytes: Uint8Array, coding: Coding): Promise<Uint8Array> {
  const body = beginBody(coding);
  try {
    return Buffer.concat([await body.add(await pieceOf(coding, bytes)), await body.end()]);
  } finally {
    body.close();
  }
}
