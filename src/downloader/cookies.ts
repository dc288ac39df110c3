import { hash } from 'node:crypto';
import { isIP } from 'node:net';
import { Cookie, getPublicSuffix, MemoryCookieStore, CookieJar as ToughJar } from 'tough-cookie';
import { storedJson } from '../model/extra.ts';
import type { CookieChange } from '../model/outcome.ts';
import type { ProblemCode } from '../model/problems.ts';
import type { PlainCookie } from '../model/render.ts';
import type { InitialCookie } from '../model/settings.ts';
import type { Problem } from '../model/spider.ts';

const MAX_COOKIES = 3000;
/** What is left after an eviction, so that not every further cookie walks the jar. */
const KEPT_COOKIES = 2700;
/** As browsers do. 3,000 cookies of one site would cost 5 ms of the event loop for each request to it. */
const MAX_PER_DOMAIN = 180;
const KEPT_PER_DOMAIN = 150;
/**
 * Of one response, so many are read: a header block has room for 2,000, which would cost 50 ms of the event loop, and as
 * much again to be stored. A browser need not keep more of a whole domain (RFC 6265, 6.1).
 */
const MAX_PER_RESPONSE = 50;
const MAX_COOKIE_LENGTH = 4096;
/** Servers refuse longer request headers, Node's own with more than 16 KiB in all; and a site could make us send megabytes. */
const MAX_HEADER_LENGTH = 8000;
/** The last moment that a Date holds. */
const END_OF_TIME = 8.64e15;

let changes = 0;

/** tough-cookie's store, which notes what changes. */
class NotingStore extends MemoryCookieStore {
  /** Since they were taken, the last one of each cookie. */
  readonly changed = new Map<string, CookieChange>();

  override putCookie(cookie: Cookie): Promise<void>;
  override putCookie(cookie: Cookie, callback: (error: Error | null) => void): void;
  override putCookie(cookie: Cookie, callback: (error: Error | null) => void = () => {}): Promise<void> {
    fixExpiry(cookie);
    const former = this.idx[cookie.domain ?? '']?.[cookie.path ?? '']?.[cookie.key];
    if (Number(cookie.expires) <= Date.now()) this.#remove(former);
    else {
      if (former === undefined || !isSame(former, cookie)) this.note(cookie, false);
      this.keep(cookie);
    }
    callback(null);
    return Promise.resolve();
  }

  override removeCookie(domain: string, path: string, key: string): Promise<void>;
  override removeCookie(domain: string, path: string, key: string, callback: (error: Error | null) => void): void;
  override removeCookie(
    domain: string,
    path: string,
    key: string,
    callback: (error: Error | null) => void = () => {},
  ): Promise<void> {
    this.#remove(this.idx[domain]?.[path]?.[key]);
    callback(null);
    return Promise.resolve();
  }

  #remove(cookie: Cookie | undefined): void {
    if (cookie === undefined) return;
    this.note(cookie, true);
    this.drop(cookie);
  }

  note(cookie: Cookie, gone: boolean): void {
    const change = changeOf(cookie, gone);
    this.changed.set(change.key, change);
  }

  /** Puts it in, and notes nothing. */
  keep(cookie: Cookie): void {
    super.putCookie(cookie, () => {});
  }

  /** Takes it out, and notes nothing. */
  drop({ domain, path, key }: Cookie): void {
    delete this.idx[domain ?? '']?.[path ?? '']?.[key];
  }
}

/** tough-cookie counts Max-Age from the last use, so that a cookie in use would never expire; RFC 6265, 5.3 from its arrival. */
function fixExpiry(cookie: Cookie): void {
  const { maxAge } = cookie;
  if (maxAge === null) return;
  if (typeof maxAge === 'number' && maxAge > 0)
    cookie.expires = new Date(Math.min(END_OF_TIME, Date.now() + maxAge * 1000));
  else cookie.expires = maxAge === 'Infinity' ? new Date(END_OF_TIME) : new Date(0);
  cookie.maxAge = null;
}

function isSame(a: Cookie, b: Cookie): boolean {
  return (
    a.value === b.value &&
    Number(a.expires) === Number(b.expires) &&
    a.secure === b.secure &&
    a.httpOnly === b.httpOnly &&
    a.hostOnly === b.hostOnly
  );
}

