import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';

/** A reader that takes nothing for this long is cut off; it resumes where it was. */
const STALLED_MS = 600_000;
/** A piece of a stream; `sent` is called when it has been handed to the connection. */
export interface Chunk {
  text: string;
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

/**
 * Writes a stream to a response, waiting for the reader at each piece, so that no more than one piece and the socket's
 * buffer are ever held for it. Ends the response when the pieces end. When they fail, or the service stops, what was
 * written is flushed and the response is broken off; the error is given back for the log.
 */
export async function sendStream(response: ServerResponse, options: StreamOptions): Promise<Error | null> {
  const left = new AbortController();
  response.once('close', () => left.abort(new Error('the reader left')));
  const signal = AbortSignal.any([left.signal, options.closing]);
  response.writeHead(200, options.headers);
  response.flushHeaders();
  socketOf(response)?.setKeepAlive(true, 30_000); // finds out about readers that vanished without a word
  try {
    for await (const chunk of options.chunks(signal)) {
      if (!response.write(chunk.text)) await drained(response, signal);
      chunk.sent?.();
    }
    response.end();
    return null;
  } catch (error) {
    const expected = signal.aborted;
    breakOff(response, options.farewell);
    return expected ? null : (error as Error);
  }
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  const timer = setTimeout(() => response.destroy(), STALLED_MS);
  try {
    await once(response, 'drain', { signal });
  } finally {
    clearTimeout(timer);
  }
}

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
