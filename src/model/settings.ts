import { recordOf } from './record.ts';
import type { Reason } from './request.ts';
import { type Static, Type } from './type.ts';

const limit = (description: string, minimum = 1) =>
  Type.Optional(Type.Union([Type.Integer({ minimum, maximum: 1e12 }), Type.Null()], { description }));

const millis = (minimum: number, maximum: number, description: string) =>
  Type.Optional(Type.Integer({ minimum, maximum, description }));

/** Credentials for one origin: sent to it with every request, and to no other, redirects and calls of scripts included. */
const AuthSchema = Type.Object(
  {
    origin: Type.String({ minLength: 1, maxLength: 300, description: '`https://host[:port]`' }),
    username: Type.Optional(Type.String({ maxLength: 1000, description: 'Basic (RFC 7617); with `password`' })),
    password: Type.Optional(Type.String({ maxLength: 1000, writeOnly: true })),
    bearer: Type.Optional(Type.String({ minLength: 1, maxLength: 8000, writeOnly: true, description: 'RFC 6750' })),
  },
  { additionalProperties: false, description: '`username` and `password`, or `bearer`' },
);
export type Auth = Static<typeof AuthSchema>;

/** `http://[user:password@]host:port`, or the name of one that the operator has set in PROXIES. */
const ProxySchema = Type.String({ minLength: 1, maxLength: 1000 });

const InitialCookieSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 500 }),
    value: Type.String({ maxLength: 4000, writeOnly: true }),
    domain: Type.String({
      minLength: 1,
      maxLength: 253,
      description: 'Host name; with a leading dot its subdomains too',
    }),
    path: Type.Optional(Type.String({ minLength: 1, maxLength: 1000 })),
    secure: Type.Optional(Type.Boolean({ description: 'Sent over https alone' })),
  },
  { additionalProperties: false },
);
export type InitialCookie = Static<typeof InitialCookieSchema>;

const AutothrottleSchema = Type.Object(
  {
    targetConcurrency: Type.Optional(
      Type.Number({ minimum: 0.1, maximum: 100, description: 'Requests at once that a host should feel; default 1' }),
    ),
    startDelayMs: millis(0, 3_600_000, 'Before the first latency is known; default 1000'),
    maxDelayMs: millis(1, 3_600_000, 'Default 60000'),
  },
  { additionalProperties: false },
);
export type Autothrottle = Required<Static<typeof AutothrottleSchema>>;

const DedupSchema = Type.Object(
  {
    scope: Type.Enum(['crawl', 'spider'], {
      description: 'spider: what earlier crawls of this spider scraped counts, by page and by item key',
    }),
    ttl: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 315_360_000 }), Type.Null()], {
        description:
          'Seconds for which a page that gave items is not fetched again; null: it is asked for with its ETag or Last-Modified each time',
      }),
    ),
  },
  { additionalProperties: false },
);

const CacheSchema = Type.Object(
  {
    mode: Type.Enum(['use', 'only', 'refresh', 'standard'], {
      description:
        'use: what is stored and younger than ttl is not fetched. only: nothing is fetched. refresh: everything is, and stored. standard: RFC 9111',
    }),
    ttl: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 2_592_000,
        description: 'Seconds, for use (default a day) and only (default: of any age); nothing is kept over 30 days',
      }),
    ),
  },
  { additionalProperties: false },
);
export type CacheSetting = Static<typeof CacheSchema>;

const kept = (description: string) =>
  Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 3_153_600_000 }), Type.Null()], { description }));

const KeepForSchema = Type.Object(
  {
    items: kept('Until the crawl is deleted whole'),
    ledger: kept('Until its ledger is deleted, and with it all that it needs to go on; items and counters stay'),
  },
  {
    additionalProperties: false,
    description: 'Seconds from the end of the crawl; null: for ever; absent: as RETENTION says',
  },
);
export type KeepFor = Static<typeof KeepForSchema>;

/** Failures of a fetch; those of `retryReasons` are tried again. */
const FETCH_FAILURES = [
  'dns',
  'connect',
  'proxy',
  'tls',
  'timeout',
  'reset',
  'truncated',
  'bad_encoding',
  'bad_response',
] as const satisfies readonly Reason[];

