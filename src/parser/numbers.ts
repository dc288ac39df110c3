const SPACES = " \\u00a0\\u2009\\u202f'’";
const GROUPED = new RegExp(`\\d{1,3}(?:[${SPACES}]\\d{3}(?!\\d))+(?:[.,]\\d+)?|\\d+(?:[.,]\\d+)*|[.,]\\d+`);
const GROUP_MARKS = new RegExp(`[${SPACES}]`, 'g');
const MINUS = /(?:^|[^\w])[-−]\s?\p{Sc}?\s?$/u;
const MAX_TEXT = 1000;
const MAX_LOCALES = 100;

/**
 * The first number of a text. `(1,234)` is 1234: on the web that is a count more often than a loss.
 *
 * @param locale how the site writes numbers (a valid BCP 47 tag): `1.234` is 1234 in `de` and 1.234 in `en`; its own digits
 *   are read too. A mark that cannot group (`12.5` in `de`) is taken for the decimal one. Null: any common notation, as
 *   `£51.77`, `1,234.50`, `1.234,50`, `1 234`, `-5`; of a comma and a point the later one is the decimal mark; a lone comma
 *   before exactly three digits groups thousands, a lone point is decimal.
 */
export function numberOf(text: string, locale: string | null = null): number | null {
  const head = text.slice(0, MAX_TEXT);
  return locale === null ? anyNotation(head) : notationOf(locale)(asciiDigits(head));
}

function anyNotation(text: string): number | null {
  const found = GROUPED.exec(text);
  if (found === null) return null;
  return signed(plainDigits(found[0].replace(GROUP_MARKS, '')), text.slice(0, found.index));
}

/** @param before what stands before the digits */
function signed(digits: string, before: string): number | null {
  const n = Number(MINUS.test(before) ? `-${digits}` : digits);
  return Number.isFinite(n) ? n : null;
}

function plainDigits(text: string): string {
  const comma = text.lastIndexOf(',');
  const point = text.lastIndexOf('.');
  if (comma >= 0 && point >= 0) {
    const grouping = comma > point ? /\./g : /,/g;
    return text.replace(grouping, '').replace(',', '.');
  }
  if (/^\d{1,3}(,\d{3})+$/.test(text) || /^\d{1,3}(\.\d{3}){2,}$/.test(text)) return text.replace(/[.,]/g, '');
  return text.replace(',', '.');
}

type Notation = (text: string) => number | null;
const notations = new Map<string, Notation>();

function notationOf(locale: string): Notation {
  let notation = notations.get(locale);
  if (notation === undefined) {
    if (notations.size >= MAX_LOCALES) notations.clear();
    notation = compileNotation(locale);
    notations.set(locale, notation);
  }
  return notation;
}

/** Thousands are grouped by three, or by two above the last three as in India. */
function compileNotation(locale: string): Notation {
  const parts = new Intl.NumberFormat(locale).formatToParts(-12345678.5);
  const part = (type: string, otherwise: string) => parts.find((each) => each.type === type)?.value ?? otherwise;
  const decimal = part('decimal', '.');
  const group = [...'.,٬'].filter((mark) => mark !== decimal && part('group', ',').includes(mark)).join('');
  const marks = `[${SPACES}${group}]`;
  const pattern = new RegExp(
    `(\\d{1,3}(?:${marks}\\d{2,3})*${marks}\\d{3}(?!\\d)|\\d+)(?:[.,${decimal}](\\d+))?|[${decimal}](\\d+)`,
  );
  return (text) => {
    const found = pattern.exec(text);
    if (found === null) return null;
    const [all, whole = '0', decimals = found[3] ?? '0'] = found;
    if (/^[.,]\d/.test(text.slice(found.index + all.length))) return null;
    return signed(
      `${whole.replace(/\D/g, '')}.${decimals}`,
      text.slice(0, found.index).replace(/[\u200e\u200f\u061c]/g, ''),
    );
  };
}

/** Where the ten digits of a script begin. */
const ZEROS = [
  0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20, 0x1040,
  0x17e0, 0x1810, 0xff10,
];

/** Digits of any living script as 0 to 9. */
export function asciiDigits(text: string): string {
  return text.replace(/[^\P{Nd}0-9]/gu, (digit) => {
    const code = digit.codePointAt(0)!;
    const zero = ZEROS.findLast((first) => first <= code && code < first + 10);
    return zero === undefined ? digit : String(code - zero);
  });
}
