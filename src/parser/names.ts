import { ownString } from './own_string.ts';
import type { Source } from './source_text.ts';

const NONE = -1;
/** A power of two, some thirty times the names that a site uses. */
const SLOTS = 2048;
/** The golden ratio's bits, of which the topmost tell the slot. */
const FACTOR = 0x9e3779b1;
const SHIFT = 21;
/** Names that pages have brought before they are forgotten, at the end of a page. */
const MAX_LEARNED = 4096;
/** Their characters, together: a name may be as long as a page. */
const MAX_LEARNED_CHARS = 256 * 1024;

/**
 * By code unit, how it goes into the key of a name: six bits, letters in either case the same, none for what is rare in names.
 * Above them, what ends which names. A table of all code units is read without a question; the operating system gives memory to
 * the page of it that ASCII lies in.
 */
export const CLASS = new Uint8Array(0x10000);
/** From here on a class ends the name of an attribute, … */
export const EQUALS_CLASS = 0x40;
/** … of a start tag, … */
export const SLASH_CLASS = 0x80;
/** … of an end tag. */
export const END_CLASS = 0xc0;
const KEY_BITS = 0x3f;
[...'abcdefghijklmnopqrstuvwxyz0123456789-_:.@'].forEach((c, i) => {
  CLASS[c.charCodeAt(0)] = i + 1;
  CLASS[c.toUpperCase().charCodeAt(0)] = i + 1;
});
CLASS['='.charCodeAt(0)] = EQUALS_CLASS;
CLASS['/'.charCodeAt(0)] = SLASH_CLASS;
for (const c of '> \n\t\f\r') CLASS[c.charCodeAt(0)] = END_CLASS;

/** The key of a name with one more character. Of up to five characters, none of them rare, it is the name. */
export function nextKey(key: number, classOfCode: number): number {
  return ((key << 6) | (key >>> 26)) ^ (classOfCode & KEY_BITS);
}
const MAX_EXACT = 5;

/** The key of a name that it is; null where other names have the same. */
function exactKey(name: string): number | null {
  if (name.length > MAX_EXACT) return null;
  let key = 0;
  for (let i = 0; i < name.length; i++) {
    const bits = CLASS[name.charCodeAt(i)]! & KEY_BITS;
    if (bits === 0) return null;
    key = nextKey(key, bits);
  }
  return key;
}

/**
 * Names of tags and attributes as small numbers, read from a source without a slice of it: lower case, as HTML compares them.
 * A page has 350 tags of twenty names; to cut and lower each one was a tenth of the tree's cost. Names that a table was made
 * with keep their numbers; those that pages bring are forgotten when they are many.
 *
 * The map alone knows the numbers: whatever names a page makes up, it is as quick as ever. In front of it, each slot remembers
 * the last name of its key, and is compared; a short name by the key alone, which says it all. (With open addressing and no map,
 * 20,000 names of one hash took nine seconds.)
 */
export class Names {
  /** By number. */
  readonly list: string[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #slots = new Int32Array(SLOTS).fill(NONE);
  /** By slot: the key of a name that its key and length tell; the length is 0 where there is none. */
  readonly #keys = new Int32Array(SLOTS);
  readonly #lengths = new Uint8Array(SLOTS);
  #own = 0;
  /** Of the names that pages have brought. */
  #chars = 0;

  /** @param own in lower case, each once; their numbers are their places */
  constructor(own: readonly string[]) {
    for (const name of own) this.of(name);
    this.keep();
  }

  /** Names that are known by now are never forgotten. */
  keep(): void {
    this.#own = this.list.length;
    this.#chars = 0;
  }

  /** The number of a name in `source`; the range is not empty. @param key of its characters, by `nextKey` */
  read(source: Source, start: number, end: number, key: number): number {
    const slot = Math.imul(key, FACTOR) >>> SHIFT;
    if (this.#keys[slot] === key && this.#lengths[slot] === end - start) return this.#slots[slot]!;
    return this.#look(slot, source, start, end);
  }

  #look(slot: number, source: Source, start: number, end: number): number {
    const remembered = this.#slots[slot]!;
    if (remembered !== NONE && isSame(this.list[remembered]!, source, start, end)) return remembered;
    const name = source.text.slice(start, end).toLowerCase();
    const number = this.of(name);
    const exact = exactKey(name);
    this.#slots[slot] = number;
    this.#keys[slot] = exact ?? 0;
    this.#lengths[slot] = exact === null ? 0 : name.length;
    return number;
  }

  /** The number of a name in lower case. */
  of(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.list.length;
      this.#chars += name.length;
      // Else it is a view into its page, which would live as long.
      const own = this.#isFull() ? name : ownString(name);
      this.list.push(own);
      this.#numbers.set(own, number);
    }
    return number;
  }

  /** A page is over: what it brought may be forgotten. */
  settle(): void {
    if (!this.#isFull()) return;
    this.#chars = 0;
    for (const name of this.list.splice(this.#own)) this.#numbers.delete(name);
    this.#slots.fill(NONE);
    this.#lengths.fill(0);
  }

  /** Whether they are forgotten when the page is over. */
  #isFull(): boolean {
    return this.list.length >= this.#own + MAX_LEARNED || this.#chars > MAX_LEARNED_CHARS;
  }
}

/** Whether a range is the name but for ASCII's upper case; beyond ASCII, lower case is Unicode's business. */
function isSame(name: string, { codes }: Source, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = start; i < end; i++) {
    const code = codes[i]!;
    const known = name.charCodeAt(i - start);
    if (code !== known && !(code >= 0x41 && code <= 0x5a && code + 0x20 === known)) return false;
  }
  return true;
}
