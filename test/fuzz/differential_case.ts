import { isDeepStrictEqual } from 'node:util';
import type { ParsedPage } from '../../dist/model/outcome.js';
import type { Spider } from '../../dist/model/spider.js';
import { checkSpider } from '../../dist/parser/check.js';
import type { PageInput } from '../../dist/parser/content.js';
import type { Plan } from '../../dist/parser/plan.js';
import {
  cutAt,
  essence,
  fromBytes,
  inBytes,
  inPieces,
  type PageOptions,
  pageFor,
  planFor,
} from '../support/both_ways.ts';
import { referenceTree } from '../support/reference_tree.ts';
import { type Dice, Shrinkable, shorter, simplerJson } from './dice.ts';
import { markup } from './markup_words.ts';
import { PARAMS, spider } from './spider_words.ts';

/** Pages that each spider is tried on: compiling one takes longer than reading so small a page. */
export const PAGES_EACH = 5;
/** A page is cut at each of its places where it is shorter. */
const SHORT_PAGE = 200;

/** A spider and pages. */
export interface Case {
  definition: Spider;
  texts: string[];
  options: PageOptions;
  /** Places where one piece of a text ends and the next begins. */
  cuts: number[];
  /** The first page is also cut at each place of its own, and comes as bytes in several encodings. */
  thorough: boolean;
}

/** How many pages there were. */
export interface Counts {
  /** Of spiders that do not compile. */
  refused: number;
  /** Nothing was found on them. */
  empty: number;
  /** There was a value in an item, or a link. */
  found: number;
}

/** For one run: what it tries in order to simplify a failure is bounded. */
export const cases = () => new Shrinkable<Case>(makeCase, simplerCases);

function makeCase(dice: Dice): Case {
  const isHtml = !dice.chance(1);
  const settings: NonNullable<PageOptions['settings']> = {
    ...(dice.chance(20) ? { maxDepth: dice.below(3) } : {}),
    ...(dice.chance(10) ? { nofollow: false } : {}),
    ...(dice.chance(80) ? { maxMetaRefreshSeconds: dice.pick([null, null, 0, 5]) } : {}),
    ...(dice.chance(5) ? { dedup: { scope: 'spider' as const } } : {}),
    ...(dice.chance(0.4) ? { parser: 'html5' as const } : {}),
  };
  const definition = spider(dice, dice.chance(12));
  const canBeDeep = !isDearForTrees(definition);
  return {
    definition,
    texts: dice.some(PAGES_EACH, PAGES_EACH, () => markup(dice, canBeDeep)),
    options: { settings, params: PARAMS, depth: dice.below(2), ...(isHtml ? {} : { kind: 'xml' }) },
    cuts: dice.some(1, 3, () => dice.below(dice.pick([50, 400]))).sort((a, b) => a - b),
    thorough: dice.chance(1.5),
  };
}

/**
 * Whether its selectors have so many combinators that css-select tries them in too many ways where a page is deep: with four
 * of them below one another and 512 levels it ran for longer than ten minutes, where the matcher takes 17 ms.
 */
