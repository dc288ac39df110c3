import type { Field, FieldObject, Fields } from '../../dist/model/field.js';
import type { FollowRule, ItemRule, PageRule, Params, Pattern, Spider } from '../../dist/model/spider.js';
import type { Dice } from './dice.ts';
import { plainSelector, selector } from './selector_words.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', '__proto__', 'ü'];
const ATTRIBUTES = ['href', 'class', 'class', 'id', 'data-a', 'HREF', 'lang', 'textContent', 'innerText'];
const TRANSFORMS = [
  'text',
  'text',
  'trim',
  'number',
  'integer',
  'boolean',
  'date',
  'url',
  'lowercase',
  'uppercase',
] as const;
const REGEXES = ['(\\d+)', '[a-z]', '(.)$', '^\\s*(\\S+)', 'a|b', '(x)?', '.*', '(?i)A'];
const PATHS = ['a', 'n[0]', 'a.b', '@', 'n[*]', 'length(@)'];
const TYPED = ['Product.name', 'Product.offers.price', 'Thing.name', 'Product', 'Offer.price'];
const METAS = ['url', 'status', 'depth', 'fetchedAt', 'header:x-a', 'param:q', 'passed:a'];
const PATTERNS: Pattern[] = ['/x', '/dir/', '*a*', '?q=', '/dir/*.html', { regex: '[xy]$' }, 'http://site.test/x'];
const XPATHS = ['//li', './/a/@href', 'string(.//b)', '(//p)[2]', './/*[@class]', 'count(.//a)'];

/** Where fields are made. */
interface FieldContext {
  /** Below an element. */
  scoped: boolean;
  /** Below a part of JSON: plain strings are JMESPath. */
  json: boolean;
  /** What needs a tree may be there. */
  late: boolean;
  level: number;
}

/** A definition, right but for one in some hundred. @param late what needs a tree may be in it */
export function spider(dice: Dice, late: boolean): Spider {
  const names = ['one', 'two', 'three'].slice(0, dice.pick([1, 1, 1, 2, 3]));
  const pages = names.map((name, i) => page(dice, late, name, i, names));
  return {
    name: 'fuzz',
    pages,
    ...(dice.chance(8)
      ? { scope: { [dice.pick(['allow', 'deny'])]: dice.some(1, 2, () => dice.pick(PATTERNS)) } }
      : {}),
    ...(dice.chance(4) ? { pipeline: [step(dice)] } : {}),
  };
}

function step(dice: Dice) {
  return dice.one<NonNullable<Spider['pipeline']>[number]>(
    [1, () => ({ drop: { field: 'a', missing: true } })],
    [1, () => ({ dedupe: { key: ['a'], scope: 'crawl' } })],
    [1, () => ({ drop: { field: 'a', match: 'a' } })],
  );
}

function page(dice: Dice, late: boolean, name: string, i: number, names: readonly string[]): PageRule {
  const items = dice.some(i === 0 ? 1 : 0, 2, () => itemRule(dice, late));
  const follow = dice.some(dice.below(2), 2, () => followRule(dice, late, names));
  return {
    ...(dice.chance(70) ? { name } : {}),
    ...(dice.chance(12) ? { match: [dice.pick(PATTERNS)] } : {}),
    ...(items.length > 0 ? { items: items.map((item, n) => ({ type: `t${n}`, ...item })) } : {}),
    ...(follow.length > 0 ? { follow } : {}),
  };
}

function itemRule(dice: Dice, late: boolean): ItemRule {
  const each = dice.one<ItemRule['each']>(
    [5, () => undefined],
    [4, () => selector(dice, { scoped: false, late })],
    [3, () => plainSelector(dice)],
    [late && dice.chance(30) ? 1 : 0, () => ({ xpath: dice.pick(XPATHS) })],
  );
  const scoped = each !== undefined;
  const made = fields(dice, { scoped, json: false, late, level: 0 }, scoped ? 3 : 5);
  const names = Object.keys(made);
  return {
    ...(each === undefined ? {} : { each }),
    fields: made,
    ...(dice.chance(12) ? { required: [dice.pick(names)] } : {}),
    ...(dice.chance(8) ? { key: [dice.pick(names)] } : {}),
  };
}

function fields(dice: Dice, context: FieldContext, most: number): Fields {
  const made: [string, Field][] = dice.some(1, most, () => [dice.pick(NAMES), field(dice, context)]);
  // `fromEntries` keeps a field that is called `__proto__`.
  return Object.fromEntries(made);
}

function field(dice: Dice, context: FieldContext): Field {
  if (context.json) return dice.pick<Field>([...PATHS, ['a'], { json: 'a', as: 'number' }, { json: 'n', default: 0 }]);
  const text = () => ended(dice, context);
  return dice.one<Field>(
    [7, text],
    [2, () => plainSelector(dice)],
    [4, () => [text()]],
    [5, () => ({ ...attributeOf(dice, context), ...leaf(dice) })],
    [3, () => [{ ...attributeOf(dice, context), ...leaf(dice) }]],
    [5, () => ({ selector: text(), ...leaf(dice) })],
    [2, () => [{ selector: text(), ...leaf(dice) }]],
    [context.level < 2 ? 4 : 0, () => nested(dice, context)],
    // The root's own text is the whole page's.
    [context.scoped || context.late ? 1 : 0, () => ({ value: dice.pick(ATTRIBUTES), ...leaf(dice) })],
    [context.scoped || context.late ? 1 : 0, () => ({ as: dice.pick(TRANSFORMS) })],
    [2, () => elsewhere(dice, context)],
    [context.late ? 3 : 0, () => late(dice, context)],
  );
}

