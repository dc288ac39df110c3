import { WEBHOOK_EVENTS, WebhookSchema } from './export.ts';
import { recordOf } from './record.ts';
import { type Static, Type } from './type.ts';

export const DELIVERY_STATES = ['pending', 'delivered', 'failed'] as const;

const time = Type.String({ format: 'date-time' });
const text = Type.String();
const count = Type.Integer({ minimum: 0 });
const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { description });

/** One try to deliver a message. */
export const AttemptSchema = Type.Object({
  at: time,
  manual: Type.Boolean({ description: 'Asked for by `redeliver` or as a test' }),
  delivered: Type.Boolean({ description: 'It was answered with a status of 200 to 299' }),
  request: Type.Object({
    url: text,
    headers: recordOf(text, { description: 'As sent; the values of the webhook’s own headers are hidden' }),
    bytes: Type.Integer({ description: 'Of the body' }),
  }),
  response: orNull(
    Type.Object({
      status: Type.Integer(),
      headers: recordOf(text, { description: 'At most fifty; Set-Cookie and the like are hidden' }),
      body: Type.String({ description: 'The first 4 KiB' }),
      cut: Type.Boolean({ description: 'There was more of the body, or it broke off' }),
    }),
    'Null: there was none',
  ),
  error: orNull(
    Type.Object({
      code: Type.String({ description: 'A reason as those of requests: dns, connect, timeout, egress …' }),
      message: text,
    }),
    'What went wrong on the way; null: nothing. A bad status is no error here',
  ),
  timing: Type.Object({
    connectMs: orNull(
      count,
      'Until the request was sent: DNS, connection and TLS; 0 or so on one that was kept. Null: never',
    ),
    firstByteMs: orNull(count, 'From there to the headers of the answer'),
    totalMs: count,
  }),
});
export type Attempt = Static<typeof AttemptSchema>;

/** A message of a webhook. */
export const DeliverySchema = Type.Object({
  id: Type.String({ description: 'Also its `webhook-id`, the same for every try' }),
  webhook: Type.String({ description: 'Name of the webhook' }),
  event: Type.Enum([...WEBHOOK_EVENTS]),
  from: orNull(Type.Integer(), 'Offset of its first item; null: an event without items'),
  items: orNull(Type.Integer(), 'How many items are in it'),
  state: Type.Enum([...DELIVERY_STATES], {
    description: 'pending: it waits for a try, or for the webhook to be resumed; failed: given up, until `redeliver`',
  }),
  attempts: count,
  createdAt: time,
  deliveredAt: orNull(time, 'Of the first success'),
  nextTryAt: orNull(time, 'Null: at once, or there is none'),
});
export type Delivery = Static<typeof DeliverySchema>;

/** A message on its way, as the sender takes it. */
export interface Outgoing {
  url: string;
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  body: string;
  /** From the call to the last byte of the answer. */
  timeoutMs: number;
}

/** What came of sending it. */
export type Sent = Pick<Attempt, 'response' | 'error' | 'timing'>;

/** Sends one message by POST, once; never rejects. @param signal gives up */
export type Send = (message: Outgoing, signal: AbortSignal) => Promise<Sent>;

/** Where a test message is sent to: the parts of a webhook that say so. */
export const WebhookTestSchema = Type.Pick(WebhookSchema, ['url', 'secret', 'headers', 'timeoutMs'], {
  additionalProperties: false,
});
export type WebhookTest = Static<typeof WebhookTestSchema>;
