import type { Dispatcher } from 'undici';
import type { FetchFailure, FetchResult } from '../model/response.ts';
import { ByteSink } from './body.ts';
import { codingsOf, decode } from './decode.ts';
import { classify, FetchError, isRetryable } from './failure.ts';

/** What is going on in a downloader at the moment. */
export interface Meter {
  inFlight: number;
  /** Bytes received for fetches that have not ended. */
  bytes: number;
}

export interface Limits {
  /** From the start to the last decoded byte. */
  timeoutMs: number;
  maxBodyBytes: number;
  cutAtCap: boolean;
  /** The answer has no body, whatever length it declares: that of a HEAD. */
  bodiless: boolean;
}

type Headers = Record<string, string | string[] | undefined>;

/** A declared length takes no more memory than this before its bytes arrive. */
const MAX_TRUSTED_LENGTH = 1024 * 1024;
const MAX_STORED_HEADERS = 100;
/** Each `103` starts undici's header limits anew, so an endless row of them would end at the deadline only. */
const MAX_INFORMATIONAL = 20;
const ABORTED = new FetchError('reset', 'aborted');

/**
 * One request and its response, as undici's handler. It goes from waiting (no `#controller`) over sent and receiving
 * (`#status` set) to decoding, and from each of them, once, to ended: `#end` calls `resolve`, and nothing counts after it.
 *
 * The parser is never paused: chunks are copied as they come, and the exchange is aborted at the byte cap. A paused parser
 * loses whole pages when the server closes the connection, and has crashed the process in older versions (undici #5360).
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #limits: Limits;
  readonly #meter: Meter;
  readonly #resolve: (result: FetchResult) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | null = null;
  #status: number | null = null;
  #headers: Headers = {};
  #codings: string[] = [];
  #sink: ByteSink | null = null;
  #wireBytes = 0;
  #informational = 0;
  #decoding: AbortController | null = null;
  #ended = false;

  /** Starts the deadline. @param signal gives up; the result is then a `reset` */
  constructor(limits: Limits, meter: Meter, resolve: (result: FetchResult) => void, signal: AbortSignal | undefined) {
    this.#limits = limits;
    this.#meter = meter;
    this.#resolve = resolve;
    this.#signal = signal;
    this.#timer = setTimeout(expire, limits.timeoutMs, this);
    meter.inFlight++;
    signal?.addEventListener('abort', this.#cancel);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // throwing here gives the connection back unused; aborting would close it
    if (this.#ended) throw ABORTED;
    this.#controller = controller;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200) {
      if (++this.#informational > MAX_INFORMATIONAL)
        this.fail(new FetchError('bad_response', 'too many 1xx responses'));
      return;
    }
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
    if (this.#decoding === null) this.fail(classify(error, this.#status !== null));
  }

  /** The deadline has passed. */
  expire(): void {
    let missing = 'complete body';
    if (this.#controller === null) missing = 'connection';
    else if (this.#status === null) missing = 'response';
    this.fail(new FetchError('timeout', `no ${missing} within ${this.#limits.timeoutMs} ms`));
  }

  /** Ends the exchange and its connection. Without effect once it has ended. */
  fail(error: FetchError): void {
    if (this.#ended) return;
    this.#end(failureOf(error, this.#status, this.#wireBytes, this.#elapsed()));
    this.#decoding?.abort();
    this.#controller?.abort(ABORTED);
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
    const { maxBodyBytes: maxBytes, cutAtCap: cut } = this.#limits;
    decode(encoded, this.#codings, { maxBytes, cut }, this.#decoding.signal).then(
      (body) => this.#succeed(body),
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
  return { kind: 'failure', reason, retryable: isRetryable(reason), detail: message, status, wireBytes, ms };
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
