import type { CrawlHead } from '../db/crawls.ts';
import { type Coding, pieceOf } from '../formats/codings.ts';
import { CsvEncoder } from '../formats/csv.ts';
import type { FormatThread, ParquetFile } from '../formats/format_thread.ts';
import { isNarrow, itemJson, oneLine } from '../formats/item_json.ts';
import type { Narrowing } from '../formats/members.ts';
import { sseEvent } from '../formats/sse.ts';
import type { TableShape } from '../formats/table.ts';
import type { StoredItem } from '../model/item.ts';
import type { PieceFormat } from '../stream/pieces.ts';
import { Turns } from './turns.ts';

/** Data that are looked into in one turn of the event loop: about a millisecond. */
const SLICE_BYTES = 64 * 1024;
/** What an item costs besides its data. */
const ITEM_BYTES = 200;
/** What an empty cell of a table costs: thousands of columns may be asked for. */
const CELL_BYTES = 8;
const RECONNECT_MS = 1000;
const NOTHING = new Uint8Array(0);
const WHOLE: Narrowing = { fields: null, flatten: false };

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
export function ndjsonFormat(narrowing: Narrowing, thread: FormatThread): StreamFormat {
  return {
    key: keyOf('ndjson', narrowing),
    opening: null,
    heartbeat: null,
    encode: (items) => encodeJson(items, narrowing, thread, (lines) => `${lines.join('\n')}\n`),
    end: async () => NOTHING,
    close: () => {},
  };
}

/** An event for each item, and one for the end. */
export function sseFormat(narrowing: Narrowing, thread: FormatThread): StreamFormat {
  return {
    key: keyOf('sse', narrowing),
    opening: `retry: ${RECONNECT_MS}\n\n`,
    heartbeat: ': \n\n',
    encode: (items) =>
      encodeJson(items, narrowing, thread, (lines, of) =>
        lines.map((line, i) => sseEvent('item', line, of[i]!.offset)).join(''),
      ),
    end: async ({ state, stop_reason: stopReason }) =>
      Buffer.from(sseEvent('end', JSON.stringify({ state, stopReason }))),
    close: () => {},
  };
}

export function jsonArrayFormat(narrowing: Narrowing, thread: FormatThread): StreamFormat {
  let isFirst = true;
  const membersOf = (lines: readonly string[]) => {
    const text = `${isFirst ? '\n' : ',\n'}${lines.join(',\n')}`;
    isFirst = false;
    return text;
  };
  return {
    key: null,
    opening: '[',
    heartbeat: null,
    encode: (items) => encodeJson(items, narrowing, thread, membersOf),
    end: async () => Buffer.from('\n]\n'),
    close: () => {},
  };
}

/** @param shapeOf fixes the columns by the first items, which may be none */
export function csvFormat(
  shapeOf: (first: readonly StoredItem[]) => Promise<TableShape>,
  thread: FormatThread,
): StreamFormat {
  let begun: { csv: CsvEncoder; shape: TableShape } | null = null;
  const encode = async (items: readonly StoredItem[]) => {
    const first = begun === null;
    if (begun === null) {
      const shape = await shapeOf(items);
      begun = { shape, csv: new CsvEncoder(shape) };
    }
    const { csv, shape } = begun;
    const encodeSlice = (slice: readonly StoredItem[]) =>
      isLarge(slice) ? thread.rows(shape, slice) : csv.encode(slice);
    const rows = await inSlices(items, encodeSlice, ITEM_BYTES + CELL_BYTES * shape.columns.length);
    return first ? Buffer.concat([csv.begin(), rows]) : rows;
  };
  return {
    key: null,
    opening: null,
    heartbeat: null,
    encode,
    end: async () => (begun === null ? encode([]) : NOTHING),
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

/**
 * Items as JSON, joined by `join`: at once where nothing is looked into, else a slice a turn, and the large ones in the thread.
 *
 * @param join is given as many lines as items
 */
export function encodeJson(
  items: readonly StoredItem[],
  narrowing: Narrowing,
  thread: FormatThread,
  join: (lines: readonly string[], of: readonly StoredItem[]) => string,
): Uint8Array | Promise<Uint8Array> {
  const encode = (slice: readonly StoredItem[], how: Narrowing) =>
    Buffer.from(
      join(
        slice.map((item) => itemJson(item, how)),
        slice,
      ),
    );
  if (!isNarrow(narrowing)) return encode(items, narrowing);
  return inSlices(items, async (slice) => {
    if (!isLarge(slice)) return encode(slice, narrowing);
    const item = slice[0]!;
    return encode([{ ...item, data: await thread.narrow(oneLine(item.data), narrowing) }], WHOLE);
  });
}

/** Runs over the items a slice a turn. A large item is a slice of its own. @param itemBytes what one costs besides its data */
export async function inSlices(
  items: readonly StoredItem[],
  encode: (slice: readonly StoredItem[]) => Uint8Array | Promise<Uint8Array>,
  itemBytes = ITEM_BYTES,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let from = 0; from < items.length; ) {
    let to = from + 1;
    let bytes = items[from]!.size + itemBytes;
    while (to < items.length && bytes + items[to]!.size < SLICE_BYTES) bytes += items[to++]!.size + itemBytes;
    const slice = items.slice(from, to);
    pieces.push(await inTurn(() => encode(slice)));
    from = to;
  }
  return Buffer.concat(pieces);
}

/** Whether looking into it takes so long that it is done in the thread: a megabyte of small fields takes 0.2 s. */
function isLarge(slice: readonly StoredItem[]): boolean {
  return slice[0]!.size > SLICE_BYTES;
}

function inTurn<T>(work: () => T | Promise<T>): Promise<T> {
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

/** Names all that the bytes depend on. */
function keyOf(format: string, { fields, flatten }: Narrowing): string {
  return JSON.stringify([format, fields && [...fields].sort(), flatten]);
}
