import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import pLimit from 'p-limit';
import {
  deleteOldest,
  deleteResponse,
  findResponses,
  type NewResponse,
  readResponses,
  renewResponse,
  type StoredResponse,
  storedBytes,
  storeResponses,
} from '../db/cached_responses.ts';
import { patiently, retried, type Sql } from '../db/client.ts';
import { ByteSink } from '../downloader/body.ts';
import { decode } from '../downloader/decode.ts';
import { failureOf } from '../downloader/exchange.ts';
import type { FetchError } from '../downloader/failure.ts';
import type { HostQueue } from '../frontier/host.ts';
import { storedJson } from '../model/extra.ts';
import type { ClaimedRequest } from '../model/request.ts';
import type { FetchedResponse, FetchFailure, FetchResult } from '../model/response.ts';
import type { CacheSetting, Settings } from '../model/settings.ts';
import { ParserStopped } from '../parser/failure.ts';
import { conditionsOf, forbidsKeeping, isFresh, isStorable, type SentRequest, updatedHeaders } from './cache_policy.ts';
import { Gatherer } from './gatherer.ts';

/** A request, and what its crawl wants of the cache. */
export interface CacheRequest extends SentRequest {
  body: string | null;
  setting: CacheSetting;
  maxBodyBytes: number;
  /** What came unverified is for those alone that take it. */
  verifyTls: boolean;
  /** What a proxy brought, which may say what it likes where there is no TLS, is for those alone that use it. */
  proxy: Settings['proxy'];
  /** Answers with these are tried again, so they are not kept. */
  retryStatuses: readonly number[];
}

/** A claimed request whose stored response is to be read. */
export interface CachedPage {
  request: ClaimedRequest;
  queue: HostQueue;
  key: string;
  /** Bytes as stored. */
  size: number;
  /** To be called when its cookies are in the jar, or it is not here any more. */
  settle: () => void;
}

export interface ResponseCacheOptions {
  sql: Sql;
  /** Of all that is stored, over all nodes. */
  maxBytes: number;
  log: { warn: (detail: object, message: string) => void };
}

const DEFAULT_TTL_S = 86_400;
const MAX_DAYS = 30;
/** Larger bodies are not kept. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;
/** Of one statement, or one transaction. */
const MAX_ROWS = 32;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
/** Of one whose size is not known yet. */
const LIKELY_BYTES = 64 * 1024;
/** What is above the bound goes down to this share of it, so that not every response makes room for itself. */
const KEPT_SHARE = 0.9;
/** This node stored so large a part of the bound: it is asked whether it holds. */
const SWEEP_SHARE = 1 / 32;
const SWEEP_MS = 600_000;
const KEPT_STATUSES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308, 404, 410]);
/** Whether they are sent changes nothing about whose request it is. */
const CONDITIONS: ReadonlySet<string> = new Set(['if-none-match', 'if-modified-since']);

const compress = promisify(zstdCompress);
/** Half of the thread pool: decoding and DNS have the rest. */
const inTurn = pLimit(2);

/**
 * The responses that crawls with `cache` keep, for developing a spider. A response is given to whoever would send the same
 * request: method, URL, body and every header count, Cookie and Authorization included, so that nobody gets a page that was
 * made for another.
 *
 * One statement reads and one writes at a time, a few megabytes each, so that half of the node's connections are left to what
 * all crawls need: a cache that is slow slows the crawls that use it, and no other.
 */
export class ResponseCache {
  readonly #options: ResponseCacheOptions;
  readonly #stopping = new AbortController();
  readonly #reads: Gatherer<{ key: string; size: number }, StoredResponse | null>;
  readonly #writes: Gatherer<NewResponse, undefined>;
  readonly #reading = pLimit(1);
  readonly #writing = pLimit(1);
  #sweepAt = 0;
  #isSweeping = false;
  #unswept = 0;
  /** Of this node; bytes: stored by it. held: by all, as it was when this node last swept. */
  readonly totals = { hits: 0, misses: 0, bytes: 0, held: 0 };

