import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { FetchResult } from '../model/response.ts';
import type { Settings } from '../model/settings.ts';
import { parseHttpUrl } from '../model/url.ts';
import { Connections } from './connections.ts';
import type { EgressGuard } from './egress.ts';
import { Exchange, failureOf, type Limits, type Meter } from './exchange.ts';
import { FetchError } from './failure.ts';
import { Proxies, type TunnelProxy } from './proxies.ts';

/** The settings of a crawl that say how its requests are sent. */
type Transport = Pick<Settings, 'timeoutMs' | 'maxBodyBytes' | 'verifyTls'> &
  Partial<Pick<Settings, 'connectTimeoutMs' | 'headersTimeoutMs' | 'bodyTimeoutMs' | 'truncated' | 'proxy'>>;

/** Its part of a crawl's settings. */
export function transportOf(settings: Settings): Required<Transport> {
  const { timeoutMs, connectTimeoutMs, headersTimeoutMs, bodyTimeoutMs, maxBodyBytes } = settings;
  const { truncated, verifyTls, proxy } = settings;
  return { timeoutMs, connectTimeoutMs, headersTimeoutMs, bodyTimeoutMs, maxBodyBytes, truncated, verifyTls, proxy };
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
  headers: Readonly<Record<string, string>>;
  /** Sent as UTF-8 with its length; its Content-Type is one of `headers`. Absent: none. GET and HEAD have none. */
  body?: string | undefined;
  /** A longer body is cut at `maxBodyBytes` instead of failing as `too_large`. For robots.txt. */
  cutAtCap?: boolean;
  /** Told when the request goes out, the connection being there; not where it never does. */
  onSent?: () => void;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Fetches single hops over kept-alive HTTP/1.1 connections. How often and how many at once is decided above. */
export class Downloader {
  readonly #egress: EgressGuard;
  readonly #meter: Meter = { inFlight: 0, bytes: 0 };
  readonly #connections: Connections;
  readonly #proxies: Proxies;

  /**
   * @param options.maxSockets connections to one origin; none: as many as there are fetches
   * @param options.proxies the operator's, URLs by name
   */
  constructor(options: { egress: EgressGuard; maxSockets?: number; proxies?: ReadonlyMap<string, string> }) {
    this.#egress = options.egress;
    this.#connections = new Connections(options.egress, options.maxSockets ?? null);
    this.#proxies = new Proxies(options.proxies ?? new Map());
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
    if (this.#connections.isClosed) return refused(new FetchError('reset', 'the downloader was closed'));
    if (signal?.aborted) return refused(new FetchError('reset', 'the fetch was given up'));
    if (options.proxy == null) return this.#exchange(url, options, null, signal);
    return this.#fetchByProxy(url, options, options.proxy, signal);
  }

  /**
   * A plain connection to where a URL leads, judged and by the proxy as fetches are; what is spoken over it, TLS included, is
   * the caller's.
   *
   * @throws FetchError
   */
  async dial(url: URL, setting: Settings['proxy'], signal: AbortSignal): Promise<Socket> {
    if (setting === null) return this.#egress.dial(url, signal);
    const proxy = this.#proxies.next(setting, Date.now());
    try {
      return await this.#egress.dial(url, signal, proxy);
    } catch (error) {
      if ((error as FetchError).reason === 'proxy') this.#proxies.failed(setting, proxy, Date.now());
      throw error;
    }
  }

  async #fetchByProxy(
    url: URL,
    options: FetchOptions,
    setting: NonNullable<Settings['proxy']>,
    signal: AbortSignal | undefined,
  ): Promise<FetchResult> {
    let proxy: TunnelProxy;
    try {
      proxy = this.#proxies.next(setting, Date.now());
    } catch (error) {
      return refused(error as FetchError);
    }
    const result = await this.#exchange(url, options, proxy, signal);
    if (result.kind === 'failure' && result.reason === 'proxy') this.#proxies.failed(setting, proxy, Date.now());
    return result;
  }

  #exchange(
    url: URL,
    options: FetchOptions,
    proxy: TunnelProxy | null,
    signal: AbortSignal | undefined,
  ): Promise<FetchResult> {
    const { verifyTls, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
    return new Promise((resolve) => {
      const told = { signal, proxy: proxy?.label, onSent: options.onSent };
      const exchange = new Exchange(limitsOf(options), this.#meter, resolve, told);
      const request = {
        origin: url.origin,
        path: url.pathname + url.search,
        method: (options.method ?? 'GET') as Dispatcher.HttpMethod,
        headers: options.headers,
        body: options.body ?? null,
      };
      this.#connections.by({ verifyTls, connectTimeoutMs, proxy }).dispatch(request, exchange);
    });
  }

  /** Where an origin is reached, by DNS, in one spelling; null: nowhere that may be dialled. */
  addressOf(origin: string): Promise<string | null> {
    return this.#egress.addressOf(new URL(origin));
  }

  /** Ends what is under way as `reset` and closes every connection. */
  close(): Promise<void> {
    return this.#connections.close();
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
