import { ENDED_EARLY, type Outcome, type ParsedPage } from '../model/outcome.ts';
import type { ClaimedRequest, Reason } from '../model/request.ts';
import type { FetchedResponse, FetchFailure, FetchResult } from '../model/response.ts';
import type { Settings } from '../model/settings.ts';
import { ParseFailure, ParserStopped } from '../parser/failure.ts';

const MAX_RETRY_MS = 300_000;
const EMPTY_FETCH = { status: null, bodyBytes: 0, wireBytes: 0, ms: 0 };

/** The parts of an outcome that say how it ended. */
type Ending = Pick<Outcome, 'state' | 'reason' | 'detail' | 'readyAt' | 'page'>;

/** An outcome of this request. @param fetched null: nothing was sent */
export function outcomeOf(request: ClaimedRequest, fetched: FetchResult | null, now: number, ending: Ending): Outcome {
  const { status, wireBytes, ms } = fetched ?? EMPTY_FETCH;
  const { state, reason, detail, readyAt, page } = ending;
  return {
    crawlId: request.crawlId,
    fp: request.fp,
    seq: request.seq,
    hostId: request.hostId,
    fence: request.fence,
    attempts: request.attempts,
    depth: request.depth,
    redirects: request.redirects,
    url: request.url,
    status,
    bodyBytes: fetched?.kind === 'response' ? fetched.bodyBytes : 0,
    wireBytes,
    fetchMs: ms,
    fetchedAt: now,
    state,
    reason,
    detail: detail === null ? null : storable(detail),
    readyAt,
    page,
  };
}

/** The outcome of a page that was not fetched, or was found unchanged: it looks like a fetched one, and tells. */
export function fromCache(
  outcome: Outcome,
  { storedAt, revalidated }: NonNullable<FetchedResponse['cached']>,
): Outcome {
  const { page, detail, state, reason } = outcome;
  const unchanged = revalidated ? ', found unchanged by the site' : '';
  const note = `from the cache, stored ${new Date(storedAt).toISOString()}${unchanged}`;
  // Of a redirect the detail is its target.
  const told = reason === 'redirected' || state === 'delayed' ? detail : [detail ?? [], note].flat().join(', ');
  return {
    ...outcome,
    detail: told,
    page: page === null ? null : { ...page, flags: [...page.flags, 'cached'] },
  };
}

/** A detail may quote a stranger's header: PostgreSQL takes neither NUL nor lone surrogates. */
function storable(detail: string): string {
  return detail.slice(0, 1000).toWellFormed().replaceAll('\0', '\ufffd');
}

/** @param fetched what the page was read from */
export function done(page: ParsedPage, fetched: FetchedResponse): Ending {
  if (fetched.truncated !== true) return { state: 'done', reason: null, detail: null, readyAt: null, page };
  const detail = `${ENDED_EARLY}; what came of it (${fetched.bodyBytes} bytes) was read`;
  return { state: 'done', reason: null, detail, readyAt: null, page: { ...page, flags: [...page.flags, 'truncated'] } };
}

export function ended(
  state: 'failed' | 'skipped',
  reason: Reason,
  detail: string | null,
  page: ParsedPage | null = null,
): Ending {
  return { state, reason, detail, readyAt: null, page };
}

/**
 * A failure that another try may mend: delayed with exponential back-off and jitter (half to whole of the doubled delay)
 * until `retries` are used up, then failed with the reason kept. Attempts whose node died do not count.
 */
export function retryOrFail(
  request: ClaimedRequest,
  settings: Settings,
  now: number,
  failure: Pick<FetchFailure, 'reason' | 'detail'> & { waitMs?: number },
): Ending {
  const tries = request.attempts - request.crashes;
  if (tries > settings.retries) return ended('failed', failure.reason, failure.detail);
  const backoff = Math.min(MAX_RETRY_MS, settings.retryDelayMs * 2 ** (tries - 1)) * (0.5 + Math.random() / 2);
  const readyAt = now + Math.max(backoff, failure.waitMs ?? 0);
  return { state: 'delayed', reason: failure.reason, detail: failure.detail, readyAt, page: null };
}

/**
 * How a request ends whose fetch brought no response. Half of what looks like malformed HTTP is a front end that is being
 * restarted, so `bad_response` is among the default `retryReasons`; a server that always speaks nonsense costs `retries`
 * small fetches.
 */
export function fetchFailed(request: ClaimedRequest, settings: Settings, now: number, failure: FetchFailure): Ending {
  const { reason, detail } = failure;
  if ((settings.retryReasons as readonly Reason[]).includes(reason))
    return retryOrFail(request, settings, now, failure);
  return ended(reason === 'egress' ? 'skipped' : 'failed', reason, detail);
}

const TRIED_AGAIN: ReadonlySet<Reason> = new Set(['script_error', 'parse_timeout', 'parse_memory']);

/**
 * How a page ends that could not be read. What a script fails on may be another's doing (a call, a machine under load), so
 * its page gets one more try where `retries` allows any; a declarative spider would only fail again.
 */
export function parseFailed(
  request: ClaimedRequest,
  settings: Settings,
  now: number,
  error: unknown,
  byScript: boolean,
): Ending {
  // Its crawl was closed, or this node stops: the page is fetched again by whoever goes on with the crawl.
  if (error instanceof ParserStopped)
    return { ...ended('failed', 'parse_error', null), state: 'delayed', readyAt: now };
  const reason = error instanceof ParseFailure ? error.reason : 'parse_error';
  const detail = (error instanceof Error ? error.message : String(error)).slice(0, 1000);
  // The step asked others, who may answer the next time.
  if (reason === 'pipeline_error') return retryOrFail(request, settings, now, { reason, detail });
  if (byScript && TRIED_AGAIN.has(reason))
    return retryOrFail(request, { ...settings, retries: Math.min(settings.retries, 1) }, now, { reason, detail });
  return ended(reason === 'content_type' ? 'skipped' : 'failed', reason, detail);
}

/** A page whose time in the browser was over may have met a busy machine: it gets one more try where `retries` allows any. */
export function renderFailed(
  request: ClaimedRequest,
  settings: Settings,
  now: number,
  { reason, detail }: Pick<FetchFailure, 'reason' | 'detail'>,
): Ending {
  if (reason !== 'render_timeout') return ended('failed', reason, detail);
  return retryOrFail(request, { ...settings, retries: Math.min(settings.retries, 1) }, now, { reason, detail });
}

/** How an answer that is no page ends: by its status. Null: it is a page, or a redirect. */
export function statusFailure(status: number): { reason: Reason; detail: string } | null {
  if (status >= 200 && status < 300) return null;
  const reason = status >= 500 ? 'http_5xx' : status >= 400 ? 'http_4xx' : 'bad_response';
  return { reason, detail: `status ${status}` };
}
