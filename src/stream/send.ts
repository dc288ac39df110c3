import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { Pacer } from './pacer.ts';

/** A reader that takes nothing for this long is cut off; it resumes where it was. */
const STALLED_MS = 600_000;
const BYTES_PER_TURN = 1024 * 1024;

/** A piece of a stream; `sent` is called when it has been handed to the connection. */
export interface Chunk {
  data: string | Uint8Array;
  sent?: () => void;
}
export type Chunks = AsyncIterable<Chunk>;

export interface StreamOptions {
  headers: Record<string, string | number | string[] | undefined>;
  /** Makes the pieces; the signal fires when the reader leaves or the service stops. */
  chunks: (signal: AbortSignal) => Chunks;
  /** Fires at shutdown. */
  closing: AbortSignal;
  /** Said when the stream is broken off, after which it ends properly. Null: it is cut, so that it shows as incomplete. */
  farewell: string | null;
}

/** All streams of the process are on its one event loop. */
const pacer = new Pacer(BYTES_PER_TURN);

/**
 * Writes a stream to a response, waiting for the reader at each piece, so that no more than one piece and the socket's
 * buffer are ever held for it. Ends the response when the pieces end. When they fail, or the service stops, what was
 * written is flushed and the response is broken off; the error is given back for the log.
 */
export async function sendStream(response: ServerResponse, options: StreamOptions): Promise<Error | null> {
  const { closing } = options;
  const reader = new Reader(response);
  const stop = () => reader.leave();
  closing.addEventListener('abort', stop, { once: true });
  if (closing.aborted) stop();
  response.writeHead(200, options.headers);
  response.flushHeaders();
  socketOf(response)?.setKeepAlive(true, 30_000); // finds out about readers that vanished without a word
  try {
    for await (const chunk of options.chunks(reader.signal)) {
      await reader.write(chunk.data);
      chunk.sent?.();
    }
    response.end();
    return null;
  } catch (error) {
    const expected = reader.signal.aborted;
    breakOff(response, options.farewell);
    return expected ? null : (error as Error);
  } finally {
    closing.removeEventListener('abort', stop);
    stalls.delete(reader);
  }
}

/** The connection of one stream: who waits for it, and since when. */
class Reader {
  readonly #response: ServerResponse;
  readonly #left = new AbortController();
  #resume: () => void = () => {};
  /** `performance.now()` */
  #waitsSince = 0;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.on('drain', () => this.#resume());
    response.once('close', () => this.leave());
  }

  /** Fires when the reader leaves, or is left. */
  get signal(): AbortSignal {
    return this.#left.signal;
  }

  leave(): void {
    this.#left.abort(LEFT);
    this.#resume();
  }

  /** Resolves when the connection wants more. @throws the signal's reason */
  async write(data: string | Uint8Array): Promise<void> {
    const turn = pacer.take(data.length);
    if (turn !== null) await turn;
    this.signal.throwIfAborted();
    if (this.#response.write(data)) return;
    this.#waitsSince = performance.now();
    stalls.add(this);
    await new Promise<void>((resume) => {
      this.#resume = resume;
      if (this.signal.aborted) resume();
    });
    stalls.delete(this);
    this.signal.throwIfAborted();
  }

  /** Cuts the connection where it has taken nothing for too long. */
  checkStall(now: number): void {
    if (now - this.#waitsSince > STALLED_MS) this.#response.destroy();
  }
}

const LEFT = new Error('the reader left');

/** Readers that are waited for, looked at by one timer for all. */
class Stalls {
  readonly #readers = new Set<Reader>();
  #timer: NodeJS.Timeout | null = null;

  add(reader: Reader): void {
    this.#readers.add(reader);
    this.#timer ??= setInterval(() => this.#check(), STALLED_MS / 10).unref();
  }

  delete(reader: Reader): void {
    this.#readers.delete(reader);
  }

  #check(): void {
    for (const reader of this.#readers) reader.checkStall(performance.now());
    if (this.#readers.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}

const stalls = new Stalls();

/** Ends or cuts the response once the kernel has what was written; a second later in any case. */
function breakOff(response: ServerResponse, farewell: string | null): void {
  if (response.destroyed) return;
  const socket = socketOf(response);
  const timer = setTimeout(() => response.destroy(), 1000);
  response.once('close', () => clearTimeout(timer));
  if (farewell !== null) response.end(farewell);
  else if (socket !== null) socket.destroySoon();
  else response.destroy();
}

/** Null for a request that was injected: it has no connection. */
function socketOf(response: ServerResponse): Socket | null {
  return response.socket instanceof Socket ? response.socket : null;
}