/** Settings as a client gives them; all optional. Defaults: `DEFAULT_SETTINGS`. */
export const SettingsSchema = Type.Object(
  {
    concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'Fetches at once, per node' })),
    concurrencyPerHost: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
    delayMs: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 3_600_000, description: 'Between fetches of one host' }),
    ),
    randomizeDelay: Type.Optional(Type.Boolean({ description: 'Each delay is 0.5 to 1.5 of delayMs' })),
    maxPages: limit('Pages done; exact'),
    maxItems: limit('Items; exact'),
    maxDepth: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 30000 }), Type.Null()])),
    maxDurationSeconds: limit('Running time, pauses not counted'),
    maxErrors: limit('Failed requests'),
    maxBytes: limit('Body bytes, decoded'),
    maxPagesPerHost: limit('Pages done of one origin; exact'),
    autothrottle: Type.Optional(Type.Union([AutothrottleSchema, Type.Null()])),
    hostGroup: Type.Optional(
      Type.Enum(['origin', 'address'], {
        description: 'address: origins that share an IP address share delay and concurrency',
      }),
    ),
    maxCrawlDelayMs: millis(0, 3_600_000, 'Longest Crawl-delay of robots.txt that is kept'),
    maxRetryAfterMs: millis(0, 86_400_000, 'Longest Retry-After and back-off that is kept'),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 600_000, description: 'For a whole fetch' })),
    connectTimeoutMs: millis(100, 600_000, 'For the connection, TLS included'),
    headersTimeoutMs: millis(100, 600_000, 'From the request to the end of the response’s headers'),
    bodyTimeoutMs: millis(100, 600_000, 'Between two pieces of a body'),
    truncated: Type.Optional(
      Type.Enum(['fail', 'keep'], {
        description: 'keep: a body that breaks off is read as far as it came, and flagged',
      }),
    ),
    maxBodyBytes: Type.Optional(Type.Integer({ minimum: 1024, maximum: 268_435_456, description: 'Decoded' })),
    retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 20 })),
    retryStatuses: Type.Optional(Type.Array(Type.Integer({ minimum: 400, maximum: 599 }), { maxItems: 200 })),
    retryReasons: Type.Optional(Type.Array(Type.Enum([...FETCH_FAILURES]), { maxItems: 20, uniqueItems: true })),
    retryDelayMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_600_000, description: 'Doubles at each retry' })),
    maxRedirects: Type.Optional(Type.Integer({ minimum: 0, maximum: 50 })),
    maxMetaRefreshSeconds: Type.Optional(
      Type.Union([Type.Integer({ minimum: 0, maximum: 3600 }), Type.Null()], {
        description: 'A page that refreshes to another within so many seconds is a redirect; null: none is',
      }),
    ),
    userAgent: Type.Optional(Type.String({ minLength: 1, maxLength: 500, pattern: '^[\\x20-\\x7e]+$' })),
    headers: Type.Optional(recordOf(Type.String({ maxLength: 8000 }), { description: 'Sent with each request' })),
    acceptLanguage: Type.Optional(Type.String({ minLength: 1, maxLength: 200, pattern: '^[\\x20-\\x7e]+$' })),
    cookies: Type.Optional(Type.Boolean()),
    initialCookies: Type.Optional(Type.Array(InitialCookieSchema, { maxItems: 100 })),
    auth: Type.Optional(Type.Array(AuthSchema, { maxItems: 100 })),
    proxy: Type.Optional(
      Type.Union([ProxySchema, Type.Array(ProxySchema, { minItems: 1, maxItems: 100 }), Type.Null()], {
        description: 'One, or a list that is used in turn',
      }),
    ),
    verifyTls: Type.Optional(Type.Boolean()),
    robots: Type.Optional(Type.Boolean()),
    nofollow: Type.Optional(Type.Boolean({ description: 'Honour rel, meta robots and X-Robots-Tag' })),
    dedup: Type.Optional(DedupSchema),
    cache: Type.Optional(
      Type.Union([CacheSchema, Type.Null()], { description: 'Responses kept for developing a spider' }),
    ),
    keepFor: Type.Optional(
      Type.Union([KeepForSchema, Type.Null()], { description: 'How long it is kept; null: as RETENTION says' }),
    ),
    order: Type.Optional(Type.Enum(['breadth', 'depth', 'priority'])),
    parser: Type.Optional(Type.Enum(['fast', 'html5'], { description: 'fast: htmlparser2; html5: parse5' })),
    parseTimeoutMs: Type.Optional(
      Type.Integer({
        minimum: 50,
        maximum: 60_000,
        description:
          'CPU time for the parsing of one page; at five times that by the clock (without a script 40 s at the least) it ends in any case',
      }),
    ),
    callbackTimeoutMs: Type.Optional(
      Type.Integer({
        minimum: 100,
        maximum: 600_000,
        description: 'By the clock, for one callback of a script with all that it awaits',
      }),
    ),
    scriptMemoryMb: Type.Optional(
      Type.Integer({ minimum: 16, maximum: 512, description: 'Memory of a script, in MiB' }),
    ),
    maxUrlLength: Type.Optional(Type.Integer({ minimum: 50, maximum: 8000 })),
    maxPathSegments: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 1000 }), Type.Null()], { description: 'Longer paths are traps' }),
    ),
    maxRepeatedSegments: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 100 }), Type.Null()], {
        description: 'A path that has one segment more often is a trap; or a group of segments so often in a row',
      }),
    ),
    maxUrlsPerPattern: limit('URLs of one path and query with their digits taken as one, as /calendar/#/#; exact'),
    maxQueuePerHost: limit('Queued requests of one origin; what is found beyond is skipped for good'),
    sortQuery: Type.Optional(
      Type.Boolean({ description: 'The order of query parameters of different names does not count' }),
    ),
    keepFragment: Type.Optional(Type.Boolean({ description: 'The fragment counts' })),
    dropSessionIds: Type.Optional(
      Type.Boolean({ description: 'Session ids in path and query (jsessionid, phpsessid, sid …) do not count' }),
    ),
    keepParams: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 100 }), {
        maxItems: 200,
        description: 'Query parameters that count in spite of dropParams and dropSessionIds; a trailing * is a prefix',
      }),
    ),
    dropParams: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 100 }), {
        maxItems: 200,
        description: 'Query parameters that do not count; a trailing * is a prefix',
      }),
    ),
  },
  { additionalProperties: false },
);
export type SettingsInput = Static<typeof SettingsSchema>;
/** Effective settings: every one present; null where a limit is not set. */
export type Settings = {
  [K in keyof Required<SettingsInput>]: NonNullable<SettingsInput[K]> | Extract<SettingsInput[K], null>;
};

