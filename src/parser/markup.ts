import { type Flag, TREE_LIMITS, VOID_TAGS } from './dom.ts';
import { Names } from './names.ts';
import { type MarkupEvents, Scanner } from './scanner.ts';
import type { Source } from './source_text.ts';

const words = (names: string): string[] => names.split(' ');
const P = words('p');
const FORM = words('input option optgroup select button datalist textarea');
const SECTION = words('thead tbody');
const TERM = words('dd dt');
const RUBY = words('rt rp');

/** Which open elements a start tag ends: htmlparser2's table, so that `fast` means what its users know. */
const ENDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['tr', words('tr th td')],
  ['th', words('th')],
  ['td', words('thead th td')],
  ['body', words('head link script')],
  ['li', words('li')],
  ['option', words('option')],
  ['optgroup', words('optgroup option')],
  ...words('tbody tfoot').map((name): [string, readonly string[]] => [name, SECTION]),
  ...words('dd dt').map((name): [string, readonly string[]] => [name, TERM]),
  ...words('rt rp').map((name): [string, readonly string[]] => [name, RUBY]),
  ...words('select input output button datalist textarea').map((name): [string, readonly string[]] => [name, FORM]),
  ...words(
    'p h1 h2 h3 h4 h5 h6 address article aside blockquote details div dl fieldset figcaption figure footer form header hr ' +
      'main nav ol pre section table ul',
  ).map((name): [string, readonly string[]] => [name, P]),
]);

/** Names that mean something to the structure; they come first in every table, so their numbers are the same in all. */
const KNOWN = [...new Set([...VOID_TAGS, ...words('p br svg math'), ...ENDS.keys(), ...[...ENDS.values()].flat()])];
const numberOf = new Map(KNOWN.map((name, number) => [name, number]));
const BR = numberOf.get('br')!;
const PARAGRAPH = numberOf.get('p')!;
/** What a name means to the structure: nothing, mostly. Bits. */
const VOID = 1;
const FOREIGN = 2;
const ENDING = 4;
const KINDS = Uint8Array.from(
  KNOWN,
  (name) =>
    (VOID_TAGS.has(name) ? VOID : 0) |
    (name === 'svg' || name === 'math' ? FOREIGN : 0) |
    (ENDS.has(name) ? ENDING : 0),
);
/** Without the question, an index behind the array's end would make every answer dearer: not always a number. */
const kindOf = (name: number): number => (name < KINDS.length ? KINDS[name]! : 0);
/** By name of the start tag: one where an open element of that name ends. */
const ENDED = KNOWN.map((name) => {
  const ends = ENDS.get(name);
  return new Uint8Array(KNOWN.map((other) => (ends?.includes(other) ? 1 : 0)));
});

/** A table of names that knows the structure's own. */
export function markupNames(): Names {
  return new Names(KNOWN);
}

/**
 * The elements of an HTML page as they open and close, by htmlparser2's rules: implied end tags, stray ones, void elements,
 * self-closing ones in foreign content. What a page is made into is a subclass's business: a tree, or only what selectors
 * want of it. Both thus agree on what is inside of what, and share the limits.
 *
 * An open element has a frame, a number: its parent's plus one. Frame 0 is the document. Beyond the depth limit elements lie
 * side by side in the frame below it; each ends where the next begins, or the first end tag comes.
 */
export abstract class Markup implements MarkupEvents {
  readonly flags = new Set<Flag>();
  protected readonly names: Names;
  /** Names of the open elements, by frame. */
  protected readonly open = new Int32Array(TREE_LIMITS.depth + 2);
  /** Of the element that encloses what comes next. */
  protected frame = 0;
  /** What has been told ends inside of a start tag. */
  protected isInTag = false;
  /** The last child, so far, of the element that encloses what comes next is a text. */
  #endsInText = false;
  /** Open elements beyond the depth limit. */
  #beyond = 0;
  #foreign = 0;
  #nodes = 0;
  #tag = 0;
  #attributes = 0;
  #stop = () => {};

  /** @param names of `markupNames` */
  constructor(names: Names) {
    this.names = names;
    this.open[0] = -1;
  }

