import { RE2JS } from 're2js';
import { extraText } from '../model/extra.ts';
import type { FieldObject } from '../model/field.ts';
import { fillTemplate } from '../model/params.ts';
import type { RequestExtra } from '../model/request.ts';
import { type RequestParts, sentParts } from '../model/request_parts.ts';
import type { FollowRule, Params } from '../model/spider.ts';
import type { Element } from './dom.ts';
import { compileFields, groupOf, type ReadFields, textReader } from './extract.ts';
import { formAround, formRequest } from './form.ts';
import { JsonQuery } from './json_path.ts';
import { type CompiledRule, compileRule, type PageLinks } from './links.ts';
import { JsonNode, type PageFacts, type Scope } from './page_facts.ts';
import { Selector } from './selector.ts';
import { attributeOf, type CompiledSource, compileSource, type Place } from './sources.ts';
import type { Trace } from './trace.ts';
import type { Wants } from './wants.ts';

/** Bytes of what a page passes on to one link. */
const MAX_PASS_BYTES = 16 * 1024;
/** Forms that a rule submits on one page: each is compared with every control. */
const MAX_FORMS = 100;
/** More text than a URL can be is not read. */
const MAX_HREF = 10_000;

/** A follow rule, compiled. */
export interface FollowReader {
  /** Adds the rule's links of a page. */
  follow(links: PageLinks, page: PageFacts): void;
}

/**
 * @param number place among all follow rules of the spider
 * @param page,place of the rule in the definition
 * @param wants is told what it wants of a page
 * @throws on what does not compile; `check` says so before
 */
export function compileFollow(
  rule: FollowRule,
  number: number,
  page: number,
  place: number,
  trace: Trace | null,
  wants: Wants,
): FollowReader {
  const compiled = compileRule(rule, number, `pages[${page}].follow[${place}]`);
  const at = `/pages/${page}/follow/${place}`;
  wants.attributes.add('href').add('rel');
  if (trace === null && isPlain(rule)) {
    const selector = new Selector(rule.selector, false);
    wants.query(selector, null, true, at);
    return new HrefReader(selector, compiled);
  }
  if (rule.form !== undefined) wants.refuse(at, rule.form, 'a form is sent with all that is inside of it');
  const here: Place = { scoped: false, json: false, at, trace, wants, within: null, many: true };
  return rule.form === undefined
    ? new LinkReader(rule, compiled, followSource(rule, here), here)
    : new FormReader(rule, compiled, followSource({ selector: rule.form }, here), here);
}

/** A selector whose elements' hrefs are the links, as they are. */
function isPlain(rule: FollowRule): rule is FollowRule & { selector: string } {
  const { selector, value, match, url, request, page, pass } = rule;
  const more = [value, match, url, request, page, pass].some((part) => part !== undefined);
  return selector !== undefined && !more && !selector.includes('::');
}

/** In a trace, a follow rule's selector is told as such. */
function followSource(rule: Pick<FollowRule, 'selector' | 'xpath' | 'json' | 'value'>, place: Place): CompiledSource {
  const { selector, xpath, json } = rule;
  // Without an ending, what is read is the href. (A `::` that is no ending costs a text that nobody asks for.)
  const value = rule.value ?? (selector?.includes('::') === true ? undefined : 'href');
  const read = value === undefined ? {} : { value };
  const field: FieldObject =
    selector !== undefined ? { selector, ...read } : xpath !== undefined ? { xpath } : { json: json ?? '' };
  const source = compileSource(field, place);
  const entry = place.trace?.fields.at(-1);
  if (entry !== undefined) entry.source = 'follow';
  return source;
}

/** The common kind, with nothing between the selector and the page's links. */
class HrefReader implements FollowReader {
  readonly #selector: Selector;
  readonly #rule: CompiledRule;

  constructor(selector: Selector, rule: CompiledRule) {
    this.#selector = selector;
    this.#rule = rule;
  }

  follow(links: PageLinks, { document }: PageFacts): void {
    for (const element of this.#selector.all(document, document.root)) {
      if (links.full) return;
      links.add(element, this.#rule);
    }
  }
}

/** What a rule adds to its links: the page entry that they are given to, and what this page passes on. */
class Baggage {
  readonly #page: string | undefined;
  readonly #pass: ReadFields | null;
  readonly #name: string;

  constructor({ page, pass }: FollowRule, { json, query }: CompiledSource, name: string, place: Place) {
    this.#page = page;
    this.#name = name;
    this.#pass =
      pass === undefined
        ? null
        : compileFields(pass, { ...place, scoped: true, json, within: query, at: `${place.at}/pass` });
  }

  /**
   * @param sent method, headers and body; null: a plain GET
   * @param scope what the rule found
   */
  add(
    links: PageLinks,
    href: string,
    rule: CompiledRule,
    sent: RequestExtra | null,
    page: PageFacts,
    scope: Scope,
  ): void {
    const extra: RequestExtra = { ...sent };
    let refusal: string | null = null;
    if (this.#page !== undefined) extra.page = this.#page;
    if (this.#pass !== null) {
      extra.pass = this.#pass(page, scope);
      const bytes = Buffer.byteLength(JSON.stringify(extra.pass));
      if (bytes > MAX_PASS_BYTES) refusal = `${this.#name}.pass has ${bytes} bytes; at most ${MAX_PASS_BYTES}`;
    }
    const element = scope instanceof JsonNode ? null : scope;
    links.addRequest(href, rule, element, extraText(extra) === null ? null : extra, refusal);
  }
}

/** Links that are read as a field is read, and made into requests. */
class LinkReader implements FollowReader {
  readonly #rule: CompiledRule;
  readonly #source: CompiledSource;
  readonly #read: (page: PageFacts, scope: Scope) => string | null;
  readonly #match: RE2JS | null;
  readonly #url: string | null;
  readonly #request: RequestParts | null;
  readonly #baggage: Baggage;

