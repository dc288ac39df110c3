import type { Transform } from '../model/field.ts';
import { dateOf } from './dates.ts';
import { markdownOf } from './markdown.ts';
import { numberOf } from './numbers.ts';
import { parseFast } from './tree.ts';

/** What a transform may need besides the text. */
export interface TransformContext {
  /** What relative URLs are resolved against. */
  base: string;
  /** True where the text is an attribute's value: `checked=""` is true. */
  attribute: boolean;
  /** BCP 47: how numbers and dates are written. Null: as anywhere. */
  locale: string | null;
  /** ISO 8601: what «yesterday» is counted from. */
  fetchedAt: string;
}

/** More than an item may hold. */
const MAX_MARKDOWN = 1_100_000;
const SPACES = /\s+/g;
const TRUE = new Set(['true', 'yes', 'on', 'y', '1']);
const FALSE = new Set(['false', 'no', 'off', 'n', '0']);

/** Trimmed, each run of white space one blank. */
export function collapse(text: string): string {
  return text.replace(SPACES, ' ').trim();
}

/**
 * Applies a named transform to a text. Null: the text is no such value.
 *
 * `text` and `html` leave it as it is (their difference is in what was read), `url` resolves it, `number`, `integer` and
 * `date` find the first of their kind as the locale writes it, `boolean` knows true/yes/on/y/1 and their opposites, and
 * `markdown` takes the text for HTML.
 */
export function transform(as: Transform, text: string, context: TransformContext): string | number | boolean | null {
  switch (as) {
    case 'text':
    case 'html':
      return text;
    case 'markdown':
      return markdownText(text, context.base);
    case 'date':
      return dateOf(text, context.locale, Date.parse(context.fetchedAt));
    case 'trim':
      return text.trim();
    case 'number':
      return numberOf(text, context.locale);
    case 'integer': {
      const n = Math.trunc(numberOf(text, context.locale) ?? Number.NaN);
      return Number.isSafeInteger(n) ? n + 0 : null;
    }
    case 'boolean':
      return booleanOf(text.trim().toLowerCase(), context.attribute);
    case 'url':
      return URL.parse(text, context.base)?.href ?? null;
    case 'lowercase':
      return text.toLowerCase();
    case 'uppercase':
      return text.toUpperCase();
  }
}

/**
 * Applies a named transform to a value of JSON: a number stays a number, a boolean a boolean; what is neither is written as
 * text first. Objects and lists have a text (their JSON) and nothing else. Null: the value is no such thing.
 */
export function convert(as: Transform, value: unknown, context: TransformContext): string | number | boolean | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'object') return as === 'text' ? JSON.stringify(value) : null;
  if (typeof value === 'number' && as === 'number') return value;
  if (typeof value === 'number' && as === 'integer')
    return Number.isSafeInteger(Math.trunc(value)) ? Math.trunc(value) : null;
  if (typeof value === 'boolean' && as === 'boolean') return value;
  return transform(as, String(value), context);
}

/** Markdown of a text that holds markup, as many APIs give it. */
function markdownText(html: string, base: string): string {
  const document = parseFast(html);
  return markdownOf(document.root, document, { base, limit: MAX_MARKDOWN });
}

function booleanOf(text: string, attribute: boolean): boolean | null {
  if (TRUE.has(text) || (attribute && text === '')) return true;
  return FALSE.has(text) ? false : null;
}
