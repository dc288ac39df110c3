import { decodeAttribute, decodeText } from './entities.ts';

/** A child of an element: another element, or text as it stands in the source (entities are decoded when it is read). */
export type Node = Element | string;

/**
 * An element. Text and attributes keep their source form and attributes lie flat, because most of them are never asked
 * for: that made the tree 2.4 times as cheap to build as htmlparser2's own (0.13 ms against 0.32 for a 16 KB page).
 */
export class Element {
  /** Lower case, in XML as written; empty for the document's root, which is no element to selectors. */
  readonly name: string;
  readonly parent: Element | null;
  readonly children: Node[] = [];
  /** Place in `Document.elements`; its descendants are those up to `last`. */
  readonly at: number;
  last: number;
  /** Name, source value, name, source value …; the first of equal names counts. */
  readonly attributes: readonly string[] | null;

  constructor(name: string, parent: Element | null, at: number, attributes: readonly string[] | null) {
    this.name = name;
    this.parent = parent;
    this.at = at;
    this.last = at;
    this.attributes = attributes;
  }

  /** The decoded value of an attribute; undefined where there is none. @param name in lower case, in XML as written */
  attribute(name: string): string | undefined {
    const source = this.source(name);
    return source === undefined ? undefined : decodeAttribute(source);
  }

  /** The same with entities as in the source. */
  source(name: string): string | undefined {
    const list = this.attributes;
    if (list === null) return undefined;
    for (let i = 0; i < list.length; i += 2) if (list[i] === name) return list[i + 1];
    return undefined;
  }

  /** Whether it has an attribute, with or without a value. */
  has(name: string): boolean {
    const list = this.attributes;
    for (let i = 0; list !== null && i < list.length; i += 2) if (list[i] === name) return true;
    return false;
  }
}

/** The texts of a page that was not made into a tree, in document order. Each is one text node, in source form. */
export interface TextLog {
  texts: string[];
  /** `Element.at` of each text's parent. */
  parents: number[];
  /** Scripts and styles around each text. */
  codes: number[];
}

/** An element that was kept while the page was read, without what is inside of it: its text is a run of the page's. */
export class KeptElement extends Element {
  readonly log: TextLog;
  /** Scripts and styles that it lies in or is. */
  readonly code: number;
  /** Its text in the log; the same where nobody asked for it. */
  from = 0;
  to = 0;

  constructor(
    name: string,
    parent: Element,
    at: number,
    attributes: readonly string[] | null,
    log: TextLog,
    code: number,
  ) {
    super(name, parent, at, attributes);
    this.log = log;
    this.code = code;
  }
}

/** What a selector found: elements in document order. */
export interface Matches {
  elements: KeptElement[];
  /** For each, the place of the element that the selector's first compound matched, the last where there are several. */
  firsts: number[];
}

/** Flags of what was cut so that a page stays inside the limits, as `ParsedPage.flags`. */
export type Flag = 'depth' | 'nodes' | 'attributes' | 'links' | 'items';

/** Limits of a tree: browsers stop at depth 512 too; the rest bounds memory. */
export const TREE_LIMITS = { depth: 512, nodes: 300_000, attributes: 1000 } as const;

/** A page's tree with all its elements in document order, so that a subtree is a run of that list. */
export class Document {
  /** Names are case-sensitive and keep their prefix (`media:content`). */
  readonly xml: boolean;
  readonly root = new Element('', null, -1, null);
  readonly elements: Element[] = [];
  readonly flags: Set<Flag>;
  /** What selectors found while the page was read, by selector; null: a tree, to be searched. */
  readonly matches: ReadonlyMap<object, Matches> | null;
  readonly #byTag = new Map<string, Element[]>();

  constructor(xml = false, flags = new Set<Flag>(), matches: ReadonlyMap<object, Matches> | null = null) {
    this.xml = xml;
    this.flags = flags;
    this.matches = matches;
  }

  /** The elements with that tag name in document order; found once per page. */
  byTag(name: string): readonly Element[] {
    let list = this.#byTag.get(name);
    if (list === undefined) {
      list = this.elements.filter((element) => element.name === name);
      this.#byTag.set(name, list);
    }
    return list;
  }
}

/** The document of a plain text: no element, and the text below the root. */
export function textDocument(text: string): Document {
  const document = new Document();
  document.root.children.push(sourceForm(text));
  return document;
}

/** A text in the source form that the tree keeps. */
export function sourceForm(text: string): string {
  return /[&<]/.test(text) ? text.replaceAll('&', '&amp;').replaceAll('<', '&lt;') : text;
}

/** Elements whose text is code, not prose: left out of their ancestors' text. */
export const CODE: ReadonlySet<string> = new Set(['script', 'style']);

/**
 * The decoded text below an element. Scripts and styles are left out, unless the element itself is one.
 *
 * @param limit characters after which it stops
 */
export function textOf(scope: Element, limit: number): string {
  if (scope instanceof KeptElement) return loggedText(scope, limit);
  const only = scope.children.length === 1 ? scope.children[0] : undefined;
  if (CODE.has(scope.name)) return scope.children.filter((child) => typeof child === 'string').join('');
  if (typeof only === 'string') return decodeText(only);
  const stack: Node[] = [scope];
  let text = '';
  while (stack.length > 0 && text.length < limit) {
    const node = stack.pop()!;
    if (typeof node === 'string') text += decodeText(node);
    else if (!CODE.has(node.name)) for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i]!);
  }
  return text;
}

function loggedText({ name, at, log: { texts, parents, codes }, code, from, to }: KeptElement, limit: number): string {
  let text = '';
  if (CODE.has(name)) {
    for (let i = from; i < to; i++) if (parents[i] === at) text += texts[i];
    return text;
  }
  for (let i = from; i < to && text.length < limit; i++) if (codes[i] === code) text += decodeText(texts[i]!);
  return text;
}

export const VOID_TAGS: ReadonlySet<string> = new Set(
  'area base basefont br col command embed frame hr img input isindex keygen link meta param source track wbr'.split(
    ' ',
  ),
);

/** The markup inside an element, or with the element itself. @param limit characters after which it stops */
export function htmlOf(scope: Element, limit: number, outer = false): string {
  const stack: (Node | { close: string })[] = outer ? [scope] : [...scope.children].reverse();
  let html = '';
  while (stack.length > 0 && html.length < limit) {
    const node = stack.pop()!;
    if (typeof node === 'string') html += node;
    else if ('close' in node) html += node.close;
    else {
      html += openTag(node);
      // In a feed, `link` has a text.
      if (VOID_TAGS.has(node.name) && node.children.length === 0) continue;
      stack.push({ close: `</${node.name}>` });
      for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i]!);
    }
  }
  return html;
}

function openTag({ name, attributes }: Element): string {
  let tag = `<${name}`;
  for (let i = 0; attributes !== null && i < attributes.length; i += 2)
    tag += ` ${attributes[i]}="${attributes[i + 1]!.replaceAll('"', '&quot;')}"`;
  return `${tag}>`;
}
