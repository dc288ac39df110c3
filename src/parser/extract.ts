import { RE2JS } from 're2js';
import type { Field, FieldObject, Fields } from '../model/field.ts';
import type { ItemRule } from '../model/spider.ts';
import { type Document, type Element, htmlOf, textOf } from './dom.ts';
import { type Ending, Selector } from './selector.ts';
import { collapse, transform } from './transforms.ts';

/** The page that items are read from. */
export interface PageFacts {
  document: Document;
  url: string;
  /** What relative URLs are resolved against: the URL, or the page's `<base href>`. */
  base: string;
  status: number;
  depth: number;
  /** ISO 8601. */
  fetchedAt: string;
}

/** Item data as it is built: no prototype, so that a field may be called `__proto__`. */
export type Data = Record<string, unknown>;

/** Reads a compiled field from an element (the document's root for the page). Null: there is no such value. */
type Read = (page: PageFacts, scope: Element) => unknown;
interface CompiledField {
  one: Read;
  /** Every match; matches without a value are left out, or are the default. */
  many(page: PageFacts, scope: Element): unknown[];
}

/** More text than an item may hold is not read. */
const MAX_TEXT = 1_100_000;

/** Properties that cheerio's `extract` knows besides attributes. */
const PROPERTIES: Record<string, (element: Element) => string> = {
  textContent: (element) => textOf(element, MAX_TEXT),
  innerText: (element) => collapse(textOf(element, MAX_TEXT)),
  innerHTML: (element) => htmlOf(element, MAX_TEXT),
  outerHTML: (element) => htmlOf(element, MAX_TEXT, true),
};

/** A value that counts: for `required`, for fill rates, and against `default`. */
export function hasValue(value: unknown): boolean {
  return value !== null && value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0);
}

/** An item rule, compiled. @throws on a selector or regex that does not compile; `check` says so before */
export class ItemReader {
  readonly type: string;
  readonly #each: Selector | null;
  readonly #fields: (page: PageFacts, scope: Element) => Data;
  readonly #required: readonly string[];

  /** @param fallbackType the item's type where the rule names none */
  constructor(rule: ItemRule, fallbackType: string) {
    this.type = rule.type ?? fallbackType;
    this.#each = typeof rule.each === 'string' ? new Selector(rule.each, false) : null;
    this.#fields = compileFields(rule.fields, this.#each !== null);
    this.#required = rule.required ?? [];
  }

  /** The elements that each make one item. */
  scopes(document: Document): readonly Element[] {
    return this.#each === null ? [document.root] : this.#each.all(document, document.root);
  }

  /** One item's data, keys in the order of the definition. */
  read(page: PageFacts, scope: Element): Data {
    return this.#fields(page, scope);
  }

  /** The first required field without a value; null where the item is whole. */
  missing(data: Data): string | null {
    return this.#required.find((name) => !hasValue(data[name])) ?? null;
  }
}

function compileFields(fields: Fields, scoped: boolean): (page: PageFacts, scope: Element) => Data {
  const compiled = Object.entries(fields).map(([name, field]) => ({ name, read: compileField(field, scoped) }));
  return (page, scope) => {
    const data: Data = Object.create(null);
    for (const { name, read } of compiled) data[name] = read(page, scope);
    return data;
  };
}

function compileField(field: Field, scoped: boolean): Read {
  if (typeof field === 'string') return compileObject({ selector: field }, scoped).one;
  if (!('length' in field)) return compileObject(field, scoped).one;
  const inner = field[0];
  if (typeof inner === 'object' && 'length' in inner) {
    const nested = compileField(inner, scoped);
    return (page, scope) => [nested(page, scope)];
  }
  return compileObject(typeof inner === 'string' ? { selector: inner } : inner, scoped).many;
}

function compileObject(field: FieldObject, scoped: boolean): CompiledField {
  const finish = (value: unknown) => (hasValue(value) || field.default === undefined ? value : field.default);
  const { meta } = field;
  if (meta !== undefined) {
    const one: Read = (page) => finish(page[meta as 'url']);
    return { one, many: (page, scope) => [one(page, scope)] };
  }
  const selector = field.selector === undefined ? null : new Selector(field.selector, scoped);
  const leaf = compileLeaf(field, selector?.ending ?? null);
  return {
    one: (page, scope) => {
      const element = selector === null ? scope : selector.first(page.document, scope);
      return finish(element === null ? null : leaf(page, element));
    },
    many: (page, scope) => {
      const elements = selector === null ? [scope] : selector.all(page.document, scope);
      return elements.map((element) => finish(leaf(page, element))).filter(hasValue);
    },
  };
}

function compileLeaf(field: FieldObject, ending: Ending | null): Read {
  const { value, as } = field;
  if (typeof value === 'object') return compileFields(value, true);
  const source = sourceOf(field, ending);
  const regex = field.match === undefined ? null : RE2JS.compile(field.match);
  const attribute = typeof value === 'string' || (ending !== null && 'attribute' in ending);
  return (page, element) => {
    let text = source(element);
    if (text === null) return null;
    if (regex !== null) text = groupOf(regex, text);
    if (text === null || as === undefined) return text;
    return transform(as, text, { base: page.base, attribute });
  };
}

/** What a leaf reads before `match` and `as`: an attribute as it is, markup, or text (collapsed unless `as` is `text`). */
function sourceOf({ value, as }: FieldObject, ending: Ending | null): (element: Element) => string | null {
  const name = typeof value === 'string' ? value : ending !== null && 'attribute' in ending ? ending.attribute : null;
  if (name !== null) {
    const lower = name.toLowerCase();
    return Object.hasOwn(PROPERTIES, name) ? PROPERTIES[name]! : (element) => element.attribute(lower) ?? null;
  }
  if (as === 'html') return (element) => htmlOf(element, MAX_TEXT);
  if (as === 'text') return (element) => textOf(element, MAX_TEXT);
  return (element) => collapse(textOf(element, MAX_TEXT));
}

/** The first group of the first match, or the whole match where the regex has no group. */
function groupOf(regex: RE2JS, text: string): string | null {
  const matcher = regex.matcher(text);
  if (!matcher.find()) return null;
  return matcher.group(matcher.groupCount() > 0 ? 1 : 0) ?? null;
}
