import { isTraversal, type Selector as Token } from 'css-what';
import { compile as compileNth, parse as parseNth } from 'nth-check';
import type { TreeReason } from '../model/explanation.ts';
import { CODE, type Element } from './dom.ts';
import { markupNames } from './markup.ts';
import type { Names } from './names.ts';
import { attributeTest } from './selector.ts';
import type { Query, Wants } from './wants.ts';

/*
 * All selectors of a page type as one automaton over the elements of a page, as they open and close.
 *
 * A selector is a chain of compounds: `ul.list > li a[href]` is `ul.list`, then `li` whose parent matched the compound before
 * it, then `a[href]` below an element that matched the one before. Each compound is a *step*. To know whether an element takes
 * a step one has to know three things: whether it is such an element (its name, its attributes, its place among its siblings),
 * and whether the step before was taken where the combinator says: by an element that is open (an ancestor, the parent) or by
 * an earlier sibling. All of that lies behind and above it, so it is decided when the element's start tag has been read. The
 * last step of a chain is a match.
 *
 * Chains that begin alike share their steps, so `.card .price` and `.card .name` look for `.card` once. Steps are listed by the
 * tag that they ask for: most tags of a page have none, and cost nothing. A step stands behind the one before it, so an element
 * tries its steps from the last to the first: none of them takes the element itself for its own ancestor.
 *
 * What an element's future decides (`:last-child`, `:has`, its text) is no automaton's business: such a page type uses the tree.
 */

/** What the element of the step before has to be: there is none, an open element, the parent, the sibling before, an earlier one. */
type Relation = 'none' | 'ancestor' | 'parent' | 'previous' | 'earlier';

/** An element whose start tag has been read, as tests see it. */
export interface Opening {
  /** Number of its name. */
  readonly name: number;
  /** Elements before it that have the same parent. */
  readonly index: number;
  readonly isRoot: boolean;
  /** Names and values, those that are read; null: none. */
  readonly attributes: readonly string[] | null;
  element(): Element;
  /** Elements of its name before it that have the same parent. */
  indexOfType(): number;
}
type Test = (opening: Opening) => boolean;

/** A compound of a selector, and where the one before it has to be. */
export interface Step {
  readonly relation: Relation;
  /** Number of the step before; −1: none. */
  readonly before: number;
  /** Besides the name. Null: nothing. */
  readonly test: Test | null;
  /** It has to be empty, which is known at its end. */
  readonly isEmpty: boolean;
  /** Steps follow whose elements are inside, or beside and later. */
  continues: boolean;
  /** Steps follow whose elements are beside and later. */
  hasSiblings: boolean;
  /** Numbers of the queries whose match it is. */
  readonly accepts: number[];
}

/** The queries of a page type, compiled. */
export interface Automaton {
  readonly names: Names;
  readonly steps: readonly Step[];
  /** By number; null for `DIRECTIVES` and `JSON_LD`, which are the page's own. */
  readonly queries: readonly (Query | null)[];
  /** For each query the number of the one that it is asked below; −1: none. */
  readonly within: Int32Array;
  /** For each query 1 where others are asked below it. */
  readonly isScope: Uint8Array;
  /** For each query the steps that lead to it; one that is in several alternatives several times. */
  readonly paths: readonly (readonly number[])[];
  /** For each step how often it is in a path. */
  readonly wanted: Int32Array;
  /** Steps by the number of a tag's name, the last first; for other names `anyTag`. */
  readonly byName: readonly (readonly number[])[];
  readonly anyTag: readonly number[];
  /** By the number of an attribute's name: 1 where it is read. */
  readonly attributes: Uint8Array;
  /** Every query is satisfied by its first match: the rest of the page need not be read. */
  readonly endsEarly: boolean;
  readonly countsTypes: boolean;
}

/** Numbers of the queries besides a spider's: what a page says of itself, and its JSON-LD. */
export const DIRECTIVES = 0;
export const JSON_LD = 1;
const DIRECTIVE_TAGS = ['base', 'meta', 'template', 'noscript'];
const DIRECTIVE_ATTRIBUTES = ['href', 'http-equiv', 'content', 'name', 'property', 'type'];

/** Steps are listed by tag, so with many of either that is a table; nobody writes so many selectors by hand. */
const MAX_STEPS = 2000;

/** Why a selector has to be asked of a tree. */
class Unstreamable extends Error {}

/** The automaton of some page entries, or all that stands in its way. */
export function compileAutomaton(wants: readonly Wants[]): Automaton | TreeReason[] {
  const compiler = new Compiler();
  const obstacles = wants.flatMap((entry) => [...entry.obstacles, ...compiler.add(entry)]);
  if (obstacles.length > 0) return obstacles;
  if (compiler.steps <= MAX_STEPS) return compiler.automaton();
  return [{ pointer: '/pages', text: '', why: `its selectors have more than ${MAX_STEPS} different parts` }];
}

