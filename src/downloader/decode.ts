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
import { codeOf, FetchError } from './failure.ts';

/** What `decode` undoes, as an Accept-Encoding header. */
export const ACCEPT_ENCODING = 'gzip, deflate, br, zstd';

const MAX_CODINGS = 2;
const CHUNK_BYTES = 65_536;

export interface DecodeLimits {
  /** Cap of each stage's output, in bytes. */
  maxBytes: number;
  /** Keep what fits, and what could be read, instead of failing. */
  cut: boolean;
  /** Keep what could be read of data that ends too early, whatever its coding. */
  keep: boolean;
}

interface Decoded {
  body: ByteSink;
  /** The data ended before its coding did. */
  isCut: boolean;
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
 * @throws FetchError `too_large` past the cap, `bad_encoding` for damaged data; `truncated` for br and zstd that end too
 * early (gzip and deflate are kept as far as they go, as browsers do: servers forget the trailer)
 */
export async function decode(
  encoded: ByteSink,
  codings: readonly string[],
  limits: DecodeLimits,
  signal: AbortSignal,
): Promise<Decoded> {
  let body = encoded;
  let isCut = false;
  for (const coding of codings.toReversed()) {
    const input = body;
    const decoded = await inTurn(() => {
      const decoder = input.length === 0 ? null : DECODERS[coding]!(input.bytes);
      const keep = limits.keep || LENIENT.has(coding);
      return decoder === null ? { body: input, isCut: false } : run(decoder, input.bytes, { ...limits, keep }, signal);
    });
    body = decoded.body;
    isCut ||= decoded.isCut;
  }
  return { body, isCut };
}

/** A stream for one coding; null where the bytes are plain in spite of the label. */
type Decoder = (bytes: Uint8Array) => Transform | null;

/** A body without the magic number is plain text that a server labelled gzip. */
function gunzip(bytes: Uint8Array): Transform | null {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return null;
  return createGunzip({ chunkSize: CHUNK_BYTES });
}

/** The standard means zlib's wrapping; some servers send it bare. A zlib header's low nibble is 8, a bare block's is not. */
function inflate(bytes: Uint8Array): Transform {
  const create = (bytes[0]! & 0x0f) === 8 ? createInflate : createInflateRaw;
  return create({ chunkSize: CHUNK_BYTES });
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
const LENIENT = new Set(['gzip', 'x-gzip', 'deflate']);
/** zlib's word for data that ends too early; what came before it has been given out. */
const ENDS_EARLY = 'Z_BUF_ERROR';

function run(decoder: Transform, input: Uint8Array, limits: DecodeLimits, signal: AbortSignal): Promise<Decoded> {
  const sink = new ByteSink();
  return new Promise((resolve, reject) => {
    const stop = () => decoder.destroy(new Error('stopped'));
    signal.addEventListener('abort', stop);
    const settle = (error: FetchError | null, isCut = false) => {
      signal.removeEventListener('abort', stop);
      if (error === null) resolve({ body: sink, isCut });
      else reject(error);
    };
    decoder.on('data', (chunk: Buffer) => {
      const room = limits.maxBytes - sink.length;
      sink.append(chunk.length > room ? chunk.subarray(0, room) : chunk);
      if (chunk.length <= room) return;
      decoder.destroy();
      settle(
        limits.cut ? null : new FetchError('too_large', `the decoded body is over ${limits.maxBytes} bytes`),
        true,
      );
    });
    decoder.once('end', () => settle(null));
    decoder.on('error', (error) => {
      if (limits.cut) return settle(null, true);
      const endsEarly = codeOf(error) === ENDS_EARLY;
      if (endsEarly && limits.keep) settle(null, true);
      else if (endsEarly) settle(new FetchError('truncated', 'the encoded body ends too early'));
      else settle(new FetchError('bad_encoding', 'the encoded body is damaged'));
    });
    decoder.end(input);
  });
}
