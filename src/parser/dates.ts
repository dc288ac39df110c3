import { type DateParts, monthOf, relativeDate } from './date_words.ts';
import { asciiDigits } from './numbers.ts';

/** A date's parts and where they stand in the text. */
interface Found {
  parts: [year: number, month: number, day: number];
  start: number;
  end: number;
  /** Where the time stands between them, as in `Nov 23 10:00:00 2026`. */
  time?: string | undefined;
}

const MAX_TEXT = 200;
/** Some of chrono's regexes take the square of the length, or worse. */
const MAX_RELATIVE = 100;

/**
 * The first date of a text, in ISO 8601: `2026-11-23` where it gives no time, `2026-11-23T10:00:00` where it gives no
 * zone, else with `Z` or the offset that it gives. Nothing is made up: a time alone, a month alone, or a day without its
 * year is null.
 *
 * Known are ISO 8601, RFC 2822 and HTTP dates, seconds and milliseconds since 1970 (10 and 13 digits), month names,
 * numbers (`23.11.2026`), and what counts from now (`2 days ago`, `yesterday`).
 *
 * @param locale how the site writes dates (a valid BCP 47 tag): the order of numbers, and the language of names. Null:
 *   names in English, German, French, Spanish, Italian, Portuguese and Dutch, and numbers only where there is one reading:
 *   `11/23/2026` and `3.11.2026` are dates, `3/11/2026` is null
 * @param base when the page was fetched, milliseconds since 1970
 */
export function dateOf(text: string, locale: string | null, base: number): string | null {
  const line = asciiDigits(text.slice(0, MAX_TEXT).toWellFormed()).replace(/\s+/g, ' ').trim();
  if (/^(?:\d{10}|\d{13})$/.test(line)) return instant(Number(line) * (line.length === 10 ? 1000 : 1));
  if (/^\d{8}(?:T\d{4,6}(?:Z|[+-]\d{2}:?\d{2})?)?$/.test(line)) return dateOf(spreadOut(line), locale, base);
  const found = yearFirst(line) ?? named(line, locale) ?? numeric(line, locale);
  if (found === 'ambiguous') return null;
  if (found !== null) return write(withTime(line, found));
  const relative = /\p{L}/u.test(line) ? relativeDate(line.slice(0, MAX_RELATIVE), locale, base) : null;
  return relative === null ? null : write(relative);
}

