import { pointerPart } from './pointer.ts';
import type { Problem } from './spider.ts';

/** What the fetcher itself sets, or what would let a header carry another. */
const FORBIDDEN = /^(host|connection|transfer-encoding|content-length|expect|keep-alive|te|trailer|upgrade|proxy-.*)$/i;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Printable ASCII, tab, and Latin-1: no CR, LF or NUL. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const MAX_HEADERS = 100;

/** Why headers cannot be sent as they were given: every bad one, each with its pointer. @param at theirs */
export function headerProblems(headers: Readonly<Record<string, string>> | undefined, at: string): Problem[] {
  const entries = Object.entries(headers ?? {});
  if (entries.length > MAX_HEADERS) {
    const message = `found ${entries.length} headers; expected at most ${MAX_HEADERS}`;
    return [{ pointer: at, code: 'too_long', message }];
  }
  return entries.flatMap(([name, value]) => {
    const pointer = `${at}/${pointerPart(name)}`;
    const message = headerProblem(name, value);
    return message === null ? [] : [{ pointer, code: 'bad_header', message }];
  });
}

function headerProblem(name: string, value: string): string | null {
  if (!NAME.test(name)) return 'this is not a header name';
  if (FORBIDDEN.test(name)) return `\`${name}\` is set by the fetcher and cannot be given`;
  return VALUE.test(value) ? null : 'a header value holds no CR, LF, NUL or characters beyond Latin-1';
}
