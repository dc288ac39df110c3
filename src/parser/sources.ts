import type { FieldObject, Source } from '../model/field.ts';
import type { ItemRule } from '../model/spider.ts';
import { type Element, textOf } from './dom.ts';
import { JsonQuery, parseJson } from './json_path.ts';
import { JsonNode, type PageFacts, type Scope } from './page_facts.ts';
import { type Ending, Selector } from './selector.ts';
import { jsonLd, microdata, openGraph, typedPath } from './structured.ts';
import type { Trace } from './trace.ts';
import type { Query, Wants } from './wants.ts';
import { XPath } from './xpath.ts';

/** JSON that an element holds is read up to this length. */
const MAX_JSON = 10_000_000;

/** Where a definition stands while it is compiled. */
export interface Place {
  /** False where the scope is the page's root. */
  scoped: boolean;
  /** The scope is a part of JSON: plain strings are JMESPath, and there is no element to select from. */
  json: boolean;
  /** JSON pointer into the spider. */
  at: string;
  /** Null unless the page is to be explained. */
  trace: Trace | null;
  /** What the page entry wants so far. */
  wants: Wants;
  /** Whose matches are the scope; null: the page is, or what no selector finds. */
  within: Query | null;
  /** All that a source finds is read, not the first alone. */
  many: boolean;
}

/** Finds what a source names, below a scope. */
export interface Finder {
  first(page: PageFacts, scope: Scope): Scope | null;
  all(page: PageFacts, scope: Scope): readonly Scope[];
}

/** The source of a field, compiled. */
export interface CompiledSource {
  finder: Finder;
  /** What it finds are parts of JSON. */
  json: boolean;
  /** Of a selector. */
  ending: Ending | null;
  /** What it asks of the page; null: nothing by a selector. */
  query: Query | null;
}

/** Properties that cheerio's `extract` knows besides attributes: texts, and markup. */
const TEXTS = new Set(['textContent', 'innerText']);
const MARKUP = new Set(['innerHTML', 'outerHTML']);
const NEEDS = {
  xpath: 'an XPath walks the tree',
  microdata: 'microdata is gathered from all over the page',
  markup: 'markup is what the tree is written as',
  page: 'it reads the whole page',
} as const;

const NOTHING: Finder = { first: () => null, all: () => [] };
const ITSELF: Finder = { first: (_page, scope) => scope, all: (_page, scope) => [scope] };

/** @throws on what does not compile; `check` says so before */
export function compileSource(field: FieldObject, place: Place): CompiledSource {
  const source = compileUntraced(field, place);
  const kind = sourceOf(field);
  if (place.trace === null || kind === null) return source;
  return { ...source, finder: traced(source.finder, place.trace, place.at, kind, String(field[kind])) };
}

/** The word by which a field says where it reads; null: its scope itself. A selector with JSON inside counts as a selector. */
export function sourceOf(field: FieldObject): Source | null {
  if (field.selector !== undefined) return 'selector';
  if (field.xpath !== undefined) return 'xpath';
  if (field.json !== undefined) return 'json';
  if (field.jsonld !== undefined) return 'jsonld';
  if (field.microdata !== undefined) return 'microdata';
  if (field.opengraph !== undefined) return 'opengraph';
  return field.meta === undefined ? null : 'meta';
}

/** @param isRead what is found is read itself, not only what is below it */
function compileUntraced(field: FieldObject, place: Place, isRead = true): CompiledSource {
  const { selector, xpath, json, jsonld, microdata: itemPath, opengraph, meta } = field;
  const { wants, at } = place;
  if (selector !== undefined) return compileSelector(field, selector, place, isRead);
  if (xpath !== undefined) {
    if (!place.json) wants.refuse(at, xpath, NEEDS.xpath);
    return { finder: place.json ? NOTHING : xpathFinder(xpath, place), json: false, ending: null, query: null };
  }
  if (json !== undefined) return { finder: jsonFinder(json, place), json: true, ending: null, query: null };
  if (jsonld !== undefined) {
    wants.jsonLd = true;
    return ofPage((page) => typedPath(jsonLd(page.document), jsonld));
  }
  if (itemPath !== undefined) {
    wants.refuse(at, itemPath, NEEDS.microdata);
    return ofPage((page) => typedPath(microdata(page.document), itemPath));
  }
  if (opengraph !== undefined) {
    wants.metas = true;
    return ofPage((page) => openGraph(page.document).get(opengraph) ?? []);
  }
  if (meta !== undefined) return ofPage(metaReader(meta));
  if (!place.json) want(field, null, place.within, place);
  return { finder: ITSELF, json: place.json, ending: null, query: place.within };
}

/** Notes what is read of a query's matches. @param query null: the page itself */
function want(field: FieldObject, ending: Ending | null, query: Query | null, { wants, at }: Place): void {
  const { value, as, match, json } = field;
  const refuse = (why: string) => wants.refuse(at, field.selector ?? '', why);
  const attribute = attributeOf(field, ending);
  const isMarkup = as === 'html' || (as === 'markdown' && match === undefined);
  if (typeof value === 'object' && json === undefined) return;
  if (query === null) refuse(NEEDS.page);
  else if (attribute !== null && MARKUP.has(attribute)) refuse(NEEDS.markup);
  else if (attribute !== null && !TEXTS.has(attribute)) wants.attributes.add(attribute.toLowerCase());
  else if (attribute === null && isMarkup && json === undefined) refuse(NEEDS.markup);
  else query.text = true;
}

