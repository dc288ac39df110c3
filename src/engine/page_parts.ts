import { recycle } from '../downloader/body.ts';
import type { CrawlRun } from '../frontier/crawl_run.ts';
import type { HostQueue } from '../frontier/host.ts';
import { sentUrl } from '../model/extra.ts';
import type { CookieChange, CrawlWarning, LogLine, Outcome, ParsedPage } from '../model/outcome.ts';
import type { ClaimedRequest } from '../model/request.ts';
import { type FetchedResponse, headerOf } from '../model/response.ts';
import type { ParseFailure } from '../parser/failure.ts';
import type { PageJob } from '../parser/protocol.ts';
import { pageSignals } from './headers.ts';
import { done, type ended } from './outcomes.ts';
import { allowReturn, redirected, refreshed } from './redirects.ts';
import { type CacheRequest, cacheRequest } from './response_cache.ts';
import { type Session, takeCalls } from './sessions.ts';

// What a page's way (pages.ts) hands from one stage to the next.

/** What a request holds of its host. Each of the two counts once. */
export interface Slot {
  /** The request goes out; at `free` at the latest. */
  sent: () => void;
  /** The download is over. */
  free: () => void;
}

export function slotOf(
  queue: HostQueue,
  { onSent, onFetched }: { onSent: (queue: HostQueue) => void; onFetched: (queue: HostQueue) => void },
): Slot {
  let isSent = false;
  let isHeld = true;
  const sent = () => {
    if (!isSent) onSent(queue);
    isSent = true;
  };
  const free = () => {
    sent();
    if (isHeld) onFetched(queue);
    isHeld = false;
  };
  return { sent, free };
}

/** Meanwhile the response counts as in the parser, whose bounds hold for all that waits with a body in its hands. */
export async function inParser<T>(
  run: CrawlRun,
  { body }: FetchedResponse,
  onParsed: (run: CrawlRun) => void,
  work: () => Promise<T>,
): Promise<T> {
  const bytes = body.byteLength;
  run.parsing++;
  run.parsingBytes += bytes;
  try {
    return await work();
  } finally {
    run.parsing--;
    run.parsingBytes -= bytes;
    onParsed(run);
  }
}

/** The page counts as in the parser until the returned function is called. */
export function enterParser(run: CrawlRun, { body }: FetchedResponse, onParsed: (run: CrawlRun) => void): () => void {
  let inside = true;
  run.parsing++;
  run.parsingBytes += body.byteLength;
  return () => {
    if (!inside) return;
    inside = false;
    run.parsing--;
    run.parsingBytes -= body.byteLength;
    recycle(body);
    onParsed(run);
  };
}

/** For the cache. */
export function requestOf(
  request: ClaimedRequest,
  run: CrawlRun,
  headers: Readonly<Record<string, string>>,
): CacheRequest {
  const { extra } = request;
  return cacheRequest(run.settings, { url: sentUrl(request), headers, method: extra?.method, body: extra?.body });
}

/** What the parser is given. */
export function jobOf(
  request: ClaimedRequest,
  session: Session | undefined,
  fetched: FetchedResponse,
  now: number,
  redirectTo: string | undefined,
): PageJob {
  const { headers } = fetched;
  const job: PageJob = {
    crawlId: request.crawlId,
    url: request.url,
    depth: request.depth,
    status: fetched.status,
    extra: request.extra,
    contentType: headerOf(headers, 'content-type') ?? null,
    body: fetched.body,
    bodyBytes: fetched.bodyBytes,
    // Of a stored page it is what it was, so that the page gives the same items again.
    fetchedAt: fetched.cached?.storedAt ?? now,
  };
  if (session?.wantsHeaders) job.headers = headers;
  if (redirectTo !== undefined) job.redirectTo = redirectTo;
  return Object.assign(job, pageSignals(headers));
}

/** What a response changes in the jar: with its own outcome it is stored, and with no other, which may be refused. */
export function cookiesOf(
  session: Session | undefined,
  url: string,
  { headers }: FetchedResponse,
): CookieChange[] | undefined {
  const lines = headers['set-cookie'];
  if (lines === undefined || session?.jar == null) return undefined;
  session.jar.store(url, lines);
  return session.jar.takeChanges();
}

/**
 * The outcome with the cookies that its response set. Those that calls of a script brought meanwhile go with the page that
 * ends first.
 */
export function withCookies(
  session: Session | undefined,
  cookies: CookieChange[] | undefined,
  outcome: Outcome,
): Outcome {
  const later = session?.jar?.takeChanges();
  allowReturn(outcome, session?.jar, cookies !== undefined);
  if (cookies !== undefined || later !== undefined) outcome.cookies = [...(cookies ?? []), ...(later ?? [])];
  return outcome;
}

export function endingOf(
  request: ClaimedRequest,
  run: CrawlRun,
  fetched: FetchedResponse,
  page: ParsedPage,
  redirectTo: string | undefined,
): ReturnType<typeof ended> {
  if (redirectTo !== undefined) return redirected(request, page, redirectTo);
  return page.refreshes === true ? refreshed(request, page, run.settings) : done(page, fetched);
}

/** Once the page is done, its row no longer says that it failed before: the log does. */
export function logsOf(
  { logs }: ParseFailure,
  { state, reason, detail }: ReturnType<typeof ended>,
): readonly LogLine[] {
  if (state !== 'delayed') return logs;
  return [
    ...logs,
    { level: 'warn', message: `this attempt failed, and the page is tried again: ${reason} (${detail})` },
  ];
}

/** With what the browser cut or left of the page. */
export function flagged(outcome: Outcome, flags: readonly string[]): Outcome {
  if (outcome.page === null || flags.length === 0) return outcome;
  return { ...outcome, page: { ...outcome.page, flags: [...outcome.page.flags, ...flags] } };
}

/** About the bytes that a page holds while its items wait. */
export function sizeOf({ items, links, pending }: ParsedPage): number {
  let bytes = 1000;
  for (const { size } of items) bytes += size + 100;
  for (const { size } of pending?.waiting ?? []) bytes += 2 * size + 500;
  for (const { url } of links) bytes += url.length + 200;
  return bytes;
}

/** The outcome, with what it tells besides its page. */
export function noted(outcome: Outcome, session: Session | undefined, warnings: CrawlWarning[]): Outcome {
  const calls = session === undefined ? undefined : takeCalls(session);
  if (calls !== undefined) outcome.calls = calls;
  if (warnings.length > 0) outcome.warnings = warnings;
  return outcome;
}

export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 500);
}