  constructor(options: ResponseCacheOptions) {
    this.#options = options;
    const { sql } = options;
    const bounds = { max: MAX_ROWS, maxWeight: MAX_BATCH_BYTES, lingerMs: 0, concurrency: 1 };
    this.#reads = new Gatherer({ ...bounds, weigh: ({ size }) => size, send: (asked) => this.#readAll(asked) });
    this.#writes = new Gatherer({
      ...bounds,
      weigh: ({ body }) => body.length,
      send: async (rows) => {
        const each = [...new Map(rows.map((row) => [row.key, row])).values()];
        await this.#writing(() => retried(() => storeResponses(sql, each)));
        return rows.map(() => undefined);
      },
    });
  }

  /** Waits for the database no longer: what asks is rejected with `ParserStopped`. */
  stop(): void {
    this.#stopping.abort(new ParserStopped('the node stops'));
  }

  /** Those of one crawl's requests that are stored and may be used as they are, with their sizes; by `keyOf`. Never rejects. */
  async find({ mode }: CacheSetting, requests: ReadonlyMap<string, CacheRequest>): Promise<Map<string, number>> {
    if (mode === 'refresh') return new Map();
    const usable = new Map<string, number>();
    await this.#orComplain(async () => {
      const keys = [...requests.keys()];
      const found = await this.#patiently(() => findResponses(this.#options.sql, keys, mode === 'standard'));
      for (const one of found) if (isUsable(requests.get(one.key)!, one)) usable.set(one.key, one.size);
    });
    return usable;
  }

  /** The stored response. Null: there is none that may be used as it is. @throws ParserStopped */
  async take(request: CacheRequest, key: string, size: number): Promise<FetchResult | null> {
    const stored = await this.#reads.ask({ key, size });
    if (stored === null || !isUsable(request, stored)) return null;
    this.totals.hits++;
    return this.#responseOf(request, stored, 0);
  }

  /**
   * The stored response where that may be used; else what `send` brings, which `store` is then due for.
   *
   * @throws ParserStopped
   */
  async fetch(
    request: CacheRequest,
    send: (headers: Readonly<Record<string, string>>) => Promise<FetchResult>,
  ): Promise<FetchResult> {
    const { mode } = request.setting;
    if (mode === 'refresh') return send(request.headers);
    const key = keyOf(request);
    const stored = await this.#reads.ask({ key, size: LIKELY_BYTES });
    if (stored !== null && isUsable(request, stored)) {
      this.totals.hits++;
      return this.#responseOf(request, stored, 0);
    }
    this.totals.misses++;
    if (mode === 'only') return notCached();
    const conditions = mode === 'standard' && stored !== null ? conditionsOf(request, stored, sinceOf(stored)) : null;
    const fetched = await send({ ...request.headers, ...conditions });
    if (fetched.kind === 'failure') return fetched;
    if (stored !== null && conditions !== null && fetched.status === 304)
      return this.#revalidated(request, stored, fetched);
    if (stored !== null && mode === 'standard' && forbidsKeeping(fetched))
      await this.#orComplain(() => this.#writing(() => deleteResponse(this.#options.sql, key)));
    return fetched;
  }

  /** A crawl fetches nothing, and this request is not stored. */
  miss(): FetchFailure {
    this.totals.misses++;
    return notCached();
  }

  /** Keeps what was fetched, where it is to be kept. Never rejects: what cannot be stored is fetched again, no more. @param now milliseconds since the epoch */
  async store(request: CacheRequest, fetched: FetchResult, now: number): Promise<void> {
    if (fetched.kind === 'failure' || request.setting.mode === 'only') return;
    const { sql } = this.#options;
    const headers = storedJson(fetched.headers);
    if (fetched.cached !== undefined) {
      const key = keyOf(request);
      if (fetched.cached.revalidated)
        await this.#orComplain(() => this.#writing(() => renewResponse(sql, key, headers)));
      return;
    }
    if (!isKept(request, fetched)) return;
    await this.#orComplain(async () => {
      const body = await inTurn(() => compress(Buffer.from(fetched.body, 0, fetched.bodyBytes)));
      const { host } = new URL(request.url);
      await this.#writes.ask({ key: keyOf(request), storedMs: now, status: fetched.status, host, headers, body });
      this.totals.bytes += headers.length + body.length;
      this.#unswept += headers.length + body.length;
    });
  }

  /**
   * Begins to delete what is too old, and the oldest beyond the bound, where it is time to look. Nobody waits for it: the
   * janitor has other work.
   *
   * @param now milliseconds
   */
  tidy(now: number): void {
    if (this.#isSweeping || (now < this.#sweepAt && this.#unswept < this.#options.maxBytes * SWEEP_SHARE)) return;
    this.#sweepAt = now + SWEEP_MS;
    void this.#orComplain(() => this.sweep());
  }

  /** Deletes what is too old, and the oldest beyond the bound. */
  async sweep(): Promise<void> {
    const { sql, maxBytes } = this.#options;
    this.#isSweeping = true;
    this.#unswept = 0;
    try {
      while ((await this.#writing(() => deleteOldest(sql, MAX_DAYS))).n > 0);
      let held = await this.#writing(() => storedBytes(sql));
      for (const least = held > maxBytes ? maxBytes * KEPT_SHARE : held; held > least; ) {
        const { n, bytes } = await this.#writing(() => deleteOldest(sql));
        if (n === 0) break;
        held -= bytes;
      }
      this.totals.held = held;
    } finally {
      this.#isSweeping = false;
    }
  }

  async #readAll(asked: readonly { key: string }[]): Promise<(StoredResponse | null)[]> {
    const keys = [...new Set(asked.map(({ key }) => key))];
    const rows = await this.#patiently(() => readResponses(this.#options.sql, keys));
    const byKey = new Map(rows.map((row) => [row.key, row]));
    return asked.map(({ key }) => byKey.get(key) ?? null);
  }

  #patiently<T>(read: () => Promise<T>): Promise<T> {
    return this.#reading(() => patiently(read, this.#stopping.signal));
  }

  async #orComplain(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#stopping.signal.aborted)
        this.#options.log.warn({ err: error }, 'the cache failed; what it has is fetched');
    }
  }

  async #revalidated(
    request: CacheRequest,
    stored: StoredResponse,
    { headers, wireBytes, ms }: FetchedResponse,
  ): Promise<FetchResult> {
    const updated = { ...stored, headers: updatedHeaders(stored.headers, headers) };
    const response = await this.#responseOf(request, updated, wireBytes);
    if (response.kind === 'failure') return response;
    return { ...response, ms, cached: { storedAt: stored.storedMs, revalidated: true } };
  }

  async #responseOf(
    { maxBodyBytes }: CacheRequest,
    { status, headers, body, storedMs }: StoredResponse,
    wireBytes: number,
  ): Promise<FetchResult> {
    const packed = new ByteSink(body.length);
    packed.append(body);
    try {
      const limits = { maxBytes: maxBodyBytes, cut: false, keep: false };
      const { body: whole } = await decode(packed, ['zstd'], limits, this.#stopping.signal);
      return {
        kind: 'response',
        status,
        headers,
        body: whole.buffer,
        bodyBytes: whole.length,
        wireBytes,
        ms: 0,
        cached: { storedAt: storedMs, revalidated: false },
      };
    } catch (error) {
      this.#stopping.signal.throwIfAborted();
      return failureOf(error as FetchError, status, wireBytes, 0); // this crawl's maxBodyBytes is smaller
    }
  }
}