function isDearForTrees(definition: Spider): boolean {
  const parts = JSON.stringify(definition).split(/[",]/);
  return parts.some((part) => (part.match(/[^\s>+~](?=\s+[^\s>+~]|\s*~|\/\/)/g)?.length ?? 0) > 1);
}

function* simplerCases(one: Case): Generator<Case> {
  const { texts, options } = one;
  if (texts.length > 1) for (const text of texts) yield { ...one, texts: [text] };
  if (one.thorough) yield { ...one, thorough: false };
  if (one.cuts.length > 0) yield { ...one, cuts: [] };
  // Without pages it would be a spider of another kind.
  for (const definition of simplerJson(one.definition) as Iterable<Spider>)
    if (definition.pages !== undefined) yield { ...one, definition };
  for (const text of shorter(texts[0]!)) yield { ...one, texts: [text] };
  for (const settings of simplerJson(options.settings))
    yield { ...one, options: { ...options, settings: settings as object } };
}

/** Reads the pages both ways. @returns the first difference; null: there is none */
export function differenceOf(one: Case, counts: Counts): string | null {
  const { definition, texts, options } = one;
  let tree: Plan;
  try {
    // With parse5 where the spider asks for it.
    tree = planFor(definition, 'tree', options, options.settings?.parser === 'html5' ? undefined : referenceTree);
  } catch {
    counts.refused += texts.length;
    return null;
  }
  const plan = planFor(definition, 'auto', options);
  for (const [i, text] of texts.entries()) {
    const page = pageFor(text, options);
    const reference = outcome(tree, page);
    counts[isFound(reference) ? 'found' : 'empty']++;
    for (const [how, input] of variants(one, page, i)) {
      // Of bytes, the reference reads what they are decoded to.
      const want = input.text === text ? reference : outcome(tree, input);
      const difference = differ(outcome(plan, input), want, input.parts !== undefined);
      if (difference !== null) return checkSpider(definition).length > 0 ? null : `${how}\n${difference}`;
    }
  }
  return null;
}

/** A page in all the ways that it may come in. */
function* variants(one: Case, page: PageInput, i: number): Generator<[how: string, input: PageInput]> {
  const { text } = page;
  yield ['as a whole', page];
  if (page.kind !== 'html') return;
  if (i % 2 === 0) yield [`cut at ${one.cuts}`, inPieces(page, cutAt(text, one.cuts))];
  else yield ['each character by itself', inPieces(page, text.split(''))];
  if (!one.thorough || i > 0) return;
  for (let at = 0; at <= text.length; at += Math.ceil(text.length / SHORT_PAGE) || 1)
    yield [`cut at ${at}`, inPieces(page, cutAt(text, [at]))];
  yield* encodings(page);
}

function* encodings(page: PageInput): Generator<[how: string, input: PageInput]> {
  const { text } = page;
  const forms: [string, Uint8Array, string][] = [
    ['UTF-8', Buffer.from(text), 'text/html; charset=utf-8'],
    ['UTF-8 with a mark', Buffer.from(`\ufeff${text}`), 'text/html'],
    ['UTF-16 with a mark', Buffer.from(`\ufeff${text}`, 'utf16le'), 'text/html'],
    ['windows-1252', Buffer.from(text, 'latin1'), 'text/html; charset=windows-1252'],
    ['unnamed', Buffer.from(text, 'latin1'), 'text/html'],
  ];
  for (const [name, bytes, type] of forms) {
    const input = fromBytes(page, bytes, type);
    if (input?.kind !== 'html') continue;
    for (const size of [4, 5, 7, 64]) yield [`as bytes: ${name}, by ${size}`, inBytes(input, size)];
  }
}

/** What a plan makes of a page, or its complaint. */
function outcome(plan: Plan, page: PageInput): ParsedPage | string {
  try {
    return plan.run(page);
  } catch (error) {
    return String(error);
  }
}

/** @param early it may have ended where nothing more was wanted: what would have been cut further on is not flagged then */
function differ(got: ParsedPage | string, want: ParsedPage | string, early: boolean): string | null {
  const isRead = (flag: string) => !early || (typeof got === 'object' && got.flags.includes(flag));
  const expected = typeof want === 'object' ? { ...want, flags: want.flags.filter(isRead) } : want;
  const [mine, theirs] = [got, expected].map((page) => JSON.stringify(typeof page === 'string' ? page : essence(page)));
  if (mine === theirs || isDeepStrictEqual(JSON.parse(mine!), JSON.parse(theirs!))) return null;
  return `  without a tree: ${mine}\n  with a tree:    ${theirs}`;
}

function isFound(page: ParsedPage | string): boolean {
  if (typeof page === 'string') return false;
  return page.links.length > 0 || page.items.some(({ data }) => /:(?!null|""|\[\]|\{)/.test(data));
}

/** A case with one page as a test that can be put into a file. */
export function asTest({ definition, texts, options, cuts }: Case): string {
  const args = [definition, texts[0], options, cuts].map((part) => JSON.stringify(part));
  return `it('…', () => {\n  sameBothWays(${args.join(', ')});\n});`;
}
