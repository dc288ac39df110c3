import { ownString } from './own_string.ts';
import type { Source } from './source_text.ts';

const NONE = -1;
/** A power of two, some thirty times the names that a site uses. */
const SLOTS = 2048;
/** Names that pages have brought before they are forgotten, at the end of a page. */
const MAX_LEARNED = 4096;
/** Their characters, together: a name may be as long as a page. */
const MAX_LEARNED_CHARS = 256 * 1024;

/**
 * Names of tags and attributes as small numbers, read from a source without a slice of it: lower case, as HTML compares them.
 * A page has 350 tags of twenty names; to cut and lower each one was a tenth of the tree's cost. Names that a table was made
 * with keep their numbers; those that pages bring are forgotten when they are many.
 *
 * The map alone knows the numbers: whatever names a page makes up, it is as quick as ever. In front of it, each slot remembers
 * the last name of its hash, and is compared. (With open addressing and no map, 20,000 names of one hash took nine seconds.)
 */
export class Names {
  /** By number. */
  readonly list: string[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #slots = new Int32Array(SLOTS).fill(NONE);
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

  /** The number of a name in `source`; the range is not empty. */
  read(source: Source, start: number, end: number): number {
    const slot = hashOf(source, start, end);
    const remembered = this.#slots[slot]!;
    if (remembered !== NONE && isSame(this.list[remembered]!, source, start, end)) return remembered;
    const number = this.of(source.text.slice(start, end).toLowerCase());
    this.#slots[slot] = number;
    return number;
  }

  /** Whether a name in `source` is the one of that number: cheaper than to read it. False may be wrong beyond ASCII. */
  is(number: number, source: Source, start: number, end: number): boolean {
    return isSame(this.list[number]!, source, start, end);
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
  }

  /** Whether they are forgotten when the page is over. */
  #isFull(): boolean {
    return this.list.length >= this.#own + MAX_LEARNED || this.#chars > MAX_LEARNED_CHARS;
  }
}

/** A slot by the length and three characters, letters in either case the same. The factors keep HTML's names apart, but for three. */
function hashOf({ codes }: Source, start: number, end: number): number {
  const length = end - start;
  const first = codes[start]! | 0x20;
  const middle = codes[start + (length >> 1)]! | 0x20;
  const last = codes[end - 1]! | 0x20;
  return (length * 393 + first * 959 + middle * 615 + last * 213) & (SLOTS - 1);
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
