import { BackOff, type RetryOptions } from './back_off.ts';
import { errorOf, OrbweaverError, unreachable } from './errors.ts';
import { type SseEvent, SseParser } from './sse.ts';

/** The service gives a sign of life every fifteen seconds; a connection that is silent for longer than this is dead. */
const SILENCE_MS = 45_000;

/** How a call gets to the service. */
export interface Transport {
  /** Without a slash at the end. */
  url: string;
  headers: Readonly<Record<string, string>>;
  fetch: typeof globalThis.fetch;
}

export interface StreamRequest {
  /** With the query. */
  path: string;
  headers?: Record<string, string>;
}

/**
 * The events of a stream up to its `end`, which comes out, too. A stream that stops without it was cut off (by the network,
 * by a node that died, stopped or was too slow), whatever way it stopped, and is asked for again where it was: so server-sent
 * events are read rather than NDJSON, whose end a proxy may make up.
 *
 * @param next what to ask for after what was read so far; null: nothing is left
 * @throws OrbweaverError where the service refuses, or was away for `retryForMs`; the signal's reason
 */
export async function* followStream(
  transport: Transport,
  next: () => StreamRequest | null,
  options: RetryOptions & { silenceMs?: number | undefined },
): AsyncGenerator<SseEvent> {
  const backOff = new BackOff(options);
  for (;;) {
    const request = next();
    if (request === null) return;
    options.signal?.throwIfAborted();
    const connection = new Connection(options.silenceMs ?? SILENCE_MS, options.signal);
    try {
      const decoder = new TextDecoder();
      const parser = new SseParser();
      for await (const chunk of connection.chunks(transport, request, 'text/event-stream')) {
        backOff.succeeded();
        for (const event of parser.feed(decoder.decode(chunk, { stream: true }))) {
          yield event;
          if (event.event === 'end') return;
        }
      }
      throw new OrbweaverError('cut_off', `${transport.url}${request.path}: the stream was cut off`);
    } catch (error) {
      connection.close();
      await backOff.failed(error);
    } finally {
      connection.close();
    }
  }
}

/** The body of one answer, from which a cut cannot be mended. @throws as `followStream` */
export async function* download(
  transport: Transport,
  request: StreamRequest & { type: string },
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const connection = new Connection(SILENCE_MS, signal);
  try {
    yield* connection.chunks(transport, request, request.type);
  } finally {
    connection.close();
  }
}

/** One request for a stream, closed by the signal, by silence, or by the reader. */
class Connection {
  readonly #abort = new AbortController();
  readonly #silenceMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #stop = (): void => this.close();

  constructor(silenceMs: number, signal: AbortSignal | undefined) {
    this.#silenceMs = silenceMs;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#stop, { once: true });
  }

  close(): void {
    this.#signal?.removeEventListener('abort', this.#stop);
    this.#abort.abort();
  }

  /** The body of the answer, as it comes. @param type media type that it must be of */
  async *chunks({ url, headers, fetch }: Transport, request: StreamRequest, type: string): AsyncGenerator<Uint8Array> {
    const whole = `${url}${request.path}`;
    const init = { headers: { ...headers, ...request.headers, accept: type }, signal: this.#abort.signal };
    const response = await this.#inTime(whole, () => fetch(whole, init));
    if (!response.ok) throw await errorOf(response);
    const found = response.headers.get('content-type');
    if (response.body === null || !found?.startsWith(type))
      throw new OrbweaverError('bad_answer', `${whole} answered with ${found ?? 'nothing'}; expected ${type}`);
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await this.#inTime(whole, () => reader.read());
      if (done) return;
      yield value;
    }
  }

  /** Only what is waited for from the service is timed: the reader may take as long as it likes. */
  async #inTime<T>(url: string, work: () => Promise<T>): Promise<T> {
    let isSilent = false;
    const timer = setTimeout(() => {
      isSilent = true;
      this.#abort.abort();
    }, this.#silenceMs);
    try {
      return await work();
    } catch (error) {
      this.#signal?.throwIfAborted();
      throw unreachable(url, isSilent ? new Error(`nothing came for ${this.#silenceMs / 1000} s`) : error);
    } finally {
      clearTimeout(timer);
    }
  }
}
