import type { StoredItem } from '../model/item.ts';

const LINE_BREAKS = /[\r\n]+/g;

/**
 * One item as a line of JSON. Its data is spliced in as it was produced: never parsed, unless `fields` narrows it.
 *
 * @param fields top-level keys of the data to keep; null keeps all
 */
export function itemJson(item: StoredItem, fields: ReadonlySet<string> | null): string {
  const data = fields === null ? oneLine(item.data) : narrow(item.data, fields);
  return (
    `{"offset":${item.offset},"type":${JSON.stringify(item.type)},"url":${JSON.stringify(item.url)},` +
    `"data":${data},"scrapedAt":"${item.scraped_at.toISOString()}"${item.change === null ? '' : `,"change":${item.change}`}}`
  );
}

/** In valid JSON a raw line break can only stand between two tokens. */
function oneLine(json: string): string {
  return json.includes('\n') || json.includes('\r') ? json.replace(LINE_BREAKS, ' ') : json;
}

function narrow(json: string, fields: ReadonlySet<string>): string {
  const data: unknown = JSON.parse(json);
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return oneLine(json);
  const parts = Object.entries(data)
    .filter(([key]) => fields.has(key))
    .map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  return `{${parts.join(',')}}`;
}

/** One server-sent event. @param data one line of JSON */
export function sseEvent(event: string, data: string, id?: number): string {
  return id === undefined ? `event: ${event}\ndata: ${data}\n\n` : `event: ${event}\nid: ${id}\ndata: ${data}\n\n`;
}
