import type { FastifyReply } from 'fastify';
import { retried } from '../db/client.ts';
import { findCrawl } from '../db/crawls.ts';
import { type DeliveryKey, type DeliveryOf, findDelivery, listAttempts, listDeliveries } from '../db/deliveries.ts';
import { changeSecret } from '../db/webhook_secrets.ts';
import { secretProblems, webhookProblems } from '../engine/export_input.ts';
import { ApiError, refuse } from '../errors.ts';
import type { Unsent } from '../exports/webhook_calls.ts';
import { messageId, placeOf } from '../exports/webhook_message.ts';
import { type StartedWebhook, StartedWebhookSchema } from '../model/crawl.ts';
import {
  type Attempt,
  AttemptSchema,
  DELIVERY_STATES,
  type Delivery,
  DeliverySchema,
  WebhookTestSchema,
} from '../model/delivery.ts';
import { WebhookSchema } from '../model/export.ts';
import { HIDDEN } from '../model/secrets.ts';
import { type Static, Type } from '../model/type.ts';
import { makeSecret } from '../model/webhook_secret.ts';
import { errorResponses, ref } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';
import { orNull, text } from './schema_parts.ts';
import { invalid } from './schemas.ts';

const DeliveryQuery = Type.Object(
  {
    webhook: Type.Optional(Type.String({ description: 'Name of the webhook' })),
    state: Type.Optional(Type.Enum([...DELIVERY_STATES])),
    cursor: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'Default 100' })),
  },
  { additionalProperties: false },
);
const DeliveryPage = Type.Object({
  deliveries: Type.Array(ref<Delivery>('Delivery')),
  next: orNull(text, 'Give it as `cursor` for the next page'),
});
const DeliveryParams = Type.Object({
  ...CrawlParams.properties,
  delivery: Type.String({ description: 'Id of the delivery: the `webhook-id` of its message' }),
});
const WholeDelivery = Type.Object({
  ...DeliverySchema.properties,
  tries: Type.Array(Type.Object({ n: Type.Integer({ description: '1, 2, 3 …' }), ...AttemptSchema.properties }), {
    description: 'The last fifty; none of a message behind which a thousand more have been delivered',
  }),
});
const SecretSchema = Type.Object({ secret: WebhookSchema.properties.secret }, { additionalProperties: false });
const TestAnswer = Type.Object({
  ...AttemptSchema.properties,
  secret: Type.Optional(Type.String({ description: 'What it was signed with, where none was given' })),
});

/** What the webhooks of a crawl sent, and what is sent by hand. */
export function deliveryRoutes(app: App, deps: RouteDeps): void {
  listRoute(app, deps);
  oneRoute(app, deps);
  redeliverRoute(app, deps);
  testRoute(app, deps);
  secretRoute(app, deps);
}

