import { type Document, type Element, textOf } from './dom.ts';
import { parseJson } from './json_path.ts';
import { collapse } from './transforms.ts';

type Item = Record<string, unknown>;

/** Bounds of what one page's markup may become: `itemref` and `@id` can multiply it without end. */
const LIMITS = { visits: 350_000, text: 4_000_000, nesting: 100, results: 10_000, path: 1000 } as const;

const isObject = (value: unknown): value is Item =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads something of a document once, however many fields ask for it. */
function oncePerDocument<T>(read: (document: Document) => T): (document: Document) => T {
  const known = new WeakMap<Document, { value: T }>();
  return (document) => {
    let entry = known.get(document);
    if (entry === undefined) {
      entry = { value: read(document) };
      known.set(document, entry);
    }
    return entry.value;
  };
}

/** The nodes of all JSON-LD scripts, in document order; lists and `@graph` are flattened, broken JSON is left out. */
export const jsonLd: (document: Document) => unknown[] = oncePerDocument((document) =>
  document
    .byTag('script')
    .filter((script) => /^\s*application\/ld\+json\b/i.test(script.attribute('type') ?? ''))
    .flatMap((script) => flattenGraph(parseLenient(textOf(script, Number.POSITIVE_INFINITY)))),
);

/** What people wrap JSON in inside a script, and raw line breaks inside its strings, are overlooked. */
function parseLenient(text: string): unknown {
  const json = text
    .replace(/^\s*(?:<!--|(?:\/\/|\/\*)?\s*<!\[CDATA\[(?:\s*\*\/)?)/, '')
    .trimEnd()
    .replace(/(?:-->|(?:(?:\/\/|\/\*)\s{0,9})?\]\]>(?:\s{0,9}\*\/)?)$/, '')
    .trimEnd()
    .replace(/;$/, '');
  try {
    return parseJson(json);
  } catch {
    try {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is wrong
      return parseJson(json.replace(/[\x00-\x1f]+/g, ' '));
    } catch {
      return null;
    }
  }
}

function flattenGraph(value: unknown): unknown[] {
  if (Array.isArray(value)) return value.flatMap(flattenGraph);
  if (!isObject(value)) return [];
  const { '@graph': graph, ...rest } = value;
  if (graph === undefined) return [value];
  return [...('@type' in rest ? [rest] : []), ...flattenGraph(graph)];
}

/**
 * The page's top-level microdata items, in document order: `@type` and `@id` as they are written, and each property by
 * its name: a text, a nested item, or a list of them where there are several.
 */
export const microdata: (document: Document) => unknown[] = oncePerDocument((document) => {
  const reader = new MicrodataReader(document);
  return document.elements
    .filter((element) => has(element, 'itemscope') && !has(element, 'itemprop'))
    .map((element) => reader.item(element, []));
});

const has = (element: Element, name: string) =>
  element.attributes?.includes(name) === true && element.attribute(name) !== undefined;
const tokens = (text: string | undefined) => (text ?? '').split(/\s+/).filter((token) => token !== '');

/** Which attribute holds an element's value, by the rules of HTML. */
const VALUE_ATTRIBUTES = new Map([
  ...['audio', 'embed', 'iframe', 'img', 'source', 'track', 'video'].map((name) => [name, 'src'] as const),
  ...['a', 'area', 'link'].map((name) => [name, 'href'] as const),
  ...['data', 'meter'].map((name) => [name, 'value'] as const),
  ['object', 'data'],
  ['meta', 'content'],
  ['time', 'datetime'],
]);

class MicrodataReader {
  readonly #document: Document;
  #visits = 0;
  #chars = 0;
  #ids: Map<string, Element> | null = null;

  constructor(document: Document) {
    this.#document = document;
  }

  /** @param above the items that it lies in, so that an `itemref` in a circle ends */
  item(scope: Element, above: readonly Element[]): Item {
    const item: Item = Object.create(null);
    const types = tokens(scope.attribute('itemtype'));
    if (types.length > 0) item['@type'] = types.length === 1 ? types[0] : types;
    const id = scope.attribute('itemid');
    if (id !== undefined) item['@id'] = id.trim();
    const path = [...above, scope];
    for (const element of this.#properties(scope)) {
      const value = this.#value(element, path);
      if (value !== null) for (const name of new Set(tokens(element.attribute('itemprop')))) add(item, name, value);
    }
    return item;
  }

