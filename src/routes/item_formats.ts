import type { CrawlHead } from '../db/crawls.ts';
import { type Coding, pieceOf } from '../formats/codings.ts';
import { CsvEncoder } from '../formats/csv.ts';
import { isNarrow, itemJson } from '../formats/item_json.ts';
import { JsonArrayEncoder } from '../formats/json_encoders.ts';
import type { Narrowing } from '../formats/members.ts';
import type { ParquetFile } from '../formats/parquet_thread.ts';
import { sseEvent } from '../formats/sse.ts';
import type { TableShape } from '../formats/table.ts';
import type { StoredItem } from '../model/item.ts';
import type { PieceFormat } from '../stream/pieces.ts';
import { Turns } from './turns.ts';

/** Data that are looked into in one turn of the event loop: about a millisecond. */
const SLICE_BYTES = 64 * 1024;
/** What an item costs besides its data. */
const ITEM_BYTES = 200;
const RECONNECT_MS = 1000;
const NOTHING = new Uint8Array(0);

/** A stream of items as bytes. Close it when done. */
export interface StreamFormat extends PieceFormat {
  /** Said at once, before the first item; null: nothing. */
  opening: string | null;
  /** Said when nothing came for long; null: nothing. */
  heartbeat: string | null;
  end(head: CrawlHead): Promise<Uint8Array>;
  close(): void;
}

/** All readers of the process that look into items take turns, a slice each. */
const turns = new Turns();

/** One item a line. */
export function ndjsonFormat(narrowing: Narrowing): StreamFormat {
  return {
    key: keyOf('ndjson', narrowing),
    opening: null,
    heartbeat: null,
    encode: linesOf(narrowing, (item) => `${itemJson(item, narrowing)}\n`),
    end: async () => NOTHING,
    close: () => {},
  };
}

/** An event for each item, and one for the end. */
export function sseFormat(narrowing: Narrowing): StreamFormat {
  return {
    key: keyOf('sse', narrowing),
    opening: `retry: ${RECONNECT_MS}\n\n`,
    heartbeat: ': \n\n',
    encode: linesOf(narrowing, (item) => sseEvent('item', itemJson(item, narrowing), item.offset)),
    end: async ({ state, stop_reason: stopReason }) =>
      Buffer.from(sseEvent('end', JSON.stringify({ state, stopReason }))),
    close: () => {},
  };
}

export function jsonArrayFormat(narrowing: Narrowing): StreamFormat {
  const encoder = new JsonArrayEncoder(narrowing);
  const encode = (items: readonly StoredItem[]) => encoder.encode(items);
  return {
    key: null,
    opening: Buffer.from(encoder.begin()).toString(),
    heartbeat: null,
    encode: (items) => (isNarrow(narrowing) ? inSlices(items, encode) : encode(items)),
    end: async () => encoder.end(),
    close: () => {},
  };
}

/** @param shapeOf fixes the columns by the first items, which may be none */
export function csvFormat(shapeOf: (first: readonly StoredItem[]) => Promise<TableShape>): StreamFormat {
  let encoder: CsvEncoder | null = null;
  const encode = async (items: readonly StoredItem[]) => {
    const begins = encoder === null;
    const csv = encoder ?? new CsvEncoder(await shapeOf(items));
    encoder = csv;
    const rows = await inSlices(items, (slice) => csv.encode(slice));
    return begins ? Buffer.concat([csv.begin(), rows]) : rows;
  };
  return {
    key: null,
    opening: null,
    heartbeat: null,
    encode,
    end: async () => (encoder === null ? encode([]) : NOTHING),
    close: () => {},
  };
}

/** @param shapeOf as for CSV */
export function parquetFormat(
  file: ParquetFile,
  shapeOf: (first: readonly StoredItem[]) => Promise<TableShape>,
): StreamFormat {
  let begun = false;
  const encode = async (items: readonly StoredItem[]) => {
    const begins = !begun;
    begun = true;
    const head = begins ? await file.begin(await shapeOf(items)) : NOTHING;
    const groups = await file.encode(items);
    return head.length === 0 ? groups : Buffer.concat([head, groups]);
  };
  return {
    key: null,
    opening: null,
    heartbeat: null,
    encode,
    end: async () => (begun ? file.end() : Buffer.concat([await encode([]), await file.end()])),
    close: () => file.close(),
  };
}

/** A format whose pieces are such as a body in the coding takes. */
export function inCoding(format: StreamFormat, coding: Coding): StreamFormat {
  if (coding !== 'gzip') return format;
  const coded = async (bytes: Uint8Array | Promise<Uint8Array>) => pieceOf(coding, await bytes);
  return {
    ...format,
    key: format.key === null ? null : `${format.key} ${coding}`,
    encode: (items) => coded(format.encode(items)),
    end: (head) => coded(format.end(head)),
  };
}

/** Runs over the items a slice a turn. */
export async function inSlices(
  items: readonly StoredItem[],
  encode: (slice: readonly StoredItem[]) => Uint8Array,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let from = 0; from < items.length; ) {
    let to = from;
    for (let bytes = 0; to < items.length && bytes < SLICE_BYTES; to++) bytes += items[to]!.size + ITEM_BYTES;
    const slice = items.slice(from, to);
    pieces.push(await inTurn(() => encode(slice)));
    from = to;
  }
  return Buffer.concat(pieces);
}

function inTurn<T>(work: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    turns.run(() => {
      try {
        resolve(work());
      } catch (error) {
        reject(error);
      }
    });
  });
}

function linesOf(narrowing: Narrowing, lineOf: (item: StoredItem) => string): PieceFormat['encode'] {
  const encode = (items: readonly StoredItem[]) => Buffer.from(items.map(lineOf).join(''));
  return isNarrow(narrowing) ? (items) => inSlices(items, encode) : encode;
}

/** Names all that the bytes depend on. */
function keyOf(format: string, { fields, flatten }: Narrowing): string {
  return JSON.stringify([format, fields && [...fields].sort(), flatten]);
}
