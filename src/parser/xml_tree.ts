import { QuoteType, Tokenizer, type TokenizerCallbacks } from 'htmlparser2';
import { Document, Element, sourceForm, TREE_LIMITS } from './dom.ts';
import { decodeText } from './entities.ts';

/** Elements whose text the tree gives out undecoded (`textOf`); here it is decoded when it is read. */
const CODE = new Set(['script', 'style']);
/** A `&` that begins none of the five entities of XML and no character reference. */
const FOREIGN_REFERENCE = /&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});)/g;

/**
 * Builds the tree of an XML document: names as they are written, prefixes kept, no rules of HTML, CDATA as text. Only the
 * five entities of XML and character references are decoded; whatever a DTD declares stays as it is written. A document
 * that is not well formed is read as far as it makes sense: an end tag that fits no open element is passed over.
 */
class XmlBuilder implements TokenizerCallbacks {
  readonly document = new Document(true);
  readonly #source: string;
  readonly #stop: () => void;
  /** Names of the open elements, and how often each is open: a stray end tag costs no search. */
  readonly #open: string[] = [];
  readonly #openCount = new Map<string, number>();
  #current: Element;
  #nodes = 0;
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
    this.#text(this.#source.slice(start, end).replace(FOREIGN_REFERENCE, '&amp;'));
  }

  oncdata(start: number, end: number, offset: number): void {
    this.#text(sourceForm(this.#source.slice(start, end - offset)));
  }

  onopentagname(start: number, end: number): void {
    this.#tag = this.#source.slice(start, end);
    this.#attributes = null;
  }

  onattribname(start: number, end: number): void {
    this.#attribute = this.#source.slice(start, end);
    this.#value = '';
  }

  onattribdata(start: number, end: number): void {
    this.#value = this.#source.slice(start, end).replace(FOREIGN_REFERENCE, '&amp;');
  }

  onattribend(quote: QuoteType): void {
    const value = quote === QuoteType.NoValue ? '' : this.#value;
    this.#attributes ??= [];
    if (this.#attributes.length < 2 * TREE_LIMITS.attributes) this.#attributes.push(this.#attribute, value);
    else this.document.flags.add('attributes');
  }

  onopentagend(): void {
    this.#enter();
  }

  onselfclosingtag(): void {
    this.#enter();
    this.#leave();
  }

  onclosetag(start: number, end: number): void {
    const name = this.#source.slice(start, end);
    if ((this.#openCount.get(name) ?? 0) === 0) return;
    while (this.#open.at(-1) !== name) this.#leave();
    this.#leave();
  }

  onend(): void {
    while (this.#open.length > 0) this.#leave();
    this.document.root.last = this.document.elements.length - 1;
  }

  oncomment(): void {}
  ondeclaration(): void {}
  onprocessinginstruction(): void {}
  onattribentity(): void {}
  ontextentity(): void {}

  /** Text outside of the root element is what is left of a DTD. */
  #text(text: string): void {
    if (this.#open.length === 0 || text === '') return;
    const { children } = this.#current;
    const last = children.length - 1;
    if (last >= 0 && typeof children[last] === 'string') children[last] += text;
    else if (this.#count()) children.push(text);
  }

  /** Beyond the depth limit, elements become siblings. */
  #enter(): void {
    if (!this.#count()) return;
    const { elements, flags } = this.document;
    const parent = this.#current;
    const element = new Element(this.#tag, parent, elements.length, this.#attributes);
    elements.push(element);
    parent.children.push(element);
    this.#open.push(this.#tag);
    this.#openCount.set(this.#tag, (this.#openCount.get(this.#tag) ?? 0) + 1);
    if (this.#open.length <= TREE_LIMITS.depth) this.#current = element;
    else flags.add('depth');
  }

  #leave(): void {
    if (this.#open.length > 0 && this.#open.length <= TREE_LIMITS.depth) {
      this.#current.last = this.document.elements.length - 1;
      if (CODE.has(this.#current.name)) decodeCode(this.#current);
      this.#current = this.#current.parent!;
    }
    const name = this.#open.pop();
    if (name !== undefined) this.#openCount.set(name, this.#openCount.get(name)! - 1);
  }

  #count(): boolean {
    if (this.#nodes++ < TREE_LIMITS.nodes) return true;
    this.document.flags.add('nodes');
    this.#stop();
    return false;
  }
}

function decodeCode({ children }: Element): void {
  children.forEach((child, i) => {
    if (typeof child === 'string') children[i] = decodeText(child);
  });
}

/** The tree of an XML document; cut at `TREE_LIMITS` and flagged. */
export function parseXml(source: string): Document {
  const builder = new XmlBuilder(source, () => tokenizer.pause());
  const tokenizer = new Tokenizer({ xmlMode: true, decodeEntities: false }, builder);
  tokenizer.write(source);
  if (tokenizer.running) tokenizer.end();
  else builder.onend();
  return builder.document;
}
