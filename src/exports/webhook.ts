import type { Sql } from '../db/client.ts';
import { patiently } from '../db/client.ts';
import { findCrawl, toCrawl } from '../db/crawls.ts';
import {
  type DeliveryRow,
  giveUp,
  insertDelivery,
  lastDelivery,
  type NewDelivery,
  recordAttempt,
  takenBeside,
} from '../db/deliveries.ts';
import { type Crawl, ENDED_STATES } from '../model/crawl.ts';
import type { Send } from '../model/delivery.ts';
import { WEBHOOK_EVENTS, type Webhook } from '../model/export.ts';
import { storedJson } from '../model/extra.ts';
import type { StoredItem } from '../model/item.ts';
import { type Batch, type BatchLimits, type Cursor, ExportError, type ExportJob, type Target } from './target.ts';
import { attemptOf, ItemsGone, itemsData, itemText, storedBody } from './webhook_attempt.ts';
import { messageBody, messageId, signed } from './webhook_message.ts';
import { isTaken, judge } from './webhook_tries.ts';

/** A body is no larger, unless a single item is. */
const MAX_BODY_BYTES = 1024 * 1024;
/** What is around the items in a body, at most. */
const ENVELOPE_BYTES = 2048;
const BATCH_ITEMS = 100;
const BATCH_SECONDS = 1;

/** What webhooks are sent with. */
export interface WebhookParts {
  sql: Sql;
  send: Send;
  /** Judges when tries are due, in milliseconds since the epoch; absent: the clock. */
  now?: () => number;
  /** From 0 to below 1; absent: `Math.random`. */
  random?: () => number;
}

/**
 * A webhook: messages in order, one at a time, the next only when the endpoint has the one before.
 *
 * A message is a row before it is sent (src/db/deliveries.ts), and its place in the row's key is what two holders meet at: the
 * second of them fails. So the rows, not the stored cursor, say where to go on; `open` first sends what is pending. A message
 * may arrive twice, where a node ends between its answer and our note of it; both times with the same `webhook-id` and body.
 */
export class WebhookTarget implements Target {
  readonly limits: BatchLimits;
  readonly #job: ExportJob;
  readonly #webhook: Webhook;
  readonly #parts: Required<WebhookParts>;
  readonly #events: ReadonlySet<string>;
  /** n of the newest message; −1: there is none. */
  #last = -1;
  /** `crawl.started` is still to be sent. */
  #owesStart = false;
  #next = 0;

  constructor(job: ExportJob, webhook: Webhook, parts: WebhookParts) {
    this.#job = job;
    this.#webhook = webhook;
    this.#parts = { now: Date.now, random: Math.random, ...parts };
    this.#events = new Set(webhook.events ?? WEBHOOK_EVENTS);
    const { items = BATCH_ITEMS, seconds = BATCH_SECONDS } = webhook.batch ?? {};
    const isTold = this.#events.has('items.created');
    this.limits = { items: isTold ? items : 0, bytes: MAX_BODY_BYTES, lingerMs: Math.round(seconds * 1000) };
  }