  /** Reads a whole page. */
  protected scan(chunks: Iterable<string>): void {
    const scanner = new Scanner(this);
    let stopped = false;
    this.#stop = () => {
      stopped = true;
      scanner.stop();
    };
    this.flags.clear();
    this.#endsInText = false;
    this.#beyond = 0;
    this.#foreign = 0;
    this.#nodes = 0;
    this.frame = 0;
    this.isInTag = false;
    for (const chunk of chunks) {
      if (stopped) break;
      scanner.write(chunk);
    }
    if (!stopped) scanner.end();
    while (this.frame > 0) this.end(this.frame--);
    this.names.settle();
  }

  /** A tag begins, without attributes so far. @returns whether those that it has are wanted, one by one */
  protected abstract wants(name: number): boolean;
  /** The next attribute of the tag that is being read, at most as many as the limit. Entities are as in the source. */
  protected abstract attributeOf(source: Source, name: number, from: number, to: number): void;
  /** An element begins as the last child of the one in the frame before its own. */
  protected abstract begin(name: number, frame: number): void;
  protected abstract end(frame: number): void;
  /** Text in the element of a frame. @param joins it goes on with the text that is the element's last child */
  protected abstract characters(source: Source, start: number, end: number, frame: number, joins: boolean): void;

  text(source: Source, start: number, end: number): void {
    const joins = this.#endsInText;
    if (!joins) {
      if (!this.#count()) return;
      this.#endsInText = true;
    }
    this.characters(source, start, end, this.frame, joins);
  }

  tag(source: Source, nameStart: number, nameEnd: number, key: number): boolean {
    this.#tag = this.names.read(source, nameStart, nameEnd, key);
    this.#attributes = 0;
    this.isInTag = true;
    return this.wants(this.#tag);
  }

  attribute(source: Source, nameStart: number, nameEnd: number, from: number, to: number, key: number): void {
    if (this.#attributes++ < TREE_LIMITS.attributes)
      this.attributeOf(source, this.names.read(source, nameStart, nameEnd, key), from, to);
  }

  tagEnd(selfClosing: boolean, attributes: number): void {
    this.isInTag = false;
    if (attributes > TREE_LIMITS.attributes) this.flags.add('attributes');
    const name = this.#tag;
    const wasForeign = this.#foreign > 0;
    if (!this.#begin(name) || !selfClosing) return;
    const kind = kindOf(name);
    if ((kind & VOID) === 0 && (wasForeign || (kind & FOREIGN) !== 0)) this.#end();
  }

  endTag(source: Source, nameStart: number, nameEnd: number, key: number): void {
    const name = this.names.read(source, nameStart, nameEnd, key);
    // Nearly every end tag is that of the innermost element.
    if (this.open[this.frame] === name) {
      this.#end();
      return;
    }
    if ((kindOf(name) & VOID) !== 0) {
      if (name === BR) this.#beginBare(name);
    } else if (this.#beyond > 0) {
      this.#end();
    } else if (this.#isOpen(name)) {
      while (this.open[this.frame] !== name) this.#end();
      this.#end();
    } else if (name === PARAGRAPH) {
      if (this.#beginBare(name)) this.#end();
    }
  }

  /** An element without a start tag, so without attributes. */
  #beginBare(name: number): boolean {
    this.wants(name);
    return this.#begin(name);
  }

  /** False where the page has too many nodes. */
  #begin(name: number): boolean {
    const kind = kindOf(name);
    if ((kind & ENDING) !== 0 && this.#beyond === 0) this.#endBefore(name);
    if (!this.#count()) return false;
    const isBeyond = this.frame >= TREE_LIMITS.depth;
    if (this.frame > TREE_LIMITS.depth) this.#pop();
    const frame = this.frame + 1;
    this.#endsInText = false;
    this.begin(name, frame);
    if ((kind & VOID) !== 0) {
      this.end(frame);
      return true;
    }
    if (isBeyond) {
      this.flags.add('depth');
      this.#beyond++;
    }
    if ((kind & FOREIGN) !== 0) this.#foreign++;
    this.open[frame] = name;
    this.frame = frame;
    return true;
  }

  /** Ends what a start tag of that name ends. */
  #endBefore(name: number): void {
    const ended = ENDED[name]!;
    for (let open = this.open[this.frame]!; this.frame > 0 && ended[open] === 1; open = this.open[this.frame]!)
      this.#end();
  }

  #end(): void {
    const isBeyond = this.#beyond > 0;
    if (isBeyond) this.#beyond--;
    // One beyond the limit may have been ended by the next.
    if (!isBeyond || this.frame > TREE_LIMITS.depth) this.#pop();
  }

  #pop(): void {
    if (this.#foreign > 0 && (kindOf(this.open[this.frame]!) & FOREIGN) !== 0) this.#foreign--;
    this.#endsInText = false;
    this.end(this.frame--);
  }

  #isOpen(name: number): boolean {
    for (let frame = this.frame; frame > 0; frame--) if (this.open[frame] === name) return true;
    return false;
  }

  #count(): boolean {
    if (this.#nodes++ < TREE_LIMITS.nodes) return true;
    this.flags.add('nodes');
    this.#stop();
    return false;
  }
}
