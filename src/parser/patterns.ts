import { RE2JS } from 're2js';
import type { Pattern } from '../model/spider.ts';

/** A URL as patterns see it. */
export interface Subject {
  /** Canonical URL. */
  url: string;
  /** Its path and query. */
  path: string;
}

/** One compiled pattern. */
export interface Matcher {
  /** The pattern as its author wrote it. */
  text: string;
  test(subject: Subject): boolean;
}

/** The canonical URL `url`, ready to be matched. */
export function subjectOf(url: string): Subject {
  const slash = url.indexOf('/', url.indexOf('://') + 3);
  return { url, path: slash < 0 ? '/' : url.slice(slash) };
}

/**
 * Compiles a pattern; matching takes linear time. A text pattern is one of
 *
 * - `/catalogue/`: begins with `/`, so path and query must begin with it;
 * - `?sort=`: no `/` first, so path and query must contain it;
 * - `https://a.example/x`, `//a.example/x` or `*://…`: the same for the whole URL (`//`: without its scheme).
 *
 * `*` is any run of characters, `/` too, as in robots.txt; a pattern with a `*` must fit to the end. A `$` at the end of
 * one without means the end. `{ "regex": … }` is RE2 syntax, searched for in the whole URL.
 *
 * @throws where the regex is not RE2
 */
export function compilePattern(pattern: Pattern): Matcher {
  if (typeof pattern !== 'string') {
    const regex = RE2JS.compile(pattern.regex);
    return { text: `regex ${pattern.regex}`, test: ({ url }) => regex.test(url) };
  }
  const glob = compileGlob(escapeNonAscii(pattern));
  if (pattern.startsWith('//')) return { text: pattern, test: ({ url }) => glob(url.slice(url.indexOf('//'))) };
  if (/^(?:\*|[a-z][a-z0-9+.-]*):\/\//i.test(pattern)) return { text: pattern, test: ({ url }) => glob(url) };
  return { text: pattern, test: ({ path }) => glob(path) };
}

/** The index of the first pattern that fits; -1 where none does. */
export function firstMatch(matchers: readonly Matcher[], subject: Subject): number {
  return matchers.findIndex((matcher) => matcher.test(subject));
}

function compileGlob(pattern: string): (text: string) => boolean {
  const anchored = /^(?:\/|(?:\*|[a-z][a-z0-9+.-]*):\/\/)/i.test(pattern);
  const toEnd = pattern.includes('*') || pattern.endsWith('$');
  const parts = (pattern.endsWith('$') ? pattern.slice(0, -1) : pattern).split('*');
  if (!anchored) parts.unshift('');
  if (!toEnd) parts.push('');
  const first = parts[0]!;
  if (parts.length === 1) return (text) => text === first;
  const last = parts.at(-1)!;
  const middle = parts.slice(1, -1).filter((part) => part !== '');
  return (text) => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    for (const part of middle) {
      const found = text.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= text.length - last.length;
  };
}

/** Canonical URLs are ASCII, patterns are written by people. */
function escapeNonAscii(pattern: string): string {
  return pattern.toWellFormed().replace(/[^\x21-\x7e]+/g, encodeURIComponent);
}