  async open(stored: Cursor, signal: AbortSignal): Promise<Cursor> {
    const last = await lastDelivery(this.#parts.sql, this.#job.crawlId, this.#job.n);
    this.#last = last?.n ?? -1;
    this.#next = Math.max(stored.next, last?.next_offset ?? 0);
    this.#owesStart = last === null && this.#events.has('crawl.started');
    if (last?.state === 'pending') await this.#sendPending(last, signal);
    await this.#start(signal);
    return this.#cursor();
  }

  async write({ items, next }: Batch, signal: AbortSignal): Promise<Cursor> {
    await this.#start(signal);
    if (this.#events.has('items.created')) {
      const pieces = piecesOf(items, this.#webhook);
      for (const [i, piece] of pieces.entries()) await this.#sendItems(piece, pieces[i + 1]?.from ?? next, signal);
    }
    this.#next = next;
    return this.#cursor();
  }

  async flush(signal: AbortSignal): Promise<Cursor> {
    await this.#start(signal);
    return this.#cursor();
  }

  async finish(signal: AbortSignal): Promise<Cursor> {
    await this.#start(signal);
    const crawl = await this.#crawl();
    if (!ENDED_STATES.includes(crawl.state)) return this.#cursor(); // it was resumed meanwhile
    const event = crawl.state === 'failed' ? 'crawl.failed' : 'crawl.finished';
    if (this.#events.has(event) && !(await this.#hasTold(crawl))) await this.#sendEvent(event, crawl, signal);
    return this.#cursor();
  }

  async close(): Promise<void> {}

  #cursor(): Cursor {
    return { next: this.#next, position: null };
  }

  async #crawl(): Promise<Crawl> {
    const row = await findCrawl(this.#parts.sql, this.#job.crawlId);
    if (row === null) throw new ExportError('gone', 'the crawl was deleted', { permanent: true });
    return toCrawl(row);
  }

  /** Sends `crawl.started` once the crawl has: before all else, and not for one that ended without. */
  async #start(signal: AbortSignal): Promise<void> {
    if (!this.#owesStart) return;
    const crawl = await this.#crawl();
    if (crawl.startedAt === null) return;
    this.#owesStart = false;
    await this.#sendEvent('crawl.started', crawl, signal);
  }

  /** Whether this very end was told of: a crawl that is resumed ends anew. */
  async #hasTold({ endedAt }: Crawl): Promise<boolean> {
    const last = await lastDelivery(this.#parts.sql, this.#job.crawlId, this.#job.n);
    if (last?.event !== 'crawl.finished' && last?.event !== 'crawl.failed') return false;
    return (JSON.parse(last.payload ?? '{}') as { crawl?: Crawl }).crawl?.endedAt === endedAt;
  }

  async #sendEvent(event: NewDelivery['event'], crawl: Crawl, signal: AbortSignal): Promise<void> {
    const payload = storedJson({ crawl });
    const row = await this.#insert({ event, first_offset: null, next_offset: this.#next, items: null, payload });
    await this.#send(row, messageBody(event, row.created_at, payload), signal);
  }

  /** @param next the cursor behind this piece */
  async #sendItems({ from, items, texts }: Piece, next: number, signal: AbortSignal): Promise<void> {
    const row = await this.#insert({
      event: 'items.created',
      first_offset: from,
      next_offset: next,
      items: items.length,
      payload: null,
    });
    const data = itemsData(row, this.#job.spider, items, texts);
    await this.#send(row, messageBody(row.event, row.created_at, data), signal);
  }

  async #insert(parts: Omit<NewDelivery, 'crawl_id' | 'webhook' | 'n'>): Promise<DeliveryRow> {
    const { crawlId, n: webhook } = this.#job;
    const row = await insertDelivery(this.#parts.sql, { ...parts, crawl_id: crawlId, webhook, n: this.#last + 1 });
    if (row === null) throw new ExportError('other', 'another node sends for this webhook, or its crawl was deleted');
    this.#last = row.n;
    return row;
  }

  async #sendPending(row: DeliveryRow, signal: AbortSignal): Promise<void> {
    let body: string;
    try {
      body = await storedBody(this.#parts.sql, row, this.#webhook, this.#job.spider);
    } catch (error) {
      if (!(error instanceof ItemsGone)) throw error;
      return giveUp(this.#parts.sql, row);
    }
    await this.#send(row, body, signal);
  }

  /** One try. @throws ExportError where the endpoint does not have the message, unless the next one is due all the same */
  async #send(row: DeliveryRow, body: string, signal: AbortSignal): Promise<void> {
    const { sql, send, now, random } = this.#parts;
    const at = Date.now();
    const message = signed(this.#webhook, messageId(row), body, at);
    const sent = await send(message, signal);
    const attempt = attemptOf(message, sent, { at, manual: false, own: this.#webhook.headers });
    const record = (change: Parameters<typeof recordAttempt>[3]) =>
      patiently(() => recordAttempt(sql, row, attempt, change), signal);
    if (isTaken(sent)) return record({ state: 'delivered', failures: 0, failingSince: null, nextAt: null });
    signal.throwIfAborted(); // it was given up by us, and is no failure of the endpoint
    const verdict = await judge(row, sent, (since) => takenBeside(sql, row, since), { now: now(), random: random() });
    await record(verdict.change);
    if (verdict.error !== null) throw verdict.error;
  }
}

/** Items that go in one message, and how they read there. */
interface Piece {
  /** Offset of the first. */
  from: number;
  items: StoredItem[];
  texts: string[];
}

/** A batch in pieces of a body each. */
function piecesOf(items: readonly StoredItem[], webhook: Webhook): Piece[] {
  const pieces: Piece[] = [];
  let room = 0;
  for (const item of items) {
    const text = itemText(item, webhook);
    const bytes = Buffer.byteLength(text) + 1;
    if (pieces.length === 0 || bytes > room) {
      pieces.push({ from: item.offset, items: [], texts: [] });
      room = MAX_BODY_BYTES - ENVELOPE_BYTES;
    }
    room -= bytes;
    pieces.at(-1)!.items.push(item);
    pieces.at(-1)!.texts.push(text);
  }
  return pieces;
}
