import type { Dispatcher } from 'undici';
import type { FetchFailure, FetchResult } from '../model/response.ts';
import { ByteSink } from './body.ts';
import { codingsOf, decode } from './decode.ts';
import { classify, FetchError } from './failure.ts';

/** What is going on in a downloader at the moment. */
export interface Meter {
  inFlight: number;
  /** Bytes received for fetches that have not ended. */
  bytes: number;
}

export interface Limits {
  /** From the start to the last decoded byte. */
  timeoutMs: number;
  connectTimeoutMs: number;
  headersTimeoutMs: number;
  bodyTimeoutMs: number;
  maxBodyBytes: number;
  cutAtCap: boolean;
  /** A body that breaks off is a response as far as it came. */
  keepsTruncated: boolean;
  /** The answer has no body, whatever length it declares: that of a HEAD. */
  bodiless: boolean;
}

type Headers = Record<string, string | string[] | undefined>;

/** What an exchange waits for. */
type Phase = 'connection' | 'headers' | 'body' | 'decoding';
/** The limit that a phase has besides the whole exchange's. */
const LIMIT_OF = {
  connection: 'connectTimeoutMs',
  headers: 'headersTimeoutMs',
  body: 'bodyTimeoutMs',
  decoding: 'timeoutMs',
} as const satisfies Record<Phase, keyof Limits>;
const MISSING: Record<Phase, string> = {
  connection: 'no connection',
  headers: 'no headers',
  body: 'nothing more of the body',
  decoding: 'the body was not decoded',
};

/** A declared length takes no more memory than this before its bytes arrive. */
const MAX_TRUSTED_LENGTH = 1024 * 1024;
const MAX_STORED_HEADERS = 100;
/** Each `103` starts undici's header limits anew, so an endless row of them would end at the deadline only. */
const MAX_INFORMATIONAL = 20;
const ABORTED = new FetchError('reset', 'aborted');

