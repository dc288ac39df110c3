import { type Cookie, MemoryCookieStore, CookieJar as ToughJar } from 'tough-cookie';

const MAX_COOKIES = 3000;
/** What is left after an eviction, so that not every further cookie walks the jar. */
const KEPT_COOKIES = 2700;
const MAX_COOKIE_LENGTH = 4096;
/** Servers refuse longer request headers; a site could otherwise make us send megabytes. */
const MAX_HEADER_LENGTH = 16_384;

/** The cookies of one crawl (RFC 6265; public suffixes refused). Bounded: the least recently used go first. */
export class CookieJar {
  readonly #store = new MemoryCookieStore();
  readonly #jar = new ToughJar(this.#store, { rejectPublicSuffixes: true, looseMode: true, prefixSecurity: 'silent' });
  /** Cookies accepted since the jar was last counted, and those it held then: at least as many as there are. */
  #atMost = 0;

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
    for (const line of typeof setCookie === 'string' ? [setCookie] : setCookie) {
      if (line.length <= MAX_COOKIE_LENGTH && this.#accepts(url, line)) this.#atMost++;
    }
    if (this.#atMost > MAX_COOKIES) this.#evict();
  }

  #accepts(url: string, line: string): boolean {
    try {
      return this.#jar.setCookieSync(line, url, { ignoreError: true }) !== undefined;
    } catch {
      return false;
    }
  }

  /** Keeps the most recently used. The index is built anew, since the store never forgets a domain's empty entry. */
  #evict(): void {
    const cookies = Object.values(this.#store.idx).flatMap((paths) =>
      Object.values(paths).flatMap((keys) => Object.values(keys)),
    );
    cookies.sort((a, b) => usedAt(b) - usedAt(a));
    this.#store.idx = Object.create(null);
    for (const cookie of cookies.slice(0, KEPT_COOKIES)) this.#store.putCookie(cookie, () => {});
    this.#atMost = Math.min(cookies.length, KEPT_COOKIES);
  }
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
