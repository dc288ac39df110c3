import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
type Chrono = typeof import('chrono-node').en;

/** Whose month names are known without a locale; none of them contradict each other. */
const COMMON = ['en', 'de', 'fr', 'es', 'it', 'pt', 'nl'];
/** Languages of chrono-node, each a module of its own: 10 to 70 ms to load, so only when a text needs it. */
const CHRONO = new Set([
  'ar',
  'de',
  'en',
  'es',
  'fi',
  'fr',
  'id',
  'it',
  'ja',
  'nl',
  'pt',
  'ru',
  'sv',
  'uk',
  'vi',
  'zh',
]);
const MAX_LOCALES = 100;

const tables = new Map<string, Map<string, number>>();

/** The month, 1 to 12, that a word names in the locale or in English; without a locale in any common language. */
export function monthOf(word: string, locale: string | null): number | null {
  const name = plainName(word);
  return tableOf(locale ?? '').get(name) ?? null;
}

function plainName(word: string): string {
  return word.toLowerCase().replaceAll('.', '').normalize('NFC');
}

function tableOf(locale: string): Map<string, number> {
  let table = tables.get(locale);
  if (table === undefined) {
    if (tables.size >= MAX_LOCALES) tables.clear();
    table = new Map([['sept', 9]]);
    for (const each of locale === '' ? COMMON : ['en', locale]) addMonths(table, each);
    tables.set(locale, table);
  }
  return table;
}

/** A name may differ beside a day (Russian «ноября») and alone («ноябрь»). */
function addMonths(table: Map<string, number>, locale: string): void {
  for (const month of ['long', 'short'] as const)
    for (const day of [undefined, 'numeric'] as const) {
      const options = { month, timeZone: 'UTC', calendar: 'gregory', ...(day && { day }) } as const;
      const format = new Intl.DateTimeFormat(locale, options);
      for (let i = 0; i < 12; i++) {
        const name = format.formatToParts(Date.UTC(2026, i, 15)).find(({ type }) => type === 'month')?.value ?? '';
        if (/^\p{L}[\p{L}\p{M}.]*$/u.test(name)) table.set(plainName(name), i + 1);
      }
    }
}

/** A date as it was written; null: it says nothing of that. */
export interface DateParts {
  year: number;
  /** 1 to 12. */
  month: number;
  day: number;
  time: string | null;
  /** `Z` or `+02:00`. */
  zone: string | null;
}
/**
 * What counts from now: `2 days ago`, `yesterday at 10:00`, `vor 2 Stunden`. Null where day, month and year are not all
 * said: a weekday, `3 months ago`, a day without its year.
 *
 * @param base when the text was true, milliseconds since 1970; days are counted in UTC
 */
export function relativeDate(text: string, locale: string | null, base: number): DateParts | null {
  const [result] = chronoOf(locale).parse(text, { instant: new Date(base), timezone: 0 });
  if (result === undefined) return null;
  // "Buy now" is no date.
  if (/^\p{L}+$/u.test(result.text) && /\bnow\b/i.test(result.text) && text.length > 12) return null;
  const { start } = result;
  if (!start.isCertain('day') || !start.isCertain('month') || !start.isCertain('year')) return null;
  const part = (name: 'year' | 'month' | 'day' | 'hour' | 'minute' | 'second') => start.get(name) ?? 0;
  const pad = (n: number) => String(n).padStart(2, '0');
  const timed = start.isCertain('hour') && start.isCertain('minute');
  return {
    year: part('year'),
    month: part('month'),
    day: part('day'),
    time: timed
      ? [part('hour'), part('minute'), start.isCertain('second') ? part('second') : 0].map(pad).join(':')
      : null,
    zone: timed && start.isCertain('timezoneOffset') ? offsetOf(start.get('timezoneOffset') ?? 0) : null,
  };
}

/** @param minutes east of UTC */
function offsetOf(minutes: number): string {
  if (minutes === 0) return 'Z';
  const pad = (n: number) => String(Math.trunc(n)).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${pad(Math.abs(minutes) / 60)}:${pad(Math.abs(minutes) % 60)}`;
}

function chronoOf(locale: string | null): Pick<Chrono, 'parse'> {
  const { language, region } = new Intl.Locale(locale ?? 'en');
  const loaded = require(`chrono-node/${CHRONO.has(language) ? language : 'en'}`) as Chrono;
  return language === 'en' && region !== undefined && region !== 'US' ? loaded.GB : loaded;
}
