import { RE2JS } from 're2js';
import { META_FIELDS, TRANSFORMS } from '../model/field.ts';
import type { FollowRule, ItemRule, PageRule, Pattern, Problem, Spider } from '../model/spider.ts';
import { compilePattern } from './patterns.ts';
import { Selector } from './selector.ts';

const MAX_NESTING = 8;
const MAX_FIELDS = 200;
const MAX_NAME = 200;
const MAX_REGEX = 1000;
const FIELD_KEYS = ['selector', 'value', 'as', 'match', 'default', 'meta'];

type Report = (pointer: string, code: string, message: string) => void;

/**
 * What the schema cannot say about a spider: selectors and regexes that do not compile, fields of the wrong shape, names
 * that do not exist. Every mistake at once; pointers begin at the spider itself.
 */
export function checkSpider(spider: Spider): Problem[] {
  const problems: Problem[] = [];
  const report: Report = (pointer, code, message) => problems.push({ pointer, code, message });
  checkPatterns(spider.scope?.allow, '/scope/allow', report);
  checkPatterns(spider.scope?.deny, '/scope/deny', report);
  (spider.pages ?? []).forEach((page, i) => {
    checkPage(page, `/pages/${i}`, report);
  });
  return problems;
}

function checkPage(page: PageRule, at: string, report: Report): void {
  checkPatterns(page.match, `${at}/match`, report);
  const types = new Set<string>();
  (page.items ?? []).forEach((item, i) => {
    const type = item.type ?? page.name ?? 'item';
    if (types.has(type))
      report(
        `${at}/items/${i}/type`,
        'duplicate_type',
        `a second item of this page has the type "${type}"; give each its own type`,
      );
    types.add(type);
    checkItem(item, `${at}/items/${i}`, report);
  });
  (page.follow ?? []).forEach((rule, i) => {
    checkFollow(rule, `${at}/follow/${i}`, report);
  });
}

function checkItem(item: ItemRule, at: string, report: Report): void {
  if (item.each !== undefined) checkSelector(item.each, false, `${at}/each`, report);
  checkFields(item.fields, item.each !== undefined, `${at}/fields`, report, 1);
  for (const list of ['required', 'key'] as const)
    (item[list] ?? []).forEach((name, i) => {
      if (!Object.hasOwn(item.fields, name))
        report(
          `${at}/${list}/${i}`,
          'unknown_name',
          `"${name}" is none of the item's fields (${Object.keys(item.fields).join(', ')})`,
        );
    });
}

function checkFollow(rule: FollowRule, at: string, report: Report): void {
  const ending = checkSelector(rule.selector, false, `${at}/selector`, report);
  if (ending !== null && !('attribute' in ending && ending.attribute === 'href'))
    report(`${at}/selector`, 'bad_selector', 'a link is the href of the element; leave the ending away');
  checkPatterns(rule.allow, `${at}/allow`, report);
  checkPatterns(rule.deny, `${at}/deny`, report);
}

function checkPatterns(patterns: readonly Pattern[] = [], at: string, report: Report): void {
  patterns.forEach((pattern, i) => {
    const pointer = typeof pattern === 'string' ? `${at}/${i}` : `${at}/${i}/regex`;
    attempt(() => compilePattern(pattern), pointer, 'bad_regex', 'not a regular expression in RE2 syntax', report);
  });
}

function checkSelector(text: unknown, scoped: boolean, at: string, report: Report): Selector['ending'] {
  if (typeof text !== 'string' || text.trim() === '') {
    report(at, 'bad_selector', `${found(text)}; expected a CSS selector`);
    return null;
  }
  return (
    attempt(
      () => new Selector(text, scoped).ending,
      at,
      'bad_selector',
      `"${short(text)}" is not a CSS selector`,
      report,
    ) ?? null
  );
}

function checkFields(fields: unknown, scoped: boolean, at: string, report: Report, level: number): void {
  const problem = shapeProblem(fields, level);
  if (problem !== null) report(at, ...problem);
  if (problem !== null || !isRecord(fields)) return;
  for (const [name, field] of Object.entries(fields)) {
    const pointer = `${at}/${pointerPart(name)}`;
    if (name === '' || name.length > MAX_NAME)
      report(pointer, 'bad_name', `a field's name has 1 to ${MAX_NAME} characters`);
    checkField(field, scoped, pointer, report, level);
  }
}

