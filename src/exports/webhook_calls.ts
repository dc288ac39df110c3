import { randomUUID } from 'node:crypto';
import type { Sql } from '../db/client.ts';
import { retried } from '../db/client.ts';
import { findCrawl } from '../db/crawls.ts';
import { type DeliveryKey, findDelivery, hasten, recordAttempt } from '../db/deliveries.ts';
import type { Attempt, Send, WebhookTest } from '../model/delivery.ts';
import type { Webhook } from '../model/export.ts';
import { makeSecret } from '../model/webhook_secret.ts';
import { attemptOf, ItemsGone, storedBody } from './webhook_attempt.ts';
import { messageBody, messageId, signed } from './webhook_message.ts';

/** Messages that are sent by hand at once. */
const MAX_RUNNING = 8;

/** Why a message was not sent by hand. */
export type Unsent = 'busy' | 'unknown' | 'items_gone';

/** What is sent because somebody asks for it: at once, by the node that is asked, a few at a time. */
export class WebhookCalls {
  readonly #sql: Sql;
  readonly #send: Send;
  #running = 0;

  constructor(sql: Sql, send: Send) {
    this.#sql = sql;
    this.#send = send;
  }

  /**
   * Sends a message once more, whatever its state, under the same `webhook-id`. The webhook's cursor stays where it is; one
   * that waits to try this message goes on at once if it was taken.
   *
   * @param signal gives up
   */
  redeliver(key: DeliveryKey, signal: AbortSignal): Promise<Attempt | Unsent> {
    return this.#inTurn(async () => {
      const [row, crawl] = await Promise.all([findDelivery(this.#sql, key), findCrawl(this.#sql, key.crawl_id)]);
      if (row === null || crawl === null) return 'unknown';
      let body: string;
      try {
        body = await storedBody(this.#sql, row, row.definition, crawl.spider_name);
      } catch (error) {
        if (error instanceof ItemsGone) return 'items_gone';
        throw error;
      }
      const attempt = await this.#try(row.definition, messageId(key), body, signal);
      const taken = { state: 'delivered', failures: 0, failingSince: null, nextAt: null } as const;
      await retried(() => recordAttempt(this.#sql, key, attempt, attempt.delivered ? taken : null));
      if (attempt.delivered && row.state === 'pending') await hasten(this.#sql, key);
      return attempt;
    });
  }

  /** Sends a `webhook.test`, which is kept nowhere. @param signal gives up */
  test(webhook: WebhookTest, signal: AbortSignal): Promise<(Attempt & { secret?: string }) | 'busy'> {
    return this.#inTurn(async () => {
      const secret = webhook.secret ?? makeSecret();
      const id = `msg_test_${randomUUID().replaceAll('-', '')}`;
      const body = messageBody('webhook.test', new Date(), '{}');
      const attempt = await this.#try({ ...webhook, secret }, id, body, signal);
      return webhook.secret === undefined ? { ...attempt, secret } : attempt;
    });
  }

  async #try(webhook: Webhook, id: string, body: string, signal: AbortSignal): Promise<Attempt> {
    const at = Date.now();
    const message = signed(webhook, id, body, at);
    const sent = await this.#send(message, signal);
    return attemptOf(message, sent, { at, manual: true, own: webhook.headers });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T | 'busy'> {
    if (this.#running >= MAX_RUNNING) return 'busy';
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
    }
  }
}