/**
 * One request and its response, as undici's handler. It goes from waiting for a connection over waiting for headers and
 * receiving the body to decoding, and from each of them, once, to ended: `#end` calls `resolve`, and nothing counts after it.
 *
 * One timer serves all limits. It is set for the nearest deadline; when it fires and what came since has moved that, it is
 * set again. So a chunk costs a look at the clock, and an exchange that goes well sets one timer.
 *
 * The parser is never paused: chunks are copied as they come, and the exchange is aborted at the byte cap. A paused parser
 * loses whole pages when the server closes the connection, and has crashed the process in older versions (undici #5360).
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #limits: Limits;
  readonly #meter: Meter;
  readonly #resolve: (result: FetchResult) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #onSent: (() => void) | undefined;
  readonly #proxy: string | undefined;
  readonly #started = performance.now();
  #timer: NodeJS.Timeout;
  /** When the timer fires; all times are those of `performance.now`. */
  #firesAt: number;
  #phase: Phase = 'connection';
  /** When the phase began, or the last piece of the body came. */
  #since: number;
  #headersMs = 0;
  #controller: Dispatcher.DispatchController | null = null;
  #status: number | null = null;
  #headers: Headers = {};
  #codings: string[] = [];
  #sink: ByteSink | null = null;
  #wireBytes = 0;
  #informational = 0;
  #decoding: AbortController | null = null;
  /** The body broke off, and what came of it is kept. */
  #isTruncated = false;
  #ended = false;

  /**
   * Starts the time.
   *
   * @param options.signal gives up; the result is then a `reset`
   * @param options.proxy what the proxy on the way is called
   * @param options.onSent the request goes out
   */
  constructor(
    limits: Limits,
    meter: Meter,
    resolve: (result: FetchResult) => void,
    {
      signal,
      proxy,
      onSent,
    }: { signal: AbortSignal | undefined; proxy: string | undefined; onSent: (() => void) | undefined },
  ) {
    this.#limits = limits;
    this.#meter = meter;
    this.#resolve = resolve;
    this.#signal = signal;
    this.#onSent = onSent;
    this.#proxy = proxy;
    this.#since = this.#started;
    this.#firesAt = this.#deadline();
    this.#timer = setTimeout(expire, this.#firesAt - this.#started, this);
    meter.inFlight++;
    signal?.addEventListener('abort', this.#cancel);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // throwing here gives the connection back unused; aborting would close it
    if (this.#ended) throw ABORTED;
    this.#controller = controller;
    this.#enter('headers');
    this.#onSent?.();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200) {
      if (++this.#informational > MAX_INFORMATIONAL)
        this.fail(new FetchError('bad_response', 'too many 1xx responses'));
      return;
    }
    this.#headersMs = Math.round(performance.now() - this.#since);
    this.#enter('body');
    this.#status = status;
    this.#headers = headersOf(controller, headers);
    try {
      this.#codings = codingsOf(headers['content-encoding']);
      const isEmpty = this.#limits.bodiless || status === 204 || status === 304;
      this.#sink = this.#sinkFor(isEmpty ? null : declaredLength(headers));
    } catch (error) {
      this.fail(error as FetchError);
    }
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#ended || this.#sink === null) return;
    this.#since = performance.now();
    const room = this.#limits.maxBodyBytes - this.#wireBytes;
    if (chunk.length <= room) this.#take(this.#sink, chunk);
    else if (this.#limits.cutAtCap) this.#cut(this.#sink, chunk.subarray(0, room));
    else this.fail(tooLarge(this.#limits.maxBodyBytes));
  }

  onResponseEnd(): void {
    // undici gives the connection back in an immediate that it sets after this call. Whoever is told of the response before
    // that, and fetches from the same origin at once, opens a second connection; so tell it one immediate later.
    process.nextTick(setImmediate, complete, this);
  }

  /** The last byte was received. */
  complete(): void {
    if (this.#ended || this.#sink === null) return;
    if (this.#codings.length === 0 || this.#sink.length === 0) this.#succeed(this.#sink);
    else this.#decode(this.#sink);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    // a cut body is complete for us, and its connection was aborted by us
    if (this.#decoding !== null) return;
    const failure = classify(error, this.#status !== null);
    if (failure.reason === 'truncated' && this.#limits.keepsTruncated && this.#wireBytes > 0) {
      this.#isTruncated = true;
      this.complete();
    } else this.fail(failure);
  }

  /** The timer fired. */
  expire(): void {
    const now = performance.now();
    if (now < this.#deadline()) this.#setTimer(now);
    else this.fail(this.#timedOut(now));
  }

  /** Ends the exchange and its connection. Without effect once it has ended. */
  fail(error: FetchError): void {
    if (this.#ended) return;
    this.#end(failureOf(error, this.#status, this.#wireBytes, this.#elapsed()));
    this.#decoding?.abort();
    this.#controller?.abort(ABORTED);
  }

  #enter(phase: Phase): void {
    if (this.#ended) return;
    this.#phase = phase;
    this.#since = performance.now();
    if (this.#deadline() < this.#firesAt) this.#setTimer(this.#since);
  }

  #deadline(): number {
    return Math.min(this.#started + this.#limits.timeoutMs, this.#since + this.#limits[LIMIT_OF[this.#phase]]);
  }

  #setTimer(now: number): void {
    clearTimeout(this.#timer);
    this.#firesAt = this.#deadline();
    this.#timer = setTimeout(expire, Math.ceil(this.#firesAt - now), this);
  }

  #timedOut(now: number): FetchError {
    const phase = this.#phase;
    const isOver = now >= this.#started + this.#limits.timeoutMs;
    const limit = isOver ? 'timeoutMs' : LIMIT_OF[phase];
    const missing = isOver && phase === 'body' ? 'no complete body' : MISSING[phase];
    const within = `within ${this.#limits[limit]} ms (${limit})`;
    if (phase !== 'connection' || isOver) return new FetchError('timeout', `${missing} ${within}`);
    if (this.#proxy === undefined) return new FetchError('connect', `${missing} ${within}`);
    return new FetchError('proxy', `${this.#proxy} gave no connection ${within}`);
  }

  readonly #cancel = (): void => this.fail(new FetchError('reset', 'the fetch was given up'));

  #take(sink: ByteSink, chunk: Buffer): void {
    sink.append(chunk);
    this.#wireBytes += chunk.length;
    this.#meter.bytes += chunk.length;
  }

  #cut(sink: ByteSink, last: Buffer): void {
    this.#take(sink, last);
    this.complete();
    this.#controller?.abort(ABORTED);
  }

  #sinkFor(length: number | null): ByteSink {
    const { maxBodyBytes, cutAtCap } = this.#limits;
    if (length === null) return new ByteSink();
    if (length > maxBodyBytes && !cutAtCap) throw tooLarge(maxBodyBytes);
    return new ByteSink(Math.min(length, MAX_TRUSTED_LENGTH, maxBodyBytes));
  }

  #decode(encoded: ByteSink): void {
    this.#decoding = new AbortController();
    this.#enter('decoding');
    const { maxBodyBytes: maxBytes, cutAtCap: cut, keepsTruncated: keep } = this.#limits;
    decode(encoded, this.#codings, { maxBytes, cut, keep }, this.#decoding.signal).then(
      ({ body, isCut }) => {
        this.#isTruncated ||= isCut;
        this.#succeed(body);
      },
      (error: FetchError) => this.fail(error),
    );
  }

  #succeed(body: ByteSink): void {
    if (this.#ended) return;
    this.#end({
      kind: 'response',
      status: this.#status!,
      headers: this.#headers,
      body: body.buffer,
      bodyBytes: body.length,
      wireBytes: this.#wireBytes,
      ms: this.#elapsed(),
      headersMs: this.#headersMs,
      ...(this.#isTruncated ? { truncated: true } : {}),
    });
  }

  #elapsed(): number {
    return Math.round(performance.now() - this.#started);
  }

  #end(result: FetchResult): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#cancel);
    this.#meter.inFlight--;
    this.#meter.bytes -= this.#wireBytes;
    this.#sink = null;
    this.#resolve(result);
  }
}

// one function for all timers, and one for all immediates: two closures less for each request
function expire(exchange: Exchange): void {
  exchange.expire();
}
function complete(exchange: Exchange): void {
  exchange.complete();
}

function tooLarge(maxBodyBytes: number): FetchError {
  return new FetchError('too_large', `the body is over ${maxBodyBytes} bytes`);
}

/** A failure as the result of a fetch. */
export function failureOf(error: FetchError, status: number | null, wireBytes: number, ms: number): FetchFailure {
  const { reason, message } = error;
  return { kind: 'failure', reason, detail: message, status, wireBytes, ms };
}

function declaredLength(headers: Headers): number | null {
  const text = headers['content-length'];
  if (typeof text !== 'string') return null;
  const length = Number(text);
  return Number.isSafeInteger(length) && length >= 0 ? length : null;
}

function headersOf({ rawHeaders }: Dispatcher.DispatchController, headers: Headers): Headers {
  const isMany = Array.isArray(rawHeaders) && rawHeaders.length > 2 * MAX_STORED_HEADERS;
  return isMany ? Object.fromEntries(Object.entries(headers).slice(0, MAX_STORED_HEADERS)) : headers;
}
