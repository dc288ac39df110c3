import { RE2JS } from 're2js';
import { nearest } from '../model/nearest.ts';
import { pointerPart } from '../model/pointer.ts';
import type { ProblemCode } from '../model/problems.ts';
import { JsonQuery } from './json_path.ts';
import { compilePattern } from './patterns.ts';
import { Selector } from './selector.ts';
import { XPath } from './xpath.ts';

// What every part of the check is made of. Each takes any JSON: what the schema says to a wrong type is not said again.

const MAX_REGEX = 1000;
const MAX_SHOWN = 80;
/** Characters of what a compiler says, which may hold the whole expression. */
const MAX_WHY = 500;
/** Known names that a wrong one is compared with. */
const MAX_WORDS = 1000;

/** Adds a mistake. @param pointer from the spider */
export type Report = (pointer: string, code: ProblemCode, message: string) => void;

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of a list with their pointers; whatever else is there is the schema's to refuse. */
export function recordsOf(value: unknown, at: string): { entry: Record<string, unknown>; at: string; index: number }[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown, index) => (isRecord(entry) ? [{ entry, at: `${at}/${index}`, index }] : []));
}

/** What was found, short, for a message. */
export function found(value: unknown): string {
  return `found ${short(JSON.stringify(value) ?? 'nothing')}`;
}

export function short(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** `; did you mean "title"?`, or the words themselves. */
export function hint(word: unknown, words: readonly string[]): string {
  const near = typeof word === 'string' ? nearest(word, words.slice(0, MAX_WORDS)) : null;
  if (near !== null) return `; did you mean "${short(near)}"?`;
  return words.length === 0 ? '' : `; expected one of ${words.slice(0, 50).map(short).join(', ')}`;
}

export function checkKeys(value: Record<string, unknown>, keys: readonly string[], at: string, report: Report): void {
  for (const key of Object.keys(value))
    if (!keys.includes(key))
      report(`${at}/${pointerPart(key)}`, 'unknown_field', `"${short(key)}" is not known${hint(key, keys)}`);
}

export function checkWord(word: unknown, words: readonly string[], at: string, report: Report): void {
  if (words.some((known) => known === word)) return;
  const near = typeof word === 'string' ? nearest(word, words) : null;
  const guess = near === null ? '' : ` (did you mean "${near}"?)`;
  report(at, 'unknown_word', `${found(word)}; expected one of ${words.join(', ')}${guess}`);
}

/** @returns its `::text` or `::attr()` */
export function checkSelector(text: unknown, scoped: boolean, at: string, report: Report): Selector['ending'] {
  if (typeof text !== 'string' || text.trim() === '') {
    report(at, 'bad_selector', `${found(text)}; expected a CSS selector`);
    return null;
  }
  const what = `"${short(text)}" is not a CSS selector`;
  const looksLikeXPath = /^\s*\(*\.?\//.test(text) ? '; for an XPath, write { "xpath": … }' : '';
  return attempt(() => new Selector(text, scoped).ending, at, 'bad_selector', what, report, looksLikeXPath) ?? null;
}

export function checkXPath(text: unknown, at: string, report: Report): void {
  if (typeof text !== 'string' || text.trim() === '') report(at, 'bad_xpath', `${found(text)}; expected an XPath`);
  else attempt(() => new XPath(text), at, 'bad_xpath', `"${short(text)}" is not an XPath`, report);
}

export function checkJsonQuery(text: unknown, at: string, report: Report): void {
  if (typeof text !== 'string' || text.trim() === '') report(at, 'bad_json', `${found(text)}; expected a JMESPath`);
  else attempt(() => new JsonQuery(text), at, 'bad_json', `"${short(text)}" is not a JMESPath`, report);
}

export function checkRegex(regex: unknown, at: string, report: Report): void {
  if (typeof regex !== 'string' || regex === '' || regex.length > MAX_REGEX) {
    report(at, 'bad_regex', `${found(regex)}; expected a regular expression of at most ${MAX_REGEX} characters`);
    return;
  }
  attempt(() => RE2JS.compile(regex), at, 'bad_regex', NO_REGEX, report, regexHint(regex));
}

const NO_REGEX = 'not a regular expression in RE2 syntax';

/** What RE2 leaves out, since it cannot be matched in linear time. */
function regexHint(regex: string): string {
  if (/\(\?<?[=!]/.test(regex)) return '; RE2 has no lookaround: match more, and take the part in a group';
  return /\\[1-9]/.test(regex) ? '; RE2 has no backreferences' : '';
}

export function checkPatterns(patterns: unknown, at: string, report: Report): void {
  if (!Array.isArray(patterns)) return;
  patterns.forEach((pattern: unknown, i) => {
    if (!isRecord(pattern) || typeof pattern.regex !== 'string') return;
    const { regex } = pattern;
    attempt(() => compilePattern({ regex }), `${at}/${i}/regex`, 'bad_regex', NO_REGEX, report, regexHint(regex));
  });
}

function attempt<T>(
  make: () => T,
  at: string,
  code: ProblemCode,
  what: string,
  report: Report,
  mend = '',
): T | undefined {
  try {
    return make();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    report(at, code, `${what}: ${why.slice(0, MAX_WHY)}${mend}`);
    return undefined;
  }
}
