import { type Static, Type } from 'typebox';
import { recordOf } from './record.ts';

const limit = (description: string, minimum = 1) =>
  Type.Optional(Type.Union([Type.Integer({ minimum, maximum: 1e12 }), Type.Null()], { description }));

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
    timeoutMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 600_000, description: 'For a whole fetch' })),
    maxBodyBytes: Type.Optional(Type.Integer({ minimum: 1024, maximum: 268_435_456, description: 'Decoded' })),
    retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 20 })),
    retryStatuses: Type.Optional(Type.Array(Type.Integer({ minimum: 400, maximum: 599 }), { maxItems: 200 })),
    retryDelayMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_600_000, description: 'Doubles at each retry' })),
    maxRedirects: Type.Optional(Type.Integer({ minimum: 0, maximum: 50 })),
    userAgent: Type.Optional(Type.String({ minLength: 1, maxLength: 500, pattern: '^[\\x20-\\x7e]+$' })),
    headers: Type.Optional(recordOf(Type.String({ maxLength: 8000 }), { description: 'Sent with each request' })),
    acceptLanguage: Type.Optional(Type.String({ minLength: 1, maxLength: 200, pattern: '^[\\x20-\\x7e]+$' })),
    cookies: Type.Optional(Type.Boolean()),
    verifyTls: Type.Optional(Type.Boolean()),
    robots: Type.Optional(Type.Boolean()),
    order: Type.Optional(Type.Enum(['breadth', 'depth', 'priority'])),
    parser: Type.Optional(Type.Enum(['fast', 'html5'], { description: 'fast: htmlparser2; html5: parse5' })),
    parseTimeoutMs: Type.Optional(
      Type.Integer({
        minimum: 50,
        maximum: 60_000,
        description: 'CPU time for the parsing of one page; at five times that by the clock it ends in any case',
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
  timeoutMs: 30_000,
  maxBodyBytes: 10 * 1024 * 1024,
  retries: 2,
  retryStatuses: [408, 429, 500, 502, 503, 504, 522, 524],
  retryDelayMs: 1000,
  maxRedirects: 20,
  userAgent: USER_AGENT,
  headers: {},
  acceptLanguage: 'en',
  cookies: true,
  verifyTls: true,
  robots: true,
  order: 'breadth',
  parser: 'fast',
  parseTimeoutMs: 2000,
  callbackTimeoutMs: 60_000,
  scriptMemoryMb: 64,
  maxUrlLength: 2083,
  dropParams: ['utm_*', 'gclid', 'fbclid', 'msclkid', 'mc_cid', 'mc_eid', 'yclid', '_ga', '_gl'],
};
