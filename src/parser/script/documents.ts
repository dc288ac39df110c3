import { createRequire } from 'node:module';
import { parseHttpUrl } from '../../model/url.ts';
import { decodeHtml } from '../charset.ts';
import { type Document, type Element, htmlOf, textOf } from '../dom.ts';
import { Selector } from '../selector.ts';
import { collapse, transform } from '../transforms.ts';
import { parseFast } from '../tree.ts';
import { ScriptMistake } from './vm.ts';

/** More text than an item may hold is not read. */
const MAX_TEXT = 1_100_000;
/** Selectors kept compiled. */
const MAX_SELECTORS = 1000;

/** A body as it came. */
export interface Body {
  bytes: SharedArrayBuffer;
  contentType: string | null;
  url: string;
}

/** A response's document; its text and its tree are made when the script first asks for them. */
export class GuestDocument {
  readonly url: string;
  readonly #body: Body;
  readonly #parser: 'fast' | 'html5';
  #text: string | null = null;
  #tree: Document | null = null;
  #base: string | null = null;

  constructor(body: Body, parser: 'fast' | 'html5') {
    this.url = body.url;
    this.#body = body;
    this.#parser = parser;
  }

  /** Decoded, without NUL. */
  get text(): string {
    this.#text ??= decodeHtml(this.#body.bytes, this.#body.bytes.byteLength, this.#body.contentType).replaceAll(
      '\0',
      '\ufffd',
    );
    return this.#text;
  }

  get tree(): Document {
    this.#tree ??= this.#parser === 'html5' ? html5(this.text) : parseFast(this.text);
    return this.#tree;
  }

  /** What relative URLs are resolved against. */
  get base(): string {
    if (this.#base === null) {
      const given = /<base\s/i.test(this.text)
        ? this.tree.byTag('base').find((element) => element.attribute('href') !== undefined)
        : undefined;
      const href = given?.attribute('href');
      this.#base = href === undefined ? this.url : (parseHttpUrl(href, this.url)?.href ?? this.url);
    }
    return this.#base;
  }
}

let loaded: ((html: string) => Document) | null = null;
/** cheerio and parse5 are slow to load, so only crawls that want them have them. */
function html5(text: string): Document {
  const require = createRequire(import.meta.url);
  loaded ??= (require('../html5.js') as typeof import('../html5.ts')).parseHtml5;
  return loaded(text);
}

/** A node as scripts see it: an element, or a text that was selected. */
export type GuestNode = Element | string;

const selectors = new Map<string, Selector>();

/** @throws ScriptMistake */
function selectorOf(text: string, scoped: boolean): Selector {
  const key = `${scoped ? 1 : 0}${text}`;
  let selector = selectors.get(key);
  if (selector === undefined) {
    try {
      selector = new Selector(text, scoped);
    } catch (error) {
      if (error instanceof RangeError) throw error;
      throw new ScriptMistake(`"${text.slice(0, 100)}" is not a CSS selector: ${(error as Error).message}`);
    }
    if (selectors.size >= MAX_SELECTORS) selectors.clear();
    selectors.set(key, selector);
  }
  return selector;
}

/** The nodes that a CSS selector finds below `scope`. @throws ScriptMistake */
export function selectCss(document: GuestDocument, scope: GuestNode, text: string): GuestNode[] {
  const { tree } = document;
  const root = tree.root;
  const selector = selectorOf(text, scope !== root);
  if (typeof scope === 'string') return [];
  const found = selector.all(tree, scope);
  const { ending } = selector;
  if (ending === null) return found;
  if ('text' in ending) return found.map((element) => collapse(textOf(element, MAX_TEXT)));
  return found.map((element) => element.attribute(ending.attribute)).filter((value) => value !== undefined);
}

/** What is read from a node; null where it has no such thing. */
export function readNode(document: GuestDocument, node: GuestNode, what: string, name: string): string | number | null {
  switch (what) {
    case 'text':
      return textOfNode(node);
    case 'attr':
      return typeof node === 'string' ? null : (node.attribute(name.toLowerCase()) ?? null);
    case 'number':
      return transform('number', textOfNode(node), { base: document.base, attribute: false }) as number | null;
    case 'html':
      return typeof node === 'string' ? node : htmlOf(node, MAX_TEXT);
    case 'outer':
      return typeof node === 'string' ? node : htmlOf(node, MAX_TEXT, true);
    default:
      throw new ScriptMistake(`"${what.slice(0, 100)}" cannot be read`);
  }
}

function textOfNode(node: GuestNode): string {
  return collapse(typeof node === 'string' ? node : textOf(node, MAX_TEXT));
}