function changeOf(cookie: Cookie, gone: boolean): CookieChange {
  const { domain, path, key, value, expires, secure, httpOnly, hostOnly, creation } = cookie;
  const shown = gone
    ? { domain, path, key }
    : { domain, path, key, value, expires, secure, httpOnly, hostOnly, creation };
  const place = hash('sha256', `${domain}\n${path}\n${key}`, 'hex').slice(0, 32);
  return { key: place, n: ++changes, gone, cookie: storedJson(shown) };
}

/** Later ones are taken for cookies that end with the crawl: a browser keeps none for more than 400 days. */
const MAX_EXPIRY_MS = 8e12;

/** The cookies of one crawl (RFC 6265; public suffixes refused). Bounded: the least recently used go first. */
export class CookieJar {
  /** Of the crawl's stored cookies: those of later commits are not in the jar, unless this node made them. */
  version = 0;
  readonly #store = new NotingStore();
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
      if (domain !== null) this.#count(domain);
    }
    if (this.#atMost > MAX_COOKIES) this.#evict();
  }

  /** Puts in cookies that the client gave. */
  give(cookies: readonly InitialCookie[]): void {
    for (const { name, value, domain, path = '/', secure = false } of cookies) {
      const host = hostOf(domain);
      if (host === null) continue;
      const hostOnly = !domain.startsWith('.');
      this.#store.putCookie(
        new Cookie({ key: name, value, domain: host, path, secure, hostOnly, creation: new Date() }),
      );
      this.#count(host);
    }
  }

  /** What changed since the last time, to be stored; undefined: nothing. */
  takeChanges(): CookieChange[] | undefined {
    const { changed } = this.#store;
    if (changed.size === 0) return undefined;
    const taken = [...changed.values()];
    changed.clear();
    return taken;
  }

  /** Takes over what is stored, in any order. */
  load(stored: readonly Pick<CookieChange, 'gone' | 'cookie'>[]): void {
    for (const { gone, cookie: text } of stored) {
      const cookie = Cookie.fromJSON(text);
      if (cookie === undefined || cookie.domain === null) continue;
      if (gone) this.#store.drop(cookie);
      else {
        this.#store.keep(cookie);
        this.#count(cookie.domain);
      }
    }
    if (this.#atMost > MAX_COOKIES) this.#evict();
  }

  /** Empties the jar. */
  clear(): void {
    this.#store.idx = Object.create(null);
    this.#perDomain.clear();
    this.#atMost = 0;
  }

  #count(domain: string): void {
    this.#atMost++;
    const count = (this.#perDomain.get(domain) ?? 0) + 1;
    this.#perDomain.set(domain, count);
    if (count > MAX_PER_DOMAIN) this.#trim(domain);
  }

  /** The cookies of the URL's site, all of its hosts, as a browser that goes there has them. */
  forBrowser(url: string): PlainCookie[] {
    const site = siteOf(URL.parse(url)?.hostname ?? '');
    const domains = Object.keys(this.#store.idx).filter((domain) => siteOf(domain) === site);
    return domains.flatMap((domain) => cookiesIn(this.#store.idx[domain]!)).flatMap(plainCookie);
  }

  /** Takes what the page's site has in a browser afterwards; of other sites it is not kept. */
  takeFromBrowser(url: string, cookies: readonly PlainCookie[]): void {
    const site = siteOf(URL.parse(url)?.hostname ?? '');
    for (const { name, value, domain, path, expires, httpOnly, secure } of cookies) {
      const host = domain.replace(/^\./, '');
      if (siteOf(host) !== site) continue;
      const known = this.#store.idx[host]?.[path]?.[name];
      if (known?.value === value) continue;
      const parts = [`${name}=${value}`, `Path=${path}`];
      if (host !== domain) parts.push(`Domain=${host}`);
      if (expires > 0) parts.push(`Expires=${new Date(expires * 1000).toUTCString()}`);
      if (httpOnly) parts.push('HttpOnly');
      if (secure) parts.push('Secure');
      this.store(`${secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}${path}`, parts.join('; '));
    }
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
    for (const cookie of cookies.slice(0, most)) this.#store.keep(cookie);
    for (const cookie of cookies.slice(most)) this.#store.note(cookie, true);
    return Math.min(cookies.length, most);
  }
}

const NAME = /^[!-:<>-~]+$/;
/** What user agents store and send (RFC 6265, 5.2): more than what its 4.1.1 lets servers set. */
const VALUE = /^(?:[!-:<-~](?:[ -:<-~]*[!-:<-~])?)?$/;
const PATH = /^\/[ -:<-~]*$/;

/** Why given cookies could not be sent: every wrong part, each with its pointer. @param at theirs */
export function cookieProblems(cookies: readonly InitialCookie[] | undefined, at: string): Problem[] {
  return (cookies ?? []).flatMap(({ name, value, domain, path = '/', secure }, i) => {
    const problem = (part: string, code: ProblemCode, message: string) => [
      { pointer: `${at}/${i}/${part}`, code, message },
    ];
    const needsSecure = /^__(?:secure|host)-/i.test(name) && secure !== true;
    return [
      ...(NAME.test(name)
        ? []
        : problem('name', 'bad_cookie', `found ${JSON.stringify(name)}; expected visible ASCII without "=" and ";"`)),
      ...(VALUE.test(value)
        ? []
        : problem('value', 'bad_cookie', 'expected visible ASCII without ";", as a browser sends it')),
      ...(PATH.test(path)
        ? []
        : problem('path', 'bad_cookie', `found ${JSON.stringify(path)}; expected a path that begins with /`)),
      ...(needsSecure
        ? problem('secure', 'bad_cookie', `a cookie with this name is sent over https alone: \`secure\` must be true`)
        : []),
      ...domainProblem(domain).flatMap(([code, message]) => problem('domain', code, message)),
    ];
  });
}

function domainProblem(domain: string): [ProblemCode, string][] {
  const host = hostOf(domain);
  const found = `found ${JSON.stringify(domain)}`;
  if (host === null)
    return [
      ['bad_host', `${found}; expected a host name alone, as shop.example, or .shop.example with its subdomains`],
    ];
  if (!domain.startsWith('.')) return [];
  if (host.includes(':') || /^[\d.]+$/.test(host))
    return [['bad_host', `${found}; an address has no subdomains: leave the dot away`]];
  const site = getPublicSuffix(host, { allowSpecialUseDomain: true, ignoreError: true });
  return site === undefined
    ? [['bad_cookie', `${found}, under which strangers have their names: no cookie is for all of them`]]
    : [];
}

/** A cookie's domain as hosts are written in URLs, without its leading dot; null where it is none. */
function hostOf(domain: string): string | null {
  const name = domain.replace(/^\./, '');
  const parsed = /[/?#@\\\s:*]/.test(name.replace(/^\[[^\]]*\]$/, '')) ? null : URL.parse(`http://${name}/`);
  return parsed === null ? null : parsed.hostname.replace(/^\[(.*)\]$/, '$1');
}
/** Of one domain: by path, then by name. */
function cookiesIn(paths: Record<string, Record<string, Cookie>>): Cookie[] {
  return Object.values(paths).flatMap((names) => Object.values(names));
}

/** The registrable domain; of an address, or a name without one, itself. */
function siteOf(host: string): string {
  return (isIP(host) === 0 ? getPublicSuffix(host, { allowSpecialUseDomain: true, ignoreError: true }) : null) ?? host;
}

const SAME_SITE: Record<string, PlainCookie['sameSite']> = { strict: 'Strict', none: 'None' };

/** None where it has expired. */
function plainCookie(cookie: Cookie): PlainCookie[] {
  const { key, value, domain, path, secure, httpOnly, hostOnly, sameSite } = cookie;
  const expiry = cookie.expiryTime();
  if (domain === null || (expiry !== undefined && expiry <= Date.now())) return [];
  return [
    {
      name: key,
      value,
      domain: hostOnly === true || isIP(domain) !== 0 ? domain : `.${domain}`,
      path: path ?? '/',
      expires: expiry === undefined || expiry >= MAX_EXPIRY_MS ? -1 : expiry / 1000,
      httpOnly,
      secure,
      sameSite: SAME_SITE[sameSite ?? ''] ?? 'Lax',
    },
  ];
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
