import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyTypeProvider,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { Sql } from '../db/client.ts';
import type { PlanStart } from '../engine/crawl_input.ts';
import type { Connections, RefusesWebhook } from '../engine/export_input.ts';
import type { Previews } from '../engine/preview.ts';
import type { CheckExports } from '../exports/check_tables.ts';
import type { WebhookCalls } from '../exports/webhook_calls.ts';
import type { Problem, Spider } from '../model/spider.ts';
import type { Static, TSchema } from '../model/type.ts';
import type { ItemReader } from '../stream/reader.ts';
import type { Wakeups } from '../stream/wakeups.ts';
import type { EngineStatus } from './components.ts';

/** What the routes need of the service around them. */
export interface RouteDeps {
  /** A pool for the API alone, so that readers never queue before a commit. */
  sql: Sql;
  wakeups: Wakeups;
  reader: ItemReader;
  /** Checks a spider's selectors, patterns and fields off the event loop; pointers start at the spider. */
  checkSpider: (spider: Spider) => Promise<Problem[]>;
  /** Fills in what a script exports besides its callbacks: name and start URLs. */
  completeSpider?: ((spider: Spider) => Promise<Spider>) | undefined;
  /** Works out a crawl's first requests, and checks its params, off the event loop. */
  planStart: PlanStart;
  /** Names of the operator's proxies; absent: there are none. */
  proxies?: ReadonlySet<string> | undefined;
  /** The operator's, by name; absent: there are none. */
  connections?: Connections | undefined;
  /** Why a webhook may not be called; absent: each may. */
  refusesWebhook?: RefusesWebhook | undefined;
  /** Looks at what exports write into; absent: nothing is looked at. */
  checkExports?: CheckExports | undefined;
  webhooks: Pick<WebhookCalls, 'redeliver' | 'test'>;
  previews: Pick<Previews, 'preview' | 'check' | 'inTurn' | 'isFull'>;
  /**
   * Tells the engine that a crawl was `started`, `changed`, `paused`, `resumed` or `cancelled`.
   *
   * @param delivers false: none of its exports and webhooks can be due; absent: they may be
   */
  onCrawlChanged: (crawlId: string, what: string, delivers?: boolean) => void;
  /** Told that a schedule is new or changed. */
  onScheduled: () => void;
  /** Told that there is something to delete in the background. */
  onDeleted: () => void;
  /** Everything that is measured, as Prometheus text. */
  metrics: () => Promise<string>;
  /** What this node is and does at the moment. */
  engineStatus: () => EngineStatus | Promise<EngineStatus>;
  ready: () => Promise<{ ok: boolean; checks: Record<string, string> }>;
  /** Fires when the service stops: streams end so that they can be resumed. */
  closing: AbortSignal;
  /** Told the milliseconds from a commit to the moment its items were handed to a reader's connection. */
  onDelivered?: ((ms: number) => void) | undefined;
}

/** Types a handler's body, query and params by their schemas. */
export interface SchemaTypes extends FastifyTypeProvider {
  validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown;
  serializer: unknown;
}

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  SchemaTypes
>;
