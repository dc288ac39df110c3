import { createRequire } from 'node:module';
import { decodeBody } from '../charset.ts';
import { documentOf, kindOf, type PageKind } from '../content.ts';
import { baseOf } from '../directives.ts';
import { type Document, type Element, htmlOf, textOf } from '../dom.ts';
import { markdownOf } from '../markdown.ts';
import { numberOf } from '../numbers.ts';
import { Selector } from '../selector.ts';
import { jsonLd } from '../structured.ts';
import { collapse } from '../transforms.ts';
import { parseFast } from '../tree.ts';
import { XPath } from '../xpath.ts';
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
  readonly kind: PageKind;
  readonly #body: Body;
  readonly #parser: 'fast' | 'html5';
  #text: string | null = null;
  #tree: Document | null = null;
  #base: string | null = null;

  constructor(body: Body, parser: 'fast' | 'html5') {
    this.url = body.url;
    this.kind = kindOf(body.bytes, body.bytes.byteLength, body.contentType) ?? 'text';
    this.#body = body;
    this.#parser = parser;
  }

  /** Decoded, without NUL. */
  get text(): string {
    if (this.#text === null) {
      const { bytes, contentType } = this.#body;
      this.#text = decodeBody(bytes, bytes.byteLength, contentType, this.kind).replaceAll('\0', '\ufffd');
    }
    return this.#text;
  }

  get tree(): Document {
    this.#tree ??= documentOf(this, this.#parser === 'html5' ? html5 : parseFast);
    return this.#tree;
  }

  /** What relative URLs are resolved against. */
  get base(): string {
    if (this.#base === null) {
      const mayHave = this.kind === 'html' && /<base\s/i.test(this.text);
      this.#base = mayHave ? baseOf(this.tree, this.url) : this.url;
    }
    return this.#base;
  }

  /** The objects of its JSON-LD, as JSON. */
  get jsonLd(): string {
    return JSON.stringify(jsonLd(this.tree));
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
const paths = new Map<string, XPath>();

/** Of a cache, or made and kept there. @throws ScriptMistake */
function compiled<T>(cache: Map<string, T>, key: string, make: () => T, what: string): T {
  let one = cache.get(key);
  if (one === undefined) {
    try {
      one = make();
    } catch (error) {
      if (error instanceof RangeError) throw error;
      throw new ScriptMistake(`${what}: ${(error as Error).message}`);
    }
    if (cache.size >= MAX_SELECTORS) cache.clear();
    cache.set(key, one);
  }
  return one;
}

/** The nodes that a selector finds below `scope`. @throws ScriptMistake */
export function select(
  document: GuestDocument,
  scope: GuestNode,
  language: string,
  text: string,
): readonly GuestNode[] {
  if (language !== 'css' && language !== 'xpath')
    throw new ScriptMistake(`"${language.slice(0, 100)}" is no language of selectors`);
  if (typeof scope === 'string') return [];
  return language === 'css' ? selectCss(document, scope, text) : selectXPath(document, scope, text);
}

function selectCss({ tree }: GuestDocument, scope: Element, text: string): readonly GuestNode[] {
  const scoped = scope !== tree.root;
  const what = `"${text.slice(0, 100)}" is not a CSS selector`;
  const selector = compiled(selectors, `${scoped ? 1 : 0}${text}`, () => new Selector(text, scoped), what);
  const found = selector.all(tree, scope);
  const { ending } = selector;
  if (ending === null) return found;
  if ('text' in ending) return found.map((element) => collapse(textOf(element, MAX_TEXT)));
  return found.map((element) => element.attribute(ending.attribute)).filter((value) => value !== undefined);
}

function selectXPath({ tree }: GuestDocument, scope: Element, text: string): GuestNode[] {
  const path = compiled(paths, text, () => new XPath(text), `"${text.slice(0, 100)}" is not an XPath`);
  const nodes = path.nodes(tree, scope);
  if (path.fault !== null) throw new ScriptMistake(`"${text.slice(0, 100)}" fails on this page: ${path.fault}`);
  return nodes;
}

/** What is read from a node; null where it has no such thing. */
export function readNode(document: GuestDocument, node: GuestNode, what: string, name: string): string | number | null {
  switch (what) {
    case 'text':
      return textOfNode(node);
    case 'attr':
      return typeof node === 'string'
        ? null
        : (node.attribute(document.kind === 'xml' ? name : name.toLowerCase()) ?? null);
    case 'number':
      return numberOf(textOfNode(node), localeOf(name));
    case 'markdown':
      if (typeof node === 'string') return node;
      return markdownOf(node, document.tree, { base: document.base, limit: MAX_TEXT, main: name === 'main' });
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

/** @throws ScriptMistake */
function localeOf(name: string): string | null {
  if (name === '') return null;
  try {
    return Intl.getCanonicalLocales(name)[0] ?? null;
  } catch {
    throw new ScriptMistake(`"${name.slice(0, 50)}" is no language tag; expected one as \`de\` or \`en-GB\``);
  }
}
