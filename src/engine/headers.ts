import { ACCEPT_ENCODING } from '../downloader/decode.ts';
import type { Settings } from '../model/settings.ts';

/** The headers of every request of a crawl, but for cookies. The crawl's own `headers` win. */
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

/**
 * Retry-After (RFC 9110, 10.2.3) in milliseconds from now: seconds or an HTTP date; null where it is neither.
 *
 * @param now milliseconds since the epoch
 */
export function retryAfterMs(header: string | string[] | undefined, now: number): number | null {
  const text = (Array.isArray(header) ? header[0] : header)?.trim();
  if (!text) return null;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