function ended(dice: Dice, { scoped, late: isLate }: FieldContext): string {
  const text = selector(dice, { scoped, late: isLate });
  // With a list, each part would need the ending.
  if (text.includes(',') || !dice.chance(10)) return text;
  return text + dice.pick(['::text', '::attr(href)', '::attr(class)', '::attr( ID )']);
}

function attributeOf(dice: Dice, { scoped, late: isLate }: FieldContext): FieldObject {
  return { selector: selector(dice, { scoped, late: isLate }), value: dice.pick(ATTRIBUTES) };
}

/** What is done with a text. */
function leaf(dice: Dice): FieldObject {
  const as = dice.chance(45) ? dice.pick(TRANSFORMS) : undefined;
  const isLocal = as === 'number' || as === 'integer' || as === 'date';
  return {
    ...(dice.chance(15) ? { match: dice.pick(REGEXES) } : {}),
    ...(as === undefined ? {} : { as }),
    ...(isLocal && dice.chance(20) ? { locale: 'de' } : {}),
    ...(dice.chance(10) ? { default: dice.pick<unknown>(['none', 0, null, []]) } : {}),
  };
}

/** Fields in a field, one or a list. */
function nested(dice: Dice, context: FieldContext): Field {
  const { scoped, late: isLate, level } = context;
  const isHere = dice.chance(8);
  const value = fields(dice, { ...context, scoped: scoped || !isHere, level: level + 1 }, 2);
  const here = isHere ? { value } : { selector: selector(dice, { scoped, late: isLate }), value };
  return dice.chance(60) ? [here] : here;
}

/** What is read from JSON in the page, from its metas, or of its fetch. */
function elsewhere(dice: Dice, context: FieldContext): Field {
  const { scoped, late: isLate, level } = context;
  const from = selector(dice, { scoped, late: isLate });
  const inside = () => fields(dice, { ...context, json: true, level: level + 1 }, 2);
  const made = dice.one<FieldObject>(
    [2, () => ({ selector: dice.pick(['script', '#x', from]), json: dice.pick(PATHS) })],
    [1, () => ({ selector: dice.pick(['script', from]), json: dice.pick(PATHS), value: inside() })],
    [1, () => ({ selector: dice.pick(['[data-a]', from]), value: 'data-a', json: dice.pick(PATHS) })],
    [3, () => ({ jsonld: dice.pick(TYPED), ...(dice.chance(30) ? { as: 'number' as const } : {}) })],
    [1, () => ({ jsonld: 'Product', value: inside() })],
    [3, () => ({ opengraph: dice.pick(['title', 'image', 'twitter:card']) })],
    [2, () => ({ meta: dice.pick(METAS) })],
  );
  return dice.chance(25) ? [made] : made;
}

/** What only a tree can answer. */
function late(dice: Dice, context: FieldContext): Field {
  const { scoped } = context;
  const from = selector(dice, { scoped, late: true });
  return dice.one<Field>(
    [1, () => ({ xpath: dice.pick(XPATHS) })],
    [3, () => ({ selector: from, as: 'html' as const })],
    [2, () => ({ selector: from, as: 'markdown' as const })],
    [2, () => ({ selector: from, value: dice.pick(['innerHTML', 'outerHTML']) })],
    [1, () => ({ microdata: 'Product.name' })],
  );
}

function followRule(dice: Dice, isLate: boolean, names: readonly string[]): FollowRule {
  const context: FieldContext = { scoped: false, json: false, late: isLate, level: 1 };
  const links = dice.pick([
    'a',
    'a',
    'a',
    'a[href]',
    '[href]',
    'li a',
    'a.a',
    'link',
    'A',
    '*',
    'a::attr(href)',
    'a::text',
  ]);
  const rule = dice.one<FollowRule>(
    [5, () => ({ selector: links })],
    [3, () => ({ selector: selector(dice, context) })],
    [1, () => ({ selector: selector(dice, context), value: dice.pick(ATTRIBUTES) })],
    [1, () => ({ selector: links, match: dice.pick(REGEXES) })],
    [1, () => ({ selector: links, url: dice.pick(['/u?q={value}', '{value}', '/v/{value}/w']) })],
    [1, () => ({ selector: links, ...request(dice) })],
    [2, () => ({ selector: links, page: dice.pick(names), ...passed(dice, context) })],
    [1, () => ({ selector: links, ...passed(dice, context) })],
    [isLate ? 2 : 0, () => dice.pick<FollowRule>([{ xpath: '//a/@href' }, { form: 'form' }, { xpath: '//a[last()]' }])],
  );
  return {
    ...rule,
    ...(dice.chance(12) ? { allow: [dice.pick(PATTERNS)] } : {}),
    ...(dice.chance(12) ? { deny: [dice.pick(PATTERNS)] } : {}),
    ...(dice.chance(12) ? { maxDepth: dice.below(3) } : {}),
    ...(dice.chance(8) ? { priority: 5 } : {}),
  };
}

function request(dice: Dice): FollowRule {
  const made = dice.pick<NonNullable<FollowRule['request']>>([
    { method: 'POST', form: { q: '{value}' } },
    { json: { q: ['{value}'] } },
    { headers: { 'x-a': '{value}' } },
    { method: 'HEAD' },
  ]);
  return { request: made };
}

function passed(dice: Dice, context: FieldContext): FollowRule {
  return { pass: fields(dice, { ...context, scoped: true }, 2) };
}

/** What the params of a crawl are. */
export const PARAMS: Params = { q: 'asked' };
