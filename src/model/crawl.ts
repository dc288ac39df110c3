import { ExportSchema, WebhookSchema } from './export.ts';
import { recordOf } from './record.ts';
import { SettingsSchema } from './settings.ts';
import { type Spider, SpiderSchema, StartUrlsSchema } from './spider.ts';
import { type Static, Type } from './type.ts';

export const CRAWL_STATES = ['queued', 'running', 'pausing', 'paused', 'finished', 'cancelled', 'failed'] as const;
export type CrawlState = (typeof CRAWL_STATES)[number];
/** States in which a crawl does nothing more unless it is resumed. */
export const ENDED_STATES: readonly CrawlState[] = ['finished', 'cancelled', 'failed'];

export const STOP_REASONS = [
  'finished',
  'max_pages',
  'max_items',
  'max_duration',
  'max_errors',
  'max_bytes',
  'start_urls_failed',
  'cancelled',
  'spider_error',
] as const;
export type StopReason = (typeof STOP_REASONS)[number];
/** Stop reasons after which `resume` goes on with what is still queued. */
export const RESUMABLE: readonly StopReason[] = ['max_pages', 'max_items', 'max_duration', 'max_errors', 'max_bytes'];

const Labels = recordOf(Type.String({ maxLength: 1000 }), { names: { maxLength: 100 }, maxProperties: 50 });

export const StartCrawlSchema = Type.Object(
  {
    spider: Type.Optional(
      Type.Union([SpiderSchema, Type.String({ minLength: 1, maxLength: 120 })], {
        description: 'A definition, or the name of a stored spider: `name` or `name@version`',
      }),
    ),
    startUrls: Type.Optional({ ...StartUrlsSchema, minItems: 1 }),
    params: Type.Optional(
      recordOf(Type.Unsafe<unknown>({}), {
        description: 'Values for `{name}` in start URLs and forms; checked by the spider’s `params`',
      }),
    ),
    settings: Type.Optional(SettingsSchema),
    exports: Type.Optional(
      Type.Array(ExportSchema, { maxItems: 20, description: 'Where the items are written besides, while they come' }),
    ),
    webhooks: Type.Optional(Type.Array(WebhookSchema, { maxItems: 20, description: 'Who is told' })),
    labels: Type.Optional(Labels),
  },
  { additionalProperties: false },
);
export type StartCrawl = Static<typeof StartCrawlSchema>;
/** A start whose spider, if it was named, has been looked up. */
export interface PlainStart extends Omit<StartCrawl, 'spider'> {
  spider?: Spider;
  /** Of a stored spider. */
  version?: number;
}

/** What may change while a crawl is there: limits, speed, labels. */
export const CHANGEABLE_SETTINGS = [
  'concurrency',
  'concurrencyPerHost',
  'delayMs',
  'randomizeDelay',
  'autothrottle',
  'maxCrawlDelayMs',
  'maxRetryAfterMs',
  'maxPages',
  'maxItems',
  'maxDurationSeconds',
  'maxErrors',
  'maxBytes',
  'maxPagesPerHost',
  'timeoutMs',
  'connectTimeoutMs',
  'headersTimeoutMs',
  'bodyTimeoutMs',
  'retries',
  'retryReasons',
  'proxy',
  'keepFor',
] as const;
export const ChangeCrawlSchema = Type.Object(
  {
    settings: Type.Optional(Type.Pick(SettingsSchema, [...CHANGEABLE_SETTINGS], { additionalProperties: false })),
    labels: Type.Optional(Labels),
  },
  { additionalProperties: false, minProperties: 1 },
);
export type ChangeCrawl = Static<typeof ChangeCrawlSchema>;

const count = Type.Integer({ minimum: 0 });
/** Counters of a crawl; discovered = queued + inProgress + done + failed + skipped at any moment. */
export const CrawlStatsSchema = Type.Object({
  discovered: count,
  queued: count,
  inProgress: count,
  done: count,
  failed: count,
  skipped: count,
  retried: count,
  items: count,
  dropped: count,
  itemBytes: count,
  bodyBytes: count,
  wireBytes: count,
});

/** A webhook as the answer to the start says it. */
export const StartedWebhookSchema = Type.Object({
  name: Type.String(),
  url: Type.String(),
  secret: Type.String({ description: 'Made for it, and never shown again; one that was given is `(hidden)`' }),
});
export type StartedWebhook = Static<typeof StartedWebhookSchema>;

const time = Type.Union([Type.String({ format: 'date-time' }), Type.Null()]);
export const CrawlSchema = Type.Object({
  id: Type.String({ format: 'uuid' }),
  state: Type.Enum([...CRAWL_STATES]),
  stopReason: Type.Union([Type.Enum([...STOP_REASONS]), Type.Null()]),
  stopDetail: Type.Union([Type.String(), Type.Null()]),
  spider: Type.Object({
    name: Type.Union([Type.String(), Type.Null()]),
    version: Type.Union([Type.Integer(), Type.Null()]),
  }),
  startUrls: Type.Array(Type.String()),
  params: recordOf(Type.Unsafe<unknown>({})),
  settings: SettingsSchema,
  labels: Labels,
  stats: CrawlStatsSchema,
  warnings: Type.Array(Type.String()),
  createdAt: Type.String({ format: 'date-time' }),
  startedAt: time,
  endedAt: time,
  ledgerDeletedAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
    description:
      'When its ledger was deleted, as keepFor or RETENTION says; the counters are still the sums of what it held',
  }),
  webhooks: Type.Optional(Type.Array(StartedWebhookSchema, { description: 'In the answer to the start alone' })),
});
export type Crawl = Static<typeof CrawlSchema>;
