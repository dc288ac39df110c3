import CachePolicy from 'http-cache-semantics';
import type { StoredHeaders } from '../db/cached_responses.ts';

/** A request as it is sent. */
export interface SentRequest {
  method: string;
  url: string;
  headers: Readonly<Record<string, string>>;
}

/** What RFC 9111 looks at. */
interface Answer {
  status: number;
  headers: StoredHeaders;
}

const CACHEABLE_METHODS = ['GET', 'HEAD'];
/** A site may give a validator that neither it nor a proxy would take back: servers refuse headers of 8 KiB. */
const MAX_VALIDATOR = 1000;
/** What the policy takes apart, on the event loop: 32 KiB of commas cost it 30 ms. Who sends more is asked each time. */
const MAX_READ = 2000;
const READ = ['cache-control', 'vary', 'pragma', 'warning', 'connection', 'age', 'date', 'expires'];

// A cache of one user (RFC 9111, 1): `private` may be kept. That a response is given to no other user is the key's doing,
// in which all that was sent stands; so Vary is honoured as well, but for `*`, which the policy knows.

/** Whether a response may be kept, and could ever be used (RFC 9111, 3). */
export function isStorable(request: SentRequest, answer: Answer): boolean {
  if (!CACHEABLE_METHODS.includes(request.method)) return false;
  const policy = policyOf(request, answer, Date.now());
  return policy?.storable() === true && (policy.maxAge() > 0 || hasValidator(answer));
}

/** Whether the site wants nothing of this kept (RFC 9111, 5.2.2.5): what was kept before is then to be forgotten. */
export function forbidsKeeping({ headers }: Answer): boolean {
  return /(^|,)\s*no-store\s*(,|$)/i.test(joined(headers)['cache-control'] ?? '');
}

/** Whether a stored response may be used without asking the site (RFC 9111, 4.2). @param storedMs since the epoch */
export function isFresh(request: SentRequest, stored: Answer, storedMs: number): boolean {
  return policyOf(request, stored, storedMs)?.satisfiesWithoutRevalidation(request) ?? false;
}

/**
 * The headers that ask whether a stored response still holds (RFC 9111, 4.3.1). Null: it has no validator that can be sent,
 * or the request has a condition of its own, whose answer is not ours.
 */
export function conditionsOf(
  request: SentRequest,
  stored: Answer,
  storedMs: number,
): Readonly<Record<string, string>> | null {
  const hasOwn = Object.keys(request.headers).some((name) => name.startsWith('if-'));
  if (hasOwn || !hasValidator(stored)) return null;
  const headers = policyOf(request, stored, storedMs)?.revalidationHeaders(request) ?? {};
  const conditions = ['if-none-match', 'if-modified-since'].flatMap((name) => {
    const value = headers[name];
    return typeof value === 'string' && value.length <= MAX_VALIDATOR ? [[name, value] as const] : [];
  });
  return conditions.length === 0 ? null : Object.fromEntries(conditions);
}

/** Characters of the stored headers, as JSON: two responses' worth. */
const MAX_HEADERS = 64 * 1024;

/**
 * The stored headers as a 304 updates them (RFC 9111, 3.2). Those that only the older answers had are left out where they
 * would be too many: a site that names others each time must not make them grow without end.
 */
export function updatedHeaders(stored: StoredHeaders, answer: StoredHeaders): StoredHeaders {
  const kept = Object.entries(stored).filter(([name]) => name !== 'age');
  const news = Object.entries(answer).filter(([name]) => !ABOUT_THE_BODY.has(name));
  const updated = Object.fromEntries([...kept, ...news]);
  if (JSON.stringify(updated).length <= MAX_HEADERS) return updated;
  return Object.fromEntries([...kept.filter(([name]) => ABOUT_THE_BODY.has(name)), ...news]);
}

/** In a 304 they speak of that message, not of the stored one. */
const ABOUT_THE_BODY: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
]);

function hasValidator({ headers }: Answer): boolean {
  return headers.etag !== undefined || headers['last-modified'] !== undefined;
}

/** Null: its headers are longer than is read. */
function policyOf(request: SentRequest, { status, headers }: Answer, storedMs: number): CachePolicy | null {
  const plain = joined(headers);
  if (READ.some((name) => (plain[name]?.length ?? 0) > MAX_READ)) return null;
  // The library would ask the site each time; the RFC (5.2.2.2) only once it is stale, and stale it is never used.
  if (request.headers['cache-control'] === undefined && plain['cache-control'] !== undefined)
    plain['cache-control'] = plain['cache-control'].replace(/(^|,)\s*must-revalidate\s*(?=,|$)/gi, '$1');
  const { method, url, headers: sent } = request;
  const policy = new CachePolicy({ method, url, headers: sent }, { status, headers: plain }, { shared: false });
  return CachePolicy.fromObject({ ...policy.toObject(), t: storedMs });
}

/** One value for each name, as RFC 9110, 5.2 puts them together. */
function joined(headers: StoredHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
    ),
  );
}
