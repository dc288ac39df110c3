import { RE2JS } from 're2js';
import type { Field, FieldObject, Fields } from '../model/field.ts';
import { pointerPart } from '../model/pointer.ts';
import type { ItemRule } from '../model/spider.ts';
import { type Element, htmlOf, textOf } from './dom.ts';
import { markdownOf } from './markdown.ts';
import { JsonNode, type PageFacts, type Scope } from './page_facts.ts';
import type { Ending } from './selector.ts';
import { attributeOf, type CompiledSource, compileEach, compileSource, type Place, sourceOf } from './sources.ts';
import type { Trace } from './trace.ts';
import { collapse, convert, type TransformContext, transform } from './transforms.ts';
import { Wants } from './wants.ts';

/** Item data as it is built: no prototype, so that a field may be called `__proto__`. */
export type Data = Record<string, unknown>;

/** Reads compiled fields. */
export type ReadFields = (page: PageFacts, scope: Scope) => Data;
/** Reads a compiled field. Null: there is no such value. */
type Read = (page: PageFacts, scope: Scope) => unknown;
interface CompiledField {
  one: Read;
  /** Every match; matches without a value are left out, or are the default. */
  many(page: PageFacts, scope: Scope): unknown[];
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

/** An item rule, compiled. @throws on what does not compile; `check` says so before */
export class ItemReader {
  readonly type: string;
  readonly #each: CompiledSource | null;
  readonly #fields: ReadFields;
  readonly #required: readonly string[];
  /** Fields that are read from the page's content. */
  readonly #content: readonly string[];

