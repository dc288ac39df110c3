import type { StoredItem } from '../model/item.ts';
import { isWanted, membersOf, type Narrowing } from './members.ts';

const LINE_BREAKS = /[\r\n]+/g;

/** One item as a line of JSON. Its data is spliced in as it was produced: it is looked into only where it is narrowed. */
export function itemJson(item: StoredItem, narrowing: Narrowing): string {
  const json = oneLine(item.data);
  const data = isNarrow(narrowing) ? narrowed(json, narrowing) : json;
  return (
    `{"offset":${item.offset},"type":${JSON.stringify(item.type)},"url":${JSON.stringify(item.url)},` +
    `"data":${data},"scrapedAt":"${item.scraped_at.toISOString()}"${item.change === null ? '' : `,"change":${item.change}`}}`
  );
}

/** Whether items must be looked into. */
export function isNarrow({ fields, flatten }: Narrowing): boolean {
  return fields !== null || flatten;
}

/** In valid JSON a raw line break can only stand between two tokens. */
export function oneLine(json: string): string {
  return json.includes('\n') || json.includes('\r') ? json.replace(LINE_BREAKS, ' ') : json;
}

/** An item's data with the fields alone that are wanted. @param json in one line */
export function narrowed(json: string, narrowing: Narrowing): string {
  const members = membersOf(json, narrowing.flatten);
  if (members === null) return json;
  const parts = members
    .filter(({ name }) => isWanted(name, narrowing))
    .map(({ name, start, end }) => `${JSON.stringify(name)}:${json.slice(start, end)}`);
  return `{${parts.join(',')}}`;
}