export const VERSION = '0.1.0';
/** How the service calls itself. */
export const USER_AGENT = 'Orbweaver/0.1';

export const DEFAULT_SETTINGS: Settings = {
  concurrency: 32,
  concurrencyPerHost: 4,
  delayMs: 0,
  randomizeDelay: true,
  maxPages: null,
  maxItems: null,
  maxDepth: null,
  maxDurationSeconds: null,
  maxErrors: null,
  maxBytes: null,
  maxPagesPerHost: null,
  autothrottle: null,
  hostGroup: 'origin',
  maxCrawlDelayMs: 60_000,
  maxRetryAfterMs: 3_600_000,
  timeoutMs: 30_000,
  connectTimeoutMs: 10_000,
  headersTimeoutMs: 30_000,
  bodyTimeoutMs: 30_000,
  truncated: 'fail',
  maxBodyBytes: 10 * 1024 * 1024,
  retries: 2,
  retryStatuses: [408, 429, 500, 502, 503, 504, 522, 524],
  retryReasons: ['dns', 'connect', 'proxy', 'timeout', 'reset', 'truncated', 'bad_response'],
  retryDelayMs: 1000,
  maxRedirects: 20,
  maxMetaRefreshSeconds: 10,
  userAgent: USER_AGENT,
  headers: {},
  acceptLanguage: 'en',
  cookies: true,
  initialCookies: [],
  auth: [],
  proxy: null,
  verifyTls: true,
  robots: true,
  nofollow: true,
  dedup: { scope: 'crawl' },
  cache: null,
  keepFor: null,
  order: 'breadth',
  parser: 'fast',
  parseTimeoutMs: 2000,
  callbackTimeoutMs: 60_000,
  scriptMemoryMb: 64,
  maxUrlLength: 2083,
  maxPathSegments: 20,
  maxRepeatedSegments: 3,
  maxUrlsPerPattern: null,
  maxQueuePerHost: null,
  sortQuery: true,
  keepFragment: false,
  dropSessionIds: false,
  keepParams: [],
  dropParams: ['utm_*', 'gclid', 'fbclid', 'msclkid', 'mc_cid', 'mc_eid', 'yclid', '_ga', '_gl'],
};
