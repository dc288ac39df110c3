import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/**
 * Whether two host names have one registrable domain, by the Public Suffix List with its private part (`a.github.io` and
 * `b.github.io` are two sites). Addresses and names without one are the same site only as themselves. The list is loaded at
 * the first question: few crawls ask.
 */
export function isSameSite(a: string, b: string): boolean {
  if (a === b) return true;
  const { getDomain } = require('tldts') as typeof import('tldts');
  const options = { allowPrivateDomains: true };
  const domain = getDomain(a, options);
  return domain !== null && domain === getDomain(b, options);
}
