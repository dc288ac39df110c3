import type { CookieJar } from '../downloader/cookies.ts';
import type { Outcome, ParsedPage } from '../model/outcome.ts';
import type { ClaimedRequest } from '../model/request.ts';
import type { FetchedResponse } from '../model/response.ts';
import type { Settings } from '../model/settings.ts';
import type { PageJob } from '../parser/protocol.ts';
import { ended } from './outcomes.ts';

// A redirect's target is a request of its own: it is judged, deduplicated, leased, asked of robots.txt and counted like every
// other. The redirecting request ends as skipped. A page that refreshes to another is a redirect too.

type Ending = ReturnType<typeof ended>;

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Of a page, so much is searched for a refresh before a script is given it. */
const HEAD_BYTES = 64 * 1024;

/** Where a redirect leads, as it is written, or why not there. */
export type Redirect = { location: string } | { ending: Ending };

/** Where a response redirects to, as its Location has it, or why not there; null: it is no redirect. */
export function redirectOf(
  { status, headers }: Pick<FetchedResponse, 'status' | 'headers'>,
  request: Pick<ClaimedRequest, 'redirects'>,
  settings: Pick<Settings, 'maxRedirects'>,
): Redirect | null {
  if (!REDIRECTS.has(status)) return null;
  const [location, ...others] = new Set([headers.location].flat());
  if (location === undefined) return { ending: ended('failed', 'bad_response', `status ${status} without a Location`) };
  if (others.length > 0) return { ending: ended('failed', 'bad_response', `status ${status} with several Locations`) };
  return redirectTo(request, settings, location);
}

/** One hop more, or the end of it. */
export function redirectTo(
  { redirects }: Pick<ClaimedRequest, 'redirects'>,
  { maxRedirects }: Pick<Settings, 'maxRedirects'>,
  location: string,
): Redirect {
  if (redirects < maxRedirects) return { location };
  const detail = `after ${redirects} redirects, to ${location.slice(0, 500)}`;
  return { ending: ended('failed', 'too_many_redirects', detail) };
}

/** How a request ends whose response redirects. @param page its target as the one link, judged; none: it is no URL */
export function redirected(request: ClaimedRequest, page: ParsedPage, location: string): Ending {
  const [link] = page.links;
  if (link === undefined)
    return ended('skipped', 'bad_url', `it redirects to ${location.slice(0, 500)}, which is not a URL`);
  // The target is as urgent as what led to it.
  return ended('skipped', 'redirected', link.url, { ...page, links: [{ ...link, priority: request.priority }] });
}

/** How a request ends whose page refreshes to another. */
export function refreshed(request: ClaimedRequest, page: ParsedPage, settings: Settings): Ending {
  const redirect = redirectTo(request, settings, page.links[0]?.url ?? '');
  return 'ending' in redirect ? redirect.ending : redirected(request, page, redirect.location);
}

/**
 * A site may set a cookie and redirect back, to the same URL or to one that led here, as a login does: what answered with a
 * redirect may be a page now. Such a target is fetched once more; to itself only where a cookie changed.
 */
export function allowReturn(outcome: Outcome, jar: CookieJar | null | undefined, isChanged: boolean): void {
  const link = outcome.page?.links[0];
  if (outcome.reason !== 'redirected' || link === undefined || link.reason !== null || jar == null) return;
  if (link.fp === outcome.fp ? isChanged : jar.header(link.url) !== undefined) link.again = true;
}

/** Whether a page may refresh to another: a search of its head, so that few pages are parsed for it before a script gets them. */
export function mayRefresh({ refresh, body, bodyBytes }: PageJob): boolean {
  return (
    refresh !== undefined || /refresh/i.test(Buffer.from(body, 0, Math.min(bodyBytes, HEAD_BYTES)).toString('latin1'))
  );
}
