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
      return [
        { pointer, code: 'unknown_proxy', message: `the operator has named no proxy ${text}; ${names} (PROXIES)` },
      ];
    }
    // It may hold a password, so that it is not quoted.
    if (parseProxy(text) !== null) return [];
    const message =
      'expected http://host:port, http://user:password@host:port or a name that the operator has set (PROXIES)';
    return [{ pointer, code: 'bad_url', message }];
  });
}
