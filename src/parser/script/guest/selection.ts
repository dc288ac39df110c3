import { freeze, host, type Language, Mistake, parse, stringify, type What } from './host.ts';

const ROOT = '';

/**
 * A list of nodes of one document, in document order. What was selected is not asked of the host before it is needed: so
 * `response.css('h1').text()` is one call to the host.
 */
export class Selection {
  readonly #page: number;
  /** JSON list of the nodes that the selector is asked of. */
  readonly #scopes: string;
  readonly #language: Language;
  readonly #selector: string;
  #handles: number[] | null;

  constructor(page: number, scopes: string, language: Language, selector: string, handles: number[] | null) {
    this.#page = page;
    this.#scopes = scopes;
    this.#language = language;
    this.#selector = selector;
    this.#handles = handles;
  }

  static of(page: number, handles: number[]): Selection {
    return new Selection(page, stringify(handles), 'css', ROOT, handles);
  }

  css(selector: string): Selection {
    return new Selection(this.#page, this.#nodes(), 'css', selectorOf(selector, 'css'), null);
  }

  xpath(expression: string): Selection {
    return new Selection(this.#page, this.#nodes(), 'xpath', selectorOf(expression, 'xpath'), null);
  }

  /** Text of the first node, each run of white space one blank; null where there is no node. */
  text(): string | null {
    return this.#read('text', '', 1) as string | null;
  }

  /** Text of each node. */
  texts(): string[] {
    return this.#read('text', '', 0) as string[];
  }

  /** An attribute of the first node; null where there is none. */
  attr(name: string): string | null {
    return this.#read('attr', nameOf(name), 1) as string | null;
  }

  /** An attribute of each node that has it. */
  attrs(name: string): string[] {
    return this.#read('attr', nameOf(name), 0) as string[];
  }

  /** The first number in the first node's text; null where there is none. @param locale as `de` */
  number(locale = ''): number | null {
    return this.#read('number', nameOf(locale), 1) as number | null;
  }

  numbers(locale = ''): number[] {
    return this.#read('number', nameOf(locale), 0) as number[];
  }

  /** Markup inside the first node. */
  html(): string | null {
    return this.#read('html', '', 1) as string | null;
  }

  /** Markup of the first node with itself. */
  outerHtml(): string | null {
    return this.#read('outer', '', 1) as string | null;
  }

  markdown(): string | null {
    return this.#read('markdown', '', 1) as string | null;
  }

  get length(): number {
    return this.#list().length;
  }

  /** The node at a place, -1 is the last one; a selection without nodes where there is none. */
  at(place: number): Selection {
    const list = this.#list();
    const handle = list[place < 0 ? list.length + place : place];
    return Selection.of(this.#page, handle === undefined ? [] : [handle]);
  }

  /** Written by those who take it for a list: an error that says so, instead of undefined. */
  get 0(): never {
    throw new Mistake('a selection has no [0]: take .first() or .at(0), or a list by .toArray()');
  }

  first(): Selection {
    return this.at(0);
  }

  last(): Selection {
    return this.at(-1);
  }

  slice(from?: number, to?: number): Selection {
    return Selection.of(this.#page, this.#list().slice(from, to));
  }

  toArray(): Selection[] {
    return this.#list().map((handle) => Selection.of(this.#page, [handle]));
  }

  map<T>(make: (node: Selection, place: number) => T): T[] {
    return this.toArray().map((node, place) => make(node, place));
  }

  filter(test: (node: Selection, place: number) => unknown): Selection[] {
    return this.toArray().filter((node, place) => test(node, place));
  }

  forEach(use: (node: Selection, place: number) => void): void {
    this.toArray().forEach((node, place) => {
      use(node, place);
    });
  }

  *[Symbol.iterator](): Generator<Selection> {
    for (const handle of this.#list()) yield Selection.of(this.#page, [handle]);
  }

  #list(): number[] {
    this.#handles ??= parse(host.select(this.#page, this.#scopes, this.#language, this.#selector)) as number[];
    return this.#handles;
  }

  #nodes(): string {
    return this.#selector === ROOT ? this.#scopes : stringify(this.#list());
  }

  #read(what: What, name: string, first: number): unknown {
    const known = this.#handles !== null && this.#selector !== ROOT;
    const scopes = known ? stringify(this.#handles) : this.#scopes;
    const selector = known ? ROOT : this.#selector;
    return parse(host.values(this.#page, scopes, this.#language, selector, what, name, first));
  }
}

function selectorOf(selector: unknown, method: string): string {
  if (typeof selector === 'string' && selector !== '') return selector;
  throw new Mistake(
    `${method}() was given ${selector === '' ? 'an empty string' : typeof selector}; expected a selector`,
  );
}

function nameOf(name: unknown): string {
  if (typeof name === 'string') return name;
  throw new Mistake(`found ${typeof name} where a name is expected`);
}

freeze(Selection.prototype);
freeze(Selection);
