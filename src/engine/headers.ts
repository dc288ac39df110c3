import { ACCEPT_ENCODING } from '../downloader/decode.ts';
import { type FetchedResponse, headerOf } from '../model/response.ts';
import type { Settings } from '../model/settings.ts';
import type { PageJob } from '../parser/protocol.ts';

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

const NO_SIGNALS = {};

/** What a page's headers say to its reader, as a parser's job has it: nothing, for most pages. */
export function pageSignals(headers: FetchedResponse['headers']): Pick<PageJob, 'refresh' | 'robotsTag'> {
  const { refresh, 'x-robots-tag': robotsTag } = headers;
  if (refresh === undefined && robotsTag === undefined) return NO_SIGNALS;
  const first = headerOf(headers, 'refresh');
  return { ...(first === undefined ? {} : { refresh: first }), ...(robotsTag === undefined ? {} : { robotsTag }) };
}
