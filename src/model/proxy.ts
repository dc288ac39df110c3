import { basic } from './auth.ts';
import type { Settings } from './settings.ts';
import type { Problem } from './spider.ts';

/** Where a proxy is, and what it is told. */
export interface ProxyAddress {
  /** As URLs have it. */
  hostname: string;
  /** Empty: 80. */
  port: string;
  /** Value of Proxy-Authorization; null: none. */
  authorization: string | null;
}

const NAME = /^[A-Za-z_][\w-]{0,99}$/;

/** The operator's proxies are named so; whatever else a setting has is a URL. */
export function isProxyName(text: string): boolean {
  return NAME.test(text);
}

/** Reads `http://[user:password@]host:port`; null where it is anything else. */
export function parseProxy(text: string): ProxyAddress | null {
  const url = URL.parse(text);
  if (url?.protocol !== 'http:' || url.pathname !== '/' || /[?#]/.test(text)) return null;
  const { hostname, port, username, password } = url;
  try {
    const isSecret = username !== '' || password !== '';
    const authorization = isSecret ? basic(decodeURIComponent(username), decodeURIComponent(password)) : null;
    return { hostname, port, authorization };
  } catch {
    return null;
  }
}

function proxiesOf(setting: Settings['proxy']): readonly string[] {
  if (setting === null) return [];
  return typeof setting === 'string' ? [setting] : setting;
}

/** Why a crawl's proxies cannot be used: every mistake, each with its pointer. @param known names of the operator's */
export function proxyProblems(setting: Settings['proxy'], at: string, known: ReadonlySet<string>): Problem[] {
  return proxiesOf(setting).flatMap((text, i): Problem[] => {
    const pointer = typeof setting === 'string' ? at : `${at}/${i}`;
    if (isProxyName(text)) {
      if (known.has(text)) return [];
      const names = known.size === 0 ? 'there is none' : `there are ${[...known].join(', ')}`;
      const message = `the operator has set no proxy of the name "${text}"; ${names} (PROXIES)`;
      return [{ pointer, code: 'unknown_proxy', message }];
    }
    if (parseProxy(text) !== null) return [];
    const message = `${whatIsWrong(text)}; expected http://host:port, http://user:password@host:port or a name that the operator has set (PROXIES)`;
    return [{ pointer, code: 'bad_url', message }];
  });
}

/** It may hold a password, so that it is not quoted. */
function whatIsWrong(text: string): string {
  const scheme = /^([a-z][a-z0-9+.-]{0,20}):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return 'found no `http://` at its start';
  if (scheme !== 'http') return `found the scheme ${scheme}, which proxies are not spoken to with`;
  const url = URL.parse(text);
  if (url === null) return 'found no URL';
  if (url.pathname !== '/' || /[?#]/.test(text)) return 'found something behind the host and port';
  return 'found a user name or password with a % that is none of its own: write it as %25';
}
