import { QuoteType, Tokenizer, type TokenizerCallbacks } from 'htmlparser2';
import { Document, Element, TREE_LIMITS, VOID_TAGS } from '../../dist/parser/dom.js';
import { parseFast } from '../../dist/parser/tree.js';

const set = (names: string): ReadonlySet<string> => new Set(names.split(' '));
const P = set('p');
const FORM = set('input option optgroup select button datalist textarea');
const SECTION = set('thead tbody');
const TERM = set('dd dt');
const RUBY = set('rt rp');

/** Which open elements a start tag ends: htmlparser2's table, so that `fast` means what its users know. */
const ENDS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['tr', set('tr th td')],
  ['th', set('th')],
  ['td', set('thead th td')],
  ['body', set('head link script')],
  ['li', set('li')],
  ['option', set('option')],
  ['optgroup', set('optgroup option')],
  ...['tbody', 'tfoot'].map((name): [string, ReadonlySet<string>] => [name, SECTION]),
  ...['dd', 'dt'].map((name): [string, ReadonlySet<string>] => [name, TERM]),
  ...['rt', 'rp'].map((name): [string, ReadonlySet<string>] => [name, RUBY]),
  ...'select input output button datalist textarea'
    .split(' ')
    .map((name): [string, ReadonlySet<string>] => [name, FORM]),
  ...(
    'p h1 h2 h3 h4 h5 h6 address article aside blockquote details div dl fieldset figcaption figure footer form header hr ' +
    'main nav ol pre section table ul'
  )
    .split(' ')
    .map((name): [string, ReadonlySet<string>] => [name, P]),
]);
const FOREIGN = set('svg math');

/** The tree of a page as it was made before there was a scanner of our own: by htmlparser2's tokenizer. */
class TreeBuilder implements TokenizerCallbacks {
  readonly document = new Document();
  readonly #source: string;
  readonly #stop: () => void;
  #current: Element;
  /** Open elements that are deeper than the limit; they are siblings in the tree. */
  #beyond = 0;
  #depth = 0;
  #nodes = 0;
  #foreign = 0;
  #tag = '';
  #attribute = '';
  #value = '';
  #attributes: string[] | null = null;

  constructor(source: string, stop: () => void) {
    this.#source = source;
    this.#stop = stop;
    this.#current = this.document.root;
  }

  ontext(start: number, end: number): void {
    const { children } = this.#current;
    const last = children.length - 1;
    const text = this.#source.slice(start, end);
    if (last >= 0 && typeof children[last] === 'string') children[last] += text;
    else if (this.#count()) children.push(text);
  }

  onopentagname(start: number, end: number): void {
    this.#tag = this.#source.slice(start, end).toLowerCase();
    this.#attributes = null;
  }

  onattribname(start: number, end: number): void {
    this.#attribute = this.#source.slice(start, end).toLowerCase();
    this.#value = '';
  }

  onattribdata(start: number, end: number): void {
    this.#value = this.#source.slice(start, end);
  }

  onattribend(quote: QuoteType): void {
    const value = quote === QuoteType.NoValue ? '' : this.#value;
    if (this.#attributes === null) this.#attributes = [this.#attribute, value];
    else if (this.#attributes.length < 2 * TREE_LIMITS.attributes) this.#attributes.push(this.#attribute, value);
    else this.document.flags.add('attributes');
  }

  onopentagend(): void {
    this.#open(this.#tag, this.#attributes);
  }

  onselfclosingtag(): void {
    const inside = this.#foreign > 0 || FOREIGN.has(this.#tag);
    this.#open(this.#tag, this.#attributes);
    if (inside && !VOID_TAGS.has(this.#tag)) this.#close();
  }

  onclosetag(start: number, end: number): void {
    const name = this.#source.slice(start, end).toLowerCase();
    if (VOID_TAGS.has(name)) {
      if (name === 'br') this.#open(name, null);
    } else if (this.#beyond > 0 || this.#current.name === name) {
      this.#close();
    } else if (this.#isOpen(name)) {
      while (this.#current.name !== name) this.#close();
      this.#close();
    } else if (name === 'p') {
      this.#open(name, null);
      this.#close();
    }
  }

  onend(): void {
    const { elements } = this.document;
    for (let element: Element | null = this.#current; element !== null; element = element.parent)
      element.last = elements.length - 1;
  }

  oncdata(): void {}
  oncomment(): void {}
  ondeclaration(): void {}
  onprocessinginstruction(): void {}
  onattribentity(): void {}
  ontextentity(): void {}

  #open(name: string, attributes: string[] | null): void {
    const ends = ENDS.get(name);
    if (ends !== undefined && this.#beyond === 0) while (ends.has(this.#current.name)) this.#close();
    if (!this.#count()) return;
    const { elements } = this.document;
    const parent = this.#beyond > 0 ? this.#current.parent! : this.#current;
    const element = new Element(name, parent, elements.length, attributes);
    elements.push(element);
    parent.children.push(element);
    if (!VOID_TAGS.has(name)) this.#enter(element);
  }

  #enter(element: Element): void {
    if (this.#beyond > 0 || this.#depth >= TREE_LIMITS.depth) {
      this.document.flags.add('depth');
      this.#beyond++;
    } else this.#depth++;
    if (FOREIGN.has(element.name)) this.#foreign++;
    this.#current = element;
  }

  /** Ends the current element. Beyond the depth limit only the last one of the row is left. */
  #close(): void {
    const { name, parent } = this.#current;
    if (this.#beyond === 0) this.#current.last = this.document.elements.length - 1;
    if (this.#foreign > 0 && FOREIGN.has(name)) this.#foreign--;
    if (this.#beyond > 1) this.#beyond--;
    else {
      if (this.#beyond === 1) this.#beyond = 0;
      else this.#depth--;
      this.#current = parent!;
    }
  }

  #isOpen(name: string): boolean {
    for (let element: Element | null = this.#current; element !== null; element = element.parent)
      if (element.name === name) return true;
    return false;
  }

  #count(): boolean {
    if (this.#nodes++ < TREE_LIMITS.nodes) return true;
    this.document.flags.add('nodes');
    this.#stop();
    return false;
  }
}

/**
 * What `parseFast` and the matcher are measured by: none of their code is in it. But for pages deeper than the limit: what lies
 * below it was ended in another way, and there both only have to agree with each other.
 */
export function referenceTree(source: string): Document {
  const document = tokenizerTree(source);
  return document.flags.has('depth') ? parseFast(source) : document;
}

function tokenizerTree(source: string): Document {
  const builder = new TreeBuilder(source, () => tokenizer.pause());
  const tokenizer = new Tokenizer({ decodeEntities: false }, builder);
  tokenizer.write(source);
  if (tokenizer.running) tokenizer.end();
  else builder.onend();
  return builder.document;
}