/** 128 bits over all that tells one request, and one sender, from another, as 32 hex digits. */
export function keyOf({ method, url, headers, body, verifyTls, proxy }: CacheRequest): string {
  const sent = Object.entries(headers)
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => !CONDITIONS.has(name))
    .map(([name, value]) => [name, name === 'cookie' ? sortedCookies(value) : value])
    .sort(([a], [b]) => (a! < b! ? -1 : 1));
  const way = proxy === null ? [verifyTls] : [verifyTls, proxy];
  const text = JSON.stringify([method, url.replace(/#.*$/s, ''), body, sent, ...way]);
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** By name: which of two of one name comes first is said by their paths, and a site may go by it. */
function sortedCookies(header: string): string {
  const names = header.split(/;\s*/).map((pair) => ({ pair, name: pair.split('=', 1)[0]! }));
  return names
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .map(({ pair }) => pair)
    .join('; ');
}

function isUsable(
  request: CacheRequest,
  stored: Pick<StoredResponse, 'status' | 'ageMs' | 'storedMs'> & { headers: StoredResponse['headers'] | null },
): boolean {
  const { mode, ttl } = request.setting;
  switch (mode) {
    case 'use':
      return stored.ageMs <= (ttl ?? DEFAULT_TTL_S) * 1000;
    case 'only':
      return ttl === undefined || stored.ageMs <= ttl * 1000;
    case 'standard':
      return isFresh(request, { ...stored, headers: stored.headers ?? {} }, sinceOf(stored));
    case 'refresh':
      return false;
    default:
      return mode satisfies never;
  }
}

/** When it was stored, by this node's clock. */
function sinceOf({ ageMs }: Pick<StoredResponse, 'ageMs'>): number {
  return Date.now() - ageMs;
}

/** A request for the cache. @param settings of a crawl with `cache` */
export function cacheRequest(
  settings: Pick<Settings, 'cache' | 'maxBodyBytes' | 'verifyTls' | 'proxy' | 'retryStatuses'>,
  request: Omit<SentRequest, 'method'> & { method?: string | undefined; body?: string | null | undefined },
): CacheRequest {
  const { cache, maxBodyBytes, verifyTls, proxy, retryStatuses } = settings;
  const { url, headers, method = 'GET', body = null } = request;
  return { setting: cache!, url, method, headers, body, maxBodyBytes, verifyTls, proxy, retryStatuses };
}

/** No failure that may pass, and nothing that has only a part. */
function isKept(request: CacheRequest, fetched: FetchedResponse): boolean {
  const { status, bodyBytes } = fetched;
  if (bodyBytes > MAX_BODY_BYTES || fetched.truncated || status === 206 || request.retryStatuses.includes(status))
    return false;
  if (!(KEPT_STATUSES.has(status) || (status >= 200 && status < 300))) return false;
  return request.setting.mode !== 'standard' || isStorable(request, fetched);
}

function notCached(): FetchFailure {
  const detail =
    'cache.mode is only, and no crawl has stored what this request gets (its headers count); use or refresh stores it';
  return { kind: 'failure', reason: 'not_cached', detail, status: null, wireBytes: 0, ms: 0 };
}
