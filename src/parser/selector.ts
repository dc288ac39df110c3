import { compile, type Options } from 'css-select';
import { type AttributeSelector, isTraversal, parse, type Selector as Token } from 'css-what';
import { type Document, Element, type Matches, type Node, textOf } from './dom.ts';
import { oddName, selectorProblem } from './selector_words.ts';

/** What a selector may be: longer or deeper ones overflow the compiler's stack. */
const SELECTOR_LIMITS = { length: 1000, nesting: 8 } as const;
const MAX_TEXT = 1_000_000;

/** Why a selector is refused, in words for its author. */
class SelectorError extends Error {}

/** Scrapy's endings, which people paste: `::text` and `::attr(href)`. */
export type Ending = { text: true } | { attribute: string };

const isElement = (node: Node): node is Element => typeof node !== 'string' && node.name !== '';

function exists(test: (element: Element) => boolean, nodes: Node[]): boolean {
  return nodes.some((node) => isElement(node) && (test(node) || exists(test, node.children)));
}

/** The tree as css-select sees it. Nothing here recurses deeper than `TREE_LIMITS.depth`. */
const ADAPTER: NonNullable<Options<Node, Element>['adapter']> = {
  isTag: isElement,
  existsOne: exists,
  getAttributeValue: (element, name) => element.attribute(name),
  getChildren: (node) => (typeof node === 'string' ? [] : node.children),
  getName: (element) => element.name,
  getParent: (element) => element.parent,
  getSiblings: (node) => (typeof node === 'string' ? [node] : (node.parent?.children ?? [node])),
  getText: (node) => (typeof node === 'string' ? node : textOf(node, MAX_TEXT)),
  hasAttrib: (element, name) => element.has(name),
  removeSubsets: (nodes) => nodes,
  findAll: () => [],
  findOne: () => null,
};

/**
 * A compiled CSS selector. It looks at the elements of the tag that its last compound names, or at all of them, and never
 * walks the tree. Inside a scope it means what cheerio's `find` means: matches lie below the scope, and the whole selector
 * is matched at or below it.
 */
export class Selector {
  readonly ending: Ending | null;
  readonly text: string;
  readonly #scoped: boolean;
  readonly #html: Matching;
  /** For XML documents; compiled at the first. */
  #xml: Matching | null = null;
  /** The scope, as css-select's `:scope` reads it at each test. */
  readonly #scope: Node[];

  /**
   * @param scoped true where `all` and `first` are given an element, false where they are given the document's root
   * @throws SelectorError
   */
  constructor(text: string, scoped: boolean) {
    this.text = text;
    this.#scoped = scoped;
    this.#scope = [new Element('scope', new Element('parent', null, 0, null), 0, null)];
    const alternatives = parseSelector(text);
    this.ending = takeEnding(alternatives);
    this.#html = compileMatching(alternatives, scoped ? this.#scope : undefined, false);
  }

  /** Every match below `scope`, in document order. */
  all(document: Document, scope: Element): readonly Element[] {
    if (document.matches !== null) return foundBelow(document.matches.get(this), document, scope);
    const { list, from, to, test } = this.#candidates(document, scope);
    return test === null ? list.slice(from, to) : list.slice(from, to).filter(test);
  }

  /** The first match below `scope`. */
  first(document: Document, scope: Element): Element | null {
    if (document.matches !== null) return firstBelow(document.matches.get(this), scope);
    const { list, from, to, test } = this.#candidates(document, scope);
    for (let i = from; i < to; i++) if (test === null || test(list[i]!)) return list[i]!;
    return null;
  }

  /** Its alternatives as css-what reads them, without the ending. */
  alternatives(): Token[][] {
    const alternatives = parseSelector(this.text);
    takeEnding(alternatives);
    return alternatives;
  }

  #candidates(document: Document, scope: Element) {
    const { tag, test } = document.xml ? this.#forXml() : this.#html;
    const list = tag === null ? document.elements : document.byTag(tag);
    if (scope === document.root) return { list, from: 0, to: list.length, test };
    this.#scope[0] = scope;
    return { list, from: firstAfter(list, scope.at), to: firstAfter(list, scope.last), test };
  }

  /** css-select changes the tokens that it compiles, so they are parsed anew. */
  #forXml(): Matching {
    this.#xml ??= compileMatching(this.alternatives(), this.#scoped ? this.#scope : undefined, true);
    return this.#xml;
  }
}

/** Of what was found while the page was read, that which lies below a scope, matched at or below it. */
function foundBelow(found: Matches | undefined, document: Document, scope: Element): readonly Element[] {
  if (found === undefined) return [];
  const { elements, firsts } = found;
  if (scope === document.root) return elements;
  const below: Element[] = [];
  const to = firstAfter(elements, scope.last);
  for (let i = firstAfter(elements, scope.at); i < to; i++) if (firsts[i]! >= scope.at) below.push(elements[i]!);
  return below;
}