function compileSelector(field: FieldObject, text: string, place: Place, isRead: boolean): CompiledSource {
  if (place.json) return { finder: NOTHING, json: false, ending: null, query: null };
  const selector = new Selector(text, place.scoped);
  const { ending } = selector;
  const query = place.wants.query(selector, place.within, place.many, place.at);
  if (isRead) want(field, ending, query, place);
  if (field.json === undefined) return { finder: selectorFinder(selector), json: false, ending, query };
  const attribute = attributeOf(field, ending);
  const { read, all } = jsonReader(new JsonQuery(field.json), place);
  const jsonIn = (element: Element) => embeddedJson(element, attribute);
  const finder: Finder = {
    first(page, scope) {
      const element = selector.first(page.document, scope as Element);
      return element === null ? null : read(jsonIn(element));
    },
    all(page, scope) {
      return selector.all(page.document, scope as Element).flatMap((element) => all(jsonIn(element)));
    },
  };
  return { finder, json: true, ending: null, query: null };
}

/** The attribute that a field reads; null: none. */
export function attributeOf({ value }: { value?: FieldObject['value'] }, ending: Ending | null): string | null {
  if (typeof value === 'string') return value;
  return ending !== null && 'attribute' in ending ? ending.attribute : null;
}

function selectorFinder(selector: Selector): Finder {
  return {
    first: (page, scope) => selector.first(page.document, scope as Element),
    all: (page, scope) => selector.all(page.document, scope as Element),
  };
}

function xpathFinder(text: string, { at, trace }: Place): Finder {
  const xpath = new XPath(text);
  const all = (page: PageFacts, scope: Scope) => {
    const nodes = xpath.nodes(page.document, scope as Element);
    trace?.fail(at, 'an XPath', xpath.fault);
    return nodes.map((found) => (typeof found === 'string' ? new JsonNode(found) : found));
  };
  return { first: (page, scope) => all(page, scope)[0] ?? null, all };
}

/** JMESPath over the scope where that is JSON, else over the page's JSON. */
function jsonFinder(text: string, place: Place): Finder {
  const { read, all } = jsonReader(new JsonQuery(text), place);
  const rootOf = (page: PageFacts, scope: Scope) => (scope instanceof JsonNode ? scope.value : page.json);
  return {
    first(page, scope) {
      const root = rootOf(page, scope);
      return root === undefined ? null : read(root);
    },
    all(page, scope) {
      const root = rootOf(page, scope);
      return root === undefined ? [] : all(root);
    },
  };
}

/** A query's findings as scopes; the trace is told where it fails. */
function jsonReader(query: JsonQuery, { at, trace }: Place) {
  return {
    read(value: unknown): JsonNode | null {
      const found = node(query.read(value));
      trace?.fail(at, 'a JMESPath', query.fault);
      return found;
    },
    all(value: unknown): JsonNode[] {
      const found = query.all(value).map((member) => new JsonNode(member));
      trace?.fail(at, 'a JMESPath', query.fault);
      return found;
    },
  };
}

/** A source that the scope does not matter to. */
function ofPage(read: (page: PageFacts) => readonly unknown[]): CompiledSource {
  const finder: Finder = {
    first: (page) => node(read(page)[0]),
    all: (page) => read(page).map((value) => new JsonNode(value)),
  };
  return { finder, json: true, ending: null, query: null };
}

function metaReader(meta: string): (page: PageFacts) => unknown[] {
  const colon = meta.indexOf(':');
  const name = meta.slice(colon + 1);
  const own = (values: Readonly<Record<string, unknown>>) => (Object.hasOwn(values, name) ? [values[name]] : []);
  switch (colon < 0 ? meta : meta.slice(0, colon)) {
    case 'header':
      return (page) => [page.headers?.[name.toLowerCase()] ?? []].flat();
    case 'param':
      return (page) => own(page.params);
    case 'passed':
      return (page) => own(page.passed);
    default:
      return (page) => [page[meta as 'url' | 'status' | 'depth' | 'fetchedAt']];
  }
}

/** JSON in an element or in one of its attributes; null where it is none. */
function embeddedJson(element: Element, attribute: string | null): unknown {
  const text = attribute === null ? textOf(element, MAX_JSON) : (element.attribute(attribute) ?? '');
  try {
    return parseJson(text);
  } catch {
    return null;
  }
}

function node(value: unknown): JsonNode | null {
  return value === null || value === undefined ? null : new JsonNode(value);
}

function traced(finder: Finder, trace: Trace, at: string, source: Source, text: string): Finder {
  const entry = trace.field(at, source, text);
  return {
    first(page, scope) {
      entry.hits += finder.all(page, scope).length;
      return finder.first(page, scope);
    },
    all(page, scope) {
      const found = finder.all(page, scope);
      entry.hits += found.length;
      return found;
    },
  };
}

/** The parts of the page that each make one item; null: the page itself makes one. */
export function compileEach(each: ItemRule['each'], place: Place): CompiledSource | null {
  if (each === undefined) return null;
  const field: FieldObject = typeof each === 'string' ? { selector: each } : each;
  const { finder, json, query } = compileUntraced(field, { ...place, many: true }, false);
  const parts: Finder = {
    first: finder.first,
    // Texts that an XPath selects have nothing below them.
    all: json ? finder.all : (page, scope) => finder.all(page, scope).filter((part) => !(part instanceof JsonNode)),
  };
  const text = typeof each === 'string' ? each : Object.values(each)[0]!;
  const entry = place.trace?.field(place.at, 'each', text);
  if (entry === undefined) return { finder: parts, json, ending: null, query };
  const all: Finder['all'] = (page, scope) => {
    const found = parts.all(page, scope);
    entry.hits += found.length;
    return found;
  };
  return { finder: { first: parts.first, all }, json, ending: null, query };
}
