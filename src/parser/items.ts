import { storedJson } from '../model/extra.ts';
import type { ItemRow } from '../model/outcome.ts';
import { type Data, hasValue, type ItemReader } from './extract.ts';
import type { PageFacts } from './page_facts.ts';

const MAX_ITEM_BYTES = 1024 * 1024;
const MAX_PAGE_BYTES = 8 * 1024 * 1024;

/** The items of one page, serialised, with what was counted on the way. */
export class ItemSink {
  readonly items: ItemRow[] = [];
  readonly dropped: Record<string, number> = Object.create(null);
  readonly fills: Record<string, number> = Object.create(null);
  /** True once the page's items came to more bytes than one page may bring; the rest is left out. */
  full = false;
  #bytes = 0;

  /** Reads every item of a rule. */
  collect(reader: ItemReader, page: PageFacts): void {
    for (const scope of reader.scopes(page)) {
      if (this.full) return;
      const data = reader.read(page, scope);
      if (page.kind !== 'html' && reader.isStrange(data)) {
        this.#drop('empty');
        continue;
      }
      const missing = reader.missing(data);
      if (missing === null) this.add(reader.type, data);
      else this.#drop(`required: ${clean(missing)}`);
    }
  }

  /** Adds one item, unless it is too large. */
  add(type: string, data: Data): void {
    const json = toJson(data);
    const size = Buffer.byteLength(json);
    if (size > MAX_ITEM_BYTES) {
      this.#drop('too_large');
      return;
    }
    if (this.#bytes + size > MAX_PAGE_BYTES) {
      this.full = true;
      return;
    }
    this.#bytes += size;
    this.items.push({ type, data: json, size });
    this.#fill(type);
    for (const name in data) if (hasValue(data[name])) this.#fill(`${type}.${clean(name)}`);
  }

  #fill(key: string): void {
    this.fills[key] = (this.fills[key] ?? 0) + 1;
  }

  #drop(reason: string): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + 1;
  }
}

/** JSON that PostgreSQL can hold. Most has no escape at all and needs no second look. */
function toJson(data: Data): string {
  const json = JSON.stringify(data);
  return json.includes('\\u') ? storedJson(data) : json;
}

/** Well formed, NUL as U+FFFD. */
function clean(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd');
}