/** The first of those; among scopes inside of one another, to list them all took quadratic time. */
function firstBelow(found: Matches | undefined, scope: Element): Element | null {
  if (found === undefined) return null;
  const { elements, firsts } = found;
  for (let i = firstAfter(elements, scope.at); i < elements.length && elements[i]!.at <= scope.last; i++)
    if (firsts[i]! >= scope.at) return elements[i]!;
  return null;
}

/** The test of one attribute, as css-select does it in HTML. */
export function attributeTest(token: AttributeSelector): (element: Element) => boolean {
  const name = token.name.toLowerCase();
  if (token.action === 'exists') return (element) => element.has(name);
  return compile([[token]], { adapter: ADAPTER, cacheResults: false });
}

/** What one element has to be. */
interface Matching {
  /** Its tag; null: any. */
  tag: string | null;
  /** Null: every element with the tag. */
  test: ((element: Element) => boolean) | null;
}

function compileMatching(alternatives: Token[][], scope: Node[] | undefined, xml: boolean): Matching {
  return {
    tag: alternatives.length === 1 ? lastTag(alternatives[0]!, xml) : null,
    test: isBareTag(alternatives) ? null : compileTest(alternatives, scope, xml),
  };
}

/** The index of the first element whose place in the document is beyond `at`. */
function firstAfter(list: readonly Element[], at: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle]!.at <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

function parseSelector(text: string): Token[][] {
  if (text.length > SELECTOR_LIMITS.length)
    throw new SelectorError(`it has ${text.length} characters; at most ${SELECTOR_LIMITS.length} are allowed`);
  if (nestingOf(text) > SELECTOR_LIMITS.nesting)
    throw new SelectorError(`its parentheses are nested deeper than ${SELECTOR_LIMITS.nesting}`);
  let alternatives: Token[][];
  try {
    alternatives = parse(text);
  } catch (error) {
    throw new SelectorError(selectorProblem(text, error));
  }
  const odd = oddName(text, alternatives.flat());
  if (odd !== null) throw new SelectorError(odd);
  if (alternatives.some((tokens) => tokens[0]?.type === 'adjacent' || tokens[0]?.type === 'sibling'))
    throw new SelectorError('it may not begin with + or ~, since matches lie below the element it is asked of');
  if (alternatives.some((tokens) => tokens.length === 0 || isTraversal(tokens.at(-1)!)))
    throw new SelectorError('it ends in a combinator; name what is to be matched there');
  return alternatives;
}

function nestingOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const character of text) {
    if (character === '(') deepest = Math.max(deepest, ++depth);
    else if (character === ')') depth--;
  }
  return deepest;
}

/** Removes `::text` or `::attr(x)` from each alternative; all must agree. */
function takeEnding(alternatives: Token[][]): Ending | null {
  const endings = alternatives.map((tokens) => {
    const last = tokens.at(-1);
    if (last?.type !== 'pseudo-element') return null;
    tokens.pop();
    if (tokens.length === 0 || isTraversal(tokens.at(-1)!))
      tokens.push({ type: 'universal', namespace: null } as Token);
    if (last.name === 'text') return 'text';
    if (last.name === 'attr' && typeof last.data === 'string') return `@${last.data.trim().toLowerCase()}`;
    throw new SelectorError(`::${last.name} is not known; ::text and ::attr(name) are`);
  });
  const [ending = null] = endings;
  if (endings.some((other) => other !== ending))
    throw new SelectorError('its alternatives end in different ::text or ::attr()');
  if (ending === null) return null;
  return ending === 'text' ? { text: true } : { attribute: ending.slice(1) };
}

function lastTag(tokens: readonly Token[], xml: boolean): string | null {
  const compound = tokens.slice(tokens.findLastIndex(isTraversal) + 1);
  const tag = compound.find((token) => token.type === 'tag');
  if (tag === undefined) return null;
  return xml ? tag.name : tag.name.toLowerCase();
}

function isBareTag(alternatives: Token[][]): boolean {
  const only = alternatives.length === 1 && alternatives[0]!.length === 1 ? alternatives[0]![0]! : null;
  return only !== null && (only.type === 'universal' || only.type === 'tag') && only.namespace === null;
}

/**
 * css-select's test of one element. Its result cache is off, because the scope changes under it; ancestors are walked
 * anew, and a page made to exploit that is ended by the parse timeout.
 */
function compileTest(
  alternatives: Token[][],
  scope: Node[] | undefined,
  xmlMode: boolean,
): (element: Element) => boolean {
  const relative = alternatives.some((tokens) => tokens.some((token) => isTraversal(token) || mentionsScope(token)));
  try {
    return compile(alternatives, { adapter: ADAPTER, cacheResults: false, xmlMode }, relative ? scope : undefined);
  } catch (error) {
    throw new SelectorError(selectorProblem('', error));
  }
}

function mentionsScope(token: Token): boolean {
  if (token.type !== 'pseudo') return false;
  return token.name === 'scope' || (Array.isArray(token.data) && token.data.some((list) => list.some(mentionsScope)));
}