  constructor(rule: FollowRule, compiled: CompiledRule, source: CompiledSource, place: Place) {
    this.#rule = compiled;
    this.#source = source;
    this.#read = source.json ? memberReader(rule.value, place) : hrefReader(rule, source);
    this.#match = rule.match === undefined ? null : RE2JS.compile(rule.match);
    this.#url = rule.url ?? null;
    this.#request = rule.request ?? null;
    this.#baggage = new Baggage(rule, source, compiled.name, place);
  }

  follow(links: PageLinks, page: PageFacts): void {
    for (const scope of this.#source.finder.all(page, page.document.root)) {
      if (links.full) return;
      let value = this.#read(page, scope);
      if (value !== null && this.#match !== null) value = groupOf(this.#match, value);
      if (value === null) continue;
      const known = { ...page.params, value };
      const href = this.#url === null ? value : fillTemplate(this.#url, known, true);
      const sent = this.#request === null ? null : sentParts(filled(this.#request, known));
      this.#baggage.add(links, href, this.#rule, sent, page, scope);
    }
  }
}

/** What a rule reads of an element: the attribute that it names, else its href, in XML else its text. Of a text: the text. */
function hrefReader(rule: FollowRule, { ending }: CompiledSource): (page: PageFacts, scope: Scope) => string | null {
  const name = attributeOf(rule, ending);
  const text = textReader(null);
  const read =
    name === null && ending === null
      ? (page: PageFacts, element: Element) =>
          element.attribute('href') ?? (page.document.xml ? text(page, element) : null)
      : textReader(name);
  return (page, scope) => (scope instanceof JsonNode ? textValue(scope.value) : read(page, scope));
}

/** What a rule reads of a part of JSON: the part that `value` names in it, else itself. */
function memberReader(
  value: string | undefined,
  { at, trace }: Place,
): (page: PageFacts, scope: Scope) => string | null {
  const query = value === undefined ? null : new JsonQuery(value);
  return (_page, scope) => {
    const member = scope instanceof JsonNode ? scope.value : null;
    if (query === null || member === null) return textValue(member);
    const text = textValue(query.read(member));
    trace?.fail(`${at}/value`, 'a JMESPath', query.fault);
    return text;
  };
}

function textValue(value: unknown): string | null {
  if (typeof value === 'string') return value.slice(0, MAX_HREF);
  return typeof value === 'number' ? String(value) : null;
}

/** The parts of a request with their templates filled. */
function filled({ method, headers, form, json, body }: RequestParts, params: Params): RequestParts {
  const text = (template: string) => fillTemplate(template, params, false);
  const each = (record: Record<string, string>) =>
    Object.fromEntries(Object.entries(record).map(([name, value]) => [name, text(value)]));
  return {
    ...(method === undefined ? {} : { method }),
    // A header's value that came from a page: whatever could begin another header is gone.
    ...(headers === undefined
      ? {}
      : {
          headers: Object.fromEntries(
            Object.entries(each(headers)).map(([name, value]) => [
              name,
              value.replace(/[^\t\x20-\x7e\x80-\xff]+/g, ' '),
            ]),
          ),
        }),
    ...(form === undefined ? {} : { form: each(form) }),
    ...(json === undefined ? {} : { json: filledJson(json, text) }),
    ...(body === undefined ? {} : { body: text(body) }),
  };
}

function filledJson(value: unknown, text: (template: string) => string): unknown {
  if (typeof value === 'string') return text(value);
  if (Array.isArray(value)) return value.map((member) => filledJson(member, text));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, filledJson(member, text)]));
}

/** Forms that are submitted. */
class FormReader implements FollowReader {
  readonly #rule: CompiledRule;
  readonly #source: CompiledSource;
  readonly #values: Readonly<Record<string, string>>;
  readonly #baggage: Baggage;

  constructor(rule: FollowRule, compiled: CompiledRule, source: CompiledSource, place: Place) {
    this.#rule = compiled;
    this.#source = source;
    this.#values = rule.values ?? {};
    this.#baggage = new Baggage(rule, source, compiled.name, place);
  }

  follow(links: PageLinks, page: PageFacts): void {
    const values = Object.fromEntries(
      Object.entries(this.#values).map(([name, value]) => [name, fillTemplate(value, page.params, false)]),
    );
    for (const found of this.#source.finder.all(page, page.document.root).slice(0, MAX_FORMS)) {
      if (links.full) return;
      const form = found instanceof JsonNode ? null : formAround(found);
      const request = form === null ? null : formRequest(form, page.document, values, page.url);
      if (form !== null && request !== null)
        this.#baggage.add(links, request.href, this.#rule, request.extra, page, form);
    }
  }
}
