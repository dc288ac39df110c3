import {
  ChangeCrawlSchema,
  CRAWL_STATES,
  CrawlSchema,
  CrawlStatsSchema,
  STOP_REASONS,
  StartCrawlSchema,
} from '../model/crawl.ts';
import { AttemptSchema, DeliverySchema } from '../model/delivery.ts';
import { WebhookSchema } from '../model/export.ts';
import { CHANGE_KINDS } from '../model/outcome.ts';
import { PreviewSchema } from '../model/preview.ts';
import { recordOf } from '../model/record.ts';
import { REQUEST_STATES, ReasonSchema } from '../model/request.ts';
import { ChangeScheduleSchema, NewScheduleSchema, ScheduleRunSchema, ScheduleSchema } from '../model/schedule.ts';
import { SettingsSchema } from '../model/settings.ts';
import { type Spider, SpiderSchema } from '../model/spider.ts';
import { type Static, type TSchema, Type } from '../model/type.ts';
import { CheckAnswerSchema, PreviewAnswerSchema } from './preview_answers.ts';
import { integer, orNull, text, time } from './schema_parts.ts';

const ProblemSchema = Type.Object(
  {
    type: Type.String({ description: 'Stable code; docs/errors.md lists them' }),
    title: text,
    status: integer,
    detail: text,
    requestId: Type.String({ description: 'Names this request in the log' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          pointer: Type.String({
            description: 'JSON pointer into the body; `?name` for the query, `Name:` for a header',
          }),
          code: text,
          message: text,
        }),
      ),
    ),
  },
  {
    description: 'An error, as RFC 9457 describes',
    examples: [
      {
        type: 'invalid_request',
        title: 'The request is not valid',
        status: 422,
        detail: 'One field is not valid; nothing was stored',
        requestId: '4b1f0d6e-6f0c-4d63-9d5c-0f0c7a1c2b3a',
        errors: [
          {
            pointer: '/settings/maxPges',
            code: 'unknown_field',
            message: 'there is no field `maxPges`; did you mean `maxPages`?',
          },
        ],
      },
    ],
  },
);

const ItemSchema = Type.Object(
  {
    offset: Type.Integer({ minimum: 0, description: 'Place in the crawl: 0, 1, 2 … without a gap, in commit order' }),
    type: text,
    url: text,
    data: Type.Unsafe<unknown>({ description: 'The fields, exactly as they were produced' }),
    scrapedAt: time,
    change: Type.Optional(
      Type.Object(
        {
          kind: Type.Enum([...CHANGE_KINDS]),
          fields: Type.Array(text, {
            description: 'Paths of the fields that differ, as `specs.weight`; fifty at most',
          }),
        },
        {
          description:
            'Against the last state that earlier crawls of the spider saw; with `dedup.scope: spider`, for items with a key. ' +
            'gone: not found any more; data, url and type are the last ones',
        },
      ),
    ),
  },
  {
    examples: [
      {
        offset: 17,
        type: 'book',
        url: 'https://books.example/catalogue/emma/index.html',
        data: { title: 'Emma', price: 17.99 },
        scrapedAt: '2026-11-23T09:30:00.000Z',
      },
    ],
  },
);

const ItemPageSchema = Type.Object({
  items: Type.Array(Type.Unsafe<unknown>({ $ref: 'Item#' })),
  next: orNull(integer, 'Give it as `after` for the next page; null: the crawl has ended and all was read'),
  state: Type.Enum([...CRAWL_STATES]),
});

const LedgerRequestSchema = Type.Object({
  seq: Type.Integer({ description: 'Order of discovery' }),
  url: text,
  method: Type.Optional(Type.String({ description: 'Where it is not GET' })),
  state: Type.Enum([...REQUEST_STATES]),
  reason: orNull(ReasonSchema),
  detail: orNull(text, 'The rule that decided, or what the fetch said'),
  status: orNull(integer),
  depth: integer,
  priority: integer,
  attempts: integer,
  redirects: integer,
  parent: orNull(text, 'The URL that discovered it; null: a start URL'),
  retryAt: orNull(time),
  finishedAt: orNull(time),
  items: integer,
  bytes: orNull(integer),
  fetchMs: orNull(integer),
});
export type LedgerRequest = Static<typeof LedgerRequestSchema>;

