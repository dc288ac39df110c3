import createFetch, { type Client } from 'openapi-fetch';
import { pause, type RetryOptions, withRetries } from './back_off.ts';
import { errorOf, nothingListens, OrbweaverError, unreachable } from './errors.ts';
import { download, followStream, type Transport } from './follow.ts';
import type { components, paths } from './schema.d.ts';

export { OrbweaverError, type Problem } from './errors.ts';
export type { components, paths } from './schema.d.ts';

type Schemas = components['schemas'];
export type Crawl = Schemas['Crawl'];
export type StartCrawl = Schemas['StartCrawl'];
export type Stats = Schemas['Stats'];
export type Preview = Schemas['Preview'];
/** `T`: what the spider makes of a page. */
export type Item<T = unknown> = Omit<Schemas['Item'], 'data'> & { data: T };

type CrawlState = Crawl['state'];
const ENDED: readonly CrawlState[] = ['finished', 'failed', 'cancelled'];
const POLL_MS = 500;

export interface ClientOptions {
  /** Of the service, as `http://127.0.0.1:3000`. */
  url: string;
  /** A secret of its API_KEYS. */
  apiKey?: string | undefined;
  /** Instead of the global one. */
  fetch?: typeof globalThis.fetch | undefined;
}

export interface ItemOptions extends RetryOptions {
  /** Offset of the last item that is there already; absent or -1: from the first. */
  after?: number | undefined;
  /** At most so many. */
  limit?: number | undefined;
  /** Only items of this type. */
  type?: string | undefined;
  /** Only items that are so against earlier crawls. */
  change?: readonly ('new' | 'changed' | 'same' | 'gone')[] | undefined;
  /** Only these fields of the data. */
  fields?: readonly string[] | undefined;
  /** Objects inside the data become fields as `specs.weight`. */
  flatten?: boolean | undefined;
  /** Default true: on until the crawl has ended. False: what is there now. */
  follow?: boolean | undefined;
}

const FILE_TYPES = {
  csv: 'text/csv',
  'json-array': 'application/json',
  parquet: 'application/vnd.apache.parquet',
} as const;
export type FileFormat = keyof typeof FILE_TYPES;
export type FileOptions = Omit<ItemOptions, 'retryForMs' | 'onRetry'>;

/** An item as the service wrote it. */
export interface ItemText {
  offset: number;
  /** A line of JSON. */
  json: string;
}

/** One thing that happened in a crawl. */
export type CrawlEvent =
  | { event: 'state' | 'end'; data: Pick<Crawl, 'state' | 'stopReason'> }
  | {
      event: 'progress';
      data: Pick<Stats, 'state' | 'stopReason' | 'counts' | 'seconds' | 'pagesPerSecond' | 'itemsPerSecond'>;
    }
  | {
      event: 'error';
      data: Pick<Schemas['LedgerRequest'], 'url' | 'reason' | 'detail' | 'status' | 'attempts' | 'finishedAt'>;
    }
  | { event: 'log'; data: { n: number; at: string; level: string; url: string | null; message: string } };

/** A client of one service. Every method throws OrbweaverError, and a signal's reason where one fires. */
export class Orbweaver {
  /** Every call of the API, typed by its contract; an answer outside 2xx is thrown. */
  readonly http: Client<paths>;
  readonly #transport: Transport;

