import { type Fields, SOURCES, TRANSFORMS } from './field.ts';
import { NAME_PATTERN } from './name.ts';
import type { ProblemCode } from './problems.ts';
import { recordOf } from './record.ts';
import { type Settings, SettingsSchema } from './settings.ts';
import { StepSchema } from './step_schema.ts';
import { type Static, Type } from './type.ts';

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

const Name = Type.String({ pattern: NAME_PATTERN });
const Selector = Type.String({ minLength: 1, maxLength: 1000 });
const Url = Type.String({ minLength: 1, maxLength: 8000 });
const Priority = Type.Integer({ minimum: -1000, maximum: 1000 });
const Json = Type.Unsafe<unknown>({});
const Headers = recordOf(Type.String({ maxLength: 8000 }), { names: { maxLength: 200 } });

/** What a request is besides its URL; at most one of `form`, `json` and `body`, which make it a POST. */
const requestParts = {
  method: Type.Optional(Type.Enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])),
  headers: Type.Optional(Headers),
  form: Type.Optional(recordOf(Type.String({ maxLength: 100_000 }), { description: 'Sent as a form' })),
  json: Type.Optional(Json),
  body: Type.Optional(Type.String({ maxLength: 100_000 })),
};

const StartUrlSchema = Type.Union(
  [
    Url,
    Type.Object(
      {
        url: Url,
        ...requestParts,
        priority: Type.Optional(Priority),
        page: Type.Optional(Name),
        pass: Type.Optional(recordOf(Json)),
        render: Type.Optional(
          Type.Boolean({
            description: 'For a script: a browser makes the page. Else `render` belongs to a page entry',
          }),
        ),
      },
      { additionalProperties: false },
    ),
  ],
  { description: 'A URL, or a request: `{ url, method, headers, form | json | body, priority, page, pass, render }`' },
);
/** A start URL, as it is given. */
export type StartUrl = Static<typeof StartUrlSchema>;
export const StartUrlsSchema = Type.Array(StartUrlSchema, { maxItems: 10_000 });

/** Documents `Field` for OpenAPI; the recursion is checked by the parser's `check`, which gives better messages. */
const FieldsSchema = Type.Unsafe<Fields>({
  type: 'object',
  minProperties: 1,
  maxProperties: 200,
  additionalProperties: {},
  description:
    'Each field is a CSS selector (its text), a list of one field (all matches), or an object with one of ' +
    `${SOURCES.join(', ')}, and \`value\` (an attribute, or nested fields), \`match\`, \`as\`, \`locale\`, \`default\`. ` +
    `\`as\` is one of ${TRANSFORMS.join(', ')}.`,
});

const EachSchema = Type.Union([
  Selector,
  Type.Object({ xpath: Selector }, { additionalProperties: false }),
  Type.Object({ json: Selector }, { additionalProperties: false }),
]);

const ItemRuleSchema = Type.Object(
  {
    type: Type.Optional(Name),
    each: Type.Optional(EachSchema),
    fields: FieldsSchema,
    required: Type.Optional(Type.Array(Type.String(), { maxItems: 200 })),
    key: Type.Optional(Type.Array(Type.String(), { maxItems: 20 })),
  },
  { additionalProperties: false },
);
export type ItemRule = Static<typeof ItemRuleSchema>;

const FollowRuleSchema = Type.Object(
  {
    selector: Type.Optional(Selector),
    xpath: Type.Optional(Selector),
    json: Type.Optional(Selector),
    form: Type.Optional(Selector),
    value: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        description: 'Attribute; default: href, in XML also the text. With `json`: JMESPath in each member',
      }),
    ),
    match: Type.Optional(Type.String({ minLength: 1, maxLength: 1000, description: 'RE2 over what was read' })),
    url: Type.Optional(
      Type.String({ minLength: 1, maxLength: 4000, description: 'Template; `{value}` is what was read' }),
    ),
    values: Type.Optional(
      recordOf(Type.String({ maxLength: 10_000 }), { description: 'Fields of the form to fill in' }),
    ),
    request: Type.Optional(Type.Object(requestParts, { additionalProperties: false })),
    page: Type.Optional(
      Type.String({ ...Name, description: 'The page entry that the target is given to, whatever its URL' }),
    ),
    pass: Type.Optional(FieldsSchema),
    allow: Type.Optional(Patterns),
    deny: Type.Optional(Patterns),
    priority: Type.Optional(Priority),
    maxDepth: Type.Optional(Type.Integer({ minimum: 0, maximum: 30000 })),
  },
  { additionalProperties: false, description: 'Exactly one of `selector`, `xpath`, `json` and `form`' },
);
export type FollowRule = Static<typeof FollowRuleSchema>;