export const WhySchema = Type.Object({
  request: Type.Unsafe<LedgerRequest>({ $ref: 'LedgerRequest#' }),
  explanation: Type.String({ description: 'What happened and why, in one sentence' }),
  discoveredFrom: Type.Array(Type.Object({ url: text, depth: integer }), {
    description: 'The page that linked to it, the page that linked to that one, and so on: at most 20',
  }),
});

const counts = recordOf(integer);
const StatsSchema = Type.Object({
  state: Type.Enum([...CRAWL_STATES]),
  stopReason: orNull(Type.Enum([...STOP_REASONS])),
  counts: CrawlStatsSchema,
  seconds: Type.Number({ description: 'From the start to the end or to now' }),
  pagesPerSecond: Type.Number(),
  itemsPerSecond: Type.Number(),
  byReason: counts,
  byStatus: counts,
  dropped: counts,
  flags: recordOf(integer, {
    description:
      'Pages that were cut to stay inside a limit: `depth`, `nodes`, `attributes`, `links`, `items`, `render_limit`; `truncated`: ' +
      'the body ended too early; `cached`: from the cache; `unfollowed`: not read, and what was behind is not known; ' +
      '`render_busy`, `render_reload`: read though it went on loading, or loaded itself again',
  }),
  steps: recordOf(integer, {
    description: 'Of pipeline steps by number: `enrich[2]: timeout`, `enrich[2] calls`, `enrich[2] cached`',
  }),
  itemTypes: counts,
  changes: recordOf(integer, { description: 'Items by what they are against earlier crawls of the spider' }),
  fields: recordOf(
    Type.Object({ filled: integer, rate: Type.Number({ description: 'Share of the items of its type that have it' }) }),
    { description: 'By `type.field`' },
  ),
  fetchMs: Type.Object(
    { p50: orNull(integer), p90: orNull(integer), p99: orNull(integer) },
    { description: 'Upper bounds: the histogram doubles from bucket to bucket' },
  ),
  cpu: recordOf(Type.Object({ pages: integer, ms: Type.Number(), msPerPage: Type.Number() }), {
    description: 'CPU time by page entry (`page product`) or callback (`callback parse`)',
  }),
  calls: recordOf(integer, {
    description: 'What scripts called while their pages waited: `fetch`, `fetch failed`, `lookup`, `lookup failed`',
  }),
  hosts: Type.Array(
    Type.Object({
      origin: text,
      queued: integer,
      inProgress: integer,
      done: integer,
      failed: integer,
      skipped: integer,
      leftAloneUntil: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
        description: 'Nothing is fetched from it before (Retry-After, back-off); null: that keeps nothing waiting',
      }),
    }),
    { description: 'The hundred with the most requests' },
  ),
});
export type Stats = Static<typeof StatsSchema>;

const EngineSchema = Type.Object({
  node: Type.String({ format: 'uuid' }),
  role: Type.Enum(['all', 'api', 'worker']),
  version: text,
  uptimeSeconds: Type.Number(),
  crawls: Type.Integer({ description: 'Crawls that this node works on' }),
  hosts: Type.Integer({ description: 'Host leases that it holds' }),
  fetches: Type.Integer({ description: 'Fetches under way, those of scripts and previews included' }),
  parser: Type.Object({ threads: integer, busy: integer, kills: integer }),
  scripts: Type.Object({
    enabled: Type.Boolean({ description: 'SCRIPTS: on by default where HOST is loopback' }),
    boundary: Type.Union(
      [
        Type.Object({
          kind: Type.Enum(['bubblewrap', 'process'], { description: 'What surrounds the process of a script' }),
          detail: Type.String(),
        }),
        Type.Null(),
      ],
      { description: 'Null where scripts are off' },
    ),
    processes: integer,
    busy: integer,
    kills: integer,
  }),
  renderer: Type.Object({
    enabled: Type.Boolean({ description: 'CHROMIUM_PATH is set' }),
    running: Type.Boolean({
      description: 'The browser is started for the first page, and closed after a minute of rest',
    }),
    version: Type.Union([text, Type.Null()], { description: 'Of the browser; null until it has run' }),
    sandbox: Type.Union([Type.Boolean(), Type.Null()], {
      description: 'Whether pages run in Chromium’s sandbox: it has none for root. Null where nothing is rendered',
    }),
    pages: Type.Integer({ description: 'That may be rendered at once' }),
    busy: integer,
    restarts: Type.Integer({ description: 'Browsers that died or were ended' }),
  }),
  eventLoopDelayMs: Type.Object(
    { p50: Type.Number(), p99: Type.Number(), max: Type.Number() },
    { description: 'Over the last one to two minutes' },
  ),
});
export type EngineStatus = Static<typeof EngineSchema>;