  /** The elements with `itemprop` that belong to an item, in document order: below it, or below what it refers to. */
  #properties(scope: Element): Element[] {
    const found = new Set<Element>();
    const seen = new Set<Element>([scope]);
    const pending = [...scope.children];
    for (const id of tokens(scope.attribute('itemref'))) {
      const element = this.#byId(id);
      if (element !== undefined) pending.push(element);
    }
    while (pending.length > 0 && this.#visits++ < LIMITS.visits) {
      const element = pending.pop()!;
      if (typeof element === 'string' || seen.has(element)) continue;
      seen.add(element);
      if (has(element, 'itemprop')) found.add(element);
      if (!has(element, 'itemscope')) for (const child of element.children) pending.push(child);
    }
    return [...found].sort((a, b) => a.at - b.at);
  }

  /** Besides the rules of HTML, `content` is taken from any element, as search engines do. Null: nothing is left to read. */
  #value(element: Element, path: readonly Element[]): unknown {
    if (has(element, 'itemscope'))
      return path.includes(element) || path.length > LIMITS.nesting ? null : this.item(element, path);
    const name = VALUE_ATTRIBUTES.get(element.name);
    const written = (name === undefined ? undefined : element.attribute(name)) ?? element.attribute('content');
    if (this.#chars > LIMITS.text) return null;
    const isText = written === undefined && (name === undefined || name === 'datetime' || name === 'value');
    const value = isText ? collapse(textOf(element, LIMITS.text - this.#chars)) : (written ?? '').trim();
    this.#chars += value.length;
    return value;
  }

  #byId(id: string): Element | undefined {
    if (this.#ids === null) {
      this.#ids = new Map();
      for (const element of this.#document.elements) {
        const name = has(element, 'id') ? element.attribute('id')! : '';
        if (!this.#ids.has(name)) this.#ids.set(name, element);
      }
    }
    return this.#ids.get(id);
  }
}

function add(item: Item, name: string, value: unknown): void {
  const known = item[name];
  if (known === undefined) item[name] = value;
  else if (Array.isArray(known)) known.push(value);
  else item[name] = [known, value];
}

/**
 * Open Graph properties and their values in document order: `og:title` under `title`, all others (`article:author`,
 * `twitter:card`) under their whole name. Names are in lower case.
 */
export const openGraph: (document: Document) => Map<string, string[]> = oncePerDocument((document) => {
  const properties = new Map<string, string[]>();
  for (const meta of document.byTag('meta')) {
    const content = meta.attribute('content');
    if (content === undefined) continue;
    for (const token of tokens(`${meta.attribute('property') ?? ''} ${meta.attribute('name') ?? ''}`.toLowerCase())) {
      if (!/^[a-z]+:./.test(token)) continue;
      const name = token.startsWith('og:') ? token.slice(3) : token;
      const values = properties.get(name);
      if (values === undefined) properties.set(name, [content.trim()]);
      else if (!values.includes(content.trim()) && values.length < 1000) values.push(content.trim());
    }
  }
  return properties;
});

/** What a list of nodes holds, by type and by `@id`. */
interface Index {
  byType: Map<string, Item[]>;
  byId: Map<string, Item>;
}
const indexes = new WeakMap<readonly unknown[], Index>();

/**
 * What `Product.brand.name` finds in JSON-LD or microdata nodes: every object of the type, nested ones too, then the
 * path, lists flattened and references (`{ "@id": … }`) followed. A type is named by the last part of its URL.
 *
 * @param nodes from `jsonLd` or `microdata`; what was learned of that list is kept with it
 * @param path one that `checkTypedPath` finds right
 */
export function typedPath(nodes: unknown[], path: string): unknown[] {
  let index = indexes.get(nodes);
  if (index === undefined) {
    index = indexOf(nodes);
    indexes.set(nodes, index);
  }
  const [type = '', ...names] = path.split('.');
  let values: unknown[] = index.byType.get(type) ?? [];
  for (const name of names) values = membersOf(values, name, index);
  return values.map(plainValue);
}

function indexOf(nodes: unknown[]): Index {
  const index: Index = { byType: new Map(), byId: new Map() };
  const stack = [...nodes].reverse();
  while (stack.length > 0) {
    const value = stack.pop();
    if (isObject(value)) addToIndex(index, value);
    if (typeof value !== 'object' || value === null) continue;
    const members = Object.values(value);
    for (let i = members.length - 1; i >= 0; i--) stack.push(members[i]);
  }
  return index;
}

function addToIndex({ byType, byId }: Index, node: Item): void {
  const { '@type': types, '@id': id } = node;
  for (const type of new Set(Array.isArray(types) ? types : [types])) {
    if (typeof type !== 'string') continue;
    const name = type.slice(type.search(/[^/#:]*$/));
    const list = byType.get(name);
    if (list === undefined) byType.set(name, [node]);
    else list.push(node);
  }
  if (typeof id === 'string' && !byId.has(id) && !isReference(node)) byId.set(id, node);
}

const isReference = (node: Item) => Object.keys(node).length === 1;

function membersOf(values: unknown[], name: string, { byId }: Index): unknown[] {
  const members: unknown[] = [];
  for (const value of values) {
    if (!isObject(value) || !Object.hasOwn(value, name)) continue;
    const member = value[name];
    for (const part of Array.isArray(member) ? member.flat(3) : [member]) {
      const id = isObject(part) && isReference(part) ? part['@id'] : undefined;
      const resolved = typeof id === 'string' ? (byId.get(id) ?? part) : part;
      if (members.length >= LIMITS.results) return members;
      if (resolved !== null) members.push(resolved);
    }
  }
  return members;
}

/** JSON-LD may write any value as `{ "@value": …, "@language": … }`. */
function plainValue(value: unknown): unknown {
  return isObject(value) && Object.hasOwn(value, '@value') ? value['@value'] : value;
}

/** What is wrong with a path of `typedPath`, in words for its author; null where nothing is. */
export function checkTypedPath(path: string): string | null {
  const expected = 'expected a type and properties, as Product.brand.name';
  if (path.trim() === '') return `it is empty; ${expected}`;
  if (path.length > LIMITS.path) return `it has ${path.length} characters; at most ${LIMITS.path} are allowed`;
  for (const part of path.split('.')) {
    if (part === '') return `a name is missing beside a dot; ${expected}`;
    if (!/^@?[\p{L}\p{N}_:-]+$/u.test(part)) return `"${part.slice(0, 80)}" is no name; ${expected}`;
  }
  return null;
}
