import { type Static, Type } from 'typebox';

/** A path glob (`/catalogue/*`), a glob over the whole URL, or `{"regex": "…"}` in RE2 syntax. */
const PatternSchema = Type.Union(
  [
    Type.String({ minLength: 1, maxLength: 1000 }),
    Type.Object({ regex: Type.String({ minLength: 1, maxLength: 1000 }) }, { additionalProperties: false }),
  ],
  { description: 'A path glob (`/catalogue/*`), a full-URL glob, or `{"regex": "…"}` in RE2 syntax' },
);
export type Pattern = string | { regex: string };
const Patterns = Type.Array(PatternSchema, { maxItems: 200 });

/** Named transforms: what `as` may say. */
export const TRANSFORMS = [
  'text',
  'trim',
  'number',
  'integer',
  'boolean',
  'url',
  'html',
  'lowercase',
  'uppercase',
] as const;
export type Transform = (typeof TRANSFORMS)[number];
/** What `meta` may say. */
export const META_FIELDS = ['url', 'status', 'depth', 'fetchedAt'] as const;

/** One field, in the dialect of cheerio's `extract`: a selector, a list of one field, or an object. */
export type Field = string | readonly [Field] | FieldObject;
export interface FieldObject {
  selector?: string;
  /** An attribute's name, or nested fields. Absent: the text. */
  value?: string | { [name: string]: Field };
  as?: Transform;
  /** RE2; the first group, or the whole match. */
  match?: string;
  default?: unknown;
  meta?: (typeof META_FIELDS)[number];
}
export type Fields = { [name: string]: Field };

/** Documents `Field` for OpenAPI; the recursion is checked by the parser's `check`, which gives better messages. */
const FieldsSchema = Type.Unsafe<Fields>({
  type: 'object',
  minProperties: 1,
  maxProperties: 200,
  additionalProperties: {},
  description:
    'Each field is a CSS selector (its text), a list of one field (all matches), or ' +
    '`{ selector, value, as, match, default }`, where `value` is an attribute or nested fields. ' +
    `\`as\` is one of ${TRANSFORMS.join(', ')}; \`{ "meta": … }\` is one of ${META_FIELDS.join(', ')}.`,
});

const Name = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$' });
const Selector = Type.String({ minLength: 1, maxLength: 1000 });

const ItemRuleSchema = Type.Object(
  {
    type: Type.Optional(Name),
    each: Type.Optional(Selector),
    fields: FieldsSchema,
    required: Type.Optional(Type.Array(Type.String(), { maxItems: 200 })),
    key: Type.Optional(Type.Array(Type.String(), { maxItems: 20 })),
  },
  { additionalProperties: false },
);
export type ItemRule = Static<typeof ItemRuleSchema>;

const FollowRuleSchema = Type.Object(
  {
    selector: Selector,
    allow: Type.Optional(Patterns),
    deny: Type.Optional(Patterns),
    priority: Type.Optional(Type.Integer({ minimum: -1000, maximum: 1000 })),
    maxDepth: Type.Optional(Type.Integer({ minimum: 0, maximum: 30000 })),
  },
  { additionalProperties: false },
);
export type FollowRule = Static<typeof FollowRuleSchema>;

const PageRuleSchema = Type.Object(
  {
    name: Type.Optional(Name),
    match: Type.Optional(Patterns),
    items: Type.Optional(Type.Array(ItemRuleSchema, { maxItems: 50 })),
    follow: Type.Optional(Type.Array(FollowRuleSchema, { maxItems: 50 })),
  },
  { additionalProperties: false },
);
export type PageRule = Static<typeof PageRuleSchema>;

const ScopeSchema = Type.Object(
  {
    hosts: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 253 }), { minItems: 1, maxItems: 10000 })),
    subdomains: Type.Optional(Type.Boolean()),
    allow: Type.Optional(Patterns),
    deny: Type.Optional(Patterns),
  },
  { additionalProperties: false },
);
export type Scope = Static<typeof ScopeSchema>;

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
    headers: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 8000 }), { description: 'Sent with each request' }),
    ),
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
  maxUrlLength: 2083,
  dropParams: ['utm_*', 'gclid', 'fbclid', 'msclkid', 'mc_cid', 'mc_eid', 'yclid', '_ga', '_gl'],
};

export const SpiderSchema = Type.Object(
  {
    name: Type.Optional(Name),
    description: Type.Optional(Type.String({ maxLength: 10_000 })),
    startUrls: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 8000 }), { maxItems: 10_000 })),
    scope: Type.Optional(ScopeSchema),
    pages: Type.Optional(Type.Array(PageRuleSchema, { minItems: 1, maxItems: 50 })),
    settings: Type.Optional(SettingsSchema),
  },
  { additionalProperties: false },
);
export type Spider = Static<typeof SpiderSchema>;

/** What a parser thread needs to run a spider on a page; made once per crawl and settings version. */
export interface ParsePlanInput {
  crawlId: string;
  definition: Spider;
  /** Host names inside the scope, lower case, punycode. */
  scopeHosts: string[];
  settings: Pick<Settings, 'parser' | 'maxDepth' | 'maxUrlLength' | 'dropParams' | 'parseTimeoutMs'>;
}

/** One mistake in a posted document. */
export interface Problem {
  /** JSON pointer into the body. */
  pointer: string;
  /** Stable word: `unknown_field`, `wrong_type`, `bad_selector`, `bad_regex`, `bad_url` … */
  code: string;
  /** What was found, what was expected, and how to mend it. */
  message: string;
}