const summary = {
  name: text,
  version: Type.Integer({ minimum: 1 }),
  description: orNull(text),
  createdAt: time,
  updatedAt: Type.String({ format: 'date-time', description: 'When the version was stored' }),
};
const SpiderSummarySchema = Type.Object(summary);
export type SpiderSummary = Static<typeof SpiderSummarySchema>;
const StoredSpiderSchema = Type.Object({ ...summary, definition: Type.Unsafe<Spider>({ $ref: 'Spider#' }) });
export type StoredSpider = Static<typeof StoredSpiderSchema>;

const bookSpider: Spider = {
  name: 'books',
  pages: [
    {
      items: [
        { type: 'book', each: 'article.product', fields: { title: 'h3', price: { selector: '.price', as: 'number' } } },
      ],
      follow: [{ selector: 'a.next' }],
    },
  ],
};

const nightly = { name: 'nightly', cron: '0 3 * * *', timeZone: 'Europe/Berlin', crawl: { spider: 'books' } };

const startExamples = [
  { startUrls: ['https://books.example/'] },
  { spider: 'books@3', startUrls: ['https://books.example/'] },
  {
    spider: bookSpider,
    startUrls: ['https://books.example/'],
    settings: { maxPages: 1000, delayMs: 250 },
    labels: { team: 'research' },
  },
];

/** Every shared schema by its name in the OpenAPI document. */
export const COMPONENTS: Readonly<Record<string, TSchema>> = {
  Problem: ProblemSchema,
  Spider: { ...SpiderSchema, examples: [bookSpider] },
  SpiderSummary: SpiderSummarySchema,
  StoredSpider: StoredSpiderSchema,
  Settings: SettingsSchema,
  PreviewRequest: {
    ...PreviewSchema,
    examples: [
      { spider: bookSpider, url: 'https://books.example/' },
      { spider: 'books@3', url: 'https://books.example/', html: '<article class="product"><h3>Emma</h3></article>' },
    ],
  },
  Preview: PreviewAnswerSchema,
  Check: CheckAnswerSchema,
  StartCrawl: { ...StartCrawlSchema, examples: startExamples },
  ChangeCrawl: { ...ChangeCrawlSchema, examples: [{ settings: { maxPages: 2000 } }] },
  Crawl: CrawlSchema,
  NewSchedule: { ...NewScheduleSchema, examples: [nightly] },
  ChangeSchedule: { ...ChangeScheduleSchema, examples: [{ enabled: false }] },
  Schedule: ScheduleSchema,
  ScheduleRun: ScheduleRunSchema,
  Item: ItemSchema,
  ItemPage: ItemPageSchema,
  LedgerRequest: LedgerRequestSchema,
  Why: WhySchema,
  Webhook: WebhookSchema,
  Delivery: DeliverySchema,
  Attempt: AttemptSchema,
  Stats: StatsSchema,
  Engine: EngineSchema,
};

/** A reference to a shared schema that keeps the type. */
export const ref = <T>(name: string) => Type.Unsafe<T>({ $ref: `${name}#` });

const problem = { 'application/problem+json': { schema: { $ref: 'Problem#' } } };
/** The answers that every route may give besides its own. */
export const errorResponses = {
  '4xx': { description: 'The request was refused; nothing was done', content: problem },
  '5xx': { description: 'The service could not do it', content: problem },
};
