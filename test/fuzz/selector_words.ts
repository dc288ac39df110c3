import type { Dice } from './dice.ts';

// A small alphabet, so that selectors hit: pages are made of the same words (markup_words.ts).

/** Those that most elements and selectors have. */
export const TAGS = [
  'div',
  'div',
  'p',
  'p',
  'ul',
  'li',
  'li',
  'a',
  'a',
  'a',
  'b',
  'span',
  'table',
  'tr',
  'td',
  'h1',
  'section',
];
const ODD_TAGS = (
  'option dl dt dd svg g title meta br img script style textarea template noscript tbody th h2 body html head base link ' +
  'DIV A Li foreignObject foreignobject x-y input form select nosuch'
).split(' ');
const CLASSES = ['a', 'a', 'a', 'b', 'b', 'c', 'A', 'd', '\\61', 'é', 'a\\:b', '\\62 '];
const IDS = ['x', 'y', 'X', '\\78 ', 'z'];
const ATTRIBUTES = [
  'class',
  'id',
  'href',
  'data-a',
  'rel',
  'lang',
  'type',
  'checked',
  'name',
  'HREF',
  'Data-A',
  'data-é',
];
const VALUES = [
  'a',
  'b',
  'A',
  'a b',
  'x',
  'y',
  '/x',
  '/X',
  'é',
  'İ',
  'x-y',
  '1',
  '&',
  'a&b',
  'text',
  'TEXT',
  'NoFollow',
];
const OPERATORS = ['=', '=', '=', '~=', '|=', '^=', '$=', '*=', '!='];
const NTH = [
  'n',
  '1',
  '2',
  '2n',
  '2n+1',
  'odd',
  'even',
  '3n - 1',
  '-n+3',
  '0n+2',
  'n+2',
  '-2n+5',
  '5',
  '0',
  '-1',
  ' 2N + 1 ',
];
const PLACES = [':first-child', ':first-of-type', ':root', ':empty', ':first-child'];
/** Those need more than what came before an element, or are rarely asked for. */
const LATE = [
  ':only-child',
  ':only-of-type',
  ':scope',
  ':link',
  ':last-child',
  ':last-of-type',
  ':nth-last-child(2)',
  ':nth-last-of-type(2n)',
  ':has(b)',
  ':has(> .a)',
  ':has(+ p)',
  ':contains(a)',
  ':icontains("B")',
  ':parent',
  ':header',
  ':checked',
  ':enabled',
  ':selected',
  ':disabled',
  ':input',
  ':any-link',
  ':hover',
];

/** Where a selector stands, and how odd it may be. */
export interface SelectorContext {
  /** Asked below an element. */
  scoped: boolean;
  /** It may be one that only a tree can answer. */
  late: boolean;
}

/** One that finds something on most pages. */
export function plainSelector(dice: Dice): string {
  return dice.pick([
    'a',
    'li',
    'p',
    'div',
    '.a',
    '*',
    'div *',
    'a, p',
    '[class]',
    ':not(a)',
    'b, li > *',
    ':first-child',
  ]);
}

/** A selector without ending. It compiles, but for one in some hundred. */
export function selector(dice: Dice, context: SelectorContext): string {
  const parts = dice.chance(12) ? dice.some(2, 3, () => complex(dice, context)) : [complex(dice, context)];
  return parts.join(dice.pick([', ', ',', ' , ']));
}

function complex(dice: Dice, context: SelectorContext): string {
  if (dice.chance(30)) return dice.pick(TAGS);
  let text = lead(dice, context) + compound(dice, context, 1);
  for (let more = dice.pick([0, 0, 0, 0, 0, 1, 1, 1, 2, 3]); more > 0; more--)
    text += combinator(dice, context) + compound(dice, context, 1);
  return text;
}

function lead(dice: Dice, { scoped, late }: SelectorContext): string {
  if (!late) return '';
  if (!dice.chance(scoped ? 10 : 2)) return '';
  return dice.pick([':scope > ', ':scope ', '> ', ':scope > * > ', '>']);
}

function combinator(dice: Dice, { late }: SelectorContext): string {
  if (late && dice.chance(3)) return dice.pick([' < ', ' || ']);
  return dice.pick([' ', ' ', ' ', ' > ', '>', ' + ', '+', ' ~ ', '~', '  ', '\n']);
}

function compound(dice: Dice, context: SelectorContext, level: number): string {
  const tag = dice.one([10, () => dice.pick(TAGS)], [2, () => dice.pick(ODD_TAGS)], [2, () => '*'], [6, () => '']);
  const more = dice.pick(tag === '' ? [1, 1, 1, 2] : [0, 0, 0, 0, 1, 1, 2]);
  let text = tag;
  for (let i = 0; i < more; i++) text += simple(dice, context, level);
  return text;
}

function simple(dice: Dice, context: SelectorContext, level: number): string {
  return dice.one(
    [8, () => `.${dice.pick(CLASSES)}`],
    [2, () => `#${dice.pick(IDS)}`],
    [7, () => attribute(dice)],
    [3, () => dice.pick(PLACES)],
    [2, () => `:nth-child(${dice.pick(NTH)})`],
    [2, () => `:nth-of-type(${dice.pick(NTH)})`],
    [level > 2 ? 0 : 3, () => nested(dice, context, level)],
    [context.late ? 3 : 0, () => dice.pick(LATE)],
  );
}

/** `:not()` and `:is()`, mostly of compounds. */
function nested(dice: Dice, context: SelectorContext, level: number): string {
  const inner = () =>
    context.late && dice.chance(15)
      ? compound(dice, context, level + 1) + combinator(dice, context) + compound(dice, context, level + 1)
      : compound(dice, context, level + 1);
  const list = dice.some(1, 3, inner).join(', ');
  return `${dice.pick([':not', ':not', ':is', ':is', ':where', ':matches'])}(${list})`;
}

function attribute(dice: Dice): string {
  const name = dice.pick(ATTRIBUTES);
  if (dice.chance(25)) return `[${name}]`;
  const operator = dice.pick(OPERATORS);
  const value = dice.chance(6) ? '' : dice.pick(VALUES);
  const isName = /^[a-zA-Z][\w-]*$/.test(value);
  const quoted = isName && dice.chance(40) ? value : dice.chance(50) ? `"${value}"` : `'${value}'`;
  const blank = dice.chance(5) ? ' ' : '';
  return `[${blank}${name}${blank}${operator}${blank}${quoted}${dice.pick(['', '', '', '', ' i', ' s', ' I'])}]`;
}
