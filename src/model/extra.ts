import type { RequestExtra } from './request.ts';
import { fingerprint } from './url.ts';

/** Characters of `extraText`: no request keeps more beside its URL. */
export const MAX_EXTRA = 256 * 1024;

/** By object: the text is wanted for its size first, and then to be stored. */
const texts = new WeakMap<RequestExtra, string>();
/** Of those that came from the ledger; their text is not kept. */
const sizes = new WeakMap<RequestExtra, number>();

/** The extra as the ledger stores it: JSON that PostgreSQL holds. Null: there is nothing in it, the request is a plain GET. */
export function extraText(extra: RequestExtra | null | undefined): string | null {
  if (extra === null || extra === undefined) return null;
  let text = texts.get(extra);
  if (text === undefined) {
    text = storedJson(extra);
    texts.set(extra, text);
  }
  return text === '{}' ? null : text;
}

/** An extra from the ledger. @param text of `extraText` */
export function readExtra(text: string | null): RequestExtra | null {
  if (text === null) return null;
  const extra = JSON.parse(text) as RequestExtra;
  sizes.set(extra, text.length);
  return extra;
}

/** Its characters as text; 0 where there is none. */
export function extraSize(extra: RequestExtra | null | undefined): number {
  if (extra === null || extra === undefined) return 0;
  return sizes.get(extra) ?? extraText(extra)?.length ?? 0;
}

/** The URL that a request asks for. */
export function sentUrl({ url, extra }: { url: string; extra: RequestExtra | null }): string {
  return extra?.sent ?? url;
}

/** The fingerprint of a request: method and body count, headers and what is passed on do not. @param url canonical */
export function requestFp(url: string, extra: RequestExtra | null | undefined): string {
  return fingerprint(extra?.method ?? 'GET', url, extra?.body ?? '');
}

/** JSON text without NUL and half surrogate pairs, which PostgreSQL cannot hold: each becomes U+FFFD, in keys as well. */
export function storedJson(value: unknown): string {
  return JSON.stringify(value).replace(/\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})/g, replaceEscape);
}

/** An escape after an odd number of backslashes is text, not an escape; only a real one is replaced. */
function replaceEscape(found: string, at: number, json: string): string {
  let before = 0;
  while (json[at - 1 - before] === '\\') before += 1;
  return before % 2 === 0 ? '\ufffd' : found;
}
