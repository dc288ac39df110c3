import type { Db } from '../db/client.ts';
import type { DeliveryKey, DeliveryRow } from '../db/deliveries.ts';
import { readItems } from '../db/items.ts';
import { itemJson } from '../formats/item_json.ts';
import type { Attempt, Outgoing, Sent } from '../model/delivery.ts';
import type { Webhook } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';
import { HIDDEN } from '../model/secrets.ts';
import { messageBody } from './webhook_message.ts';
import { isTaken } from './webhook_tries.ts';

/** Of the items of one message; there are never more in one. */
const ALL = { rows: 1000, bytes: Number.MAX_SAFE_INTEGER };

/** Shorter values of headers are words, and no secrets. */
const MIN_SECRET = 6;

/** A message's items are not there any more. */
export class ItemsGone extends Error {}

/** An item as a webhook shows it. */
export function itemText(item: StoredItem, { fields }: Webhook): string {
  return itemJson(item, { fields: fields === undefined ? null : new Set(fields), flatten: false });
}

/** The data of `items.created`. @param texts of the items, of which there is one at least */
export function itemsData(
  { crawl_id }: Pick<DeliveryKey, 'crawl_id'>,
  spider: string | null,
  items: readonly StoredItem[],
  texts: readonly string[],
): string {
  const crawl = JSON.stringify({ id: crawl_id, spider: { name: spider } });
  const [from, through] = [items[0]!.offset, items.at(-1)!.offset];
  return `{"crawl":${crawl},"from":${from},"through":${through},"items":[${texts.join(',')}]}`;
}

/** The body of a stored message, the same to the byte at every call. @throws ItemsGone */
export async function storedBody(
  db: Db,
  row: DeliveryRow,
  definition: Webhook,
  spider: string | null,
): Promise<string> {
  const { crawl_id, event, created_at, first_offset, next_offset, payload } = row;
  if (first_offset === null) return messageBody(event, created_at, payload ?? '{}');
  const { type, changes } = definition;
  const items = await readItems(db, crawl_id, { from: first_offset, to: next_offset - 1, type, changes, ...ALL });
  if (items.length !== row.items) throw new ItemsGone('the items of this message are not there any more');
  const texts = items.map((item) => itemText(item, definition));
  return messageBody(event, created_at, itemsData(row, spider, items, texts));
}

/** A try as the API shows it. @param at when it began, milliseconds since the epoch. @param own the webhook's headers */
export function attemptOf(
  { url, headers, body }: Outgoing,
  sent: Sent,
  { at, manual, own = {} }: { at: number; manual: boolean; own?: Webhook['headers'] },
): Attempt {
  const hidden = new Set(Object.keys(own).map((name) => name.toLowerCase()));
  const shown = Object.entries(headers).map(([name, value]) => [name, hidden.has(name) ? HIDDEN : value]);
  return {
    at: new Date(at).toISOString(),
    manual,
    delivered: isTaken(sent),
    request: { url, headers: Object.fromEntries(shown), bytes: Buffer.byteLength(body) },
    ...sent,
    response: sent.response && withoutEchoes(sent.response, Object.values(own)),
  };
}

/** An answer without the webhook's own header values, which some endpoints send back. @param secrets the values */
function withoutEchoes(response: NonNullable<Sent['response']>, secrets: readonly string[]): typeof response {
  const told = secrets.filter(({ length }) => length >= MIN_SECRET);
  if (told.length === 0) return response;
  // As a JSON text has them, too.
  const all = told.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
  const hide = (text: string) => all.reduce((rest, secret) => rest.replaceAll(secret, HIDDEN), text);
  const headers = Object.entries(response.headers).map(([name, value]) => [name, hide(value)]);
  return { ...response, headers: Object.fromEntries(headers), body: hide(response.body) };
}