  constructor({ url, apiKey, fetch = globalThis.fetch }: ClientOptions) {
    const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
    this.#transport = { url: url.replace(/\/+$/, ''), headers, fetch: (...args) => fetch(...args) };
    this.http = createFetch<paths>({ baseUrl: this.#transport.url, headers, fetch: (request) => fetch(request) });
    this.http.use({
      onResponse: async ({ response }) => {
        if (!response.ok) throw await errorOf(response);
      },
      onError: ({ request, error }) => (request.signal.aborted ? undefined : unreachable(request.url, error)),
    });
  }

  /**
   * Starts a crawl, once: a call whose answer was lost is repeated under the same key. Where nothing listens at all it is
   * not repeated.
   */
  async startCrawl(
    body: StartCrawl,
    { idempotencyKey = newKey(), ...options }: RetryOptions & { idempotencyKey?: string | undefined } = {},
  ): Promise<Crawl> {
    const params = { header: { 'idempotency-key': idempotencyKey } };
    const start = async () => there((await this.http.POST('/crawls', { body, params, ...signalOf(options) })).data);
    return withRetries(start, { retryForMs: 10_000, ...options }, nothingListens);
  }

  async crawl(id: string, options: { signal?: AbortSignal | undefined } = {}): Promise<Crawl> {
    return there((await this.http.GET('/crawls/{id}', { ...pathOf(id), ...signalOf(options) })).data);
  }

  /** What was committed is kept. */
  async cancel(id: string): Promise<Crawl> {
    return there((await this.http.POST('/crawls/{id}/cancel', pathOf(id))).data);
  }

  async pause(id: string): Promise<Crawl> {
    return there((await this.http.POST('/crawls/{id}/pause', pathOf(id))).data);
  }

  async resume(id: string): Promise<Crawl> {
    return there((await this.http.POST('/crawls/{id}/resume', pathOf(id))).data);
  }

  /** Waits until the crawl has ended, or is in one of the given states; a service that is away is waited for. */
  async waitFor(
    id: string,
    options: RetryOptions & { states?: readonly CrawlState[] | undefined } = {},
  ): Promise<Crawl> {
    const { states = ENDED } = options;
    for (;;) {
      const crawl = await withRetries(() => this.crawl(id, options), options);
      if (states.includes(crawl.state)) return crawl;
      if (ENDED.includes(crawl.state))
        throw new OrbweaverError(
          'wrong_state',
          `The crawl is ${crawl.state}, and will never be ${states.join(' or ')}`,
        );
      await pause(POLL_MS, options.signal);
    }
  }

  /**
   * The items of a crawl in offset order while they are committed, until it has ended and all were read. A stream that is cut
   * off goes on where it was: no item is missed, none comes twice. To go on later, give the last offset as `after`.
   */
  async *streamItems<T = unknown>(id: string, options: ItemOptions = {}): AsyncGenerator<Item<T>, void, undefined> {
    for await (const { json } of this.streamItemTexts(id, options)) yield JSON.parse(json) as Item<T>;
  }

  /** As `streamItems`, each item as the line of JSON that the service wrote. */
  async *streamItemTexts(id: string, options: ItemOptions = {}): AsyncGenerator<ItemText, void, undefined> {
    let after = options.after ?? -1;
    let left = options.limit ?? Number.POSITIVE_INFINITY;
    const next = () =>
      left <= 0 ? null : { path: `/crawls/${encodeURIComponent(id)}/items?${itemQuery(options, after, left)}` };
    for await (const { event, data, id: at } of followStream(this.#transport, next, options)) {
      const offset = Number(at ?? Number.NaN);
      if (event !== 'item' || !(offset > after)) continue;
      after = offset;
      left--;
      yield { offset, json: data };
    }
  }

  /**
   * The items as the bytes of a file. Without `follow` what is there now; a column has to be known before its first value, so
   * best after the end. It cannot go on after a cut: begin anew then.
   */
  async *download(
    id: string,
    format: FileFormat,
    options: FileOptions = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { after = -1, limit = Number.POSITIVE_INFINITY, signal } = options;
    const query = itemQuery({ follow: false, ...options }, after, limit);
    const path = `/crawls/${encodeURIComponent(id)}/items?${query}&format=${format}`;
    yield* download(this.#transport, { path, type: FILE_TYPES[format] }, signal);
  }

  /** What happens in a crawl, until it has ended: the last event is `end`. Where it was cut off it goes on. */
  async *followEvents(id: string, options: RetryOptions = {}): AsyncGenerator<CrawlEvent, void, undefined> {
    let last: string | null = null;
    const path = `/crawls/${encodeURIComponent(id)}/events`;
    const next = () => ({ path, ...(last === null ? {} : { headers: { 'last-event-id': last } }) });
    for await (const { event, data, id: at } of followStream(this.#transport, next, options)) {
      last = at ?? last;
      yield { event, data: JSON.parse(data) } as CrawlEvent;
    }
  }
}

export function createClient(options: ClientOptions): Orbweaver {
  return new Orbweaver(options);
}

const pathOf = (id: string) => ({ params: { path: { id } } });
const signalOf = ({ signal }: { signal?: AbortSignal | undefined }) => (signal === undefined ? {} : { signal });

/** An answer outside 2xx was thrown, so there is data. */
function there<T>(data: T | undefined): T {
  if (data === undefined) throw new OrbweaverError('bad_answer', 'The answer has no body');
  return data;
}

function itemQuery(options: ItemOptions, after: number, left: number): string {
  const { type, change, fields, flatten, follow } = options;
  const query = new URLSearchParams({ after: String(after) });
  if (Number.isFinite(left)) query.set('limit', String(left));
  if (type !== undefined) query.set('type', type);
  if (change !== undefined) query.set('change', change.join(','));
  if (fields !== undefined) query.set('fields', fields.join(','));
  if (flatten === true) query.set('flatten', 'true');
  if (follow === false) query.set('follow', 'false');
  return query.toString();
}

/** `crypto.randomUUID` is not there on pages without TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