/** Why it cannot be a set of fields, as code and message. */
function shapeProblem(fields: unknown, level: number): [string, string] | null {
  if (!isRecord(fields)) return ['wrong_type', `${found(fields)}; expected an object of fields`];
  const count = Object.keys(fields).length;
  if (count === 0) return ['empty_fields', 'an empty object; expected at least one field'];
  if (count > MAX_FIELDS) return ['too_many_fields', `${count} fields; expected at most ${MAX_FIELDS}`];
  return level > MAX_NESTING ? ['too_deep', `fields are nested deeper than ${MAX_NESTING}`] : null;
}

function checkField(field: unknown, scoped: boolean, at: string, report: Report, level: number): void {
  if (typeof field === 'string') {
    checkSelector(field, scoped, at, report);
  } else if (Array.isArray(field)) {
    if (field.length !== 1)
      report(at, 'bad_list', `a list of ${field.length}; expected a list of exactly one field: [".tag"]`);
    else if (Array.isArray(field[0]))
      report(`${at}/0`, 'bad_list', 'a list in a list; expected a selector or an object');
    else checkField(field[0], scoped, `${at}/0`, report, level);
  } else if (isRecord(field)) {
    checkObject(field, scoped, at, report, level);
  } else {
    report(
      at,
      'wrong_type',
      `${found(field)}; expected a selector, a list of one field, or { selector, value, as, match, default }`,
    );
  }
}

function checkObject(field: Record<string, unknown>, scoped: boolean, at: string, report: Report, level: number): void {
  for (const key of Object.keys(field))
    if (!FIELD_KEYS.includes(key))
      report(
        `${at}/${pointerPart(key)}`,
        'unknown_field',
        `"${short(key)}" is not known; expected ${FIELD_KEYS.join(', ')}`,
      );
  const { selector, value, as, match, meta } = field;
  if (selector !== undefined) checkSelector(selector, scoped, `${at}/selector`, report);
  if (meta !== undefined) checkMeta(field, at, report);
  else if (selector === undefined && value === undefined && as === undefined && match === undefined)
    report(at, 'empty_field', 'nothing says what to read; expected a selector, a value or meta');
  if (as !== undefined) checkWord(as, TRANSFORMS, `${at}/as`, report);
  if (match !== undefined) checkRegex(match, `${at}/match`, report);
  if (typeof value === 'string') {
    if (value.trim() === '')
      report(`${at}/value`, 'bad_value', "an empty string; expected an attribute's name or nested fields");
  } else if (value !== undefined) {
    checkFields(value, true, `${at}/value`, report, level + 1);
    for (const key of ['as', 'match'])
      if (field[key] !== undefined)
        report(`${at}/${key}`, 'conflict', `nested fields have no text that "${key}" could change`);
  }
}

function checkMeta(field: Record<string, unknown>, at: string, report: Report): void {
  checkWord(field.meta, META_FIELDS, `${at}/meta`, report);
  for (const key of ['selector', 'value', 'as', 'match'])
    if (field[key] !== undefined) report(`${at}/${key}`, 'conflict', `"meta" does not go with "${key}"`);
}

function checkWord(word: unknown, words: readonly string[], at: string, report: Report): void {
  if (!words.some((known) => known === word))
    report(at, 'unknown_word', `${found(word)}; expected one of ${words.join(', ')}`);
}

function checkRegex(regex: unknown, at: string, report: Report): void {
  if (typeof regex !== 'string' || regex === '' || regex.length > MAX_REGEX)
    report(at, 'bad_regex', `${found(regex)}; expected a regular expression of at most ${MAX_REGEX} characters`);
  else attempt(() => RE2JS.compile(regex), at, 'bad_regex', 'not a regular expression in RE2 syntax', report);
}

function attempt<T>(make: () => T, at: string, code: string, what: string, report: Report): T | undefined {
  try {
    return make();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    report(at, code, `${what}: ${why}`);
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What was found, short, for a message. */
function found(value: unknown): string {
  return `found ${short(JSON.stringify(value) ?? 'nothing')}`;
}

function short(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** RFC 6901. */
function pointerPart(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