function instant(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

/** `20261123T101500Z` with its separators. */
function spreadOut(text: string): string {
  return text
    .replace(/^(\d{4})(\d\d)(\d\d)/, '$1-$2-$3')
    .replace(/T(\d\d)(\d\d)(\d\d)?/, (_, h, m, s = '00') => `T${h}:${m}:${s}`);
}

function write({ year, month, day, time, zone }: DateParts): string {
  const pad = (n: number, length: number) => String(n).padStart(length, '0');
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}${time === null ? '' : `T${time}${zone ?? ''}`}`;
}

function isDay(year: number, month: number, day: number): boolean {
  return (
    year >= 1000 && month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(year, month, 0)).getUTCDate()
  );
}

const YEAR_FIRST = [
  /(?<![\d.])(?<y>\d{4})(?<mark>[-/.])(?<m>\d{1,2})\k<mark>(?<d>\d{1,2})(?![\d])/g,
  /(?<!\d)(?<y>\d{4}) ?[年년] ?(?<m>\d{1,2}) ?[月월] ?(?<d>\d{1,2}) ?[日号일]/g,
];

function yearFirst(text: string): Found | null {
  for (const pattern of YEAR_FIRST)
    for (const match of text.matchAll(pattern)) {
      const { y, m, d } = match.groups as { y: string; m: string; d: string };
      const found = at(match.index, match.index + match[0].length, Number(y), Number(m), Number(d));
      if (found !== null) return found;
    }
  return null;
}

function at(start: number, end: number, year: number, month: number, day: number, time?: string): Found | null {
  return isDay(year, month, day) ? { parts: [year, month, day], start, end, time } : null;
}

const DAY_BEFORE = /(?<!\d)(\d{1,2})(?:st|nd|rd|th|er|[.ºª°])?[ .,/-]*(?:of |de |del |d['’]|di )?$/i;
const YEAR_AFTER = /^\.?,?[ .,/-]*(?:de |del |of )?(?:(\d{4})|(?:(?<=[-/])|')(\d{2}))(?!\d|:)/i;
const DAY_YEAR_AFTER =
  /^\.?[ -]*(\d{1,2})(?:st|nd|rd|th)?(?!\d|:)[, -]+(?:(\d{1,2}:\d{2}(?::\d{2})?(?: [A-Z]{1,4})?) +)?(\d{4})(?!\d|:)/i;
const YEAR_BEFORE = /(?<!\d)(\d{4})[ .,-]+$/;
const DAY_AFTER = /^\.?[ -]*(\d{1,2})(?!\d|:)/;

/** The first month name with a day and a year beside it: `23 Nov 2026`, `November 23, 2026`, `2026 Nov 23`. */
function named(text: string, locale: string | null): Found | null {
  for (const word of text.matchAll(/\p{L}[\p{L}\p{M}]*/gu)) {
    const month = monthOf(word[0], locale);
    if (month === null) continue;
    const end = word.index + word[0].length;
    const found = aroundMonth(text.slice(0, word.index), text.slice(end), month, end);
    if (found !== null) return found;
  }
  return null;
}

function aroundMonth(before: string, after: string, month: number, end: number): Found | null {
  const day = DAY_BEFORE.exec(before);
  const year = YEAR_AFTER.exec(after);
  if (day !== null && year !== null) {
    const written = year[1] ?? year[2]!;
    const found = at(day.index, end + year[0].length, wholeYear(written), month, Number(day[1]));
    if (found !== null) return found;
  }
  const american = DAY_YEAR_AFTER.exec(after);
  if (american !== null) {
    return at(before.length, end + american[0].length, Number(american[3]), month, Number(american[1]), american[2]);
  }
  const first = YEAR_BEFORE.exec(before);
  const last = DAY_AFTER.exec(after);
  if (first === null || last === null) return null;
  return at(first.index, end + last[0].length, Number(first[1]), month, Number(last[1]));
}

/** Two digits: 1970 to 2069. */
function wholeYear(written: string): number {
  const n = Number(written);
  return written.length === 4 ? n : n < 70 ? 2000 + n : 1900 + n;
}

const NUMERIC = /(?<![\d.,/-])(\d{1,2})([./-]|\. )(\d{1,2})\2(\d{4}|\d{2})(?!\d|[./-]\d)/g;

/** `23.11.2026`, `11/23/2026`; `ambiguous` where it is a date but two readings fit. */
function numeric(text: string, locale: string | null): Found | 'ambiguous' | null {
  for (const match of text.matchAll(NUMERIC)) {
    const [all, a, mark, b, c] = match as unknown as [string, string, string, string, string];
    const readings = c.length === 2 && locale === null ? [] : readingsOf(a, b, c, locale, mark.startsWith('.'));
    const days = readings.filter(([year, month, day]) => isDay(year, month, day));
    if (days.length > 1 && locale === null && String(days[0]) !== String(days[1])) return 'ambiguous';
    if (days.length > 0) return at(match.index, match.index + all.length, ...days[0]!);
  }
  return null;
}

/** What three numbers may mean, the likeliest first, as year, month, day. Between dots the day always comes first. */
function readingsOf(a: string, b: string, c: string, locale: string | null, dots: boolean): [number, number, number][] {
  const [x, y] = [Number(a), Number(b)];
  const dayFirst: [number, number, number] = [wholeYear(c), y, x];
  const monthFirst: [number, number, number] = [wholeYear(c), x, y];
  const order = locale === null ? '' : orderOf(locale);
  if (order.startsWith('year') && c.length === 2) return [[wholeYear(a.padStart(2, '0')), y, Number(c)], dayFirst];
  if (dots) return [dayFirst, ...(locale === null ? [] : [monthFirst])];
  return order.indexOf('month') < order.indexOf('day') ? [monthFirst, dayFirst] : [dayFirst, monthFirst];
}

const orders = new Map<string, string>();

/** The parts of a date in numbers as the locale orders them: `monthdayyear`. */
function orderOf(locale: string): string {
  let order = orders.get(locale);
  if (order === undefined) {
    if (orders.size >= 100) orders.clear();
    const options = { calendar: 'gregory', year: 'numeric', month: '2-digit', day: '2-digit' } as const;
    const parts = new Intl.DateTimeFormat(locale, options).formatToParts(0);
    order = parts.map(({ type }) => (type === 'literal' ? '' : type)).join('');
    orders.set(locale, order);
  }
  return order;
}

const TIME =
  '(\\d{1,2})(?:[:h.](\\d{2})(?::(\\d{2})(?:[.,](\\d{1,9}))?)?)? ?([ap]\\.?m\\b\\.?)?(?: ?(?:uhr|o.clock|hrs?|Uhr)\\b)?';
const ZONE = '(?: ?\\(?(Z\\b|(?:UTC|GMT)? ?[+-−]\\d{1,2}(?::?\\d{2})?|UTC|GMT|[A-Z]{2,4})(?![\\w:]))?';
const TIME_AFTER = new RegExp(
  `^(?:T|[ ,|@–—-]*(?:(?:at|um|à|a las|alle|alle ore|ore|às|om|kl\\.?|в|klo|o) )?)${TIME}${ZONE}`,
  'i',
);
const TIME_BEFORE = new RegExp(
  `(?<![\\d:.])${TIME}${ZONE}[ ,|–—-]*(?:(?:on|am|le|el|il|em|op|den) )?(?:\\p{L}{2,}\\.?,? )?$`,
  'iu',
);
/** Offsets of the zone names that RFC 2822 knows, and of those that mean one thing on most pages, in hours. */
const ZONES: Readonly<Record<string, number>> = {
  ...{ UTC: 0, GMT: 0, UT: 0, Z: 0, WET: 0, EST: -5, EDT: -4, CST: -6, CDT: -5, MST: -7, MDT: -6, PST: -8, PDT: -7 },
  ...{ CET: 1, CEST: 2, MEZ: 1, MESZ: 2, EET: 2, EEST: 3, BST: 1, MSK: 3, JST: 9 },
};

/** Adds the time that stands right behind the date, or right before it. */
function withTime(text: string, { parts: [year, month, day], start, end, time: inside }: Found): DateParts {
  const after = text.slice(end);
  const date = { year, month, day };
  const match = TIME_AFTER.exec(inside === undefined ? after : ` ${inside}`) ?? TIME_BEFORE.exec(text.slice(0, start));
  const time = match === null ? null : timeOf(match);
  return { ...date, time, zone: time === null ? null : zoneOf(match![6]) };
}

/** Null where it is no time: an hour alone needs `am`, `pm` or `Uhr`, and a point between needs `Uhr`. */
function timeOf([all, hours, minutes, seconds = '00', fraction, half]: RegExpExecArray): string | null {
  const clock = /uhr|o.clock/i.test(all);
  if ((minutes === undefined || /\d\.\d/.test(all.slice(0, all.indexOf(hours!) + 4))) && half === undefined && !clock)
    return null;
  let hour = Number(hours);
  if (half !== undefined) {
    if (hour < 1 || hour > 12) return null;
    hour = (hour % 12) + (/^p/i.test(half) ? 12 : 0);
  }
  if (hour > 23 || Number(minutes ?? 0) > 59 || Number(seconds) > 59) return null;
  const rest = fraction === undefined ? '' : `.${fraction.slice(0, 3).padEnd(3, '0')}`;
  return `${String(hour).padStart(2, '0')}:${minutes ?? '00'}:${seconds}${rest}`;
}

/** Null where there is none, or none that means one thing. */
function zoneOf(written: string | undefined): string | null {
  if (written === undefined) return null;
  const name = written.toUpperCase();
  const known = Object.hasOwn(ZONES, name) ? ZONES[name] : undefined;
  if (known === 0) return 'Z';
  if (known !== undefined) return `${known < 0 ? '-' : '+'}0${Math.abs(known)}:00`;
  const offset = /([+−-])(\d{1,2}):?(\d{2})?$/.exec(written);
  if (offset === null || Number(offset[2]) > 14 || Number(offset[3] ?? 0) > 59) return null;
  return `${offset[1] === '+' ? '+' : '-'}${offset[2]!.padStart(2, '0')}:${offset[3] ?? '00'}`;
}
