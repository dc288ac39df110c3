const EMPTY = -1;
const FIRST_SLOTS = 1024;
/** Names that pages have brought before they are forgotten, at the end of a page. */
const MAX_LEARNED = 4096;

/**
 * Names of tags and attributes as small numbers, read from a source without a slice of it: lower case, as HTML compares them.
 * A page has 350 tags of twenty names; to cut and lower each one was a tenth of the tree's cost. Names that a table was made
 * with keep their numbers; those that pages bring are forgotten when they are many.
 */
export class Names {
  /** By number. */
  readonly list: string[] = [];
  #own = 0;
  #slots = new Int32Array(FIRST_SLOTS).fill(EMPTY);

  /** @param own in lower case, each once; their numbers are their places */
  constructor(own: readonly string[]) {
    for (const name of own) this.of(name);
    this.keep();
  }

  /** Names that are known by now are never forgotten. */
  keep(): void {
    this.#own = this.list.length;
  }

  /** The number of a name in `source`. */
  read(source: string, start: number, end: number): number {
    const hash = hashOf(source, start, end);
    // Beyond ASCII, lower case is Unicode's business.
    if (hash === EMPTY) return this.of(source.slice(start, end).toLowerCase());
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#slots[slot]!;
      if (number === EMPTY) return this.#add(source.slice(start, end).toLowerCase(), hash);
      if (isSame(this.list[number]!, source, start, end)) return number;
    }
  }

  /** Whether a name in `source` is the one of that number: cheaper than to read it. False may be wrong beyond ASCII. */
  is(number: number, source: string, start: number, end: number): boolean {
    return isSame(this.list[number]!, source, start, end);
  }

  /** The number of a name in lower case. */
  of(name: string): number {
    const hash = hashOf(name, 0, name.length) & 0x7fffffff;
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#slots[slot]!;
      if (number === EMPTY) return this.#add(name, hash);
      if (this.list[number] === name) return number;
    }
  }

  /** A page is over: what it brought may be forgotten. */
  settle(): void {
    if (this.list.length < this.#own + MAX_LEARNED) return;
    this.list.length = this.#own;
    this.#rehash(FIRST_SLOTS);
  }

  #add(name: string, hash: number): number {
    if (this.list.length * 2 > this.#slots.length) this.#rehash(this.#slots.length * 2);
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    while (this.#slots[slot] !== EMPTY) slot = (slot + 1) & mask;
    this.#slots[slot] = this.list.length;
    return this.list.push(name) - 1;
  }

  #rehash(size: number): void {
    const names = this.list.splice(0);
    let slots = size;
    while (names.length * 2 > slots) slots *= 2;
    this.#slots = new Int32Array(slots).fill(EMPTY);
    for (const name of names) this.#add(name, hashOf(name, 0, name.length) & 0x7fffffff);
  }
}

/** Of a name in lower case (31 bits); `EMPTY` where a character is beyond ASCII. */
function hashOf(source: string, start: number, end: number): number {
  let hash = end - start;
  for (let i = start; i < end; i++) {
    const code = source.charCodeAt(i);
    if (code > 0x7f) return EMPTY;
    // Other characters than letters may fall together; they are compared.
    hash = (Math.imul(hash, 31) + (code | 0x20)) & 0x7fffffff;
  }
  return hash;
}

/** Whether a range of ASCII characters is, in lower case, the name. */
function isSame(name: string, source: string, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = start; i < end; i++) {
    const code = source.charCodeAt(i);
    const lower = code >= 0x41 && code <= 0x5a ? code | 0x20 : code;
    if (name.charCodeAt(i - start) !== lower) return false;
  }
  return true;
}
