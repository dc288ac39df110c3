import { createHmac } from 'node:crypto';
import type { DeliveryKey } from '../db/deliveries.ts';
import type { Outgoing } from '../model/delivery.ts';
import type { Webhook } from '../model/export.ts';
import { USER_AGENT } from '../model/settings.ts';
import { secretBytes } from '../model/webhook_secret.ts';

const TIMEOUT_MS = 15_000;

/** The `webhook-id` of a message: the same for every try, on every node. No full stop is in it, which would blur what is signed. */
export function messageId({ crawl_id, webhook, n }: DeliveryKey): string {
  return `msg_${crawl_id.replaceAll('-', '')}_${webhook}_${n}`;
}

/** The place that a `webhook-id` names among a crawl's messages; null: it is none of this crawl's. */
export function placeOf(id: string, crawlId: string): DeliveryKey | null {
  const [, crawl, webhook, n] = /^msg_([0-9a-f]{32})_(\d{1,4})_(\d{1,9})$/.exec(id) ?? [];
  if (crawl === undefined || crawl !== crawlId.replaceAll('-', '')) return null;
  return { crawl_id: crawlId, webhook: Number(webhook), n: Number(n) };
}

/**
 * A message as it is sent now, signed as Standard Webhooks says: HMAC-SHA256 of id, timestamp and body.
 *
 * @param now milliseconds since the epoch
 */
export function signed(
  { url, secret, headers = {}, timeoutMs = TIMEOUT_MS }: Pick<Webhook, 'url' | 'secret' | 'headers' | 'timeoutMs'>,
  id: string,
  body: string,
  now: number,
): Outgoing {
  const timestamp = String(Math.floor(now / 1000));
  const signature = createHmac('sha256', secretBytes(secret ?? ''))
    .update(`${id}.${timestamp}.${body}`)
    .digest('base64');
  const own = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const);
  return {
    url,
    timeoutMs,
    body,
    headers: {
      'user-agent': USER_AGENT,
      ...Object.fromEntries(own),
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${signature}`,
    },
  };
}

/** What a message says. @param data JSON */
export function messageBody(type: string, at: Date, data: string): string {
  return `{"type":${JSON.stringify(type)},"timestamp":"${at.toISOString()}","data":${data}}`;
}
