import type { Dispatcher } from 'undici';
import type { FetchResult } from '../model/response.ts';
import type { Settings } from '../model/settings.ts';
import { parseHttpUrl } from '../model/url.ts';
import type { EgressGuard } from './egress.ts';
import { Exchange, failureOf, type Limits, type Meter } from './exchange.ts';
import { FetchError } from './failure.ts';
import { OriginPools } from './origin_pools.ts';

/** The settings of a crawl that say how its requests are sent. */
type Transport = Pick<Settings, 'timeoutMs' | 'maxBodyBytes' | 'verifyTls'> &
  Partial<Pick<Settings, 'connectTimeoutMs' | 'headersTimeoutMs' | 'bodyTimeoutMs' | 'truncated'>>;

/** Its part of a crawl's settings. */
export function transportOf(settings: Settings): Required<Transport> {
  const { timeoutMs, connectTimeoutMs, headersTimeoutMs, bodyTimeoutMs, truncated, maxBodyBytes, verifyTls } = settings;
  return { timeoutMs, connectTimeoutMs, headersTimeoutMs, bodyTimeoutMs, truncated, maxBodyBytes, verifyTls };
}

/**
 * `timeoutMs` is from the call to the last decoded byte: queueing, DNS, connecting, TLS, headers, body, decoding. Of the other
 * times, one that is absent does not count. `maxBodyBytes`: of the body on the wire, and of each decoding stage.
 */
export interface FetchOptions extends Transport {
  /** Absolute. Userinfo and fragment are not sent. */
  url: string;
  /** Upper case; absent: GET. */
  method?: string | undefined;
  /** Sent as they are; without Accept-Encoding a server sends plain bodies (see `ACCEPT_ENCODING`). */
  headers: Record<string, string>;
  /** Sent as UTF-8 with its length; its Content-Type is one of `headers`. Absent: none. GET and HEAD have none. */
  body?: string | undefined;
  /** A longer body is cut at `maxBodyBytes` instead of failing as `too_large`. For robots.txt. */
  cutAtCap?: boolean;
  /** Told when the request goes out, the connection being there; not where it never does. */
  onSent?: () => void;
}

const KEEP_ALIVE_MS = 15_000;
const MAX_HEADER_BYTES = 32 * 1024;

/** Fetches single hops over kept-alive HTTP/1.1 connections. How often and how many at once is decided above. */
export class Downloader {
  readonly #egress: EgressGuard;
  readonly #maxSockets: number | null;
  readonly #meter: Meter = { inFlight: 0, bytes: 0 };
  readonly #closing = new AbortController();
  /** By `verifyTls`; made when first needed. */
  readonly #pools = new Map<boolean, OriginPools>();

  /** @param options.maxSockets connections to one origin; none: as many as there are fetches */
  constructor(options: { egress: EgressGuard; maxSockets?: number }) {
    this.#egress = options.egress;
    this.#maxSockets = options.maxSockets ?? null;
  }

  /** Fetches under way. */
  get inFlight(): number {
    return this.#meter.inFlight;
  }

  /** Bytes held for fetches under way, as received. */
  get bufferedBytes(): number {
    return this.#meter.bytes;
  }

  /**
   * Sends one request; redirects come back as responses. Never rejects: failures have a reason of the ledger's list.
   *
   * Failures look alike whatever the method. So a POST whose connection broke, or whose time was over, after it was sent may,
   * tried again, reach the server twice: at least once is what crawling is, and the ledger cannot know what the server did.
   *
   * @param signal gives the fetch up; it then ends as `reset`
   */
  fetch(options: FetchOptions, signal?: AbortSignal): Promise<FetchResult> {
    const url = parseHttpUrl(options.url);
    if (url === null) return refused(new FetchError('scheme', 'only http and https are fetched'));
    if (this.#closing.signal.aborted) return refused(new FetchError('reset', 'the downloader was closed'));
    if (signal?.aborted) return refused(new FetchError('reset', 'the fetch was given up'));
    return new Promise((resolve) => {
      const exchange = new Exchange(limitsOf(options), this.#meter, resolve, signal, options.onSent);
      const request = {
        origin: url.origin,
        path: url.pathname + url.search,
        method: (options.method ?? 'GET') as Dispatcher.HttpMethod,
        headers: options.headers,
        body: options.body ?? null,
      };
      this.#poolsFor(options.verifyTls).dispatch(request, exchange);
    });
  }

  /** Ends what is under way as `reset` and closes every connection. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#pools.values().map((pools) => pools.destroy()));
  }

  #poolsFor(verifyTls: boolean): OriginPools {
    let pools = this.#pools.get(verifyTls);
    if (pools === undefined) {
      pools = this.#newPools(verifyTls);
      this.#pools.set(verifyTls, pools);
    }
    return pools;
  }

  #newPools(verifyTls: boolean): OriginPools {
    return new OriginPools({
      connect: this.#egress.connector(verifyTls, this.#closing.signal),
      connections: this.#maxSockets,
      pipelining: 1,
      allowH2: false,
      useMilo: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // each exchange has one deadline of its own; these begin anew at each chunk
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }
}

function limitsOf(options: FetchOptions): Limits {
  const { timeoutMs } = options;
  return {
    timeoutMs,
    connectTimeoutMs: options.connectTimeoutMs ?? timeoutMs,
    headersTimeoutMs: options.headersTimeoutMs ?? timeoutMs,
    bodyTimeoutMs: options.bodyTimeoutMs ?? timeoutMs,
    maxBodyBytes: options.maxBodyBytes,
    cutAtCap: options.cutAtCap ?? false,
    keepsTruncated: options.truncated === 'keep',
    bodiless: options.method === 'HEAD',
  };
}

function refused(error: FetchError): Promise<FetchResult> {
  return Promise.resolve(failureOf(error, null, 0, 0));
}