function listRoute(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/deliveries',
    {
      schema: {
        summary: 'What the webhooks of a crawl sent, and what waits',
        description:
          'By webhook, and of each in the order of sending. The next message is made when the one before is delivered.',
        tags: ['webhooks'],
        params: CrawlParams,
        querystring: DeliveryQuery,
        response: { 200: { description: 'A page of deliveries', ...DeliveryPage }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof DeliveryPage>> => {
      const id = crawlId(request.params);
      const { webhook, state, cursor, limit = 100 } = request.query;
      const filter = { webhook, state, after: readCursor(cursor), limit: limit + 1 };
      const [crawl, rows] = await Promise.all([findCrawl(deps.sql, id), listDeliveries(deps.sql, id, filter)]);
      if (crawl === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      const last = rows.length > limit ? rows[limit - 1] : undefined;
      const next = last === undefined ? null : `${last.webhook}.${last.n}`;
      return { deliveries: rows.slice(0, limit).map(toDelivery), next };
    },
  );
}

function readCursor(cursor: string | undefined): Pick<DeliveryKey, 'webhook' | 'n'> | undefined {
  if (cursor === undefined) return undefined;
  const [, webhook, n] = /^(\d{1,4})\.(\d{1,9})$/.exec(cursor) ?? [];
  if (webhook === undefined)
    throw invalid([{ pointer: '?cursor', code: 'bad_format', message: 'expected the `next` of the page before' }]);
  return { webhook: Number(webhook), n: Number(n) };
}

function oneRoute(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/deliveries/:delivery',
    {
      schema: {
        summary: 'One delivery with its tries',
        tags: ['webhooks'],
        params: DeliveryParams,
        response: { 200: { description: 'The delivery', ...WholeDelivery }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof WholeDelivery>> => {
      const key = deliveryKey(request.params);
      const [row, tries] = await Promise.all([findDelivery(deps.sql, key), listAttempts(deps.sql, key)]);
      if (row === null) throw unknown(request.params);
      return { ...toDelivery(row), tries: tries.map(({ n, attempt }) => ({ n, ...attempt })) };
    },
  );
}

function redeliverRoute(app: App, deps: RouteDeps): void {
  app.post(
    '/crawls/:id/deliveries/:delivery/redeliver',
    {
      schema: {
        summary: 'Send a message once more, now',
        description:
          'Whatever became of it, and whether the crawl has ended or not; under the same `webhook-id`. Answers with the try.',
        tags: ['webhooks'],
        params: DeliveryParams,
        response: { 200: { description: 'The try; see `delivered`', ...ref<Attempt>('Attempt') }, ...errorResponses },
      },
    },
    async (request, reply): Promise<Attempt> => {
      const key = deliveryKey(request.params);
      const attempt = await deps.webhooks.redeliver(key, whileConnected(reply, deps));
      if (attempt === 'unknown') throw unknown(request.params);
      return sentOrThrow(attempt);
    },
  );
}

function testRoute(app: App, deps: RouteDeps): void {
  app.post(
    '/webhooks/test',
    {
      schema: {
        summary: 'Send a test message to an endpoint',
        description: 'A message of type `webhook.test`, signed as all are. No crawl is needed, and nothing is stored.',
        tags: ['webhooks'],
        body: WebhookTestSchema,
        response: { 200: { description: 'The try; see `delivered`', ...TestAnswer }, ...errorResponses },
      },
    },
    async (request, reply): Promise<Static<typeof TestAnswer>> => {
      refuse(webhookProblems(request.body, '', deps.refusesWebhook ?? (() => null)));
      return sentOrThrow(await deps.webhooks.test(request.body, whileConnected(reply, deps)));
    },
  );
}

function secretRoute(app: App, deps: RouteDeps): void {
  app.post(
    '/crawls/:id/webhooks/:name/secret',
    {
      schema: {
        summary: 'Give a webhook a new secret',
        description:
          'Where the old one was lost or is known to others. Messages are signed with it from now on, those that are tried again too; ' +
          'what the endpoint refuses until it has the new secret is tried again.',
        tags: ['webhooks'],
        params: Type.Object({ ...CrawlParams.properties, name: Type.String({ description: 'Name of the webhook' }) }),
        body: Type.Union([SecretSchema, Type.Null()]),
        response: {
          200: { description: 'The webhook; the secret is never shown again', ...StartedWebhookSchema },
          ...errorResponses,
        },
      },
    },
    async (request): Promise<StartedWebhook> => {
      const id = crawlId(request.params);
      const { name } = request.params;
      const given = (request.body as Static<typeof SecretSchema> | null | undefined)?.secret;
      refuse(secretProblems(given, ''));
      const secret = given ?? makeSecret();
      const webhook = await retried(() => changeSecret(deps.sql, id, name, secret));
      if (webhook === null)
        throw new ApiError('not_found', `There is no webhook ${name.slice(0, 100)} of a crawl ${id}`);
      return { name, url: webhook.url, secret: given === undefined ? secret : HIDDEN };
    },
  );
}

/** Fires when the client is gone or the service stops. */
function whileConnected(reply: FastifyReply, { closing }: RouteDeps): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  return AbortSignal.any([gone.signal, closing]);
}

function sentOrThrow<T extends Attempt>(attempt: T | Exclude<Unsent, 'unknown'>): T {
  if (attempt === 'busy')
    throw new ApiError(
      'too_busy',
      'This node sends as many messages by hand as it does at once; try again in a second',
    );
  if (attempt === 'items_gone')
    throw new ApiError(
      'wrong_state',
      'The items of this message have been deleted, so that it cannot be sent any more',
    );
  return attempt;
}

function deliveryKey(params: { id: string; delivery: string }): DeliveryKey {
  const key = placeOf(params.delivery, crawlId(params));
  if (key === null) throw unknown(params);
  return key;
}

function unknown({ id, delivery }: { id: string; delivery: string }): ApiError {
  return new ApiError('delivery_not_found', `The crawl ${id} has no delivery ${delivery.slice(0, 100)}`);
}

function toDelivery(row: Omit<DeliveryOf, 'definition' | 'payload'>): Delivery {
  return {
    id: messageId(row),
    webhook: row.name,
    event: row.event,
    from: row.first_offset,
    items: row.items,
    state: row.state,
    attempts: row.attempts,
    createdAt: row.created_at.toISOString(),
    deliveredAt: row.delivered_at?.toISOString() ?? null,
    nextTryAt: row.next_at?.toISOString() ?? null,
  };
}
