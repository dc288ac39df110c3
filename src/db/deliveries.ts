import type { Attempt, Delivery } from '../model/delivery.ts';
import type { Webhook, WebhookEvent } from '../model/export.ts';
import { storedJson } from '../model/extra.ts';
import type { Db } from './client.ts';

/** Tries that are kept of each message: the last ones. */
const MAX_ATTEMPTS = 50;
/** The tries of a delivered message are kept until so many more have been delivered: a kilobyte each, of a message an item perhaps. */
const TRIES_OF = 1000;

/** Which message: the n-th of a crawl's consumer. */
export interface DeliveryKey {
  crawl_id: string;
  /** Number of the consumer in its crawl. */
  webhook: number;
  n: number;
}

/** A row of `deliveries`, as the driver gives it. */
export interface DeliveryRow extends DeliveryKey {
  event: WebhookEvent;
  created_at: Date;
  first_offset: number | null;
  next_offset: number;
  items: number | null;
  payload: string | null;
  state: Delivery['state'];
  attempts: number;
  failures: number;
  failing_since: Date | null;
  next_at: Date | null;
  delivered_at: Date | null;
}

/** What a new message is made of. */
export type NewDelivery = DeliveryKey &
  Pick<DeliveryRow, 'event' | 'first_offset' | 'next_offset' | 'items' | 'payload'>;

/** Null: another one has this place, an earlier try of the same insert perhaps; or the webhook is gone. */
export async function insertDelivery(db: Db, delivery: NewDelivery): Promise<DeliveryRow | null> {
  const { crawl_id, webhook, n, event, first_offset, next_offset, items, payload } = delivery;
  const [row] = await db<DeliveryRow[]>`
    insert into deliveries (crawl_id, webhook, n, event, first_offset, next_offset, items, payload)
    select crawl_id, n, ${n}::integer, ${event}, ${first_offset}::bigint, ${next_offset}::bigint, ${items}::integer,
      ${payload}::text
    from exports where crawl_id = ${crawl_id} and n = ${webhook}
    on conflict do nothing
    returning *`;
  return row ?? null;
}

/** The newest message of a webhook; null: there is none. */
export async function lastDelivery(db: Db, crawlId: string, webhook: number): Promise<DeliveryRow | null> {
  const [row] = await db<DeliveryRow[]>`
    select * from deliveries where crawl_id = ${crawlId} and webhook = ${webhook} order by n desc limit 1`;
  return row ?? null;
}

/** A message with its webhook. */
export interface DeliveryOf extends DeliveryRow {
  name: string;
  definition: Webhook;
}

export async function findDelivery(db: Db, { crawl_id, webhook, n }: DeliveryKey): Promise<DeliveryOf | null> {
  const [row] = await db<DeliveryOf[]>`
    select d.*, e.name, e.definition
    from deliveries d join exports e on e.crawl_id = d.crawl_id and e.n = d.webhook
    where d.crawl_id = ${crawl_id} and d.webhook = ${webhook} and d.n = ${n}`;
  return row ?? null;
}

export interface DeliveryFilter {
  /** Name. */
  webhook?: string | undefined;
  state?: Delivery['state'] | undefined;
  /** Exclusive: the last one of the page before. */
  after?: Pick<DeliveryKey, 'webhook' | 'n'> | undefined;
  limit: number;
}

/** Messages of a crawl by webhook, and of each in the order of sending. Payloads are left out. */
export async function listDeliveries(
  db: Db,
  crawlId: string,
  { webhook, state, after, limit }: DeliveryFilter,
): Promise<Omit<DeliveryOf, 'definition' | 'payload'>[]> {
  return db<Omit<DeliveryOf, 'definition' | 'payload'>[]>`
    select d.crawl_id, d.webhook, d.n, event, created_at, first_offset, d.next_offset, items, d.state, attempts, d.failures,
      d.failing_since, next_at, delivered_at, e.name
    from deliveries d join exports e on e.crawl_id = d.crawl_id and e.n = d.webhook
    where d.crawl_id = ${crawlId}
      ${webhook === undefined ? db`` : db`and e.name = ${webhook}`}
      ${state === undefined ? db`` : db`and d.state = ${state}`}
      ${state === undefined || state === 'delivered' ? db`` : db`and d.state <> 'delivered'`}
      ${after === undefined ? db`` : db`and (d.webhook, d.n) > (${after.webhook}::smallint, ${after.n}::integer)`}
    order by d.webhook, d.n
    limit ${limit}`;
}

