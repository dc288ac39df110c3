/** What comes after the host in a URL, as rules are compared with it. */
export interface RobotsPath {
  text: string;
  /** With `queryDelimiters`. */
  loose: string;
}

/** The path of a rule (RFC 9309, 2.2.3): `*` is any run of octets, `$` at the end is the end. */
export interface Pattern {
  /** In octets, one spelling for what is equal: the longest pattern counts. */
  length: number;
  fits(path: RobotsPath): boolean;
}

/** Path and query of an absolute URL. */
export function robotsPath(url: string): RobotsPath {
  const parsed = URL.parse(url);
  const text = parsed === null ? '/' : oneSpelling(parsed.pathname + parsed.search);
  return { text, loose: queryDelimiters(text) };
}

/** @param value of the line, a character for each octet */
export function patternOf(value: string): Pattern {
  const toEnd = value.endsWith('$');
  const text = (toEnd ? value.slice(0, -1) : value).split('*').map(oneSpelling).join('*');
  const loose = queryDelimiters(text);
  const pieces = text.split('*');
  const loosePieces = loose === text ? pieces : loose.split('*');
  return {
    length: text.length + (toEnd ? 1 : 0),
    fits: (path) =>
      fits(pieces, toEnd, path.text) ||
      ((loose !== text || path.loose !== path.text) && fits(loosePieces, toEnd, path.loose)),
  };
}

/**
 * Each piece is looked for behind the one before, from the left, and never again: where a later one is not found, no other
 * place of the earlier ones would help. So time does not grow with the ways to spread the stars.
 */
function fits(pieces: readonly string[], toEnd: boolean, path: string): boolean {
  const last = pieces.length - 1;
  if (!path.startsWith(pieces[0]!)) return false;
  let at = pieces[0]!.length;
  if (last === 0) return !toEnd || at === path.length;
  for (let i = 1; i < last || (i === last && !toEnd); i++) {
    const found = path.indexOf(pieces[i]!, at);
    if (found < 0) return false;
    at = found + pieces[i]!.length;
  }
  return !toEnd || (path.length - at >= pieces[last]!.length && path.endsWith(pieces[last]!));
}

/**
 * RFC 9309, 2.2.2: escapes of unreserved characters decoded, all others kept, in upper case; escaped what a URL can hold only
 * so, and what its path or query may hold either way. A `*` or `$` that is meant as such is written `%2A`, `%24` (2.2.3).
 */
function oneSpelling(text: string): string {
  if (/^[\w.~/?=&-]*$/.test(text)) return text;
  return text
    .replace(/%([0-9a-f]{2})/gi, (whole, hex: string) => {
      const character = String.fromCharCode(Number.parseInt(hex, 16));
      return /[\w.~-]/.test(character) ? character : whole.toUpperCase();
    })
    .replace(/[^\x21-\x7e]|["$'*<>[\\\]^`{|}]/g, (octet) => {
      const hex = octet.charCodeAt(0).toString(16).toUpperCase();
      return `%${hex.padStart(2, '0')}`;
    });
}

/** The table of 2.2.2 takes `?baz=https://foo.bar` and `?baz=https%3A%2F%2Ffoo.bar` for one: in a query these delimit nothing. */
function queryDelimiters(text: string): string {
  const from = text.indexOf('?') + 1;
  if (from === 0) return text;
  return text.slice(0, from) + text.slice(from).replace(/%(?:2F|3A|3F|40)/g, (octet) => decodeURIComponent(octet));
}
