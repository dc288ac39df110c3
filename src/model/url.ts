import { hash } from 'node:crypto';
import type { Settings } from './settings.ts';

/** A URL as the ledger knows it. */
export interface CanonicalUrl {
  /** Canonical form: WHATWG-normalised, no userinfo, unreserved escapes decoded, and what the crawl's `UrlRules` leave out. */
  url: string;
  /** First 128 bits of SHA-256 over method, canonical URL and body, as 32 hex digits. */
  fp: string;
  /** `scheme://host[:port]`. */
  origin: string;
  /** Host name without port, lower case, without the root's dot; IPv6 in brackets. */
  host: string;
}

/** A URL, parsed. */
export type UrlParts = Pick<URL, 'href' | 'protocol' | 'hostname' | 'host' | 'port' | 'pathname' | 'search' | 'hash'>;

/** The settings that say what counts in a URL. */
export type UrlSettings = Pick<Settings, 'sortQuery' | 'keepFragment' | 'dropSessionIds' | 'keepParams' | 'dropParams'>;

/** `UrlSettings`, sorted out once for many URLs. */
export interface UrlRules {
  readonly drop: NameRules;
  /** Wins over `drop`; null: nothing is named. */
  readonly keep: NameRules | null;
  readonly sortQuery: boolean;
  readonly keepFragment: boolean;
  readonly dropSessionIds: boolean;
}

/** A list of names. Prefixes are found by their length, so that the work stays linear in the URL. */
interface NameRules {
  readonly names: ReadonlySet<string>;
  readonly prefixes: ReadonlySet<string>;
  /** Of the prefixes, each once. */
  readonly lengths: readonly number[];
}

/** Of `dropSessionIds`: query parameters and path parameters of these names, in any case, and those that begin with `aspsessionid`. */
const SESSION_NAMES: ReadonlySet<string> = new Set([
  'jsessionid',
  'phpsessid',
  'asp.net_sessionid',
  'cfid',
  'cftoken',
  'oscsid',
  'sessid',
  'sess_id',
  'session-id',
  'session_id',
  'sessionid',
  'sid',
  'zenid',
]);
const SESSION_PREFIX = 'aspsessionid';
/** A parameter of a path's segment, as Java's containers add it: `/cart;jsessionid=1A2B`. */
const PATH_PARAM = /;([^;/=]*)=[^;/]*/g;
/** ASP.NET without cookies: a segment as `(S(lit3py55t21z5v55vlm25s55))` or `(A(…)F(…))`. */
const COOKIELESS = /\/\((?:[AFSX]\([^()/]*\))+\)(?=\/|$)/g;

/** One escape; or a `%` that begins none, with what an escape right after it could complete to one (`%%32e`). */
const ESCAPE = /%(?![0-9a-f]{2})[0-9a-f]?%[0-9a-f]{2}|%[0-9a-f]{2}/gi;
const UNRESERVED = /[a-z0-9._~-]/i;
const HEX_DIGIT = /[0-9a-f]/i;

/** RFC 3986 6.2.2: `%7E` is `~`, and hex digits of the remaining escapes are upper case. Idempotent. */
function normaliseEscapes(text: string): string {
  return text.includes('%') ? text.replace(ESCAPE, normaliseEscape) : text;
}

function normaliseEscape(found: string): string {
  const lone = found.slice(0, -3);
  const char = String.fromCharCode(Number.parseInt(found.slice(-2), 16));
  // What a lone `%` would make a new escape of stays as it is.
  const stays = !UNRESERVED.test(char) || (lone !== '' && HEX_DIGIT.test(char));
  return lone + (stays ? found.slice(-3).toUpperCase() : char);
}

export function urlRules(settings: UrlSettings): UrlRules {
  const { dropParams, keepParams, sortQuery, keepFragment, dropSessionIds } = settings;
  const keep = keepParams.length === 0 ? null : nameRules(keepParams);
  return { drop: nameRules(dropParams), keep, sortQuery, keepFragment, dropSessionIds };
}

function nameRules(list: readonly string[]): NameRules {
  const prefixes = new Set(list.filter((rule) => rule.endsWith('*')).map((rule) => rule.slice(0, -1)));
  const lengths = [...new Set([...prefixes].map((prefix) => prefix.length))];
  return { names: new Set(list.filter((rule) => !rule.endsWith('*'))), prefixes, lengths };
}

function isNamed(name: string, { names, prefixes, lengths }: NameRules): boolean {
  return names.has(name) || lengths.some((length) => length <= name.length && prefixes.has(name.slice(0, length)));
}

function isSessionName(name: string): boolean {
  const lower = name.toLowerCase();
  return SESSION_NAMES.has(lower) || lower.startsWith(SESSION_PREFIX);
}

function nameOf(part: string): string {
  const end = part.indexOf('=');
  return end < 0 ? part : part.slice(0, end);
}

function byName(a: string, b: string): number {
  const [x, y] = [nameOf(a), nameOf(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

/**
 * Parameters are what stands between `&`; their text is kept as it is: a blank value stays blank, `+` is not `%20`, `;`
 * separates nothing. Sorted by name alone: `a=2&a=1` is a list in an order of its own, so it differs from `a=1&a=2`.
 */
function canonicalQuery(search: string, rules: UrlRules): string {
  if (search.length <= 1) return '';
  const parts = normaliseEscapes(search.slice(1))
    .split('&')
    .filter((part) => part !== '' && counts(nameOf(part), rules));
  if (rules.sortQuery && parts.length > 1) parts.sort(byName);
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
}

function counts(name: string, { drop, keep, dropSessionIds }: UrlRules): boolean {
  if (keep !== null && isNamed(name, keep)) return true;
  return !isNamed(name, drop) && !(dropSessionIds && isSessionName(name));
}

/** Without its session ids: what is left may have dot segments again, so it is resolved anew. */
function withoutSessions(path: string, origin: string): string {
  if (!path.includes(';') && !path.includes('/(')) return path;
  const left = path
    .replace(PATH_PARAM, (param, name: string) => (isSessionName(name) ? '' : param))
    .replace(COOKIELESS, '');
  return left === path ? path : new URL(`${origin}${left}`).pathname;
}

/** The canonical form and fingerprint of an http(s) URL. Idempotent; URLs that may be different pages stay different. */
export function canonicalize(parsed: UrlParts, rules: UrlRules): CanonicalUrl {
  let host = parsed.hostname;
  let origin = `${parsed.protocol}//${parsed.host}`;
  // `books.example.` is the same name (RFC 1034, 3.1), and a site that links to itself by it is not another site.
  if (host.endsWith('.') && host.at(-2) !== '.') {
    host = host.slice(0, -1);
    origin = `${parsed.protocol}//${host}${parsed.port === '' ? '' : `:${parsed.port}`}`;
  }
  let path = normaliseEscapes(parsed.pathname);
  if (rules.dropSessionIds) path = withoutSessions(path, origin);
  const fragment = rules.keepFragment ? normaliseEscapes(parsed.hash) : '';
  const url = origin + path + canonicalQuery(parsed.search, rules) + fragment;
  return { url, fp: fingerprint('GET', url, ''), origin, host };
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
