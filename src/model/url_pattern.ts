import { hash } from 'node:crypto';

/**
 * The pattern of a canonical URL: its path and query with each run of digits as `#`, so that all days of a calendar are one.
 * Digits of escapes stay: `%D0%B0` is a letter.
 */
export function patternOf(url: string): string {
  const path = url.indexOf('/', url.indexOf('://') + 3);
  return url.slice(0, path) + url.slice(path).replace(/%[0-9A-F]{2}|\d+/g, (found) => (found[0] === '%' ? found : '#'));
}

/** 128 bits of SHA-256 of a pattern, as 32 hex digits. */
export function patternKey(pattern: string): string {
  return hash('sha256', pattern, 'hex').slice(0, 32);
}
