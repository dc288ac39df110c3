import { type Cookie, MemoryCookieStore, CookieJar as ToughJar } from 'tough-cookie';

const MAX_COOKIES = 3000;
/** What is left after an eviction, so that not every further cookie walks the jar. */
const KEPT_COOKIES = 2700;
/** As browsers do. 3,000 cookies of one site would cost 5 ms of the event loop for each request to it. */
const MAX_PER_DOMAIN = 180;
const KEPT_PER_DOMAIN = 150;
/** Of one response, so many are read: a header block has room for 2,000, and those would cost 50 ms. */
const MAX_PER_RESPONSE = 100;
const MAX_COOKIE_LENGTH = 4096;
/** Servers refuse longer request headers, Node's own with more than 16 KiB in all; and a site could make us send megabytes. */
const MAX_HEADER_LENGTH = 8000;

/** The cookies of one crawl (RFC 6265; public suffixes refused). Bounded: the least recently used go first. */
export class CookieJar {
  readonly #store = new MemoryCookieStore();
  readonly #jar = new ToughJar(this.#store, { rejectPublicSuffixes: true, looseMode: true, prefixSecurity: 'silent' });
  /** Cookies accepted since the jar was last counted, and those it held then: at least as many as there are. */
  #atMost = 0;
  /** The same by domain. */
  readonly #perDomain = new Map<string, number>();

  /** The Cookie header for a URL; undefined where there is none. */
  header(url: string): string | undefined {
    if (this.#atMost === 0) return undefined;
    try {
      return join(this.#jar.getCookiesSync(url));
    } catch {
      return undefined; // a host that the library cannot place has no cookies
    }
  }

  /** Takes a response's Set-Cookie. What is malformed, foreign or too long is left out. @param url of the response */
  store(url: string, setCookie: string | string[] | undefined): void {
    if (setCookie === undefined) return;
    const lines = typeof setCookie === 'string' ? [setCookie] : setCookie.slice(0, MAX_PER_RESPONSE);
    for (const line of lines) {
      const domain = line.length <= MAX_COOKIE_LENGTH ? this.#accept(url, line) : null;
      if (domain === null) continue;
      this.#atMost++;
      const count = (this.#perDomain.get(domain) ?? 0) + 1;
      this.#perDomain.set(domain, count);
      if (count > MAX_PER_DOMAIN) this.#trim(domain);
    }
    if (this.#atMost > MAX_COOKIES) this.#evict();
  }

  /** The domain of the cookie that was stored; null where it was refused. */
  #accept(url: string, line: string): string | null {
    try {
      return this.#jar.setCookieSync(line, url, { ignoreError: true })?.domain ?? null;
    } catch {
      return null;
    }
  }

  /** Keeps a domain's most recently used. */
  #trim(domain: string): void {
    const cookies = cookiesIn(this.#store.idx[domain] ?? {});
    this.#store.idx[domain] = Object.create(null);
    this.#perDomain.set(domain, this.#putBack(cookies, KEPT_PER_DOMAIN));
  }

  /** Keeps the most recently used. The index is built anew, since the store never forgets a domain's empty entry. */
  #evict(): void {
    const cookies = Object.values(this.#store.idx).flatMap(cookiesIn);
    this.#store.idx = Object.create(null);
    this.#atMost = this.#putBack(cookies, KEPT_COOKIES);
    this.#perDomain.clear();
    for (const [domain, paths] of Object.entries(this.#store.idx)) this.#perDomain.set(domain, cookiesIn(paths).length);
  }

  /** @returns how many there are now */
  #putBack(cookies: Cookie[], most: number): number {
    cookies.sort((a, b) => usedAt(b) - usedAt(a));
    for (const cookie of cookies.slice(0, most)) this.#store.putCookie(cookie, () => {});
    return Math.min(cookies.length, most);
  }
}

/** Of one domain: by path, then by name. */
function cookiesIn(paths: Record<string, Record<string, Cookie>>): Cookie[] {
  return Object.values(paths).flatMap((names) => Object.values(names));
}

function usedAt({ lastAccessed, creation }: Cookie): number {
  const time = lastAccessed ?? creation;
  return time instanceof Date ? time.getTime() : 0;
}

function join(cookies: readonly Cookie[]): string | undefined {
  let header = '';
  for (const cookie of cookies) {
    const next = header === '' ? cookie.cookieString() : `${header}; ${cookie.cookieString()}`;
    if (next.length > MAX_HEADER_LENGTH) break;
    header = next;
  }
  return header === '' ? undefined : header;
}
