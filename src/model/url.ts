import { hash } from 'node:crypto';

/** A URL as the ledger knows it. */
export interface CanonicalUrl {
  /** Canonical form: WHATWG-normalised, no fragment, no userinfo, sorted query, unreserved escapes decoded. */
  url: string;
  /** First 128 bits of SHA-256 over method, canonical URL and body, as 32 hex digits. */
  fp: string;
  /** `scheme://host[:port]`. */
  origin: string;
  /** Host name without port, lower case; IPv6 in brackets. */
  host: string;
}

const UNRESERVED_ESCAPE = /%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])/g;
const LOWER_ESCAPE = /%(?:[a-f][0-9a-fA-F]|[0-9A-F][a-f])/g;

/** RFC 3986 6.2.2: `%7E` is `~`, and hex digits of the remaining escapes are upper case. */
function normaliseEscapes(text: string): string {
  if (!text.includes('%')) return text;
  return text
    .replace(UNRESERVED_ESCAPE, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)))
    .replace(LOWER_ESCAPE, (code) => code.toUpperCase());
}

/**
 * Sorted by name and value, text kept as it stands (a blank value stays a blank value), parameters on the list dropped.
 * The order of equal names is not kept: `a=2&a=1` equals `a=1&a=2`.
 */
function canonicalQuery(search: string, dropParams: readonly string[]): string {
  if (search.length <= 1) return '';
  const rules = dropRules(dropParams);
  const parts = normaliseEscapes(search.slice(1))
    .split('&')
    .filter((part) => part !== '' && !isDropped(part, rules));
  return parts.length === 0 ? '' : `?${parts.sort().join('&')}`;
}

function isDropped(part: string, { names, prefixes, lengths }: DropRules): boolean {
  const end = part.indexOf('=');
  const name = end < 0 ? part : part.slice(0, end);
  return names.has(name) || lengths.some((length) => length <= name.length && prefixes.has(name.slice(0, length)));
}

/** A list of parameters, sorted out. Prefixes are found by their length, so that the work stays linear in the URL. */
interface DropRules {
  names: ReadonlySet<string>;
  prefixes: ReadonlySet<string>;
  /** Of the prefixes, each once. */
  lengths: readonly number[];
}

/** By list: each link of a crawl is judged by the same one. */
const sortedOut = new WeakMap<readonly string[], DropRules>();

function dropRules(list: readonly string[]): DropRules {
  let rules = sortedOut.get(list);
  if (rules === undefined) {
    const prefixes = new Set(list.filter((rule) => rule.endsWith('*')).map((rule) => rule.slice(0, -1)));
    const lengths = [...new Set([...prefixes].map((prefix) => prefix.length))];
    rules = { names: new Set(list.filter((rule) => !rule.endsWith('*'))), prefixes, lengths };
    sortedOut.set(list, rules);
  }
  return rules;
}

/**
 * The canonical form and fingerprint of an absolute http(s) URL. Idempotent.
 *
 * @param dropParams names of query parameters that do not count; a trailing `*` is a prefix
 */
export function canonicalize(parsed: URL, dropParams: readonly string[]): CanonicalUrl {
  const origin = `${parsed.protocol}//${parsed.host}`;
  const url = origin + normaliseEscapes(parsed.pathname) + canonicalQuery(parsed.search, dropParams);
  return { url, fp: fingerprint('GET', url, ''), origin, host: parsed.hostname };
}

/** 128 bits of SHA-256, as 32 hex digits. */
export function fingerprint(method: string, canonicalUrl: string, body: string): string {
  return hash('sha256', `${method} ${canonicalUrl}\n${body}`, 'hex').slice(0, 32);
}

/** Parses an http(s) URL; null where it is none. @param base for relative ones */
export function parseHttpUrl(text: string, base?: string): URL | null {
  const parsed = URL.parse(text, base);
  return parsed !== null && (parsed.protocol === 'http:' || parsed.protocol === 'https:') ? parsed : null;
}