class Compiler {
  readonly #names = markupNames();
  readonly #steps: Step[] = [];
  /** Names of tags by step; null: any. */
  readonly #tags: (number | null)[] = [];
  readonly #byKey = new Map<string, number>();
  readonly #queries: (Query | null)[] = [null, null];
  readonly #numbers = new Map<Query | null, number>([[null, -1]]);
  readonly #within: number[] = [-1, -1];
  readonly #paths: number[][] = [[], []];
  readonly #attributes = new Set(DIRECTIVE_ATTRIBUTES);
  #endsEarly = true;
  #countsTypes = false;

  constructor() {
    for (const name of DIRECTIVE_TAGS) this.#own(DIRECTIVES, [tagToken(name)]);
  }

  get steps(): number {
    return this.#steps.length;
  }

  /** @returns what of it needs the tree */
  add({ queries, attributes, jsonLd, metas }: Wants): TreeReason[] {
    for (const name of attributes) this.#attributes.add(name);
    if (jsonLd) this.#own(JSON_LD, [tagToken('script'), LD_JSON]);
    if (jsonLd || metas) this.#endsEarly = false;
    return queries.flatMap((query) => this.#query(query));
  }

  automaton(): Automaton {
    const ofTag = (tag: number | null) =>
      this.#steps
        .map((_, step) => step)
        .filter((step) => this.#tags[step] === tag || this.#tags[step] === null)
        .reverse();
    const anyTag = ofTag(null);
    const tags = new Set(this.#tags);
    const scopes = new Set(this.#within);
    const read = new Set([...this.#attributes].map((name) => this.#names.of(name)));
    for (const name of CODE) this.#names.of(name);
    this.#names.keep();
    const { length } = this.#names.list;
    const wanted = new Int32Array(this.#steps.length);
    for (const step of this.#paths.flat()) wanted[step]!++;
    return {
      names: this.#names,
      steps: this.#steps,
      queries: this.#queries,
      within: Int32Array.from(this.#within),
      isScope: Uint8Array.from(this.#queries, (_, query) => (scopes.has(query) ? 1 : 0)),
      paths: this.#paths,
      wanted,
      byName: Array.from({ length }, (_, name) => (tags.has(name) ? ofTag(name) : anyTag)),
      anyTag,
      attributes: Uint8Array.from({ length }, (_, name) => (read.has(name) ? 1 : 0)),
      endsEarly: this.#endsEarly,
      countsTypes: this.#countsTypes,
    };
  }

  #own(query: number, compound: readonly Token[]): void {
    this.#paths[query]!.push(this.#step('none', -1, compound, -1, query));
  }

  #query(query: Query): TreeReason[] {
    // It comes to a tree: what 1 MB of selectors is besides took a second, and a page has two.
    if (this.#steps.length > MAX_STEPS) return [];
    const number = this.#queries.push(query) - 1;
    this.#numbers.set(query, number);
    this.#within.push(this.#numbers.get(query.within)!);
    this.#paths.push([]);
    if (query.many || query.within !== null) this.#endsEarly = false;
    try {
      for (const tokens of query.selector.alternatives()) this.#chain(tokens, number);
      return [];
    } catch (error) {
      if (!(error instanceof Unstreamable)) throw error;
      return [{ pointer: query.at, text: query.selector.text, why: error.message }];
    }
  }

  /** One alternative of a selector. */
  #chain(tokens: readonly Token[], query: number): void {
    const scope = this.#within[query]!;
    let relation: Relation = 'none';
    let before = -1;
    let from = 0;
    for (let i = 0; i <= tokens.length; i++) {
      const token = tokens[i];
      if (token !== undefined && !isTraversal(token)) continue;
      if (i === from) throw new Unstreamable('it begins with a combinator');
      before = this.#step(relation, before, tokens.slice(from, i), scope, token === undefined ? query : -1);
      this.#paths[query]!.push(before);
      if (token === undefined) return;
      relation = RELATIONS[token.type] ?? refuse(`the combinator "${token.type}" looks ahead`);
      from = i + 1;
    }
  }

  /** The number of a step; chains below one scope share it. @param query −1: it is not the last of its chain */
  #step(relation: Relation, before: number, compound: readonly Token[], scope: number, query: number): number {
    const key = JSON.stringify([scope, relation, before, compound]);
    let number = this.#byKey.get(key);
    if (number === undefined) {
      const { tag, tests, isEmpty } = this.#compound(compound);
      const test = tests.length === 0 ? null : tests.length === 1 ? tests[0]! : allOf(tests);
      number =
        this.#steps.push({ relation, before, test, isEmpty, continues: false, hasSiblings: false, accepts: [] }) - 1;
      this.#tags.push(tag);
      this.#byKey.set(key, number);
      const previous = this.#steps[before];
      if (previous !== undefined) {
        previous.continues = true;
        if (relation === 'previous' || relation === 'earlier') previous.hasSiblings = true;
      }
    }
    const { accepts } = this.#steps[number]!;
    // The alternatives of one selector may end alike.
    if (query >= 0 && accepts.at(-1) !== query) accepts.push(query);
    return number;
  }

  #compound(tokens: readonly Token[]): { tag: number | null; tests: Test[]; isEmpty: boolean } {
    let tag: number | null = null;
    let isEmpty = false;
    const tests: Test[] = [];
    for (const token of tokens) {
      if (token.type === 'tag' && tag === null) tag = this.#names.of(token.name.toLowerCase());
      else if (token.type === 'pseudo' && token.name === 'empty') isEmpty = true;
      else if (token.type !== 'universal') tests.push(this.#test(token));
    }
    return { tag, tests, isEmpty };
  }

  #test(token: Token): Test {
    switch (token.type) {
      case 'universal':
        return () => true;
      case 'tag': {
        const name = this.#names.of(token.name.toLowerCase());
        return (opening) => opening.name === name;
      }
      case 'attribute': {
        this.#attributes.add(token.name.toLowerCase());
        const test = attributeTest(token);
        if (token.action === 'not') return (opening) => test(opening.element());
        return (opening) => opening.attributes !== null && test(opening.element());
      }
      case 'pseudo':
        return this.#pseudo(token.name, token.data);
      default:
        return refuse(`"${token.type}" looks ahead`);
    }
  }

  #pseudo(name: string, data: string | Token[][] | null): Test {
    switch (name) {
      case 'is':
      case 'matches':
      case 'where':
        return anyOf(this.#alternatives(name, data));
      case 'not': {
        const test = anyOf(this.#alternatives(name, data));
        return (opening) => !test(opening);
      }
      case 'root':
        return ({ isRoot }) => isRoot;
      case 'first-child':
        return ({ index }) => index === 0;
      case 'first-of-type':
        this.#countsTypes = true;
        return (opening) => opening.indexOfType() === 0;
      case 'nth-child':
        return nth(data, ({ index }) => index);
      case 'nth-of-type':
        this.#countsTypes = true;
        return nth(data, (opening) => opening.indexOfType());
      default:
        return refuse(
          LATE.test(name)
            ? `:${name} is not known before the element's end, or the page's`
            : `:${name} is read in a tree`,
        );
    }
  }

  /** What stands in the parentheses of :is() and :not(): compounds. */
  #alternatives(name: string, data: string | Token[][] | null): Test[] {
    if (!Array.isArray(data)) return refuse(`:${name}() without selectors`);
    return data.map((tokens) => {
      if (tokens.some(isTraversal)) refuse(`there is a combinator inside of :${name}()`);
      return allOf(tokens.map((token) => this.#test(token)));
    });
  }
}

/** What only stands inside of an element or behind it can tell. */
const LATE = /^(last-|only-|nth-last-|has$|i?contains$|parent$)/;

const RELATIONS: Partial<Record<Token['type'], Relation>> = {
  descendant: 'ancestor',
  child: 'parent',
  adjacent: 'previous',
  sibling: 'earlier',
};

const tagToken = (name: string) => ({ type: 'tag', name, namespace: null }) as Token;
/** What may be JSON-LD; whether it is, its reader says. */
const LD_JSON: Token = {
  type: 'attribute',
  name: 'type',
  action: 'any',
  value: 'ld+json',
  ignoreCase: true,
  namespace: null,
} as Token;

function refuse(why: string): never {
  throw new Unstreamable(why);
}

function allOf(tests: readonly Test[]): Test {
  return (opening) => tests.every((test) => test(opening));
}

function anyOf(tests: readonly Test[]): Test {
  return (opening) => tests.some((test) => test(opening));
}

/** css-select takes `n` for what every element is that has a parent. */
function nth(formula: string | Token[][] | null, place: (opening: Opening) => number): Test {
  if (typeof formula !== 'string') return refuse('an :nth without a formula');
  const [step, offset] = parseNth(formula);
  if (step === 1 && offset <= 0) return ({ isRoot }) => !isRoot;
  const check = compileNth([step, offset]);
  return (opening) => check(place(opening));
}
