import { storedJson } from '../model/extra.ts';
import type { DedupeKey, ItemRow, ParsedPage, StepAnswer, WaitingItem } from '../model/outcome.ts';
import { type Data, hasValue, type ItemReader } from './extract.ts';
import type { ItemStates } from './item_states.ts';
import { outgrows } from './json_path.ts';
import type { PageFacts } from './page_facts.ts';
import type { Passage, Steps } from './steps.ts';

const MAX_ITEM_BYTES = 1024 * 1024;
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
/** Characters of what is counted by name: it is a key of an index, which holds 2,704 bytes. */
const MAX_WORD = 300;
/** An item with more is too large whatever its bytes are. */
const MAX_ITEM_CHARS = 2 * MAX_ITEM_BYTES;

/** What a page's items came to, as parts of a ParsedPage. */
type SunkItems = Pick<ParsedPage, 'items' | 'dropped' | 'fills' | 'steps' | 'pending'>;

/** The items of one page, taken through the pipeline's steps and serialised, with what was counted on the way. */
export class ItemSink {
  readonly items: ItemRow[] = [];
  /** The places of `items` among the page's; left out where there are no steps. */
  readonly places: number[] = [];
  readonly dropped: Record<string, number> = Object.create(null);
  readonly fills: Record<string, number> = Object.create(null);
  /** True once the page's items came to more bytes than one page may bring; the rest is left out. */
  full = false;
  readonly #steps: Steps | null;
  readonly #states: ItemStates | null;
  readonly #met: Record<string, number> = Object.create(null);
  readonly #note = (key: string): void => count(this.#met, countWord(key));
  readonly #waiting: WaitingItem[] = [];
  #place = 0;
  #bytes: number;

  /** @param bytes of the page's items that are not in this sink. @param states null: nothing is compared with earlier crawls */
  constructor(steps: Steps | null = null, bytes = 0, states: ItemStates | null = null) {
    this.#steps = steps;
    this.#states = states;
    this.#bytes = bytes;
  }

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
      else this.#drop(`required: ${countWord(missing)}`);
    }
  }

  /** Adds one item, unless a step drops it or it is too large. @throws StepFailed */
  add(type: string, data: Data): void {
    const place = this.#place++;
    // Before anything makes a text of it.
    if (this.#steps !== null && outgrows(data, MAX_ITEM_CHARS)) this.#drop('too_large');
    else if (this.#steps === null) this.#keep(type, data, place);
    else this.#pass(type, place, this.#steps.run(type, data, this.#note));
  }

  /** Goes on with an item that has its answer. @throws StepFailed */
  resume({ type, place, data, step, keys }: WaitingItem, answer: StepAnswer): void {
    const copy: Data = Object.assign(Object.create(null), JSON.parse(data));
    this.#pass(type, place, this.#steps!.answer(type, copy, this.#note, { step, keys }, answer));
  }

  outcome(): SunkItems {
    const { items, dropped, fills } = this;
    const sunk: SunkItems = { items, dropped, fills };
    for (const _ in this.#met) sunk.steps = this.#met;
    if (this.#waiting.length > 0) sunk.pending = { places: this.places, waiting: this.#waiting };
    return sunk;
  }

  #pass(type: string, place: number, passage: Passage): void {
    if (passage.kind === 'dropped') this.#drop(countWord(passage.reason));
    else if (passage.kind === 'kept') this.#keep(type, passage.data, place, passage.keys);
    else {
      const { data, keys, step, question } = passage;
      const row = this.#row(type, data);
      if (row !== null) this.#waiting.push({ ...row, place, keys, step, question });
    }
  }

  #keep(type: string, data: Data, place: number, keys: DedupeKey[] = []): void {
    const row = this.#row(type, data);
    if (row === null) return;
    if (keys.length > 0) row.keys = keys;
    const state = this.#states?.of(type, data);
    if (state !== undefined) row.state = state;
    this.items.push(row);
    if (this.#steps !== null) this.places.push(place);
    count(this.fills, type);
    for (const name in data) if (hasValue(data[name])) count(this.fills, `${type}.${countWord(name)}`);
  }

  /** Null: it is too large, for an item or for the rest of the page. */
  #row(type: string, data: Data): ItemRow | null {
    // Looked at first: a JSON value that is in an item a hundred times is little memory until it is text.
    const json = outgrows(data, MAX_ITEM_CHARS) ? null : toJson(data);
    const size = json === null ? 0 : Buffer.byteLength(json);
    if (json === null || size > MAX_ITEM_BYTES) {
      this.#drop('too_large');
      return null;
    }
    if (this.#bytes + size > MAX_PAGE_BYTES) {
      this.full = true;
      return null;
    }
    this.#bytes += size;
    return { type, data: json, size };
  }

  #drop(reason: string): void {
    count(this.dropped, reason);
  }
}

function count(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

/** JSON that PostgreSQL can hold. Most has no escape at all and needs no second look. */
function toJson(data: Data): string {
  const json = JSON.stringify(data);
  return json.includes('\\u') ? storedJson(data) : json;
}

/** A name under which something is counted, as PostgreSQL holds it: cut, well formed, NUL as U+FFFD. */
export function countWord(text: string): string {
  return text.slice(0, MAX_WORD).toWellFormed().replaceAll('\0', '\ufffd');
}
