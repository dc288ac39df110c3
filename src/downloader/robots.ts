import type { Reason } from '../model/request.ts';
import type { FetchedResponse, FetchResult } from '../model/response.ts';
import { parseHttpUrl } from '../model/url.ts';

/** What an origin's robots.txt says, unparsed: the parser threads do that. `text` has a character for each octet. */
export type RobotsVerdict =
  | { kind: 'rules'; text: string }
  | { kind: 'allow' }
  /** `reason` is the site's own where it cannot be reached at all, else `robots_unreachable`. */
  | { kind: 'unreachable'; reason: Reason; detail: string }
  /** The host's turn did not come: nothing is kept, ask again later. */
  | { kind: 'unasked' };

/** A verdict as it is known now. */
export interface KnownRobots {
  verdict: RobotsVerdict;
  /** When the last answer to a fetch of it came, in milliseconds since the epoch. */
  askedAt: number;
  /** When it will be asked for again. */
  expires: number;
}

/** Fetches one hop through the egress guard, decoded, cut at `ROBOTS_MAX_BYTES` (`cutAtCap`); null: not now. */
type FetchRobots = (url: string) => Promise<FetchResult | null>;

/** RFC 9309 asks for 500 KiB at least; what comes after it is not read. To be given to the fetch as its cutting cap. */
export const ROBOTS_MAX_BYTES = 500 * 1024;

const MAX_REDIRECTS = 5;
const KEEP_MS = 24 * 3600 * 1000;
/** An unreachable one is asked for again after a second, then after twice as long each time, to a minute. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60 * 1000;
/** RFC 9309, 2.4: rules that were read may be used for longer while the file is unreachable; 2.3.1.4 names 30 days. */
const MAX_STALE_MS = 30 * KEEP_MS;
/** What one cache may hold. */
export interface RobotsBounds {
  origins: number;
  /** Characters of all files. */
  length: number;
}

const USUAL_BOUNDS: RobotsBounds = { origins: 20_000, length: 64 * 1024 * 1024 };

interface Entry extends KnownRobots {
  /** Null once it is known. */
  asking: Promise<KnownRobots> | null;
  /** Times in a row that it was unreachable. */
  failures: number;
  /** When the rules that count were read. */
  readAt: number;
  /** Characters of its text. */
  size: number;
}

/**
 * robots.txt by origin (RFC 9309): one fetch however many ask; kept for a day, an unreachable one for up to a minute. Bounded
 * in entries and in characters: the least recently asked go first.
 */
export class RobotsCache {
  /** In order of use. */
  readonly #entries = new Map<string, Entry>();
  readonly #bounds: RobotsBounds;
  #length = 0;

  constructor(bounds = USUAL_BOUNDS) {
    this.#bounds = bounds;
  }

  /** What is known of `scheme://host[:port]`; `fetch` is called where that is too old. Never rejects. */
  get(origin: string, fetch: FetchRobots): Promise<KnownRobots> {
    const known = this.#entries.get(origin);
    const isFresh = known !== undefined && (known.asking !== null || known.expires > Date.now());
    const entry = isFresh ? known : this.#ask(origin, fetch, known);
    this.#drop(origin);
    this.#entries.set(origin, entry);
    this.#length += entry.size;
    return entry.asking ?? Promise.resolve(entry);
  }

  #ask(origin: string, fetch: FetchRobots, former: Entry | undefined): Entry {
    const askedAt = Date.now();
    const entry: Entry = {
      verdict: { kind: 'unasked' },
      askedAt,
      expires: Number.POSITIVE_INFINITY,
      asking: null,
      failures: former?.failures ?? 0,
      readAt: askedAt,
      size: 0,
    };
    entry.asking = fetchRobots(fetch, `${origin}/robots.txt`, () => {
      entry.askedAt = Date.now();
    }).then((verdict) => this.#settle(origin, entry, verdict, former));
    return entry;
  }

  #settle(origin: string, entry: Entry, verdict: RobotsVerdict, former: Entry | undefined): KnownRobots {
    const now = Date.now();
    entry.asking = null;
    entry.verdict = verdict;
    entry.expires = now + KEEP_MS;
    if (verdict.kind === 'unasked') return this.#restore(origin, entry, former);
    if (verdict.kind !== 'unreachable') entry.failures = 0;
    else {
      entry.expires = now + Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** entry.failures++);
      if (former?.verdict.kind === 'rules' && now - former.readAt < MAX_STALE_MS) {
        entry.verdict = former.verdict;
        entry.readAt = former.readAt;
      }
    }
    if (this.#entries.get(origin) !== entry) return entry;
    entry.size = entry.verdict.kind === 'rules' ? entry.verdict.text.length : 0;
    this.#length += entry.size;
    this.#evict();
    return entry;
  }

  #restore(origin: string, entry: Entry, former: Entry | undefined): KnownRobots {
    if (this.#entries.get(origin) === entry) {
      this.#drop(origin);
      if (former !== undefined) this.#entries.set(origin, former);
      this.#length += former?.size ?? 0;
    }
    return entry;
  }

  #evict(): void {
    for (const [origin, entry] of this.#entries) {
      if (this.#entries.size <= this.#bounds.origins && this.#length <= this.#bounds.length) return;
      // one that is being asked stays, or the next caller would ask again
      if (entry.asking === null) this.#drop(origin);
    }
  }

  #drop(origin: string): void {
    this.#length -= this.#entries.get(origin)?.size ?? 0;
    this.#entries.delete(origin);
  }
}

/** With these there is no site to ask anything of. */
const NO_SITE: ReadonlySet<Reason> = new Set(['egress', 'dns', 'connect', 'proxy', 'tls']);

function unreachable(reason: Reason, detail: string): RobotsVerdict {
  return { kind: 'unreachable', reason, detail: `robots.txt: ${detail}` };
}

/** @param onSent a hop was sent, or tried to */
async function fetchRobots(fetch: FetchRobots, first: string, onSent: () => void): Promise<RobotsVerdict> {
  let url = first;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const result = await fetch(url).catch((error: Error) => error);
    if (result === null) return { kind: 'unasked' };
    onSent();
    if (result instanceof Error) return unreachable('robots_unreachable', 'the fetch failed');
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
  // Not «unavailable», as other 4xx are (2.3.1.3): it asks us to come later. Google reads it so too.
  if (status >= 500 || status === 429) return unreachable('robots_unreachable', `status ${status}`);
  if (status >= 300) return { kind: 'allow' };
  const bytes = Buffer.from(body, 0, Math.min(bodyBytes, ROBOTS_MAX_BYTES));
  return { kind: 'rules', text: bytes.toString('latin1') };
}
