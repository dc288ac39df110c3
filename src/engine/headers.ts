import { ACCEPT_ENCODING } from '../downloader/decode.ts';
import type { Settings } from '../model/settings.ts';

/** The headers of every request of a crawl, but for cookies and `auth`. The crawl's own `headers` win. */
export function baseHeaders(settings: Settings): Record<string, string> {
  const headers: Record<string, string> = {
    'user-agent': settings.userAgent,
    accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'accept-language': settings.acceptLanguage,
    'accept-encoding': ACCEPT_ENCODING,
  };
  for (const [name, value] of Object.entries(settings.headers)) headers[name.toLowerCase()] = value;
  return headers;
}
