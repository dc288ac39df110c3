import type { FastifyReply, FastifyRequest } from 'fastify';
import { readTableSources } from '../db/table_sources.ts';
import { ApiError } from '../errors.ts';
import { beginBody, type Coding, pieceOf } from '../formats/codings.ts';
import { tableShape } from '../formats/columns.ts';
import type { FormatThread } from '../formats/format_thread.ts';
import type { Narrowing } from '../formats/members.ts';
import type { StoredItem } from '../model/item.ts';
import { type Batch, CrawlGone, type ItemQuery } from '../stream/reader.ts';
import { type Chunk, type Chunks, sendStream } from '../stream/send.ts';
import type { RouteDeps } from './deps.ts';
import {
  csvFormat,
  inCoding,
  jsonArrayFormat,
  ndjsonFormat,
  parquetFormat,
  type StreamFormat,
  sseFormat,
} from './item_formats.ts';

const HEARTBEAT_MS = 15_000;
/** So many of the first items are looked at for the columns of a table. */
const FIRST_ITEMS = 100;
const FIRST_BYTES = 64 * 1024;

/** The formats that are streams, and their media types as they are sent. */
export const STREAMS = {
  ndjson: 'application/x-ndjson; charset=utf-8',
  sse: 'text/event-stream; charset=utf-8',
  csv: 'text/csv; charset=utf-8; header=present',
  'json-array': 'application/json; charset=utf-8',
  parquet: 'application/vnd.apache.parquet',
} as const;
export type StreamName = keyof typeof STREAMS;

/** What a client asked for, read from query and headers. */
export interface Wanted {
  id: string;
  query: ItemQuery;
  follow: boolean;
  narrowing: Narrowing;
}

/** What says that a format is to be kept as a file. */
export function asFile(format: StreamName, id: string): Record<string, string> {
  if (format === 'ndjson' || format === 'sse') return {};
  const ending = format === 'json-array' ? 'json' : format;
  return { 'content-disposition': `attachment; filename="${id}.${ending}"` };
}

/** @throws ApiError before anything is sent */
export async function sendItems(
  deps: RouteDeps,
  thread: FormatThread,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  wanted: Wanted,
  how: { format: StreamName; coding: Coding },
): Promise<void> {
  const { format, coding } = how;
  const stream = inCoding(streamFormat(deps, thread, format, wanted), coding);
  reply.hijack();
  const error = await sendStream(reply.raw, {
    headers: {
      ...reply.getHeaders(),
      ...asFile(format, wanted.id),
      'content-type': STREAMS[format],
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    },
    chunks: (signal) => {
      const batches = deps.reader.follow(wanted.id, wanted.query, stream, wanted.follow, signal);
      return itemChunks(batches, stream, coding, deps);
    },
    closing: deps.closing,
    farewell: format === 'sse' && coding === 'identity' ? ': broken off; connect again to go on\n\n' : null,
  });
  if (error !== null) request.log.warn({ err: error, crawl: wanted.id }, 'an item stream was broken off');
}

function streamFormat(deps: RouteDeps, thread: FormatThread, format: StreamName, wanted: Wanted): StreamFormat {
  const shapeOf = (first: readonly StoredItem[]) => shapeBy(deps, wanted, first);
  switch (format) {
    case 'ndjson':
      return ndjsonFormat(wanted.narrowing, thread);
    case 'sse':
      return sseFormat(wanted.narrowing, thread);
    case 'json-array':
      return jsonArrayFormat(wanted.narrowing, thread);
    case 'csv':
      return csvFormat(shapeOf, thread);
    case 'parquet': {
      const file = thread.openParquet();
      if (file === null)
        throw new ApiError('too_busy', 'This node makes as many Parquet files as it does at once; try again later');
      return parquetFormat(file, shapeOf);
    }
  }
}

/** The columns of a table of what is wanted. @throws CrawlGone */
async function shapeBy(deps: RouteDeps, { id, query, narrowing }: Wanted, items: readonly StoredItem[]) {
  const sources = await readTableSources(deps.sql, id);
  if (sources === null) throw new CrawlGone(`the crawl ${id} was deleted`);
  const first: StoredItem[] = [];
  let bytes = 0;
  for (const item of items.slice(0, FIRST_ITEMS)) {
    bytes += item.size;
    if (bytes > FIRST_BYTES) break;
    first.push(item);
  }
  const { fields, flatten } = narrowing;
  return tableShape({ ...sources, first }, { type: query.type, fields: fields && [...fields], flatten });
}

async function* itemChunks(
  batches: AsyncIterable<Batch>,
  format: StreamFormat,
  coding: Coding,
  deps: RouteDeps,
): Chunks {
  const body = beginBody(coding);
  const said = async (text: string) => ({ data: await body.add(await pieceOf(coding, Buffer.from(text))) });
  let writtenAt = Date.now();
  try {
    if (format.opening !== null) yield await said(format.opening);
    for await (const batch of batches) {
      if (batch.bytes.length > 0) {
        writtenAt = Date.now();
        yield chunk(await body.add(batch.bytes), batch, deps);
      } else if (batch.end !== null) {
        const last = await format.end(batch.end);
        if (last.length > 0) yield { data: await body.add(last) };
        const end = await body.end();
        if (end.length > 0) yield { data: end };
      } else if (format.heartbeat !== null && Date.now() - writtenAt >= HEARTBEAT_MS) {
        writtenAt = Date.now();
        yield await said(format.heartbeat);
      }
    }
  } finally {
    body.close();
    format.close();
  }
}

function chunk(data: Uint8Array, { committedAt }: Batch, deps: RouteDeps): Chunk {
  if (committedAt === null || deps.onDelivered === undefined) return { data };
  return { data, sent: () => deps.onDelivered?.(performance.now() - committedAt) };
}