  /**
   * @param fallbackType the item's type where the rule names none
   * @param at pointer of the rule
   * @param wants is told what it wants of a page
   */
  constructor(rule: ItemRule, fallbackType: string, at = '', trace: Trace | null = null, wants = new Wants()) {
    this.type = rule.type ?? fallbackType;
    const page: Place = { scoped: false, json: false, at: `${at}/each`, trace, wants, within: null, many: false };
    this.#each = compileEach(rule.each, page);
    const { json, query } = this.#each ?? { json: false, query: null };
    const place: Place = { ...page, scoped: this.#each !== null, json, within: query, at: `${at}/fields` };
    this.#fields = compileFields(rule.fields, place);
    this.#required = rule.required ?? [];
    this.#content = Object.keys(rule.fields).filter((name) => !isMeta(rule.fields[name]!));
  }

  /** What makes one item each: parts of the page, or the page. */
  scopes(page: PageFacts): readonly Scope[] {
    const { root } = page.document;
    return this.#each === null ? [root] : this.#each.finder.all(page, root);
  }

  /** One item's data, keys in the order of the definition. */
  read(page: PageFacts, scope: Scope): Data {
    return this.#fields(page, scope);
  }

  /**
   * True where nothing of a whole page was found. On feeds, JSON and texts, which a spider for HTML meets by chance, that
   * makes no item.
   */
  isStrange(data: Data): boolean {
    if (this.#each !== null || this.#content.length === 0) return false;
    return !this.#content.some((name) => hasValue(data[name]));
  }

  /** The first required field without a value; null where the item is whole. */
  missing(data: Data): string | null {
    return this.#required.find((name) => !hasValue(data[name])) ?? null;
  }
}

function isMeta(field: Field): boolean {
  if (typeof field === 'string') return false;
  return 'length' in field ? isMeta(field[0]) : field.meta !== undefined;
}

/** @throws on what does not compile; `check` says so before */
export function compileFields(fields: Fields, place: Place): ReadFields {
  const compiled = Object.entries(fields).map(([name, field]) => ({
    name,
    read: compileField(field, { ...place, many: false, at: `${place.at}/${pointerPart(name)}` }),
  }));
  return (page, scope) => {
    const data: Data = Object.create(null);
    for (const { name, read } of compiled) data[name] = read(page, scope);
    return data;
  };
}

function compileField(field: Field, place: Place): Read {
  if (typeof field === 'string') return compileObject(plainField(field, place), place).one;
  if (!('length' in field)) return compileObject(field, place).one;
  const inner = field[0];
  const member = { ...place, at: `${place.at}/0` };
  if (typeof inner === 'object' && 'length' in inner) {
    const nested = compileField(inner, member);
    return (page, scope) => [nested(page, scope)];
  }
  return compileObject(typeof inner === 'string' ? plainField(inner, place) : inner, { ...member, many: true }).many;
}

/** A plain string: a selector, or JMESPath where the scope is JSON. */
function plainField(text: string, { json }: Place): FieldObject {
  return json ? { json: text } : { selector: text };
}

function compileObject(field: FieldObject, place: Place): CompiledField {
  const source = compileSource(field, place);
  const { finder } = source;
  const leaf = compileLeaf(field, source, place);
  const finish = compileDefault(field, place);
  return {
    one: (page, scope) => {
      const found = finder.first(page, scope);
      return finish(found === null ? null : leaf(page, found));
    },
    many: (page, scope) =>
      finder
        .all(page, scope)
        .map((found) => finish(leaf(page, found)))
        .filter(hasValue),
  };
}

function compileDefault(field: FieldObject, { at, trace }: Place): (value: unknown) => unknown {
  const { default: fallback } = field;
  if (fallback === undefined) return (value) => value;
  const entry = trace?.fields.findLast(({ pointer }) => pointer === at);
  if (entry === undefined) return (value) => (hasValue(value) ? value : fallback);
  return (value) => {
    entry.asked++;
    if (hasValue(value)) return value;
    entry.defaulted++;
    return fallback;
  };
}

function compileLeaf(field: FieldObject, source: CompiledSource, place: Place): Read {
  const { value, as } = field;
  if (typeof value === 'object') {
    const { json, query } = source;
    // Without a source, what it reads is its own scope: perhaps the page.
    const scoped = place.scoped || sourceOf(field) !== null;
    const nested = compileFields(value, { ...place, scoped, json, within: query, at: `${place.at}/value` });
    const fits = source.json ? isObjectNode : (found: Scope) => !(found instanceof JsonNode);
    return (page, found) => (fits(found) ? nested(page, found) : null);
  }
  const ofElement = compileElementLeaf(field, source.ending);
  const ofValue = compileValueLeaf(field);
  const tidy = field.xpath !== undefined && as !== 'text';
  return (page, found) => {
    if (!(found instanceof JsonNode)) return ofElement(page, found);
    return ofValue(page, tidy && typeof found.value === 'string' ? collapse(found.value) : found.value);
  };
}

function isObjectNode(found: Scope): boolean {
  return found instanceof JsonNode && typeof found.value === 'object' && found.value !== null;
}

function compileElementLeaf(field: FieldObject, ending: Ending | null): (page: PageFacts, element: Element) => unknown {
  const { as, locale = null } = field;
  const attribute = attributeOf(field, ending);
  if (as === 'markdown' && attribute === null && field.match === undefined)
    return (page, element) => markdownOf(element, page.document, { base: page.base, limit: MAX_TEXT });
  const read = textReader(attribute, as);
  const regex = field.match === undefined ? null : RE2JS.compile(field.match);
  return (page, element) => {
    let text = read(page, element);
    if (text !== null && regex !== null) text = groupOf(regex, text);
    if (text === null || as === undefined) return text;
    return transform(as, text, contextOf(page, attribute !== null, locale));
  };
}

function contextOf(page: PageFacts, attribute: boolean, locale: string | null): TransformContext {
  return { base: page.base, attribute, locale, fetchedAt: page.fetchedAt };
}

/** Numbers, booleans, objects and lists of JSON stay what they are, unless `match` or `as` make something else of them. */
function compileValueLeaf({ as, match, locale }: FieldObject): (page: PageFacts, value: unknown) => unknown {
  const regex = match === undefined ? null : RE2JS.compile(match);
  return (page, value) => {
    let result: unknown = value;
    if (regex !== null) result = typeof value === 'object' ? null : groupOf(regex, String(value));
    if (as === undefined || result === null || result === undefined) return result ?? null;
    const context = contextOf(page, false, locale ?? null);
    return Array.isArray(result) ? result.map((one) => convert(as, one, context)) : convert(as, result, context);
  };
}

/** What a leaf reads before `match` and `as`: an attribute as it is, markup, or text (collapsed unless `as` is `text`). */
export function textReader(
  name: string | null,
  as?: FieldObject['as'],
): (page: PageFacts, element: Element) => string | null {
  if (name !== null) {
    if (Object.hasOwn(PROPERTIES, name)) return (_page, element) => PROPERTIES[name]!(element);
    const lower = name.toLowerCase();
    return (page, element) => element.attribute(page.document.xml ? name : lower) ?? null;
  }
  if (as === 'html') return (_page, element) => htmlOf(element, MAX_TEXT);
  if (as === 'text') return (_page, element) => textOf(element, MAX_TEXT);
  return (_page, element) => collapse(textOf(element, MAX_TEXT));
}

/** The first group of the first match, or the whole match where the regex has no group. */
export function groupOf(regex: RE2JS, text: string): string | null {
  const matcher = regex.matcher(text);
  if (!matcher.find()) return null;
  return matcher.group(matcher.groupCount() > 0 ? 1 : 0) ?? null;
}