const RenderSchema = Type.Union(
  [
    Type.Boolean(),
    Type.Object(
      {
        waitFor: Type.Optional(
          Type.String({
            ...Selector,
            description: 'The page is read once an element fits; none within the time: `render_timeout`',
          }),
        ),
        timeoutMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 120_000, description: 'Default 15000' })),
        load: Type.Optional(
          Type.Array(Type.Enum(['image', 'font', 'media', 'stylesheet']), {
            maxItems: 4,
            description: 'What is loaded besides scripts and data; default: style sheets',
          }),
        ),
      },
      { additionalProperties: false },
    ),
  ],
  { description: 'The page is read after a browser has run its scripts (CHROMIUM_PATH)' },
);
export type Render = Static<typeof RenderSchema>;

const PageRuleSchema = Type.Object(
  {
    name: Type.Optional(Name),
    match: Type.Optional(Patterns),
    render: Type.Optional(RenderSchema),
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
    redirects: Type.Optional(
      Type.Enum(['scope', 'site', 'any'], {
        description:
          'Where a redirect may lead: inside the scope (default), to any host of the same registrable domain, anywhere',
      }),
    ),
    calls: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
        maxItems: 1000,
        description: 'Hosts that a script may `ctx.fetch` besides those in scope; links to them are not followed',
      }),
    ),
    allow: Type.Optional(Patterns),
    deny: Type.Optional(Patterns),
  },
  { additionalProperties: false },
);
export type Scope = Static<typeof ScopeSchema>;

/** A page with what the spider is expected to make of it: `POST /spiders/:name/check` shows the differences. */
const SampleSchema = Type.Object(
  {
    url: Url,
    html: Type.Optional(Type.String({ maxLength: 500_000, description: 'The page; absent: it is fetched' })),
    contentType: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        pattern: '^[\\x20-\\x7e]+$',
        description: 'Of `html`; default text/html',
      }),
    ),
    page: Type.Optional(
      Type.String({ ...Name, description: 'The page entry or callback that it is given to, whatever its URL' }),
    ),
    pass: Type.Optional(recordOf(Json, { description: 'What the page before it passed on' })),
    params: Type.Optional(recordOf(Json)),
    items: Type.Optional(Type.Array(Json, { maxItems: 100, description: 'Data of the items, all of them, in order' })),
    contains: Type.Optional(Type.Array(Json, { maxItems: 100, description: 'Parts of items that must be there' })),
    links: Type.Optional(Type.Array(Url, { maxItems: 1000, description: 'Links that must be kept' })),
    minItems: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
  },
  { additionalProperties: false },
);
export type Sample = Static<typeof SampleSchema>;

/** Bytes of a script. */
const MAX_SCRIPT = 256 * 1024;

export const SpiderSchema = Type.Object(
  {
    name: Type.Optional(Name),
    description: Type.Optional(Type.String({ maxLength: 10_000 })),
    params: Type.Optional(
      Type.Unsafe<Record<string, unknown>>({
        type: 'object',
        additionalProperties: {},
        description: 'JSON Schema (2020-12) of the crawl’s params',
      }),
    ),
    startUrls: Type.Optional(StartUrlsSchema),
    sitemaps: Type.Optional(
      Type.Array(Url, {
        maxItems: 1000,
        description: 'Sitemaps or sitemap indexes; `["auto"]`: those that robots.txt names',
      }),
    ),
    scope: Type.Optional(ScopeSchema),
    pages: Type.Optional(Type.Array(PageRuleSchema, { minItems: 1, maxItems: 50 })),
    script: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_SCRIPT, description: 'Instead of `pages`' })),
    pipeline: Type.Optional(Type.Array(StepSchema, { maxItems: 50 })),
    samples: Type.Optional(Type.Array(SampleSchema, { maxItems: 50 })),
    settings: Type.Optional(SettingsSchema),
  },
  { additionalProperties: false },
);
export type Spider = Static<typeof SpiderSchema>;
/** Parameters of a crawl, as the spider's `params` describes them. */
export type Params = Record<string, unknown>;

/** The settings that parsing depends on. The others stay on the main thread: there are secrets among them. */
export const PARSE_SETTINGS = [
  'parser',
  'maxDepth',
  'maxUrlLength',
  'dropParams',
  'parseTimeoutMs',
  'callbackTimeoutMs',
  'scriptMemoryMb',
  'maxRedirects',
  'maxMetaRefreshSeconds',
  'nofollow',
  'maxPathSegments',
  'maxRepeatedSegments',
  'sortQuery',
  'keepFragment',
  'dropSessionIds',
  'keepParams',
  'dedup',
  'userAgent',
] as const satisfies (keyof Settings)[];

/** What a parser thread needs to run a spider on a page; made once per crawl and settings version. */
export interface ParsePlanInput {
  crawlId: string;
  /** Without start URLs, settings and samples. */
  definition: Spider;
  params: Params;
  /** Host names inside the scope, lower case, punycode. */
  scopeHosts: string[];
  settings: Pick<Settings, (typeof PARSE_SETTINGS)[number]>;
}

/** One mistake in a posted document. */
export interface Problem {
  /** JSON pointer into the body. */
  pointer: string;
  code: ProblemCode;
  /** What was found, what was expected, and how to mend it. */
  message: string;
}
