import type { Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';
import pLimit from 'p-limit';
import { ByteSink } from './body.ts';
import { FetchError } from './failure.ts';

/** What `decode` undoes, as an Accept-Encoding header. */
export const ACCEPT_ENCODING = 'gzip, deflate, br, zstd';

const MAX_CODINGS = 2;
const CHUNK_BYTES = 65_536;

export interface DecodeLimits {
  /** Cap of each stage's output, in bytes. */
  maxBytes: number;
  /** Keep what fits instead of failing. */
  cut: boolean;
}

/**
 * The codings of a Content-Encoding header in the order they were applied; `identity` is left out.
 *
 * @throws FetchError `bad_encoding` for more than two, or one that is not known
 */
export function codingsOf(header: string | string[] | undefined): string[] {
  if (header === undefined || header === '') return [];
  const names = (typeof header === 'string' ? header : header.join(',')).toLowerCase().split(',');
  const codings = names.map((name) => name.trim()).filter((name) => name !== '' && name !== 'identity');
  if (codings.length > MAX_CODINGS) throw new FetchError('bad_encoding', `more than ${MAX_CODINGS} content encodings`);
  const unknown = codings.find((coding) => !Object.hasOwn(DECODERS, coding));
  if (unknown !== undefined) throw new FetchError('bad_encoding', `unknown content encoding "${unknown.slice(0, 40)}"`);
  return codings;
}

/** As many as the thread pool has threads: more would not be faster, and each holds a body while it grows. */
const inTurn = pLimit(4);

/**
 * Undoes the codings, last one first, in the thread pool.
 *
 * @param codings from `codingsOf`
 * @param signal stops it; the promise then rejects
 * @throws FetchError `too_large` past the cap, `bad_encoding` for damaged data
 */
export async function decode(
  encoded: ByteSink,
  codings: readonly string[],
  limits: DecodeLimits,
  signal: AbortSignal,
): Promise<ByteSink> {
  let body = encoded;
  for (const coding of codings.toReversed()) {
    const encodedBody = body;
    body = await inTurn(() => {
      const decoder = encodedBody.length === 0 ? null : DECODERS[coding]!(encodedBody.bytes);
      return decoder === null ? encodedBody : run(decoder, encodedBody.bytes, limits, signal);
    });
  }
  return body;
}

/** A stream for one coding; null where the bytes are plain in spite of the label. */
type Decoder = (bytes: Uint8Array) => Transform | null;

/** A body without the magic number is plain text that a server labelled gzip; one without the trailer is kept. */
function gunzip(bytes: Uint8Array): Transform | null {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return null;
  return createGunzip({ finishFlush: constants.Z_SYNC_FLUSH, chunkSize: CHUNK_BYTES });
}

/** The standard means zlib's wrapping; some servers send it bare. A zlib header's low nibble is 8, a bare block's is not. */
function inflate(bytes: Uint8Array): Transform {
  const create = (bytes[0]! & 0x0f) === 8 ? createInflate : createInflateRaw;
  return create({ finishFlush: constants.Z_SYNC_FLUSH, chunkSize: CHUNK_BYTES });
}

function unbrotli(): Transform {
  return createBrotliDecompress({ chunkSize: CHUNK_BYTES });
}

/** RFC 9659: a window of at most 8 MiB; zlib's default would take 128 MiB for a frame that asks. */
function unzstd(): Transform {
  return createZstdDecompress({ chunkSize: CHUNK_BYTES, params: { [constants.ZSTD_d_windowLogMax]: 23 } });
}

const DECODERS: Readonly<Record<string, Decoder>> = {
  gzip: gunzip,
  'x-gzip': gunzip,
  deflate: inflate,
  br: unbrotli,
  zstd: unzstd,
};

function run(decoder: Transform, input: Uint8Array, limits: DecodeLimits, signal: AbortSignal): Promise<ByteSink> {
  const sink = new ByteSink();
  return new Promise((resolve, reject) => {
    const stop = () => decoder.destroy(new Error('stopped'));
    signal.addEventListener('abort', stop);
    const settle = (error: FetchError | null) => {
      signal.removeEventListener('abort', stop);
      if (error === null) resolve(sink);
      else reject(error);
    };
    decoder.on('data', (chunk: Buffer) => {
      const room = limits.maxBytes - sink.length;
      sink.append(chunk.length > room ? chunk.subarray(0, room) : chunk);
      if (chunk.length <= room) return;
      decoder.destroy();
      settle(limits.cut ? null : new FetchError('too_large', `the decoded body is over ${limits.maxBytes} bytes`));
    });
    decoder.once('end', () => settle(null));
    decoder.on('error', () =>
      settle(limits.cut ? null : new FetchError('bad_encoding', 'the encoded body is damaged')),
    );
    decoder.end(input);
  });
}