/** What a try changes of its message. */
export interface DeliveryChange {
  state: Delivery['state'];
  failures: number;
  /** Milliseconds since the epoch, both. */
  failingSince: number | null;
  nextAt: number | null;
}

/**
 * Stores a try and what follows from it; twice is once. What was delivered stays so: a try by hand may have got through
 * meanwhile.
 *
 * @param change null: nothing follows from it
 */
export async function recordAttempt(
  db: Db,
  { crawl_id, webhook, n }: DeliveryKey,
  attempt: Attempt,
  change: DeliveryChange | null,
): Promise<void> {
  const at = attempt.at;
  const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  const changes =
    change === null
      ? db``
      : db`, state = case when state = 'delivered' then state else ${change.state} end,
          failures = ${change.failures}, failing_since = ${time(change.failingSince)}::text::timestamptz,
          next_at = case when state = 'delivered' then null else ${time(change.nextAt)}::text::timestamptz end
          ${change.state === 'delivered' ? db`, delivered_at = coalesce(delivered_at, ${at}::text::timestamptz)` : db``}`;
  await db`
    with counted as (
      update deliveries d set attempts = attempts + 1 ${changes}
      where crawl_id = ${crawl_id} and webhook = ${webhook} and n = ${n} and not exists (
        select 1 from delivery_attempts a
        where a.crawl_id = ${crawl_id} and a.webhook = ${webhook} and a.delivery = ${n} and a.at = ${at}::text::timestamptz)
      returning attempts
    ), dropped as (
      delete from delivery_attempts a using counted
      where a.crawl_id = ${crawl_id} and a.webhook = ${webhook} and a.delivery = ${n}
        and a.n <= counted.attempts - ${MAX_ATTEMPTS}::integer
    ), forgotten as (
      delete from delivery_attempts a using deliveries d
      where ${attempt.delivered} and a.crawl_id = ${crawl_id} and a.webhook = ${webhook} and a.delivery = ${n - TRIES_OF}::integer
        and d.crawl_id = ${crawl_id} and d.webhook = ${webhook} and d.n = ${n - TRIES_OF}::integer and d.state = 'delivered'
    )
    insert into delivery_attempts (crawl_id, webhook, delivery, n, at, attempt)
    select ${crawl_id}, ${webhook}, ${n}, attempts, ${at}::text::timestamptz, ${storedJson(attempt)}::text::json from counted`;
}

/** Gives a message up that cannot be sent any more. */
export async function giveUp(db: Db, { crawl_id, webhook, n }: DeliveryKey): Promise<void> {
  await db`
    update deliveries set state = 'failed', next_at = null
    where crawl_id = ${crawl_id} and webhook = ${webhook} and n = ${n} and state = 'pending'`;
}

/** The kept tries of a message, in their order; none of one that was delivered long ago. */
export async function listAttempts(
  db: Db,
  { crawl_id, webhook, n }: DeliveryKey,
): Promise<{ n: number; attempt: Attempt }[]> {
  return db<{ n: number; attempt: Attempt }[]>`
    select n, attempt from delivery_attempts
    where crawl_id = ${crawl_id} and webhook = ${webhook} and delivery = ${n} order by n`;
}

/** Whether a webhook's endpoint took the message before this one, and any other since a time. */
export async function takenBeside(
  db: Db,
  { crawl_id, webhook, n }: DeliveryKey,
  since: number,
): Promise<{ before: boolean; since: boolean }> {
  const [row] = await db<{ before: boolean | null; since: boolean | null }[]>`
    select bool_or(n = ${n - 1} and state = 'delivered') as before,
      bool_or(delivered_at >= ${new Date(since).toISOString()}::text::timestamptz) as since
    from deliveries where crawl_id = ${crawl_id} and webhook = ${webhook} and n <> ${n}`;
  return { before: row?.before ?? false, since: row?.since ?? false };
}

/** Lets a webhook that waits go on at once. */
export async function hasten(db: Db, { crawl_id, webhook }: DeliveryKey): Promise<void> {
  await db`update exports set due_at = now() where crawl_id = ${crawl_id} and n = ${webhook} and state = 'active' and due_at > now()`;
}
