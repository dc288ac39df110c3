import type { Reason } from '../model/request.ts';
import type { FetchedResponse, FetchResult } from '../model/response.ts';
import { parseHttpUrl } from '../model/url.ts';

/** What an origin's robots.txt says, unparsed: the parser threads do that. `text` has a character for each octet. */
export type RobotsVerdict =
  | { kind: 'rules'; text: string }
  | { kind: 'allow' }
  /** `reason` is the site's own where it cannot be reached at all, else `robots_unreachable`. */
  | { kind: 'unreachable'; reason: Reason; detail: string };

/** RFC 9309 asks for 500 KiB at least; what comes after it is not read. To be given to the fetch as its cutting cap. */
export const ROBOTS_MAX_BYTES = 500 * 1024;

const MAX_REDIRECTS = 5;
const KEEP_MS = 24 * 3600 * 1000;
const RETRY_MS = 60 * 1000;
const MAX_ORIGINS = 20_000;
const MAX_TEXT_LENGTH = 64 * 1024 * 1024;

interface Entry {
  verdict: Promise<RobotsVerdict>;
  /** Milliseconds since the epoch; infinite while the fetch is under way. */
  expires: number;
  /** Characters of its text. */
  size: number;
}

/**
 * robots.txt by origin (RFC 9309): one fetch however many ask; kept for a day, an unreachable one for a minute. Bounded in
 * entries and in characters: the least recently asked go first.
 */
export class RobotsCache {
  readonly #fetch: (url: string) => Promise<FetchResult>;
  /** In order of use. */
  readonly #entries = new Map<string, Entry>();
  #length = 0;

  /** @param fetch one hop through the egress guard, decoded, cut at `ROBOTS_MAX_BYTES` (`cutAtCap`) */
  constructor(fetch: (url: string) => Promise<FetchResult>) {
    this.#fetch = fetch;
  }

  /** The verdict for `scheme://host[:port]`. Never rejects. */
  get(origin: string): Promise<RobotsVerdict> {
    const known = this.#entries.get(origin);
    const entry = known !== undefined && known.expires > Date.now() ? known : this.#ask(origin);
    this.#drop(origin);
    this.#entries.set(origin, entry);
    this.#length += entry.size;
    return entry.verdict;
  }

  #ask(origin: string): Entry {
    const verdict = fetchRobots(this.#fetch, `${origin}/robots.txt`);
    const entry: Entry = { verdict, expires: Number.POSITIVE_INFINITY, size: 0 };
    verdict.then((known) => this.#settle(origin, entry, known));
    return entry;
  }

  #settle(origin: string, entry: Entry, verdict: RobotsVerdict): void {
    entry.expires = Date.now() + (verdict.kind === 'unreachable' ? RETRY_MS : KEEP_MS);
    if (this.#entries.get(origin) !== entry) return;
    entry.size = verdict.kind === 'rules' ? verdict.text.length : 0;
    this.#length += entry.size;
    this.#evict();
  }

  #evict(): void {
    for (const [origin, entry] of this.#entries) {
      if (this.#entries.size <= MAX_ORIGINS && this.#length <= MAX_TEXT_LENGTH) return;
      // one that is being asked stays, or the next caller would ask again
      if (entry.expires !== Number.POSITIVE_INFINITY) this.#drop(origin);
    }
  }

  #drop(origin: string): void {
    this.#length -= this.#entries.get(origin)?.size ?? 0;
    this.#entries.delete(origin);
  }
}

/** With these there is no site to ask anything of. */
const NO_SITE: ReadonlySet<Reason> = new Set(['egress', 'dns', 'connect', 'tls']);

function unreachable(reason: Reason, detail: string): RobotsVerdict {
  return { kind: 'unreachable', reason, detail: `robots.txt: ${detail}` };
}

async function fetchRobots(fetch: (url: string) => Promise<FetchResult>, first: string): Promise<RobotsVerdict> {
  let url = first;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const result = await fetch(url).catch(() => null);
    if (result === null) return unreachable('robots_unreachable', 'the fetch failed');
    if (result.kind === 'failure') {
      const isSites = url === first && NO_SITE.has(result.reason);
      return unreachable(isSites ? result.reason : 'robots_unreachable', `${result.reason}, ${result.detail}`);
    }
    const target = redirectTarget(result, url);
    if (target === null) return verdictOf(result);
    url = target;
  }
  return { kind: 'allow' }; // RFC 9309 2.3.1.2: after five redirects as if there were none
}

/** Null where the response is final. A redirect to nowhere, or to another scheme, is final too. */
function redirectTarget({ status, headers }: FetchedResponse, base: string): string | null {
  const { location } = headers;
  if (status < 300 || status >= 400 || typeof location !== 'string') return null;
  return parseHttpUrl(location, base)?.href ?? null;
}

function verdictOf({ status, body, bodyBytes }: FetchedResponse): RobotsVerdict {
  if (status >= 500) return unreachable('robots_unreachable', `status ${status}`);
  if (status >= 300) return { kind: 'allow' };
  const bytes = Buffer.from(body, 0, Math.min(bodyBytes, ROBOTS_MAX_BYTES));
  return { kind: 'rules', text: bytes.toString('latin1') };
}
