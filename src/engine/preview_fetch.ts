import { sentUrl } from '../model/extra.ts';
import type { Preview } from '../model/preview.ts';
import type { RequestExtra } from '../model/request.ts';
import { type FetchedResponse, headerOf } from '../model/response.ts';
import type { ParsePlanInput } from '../model/spider.ts';
import { ParseFailure, ParserStopped } from '../parser/failure.ts';
import type { PageJob, ParserPool } from '../parser/pool.ts';
import { CallFailed } from '../parser/script/calls.ts';
import { pageSignals } from './headers.ts';
import type { InlineFetcher } from './inline_fetch.ts';
import { statusFailure } from './outcomes.ts';
import { mayRefresh, redirectOf, redirectTo } from './redirects.ts';
import type { Rendering, Shown } from './rendering.ts';
import type { Session } from './sessions.ts';

/** Where a preview's page is, or why there is none. */
export type Arrival =
  | { kind: 'page'; url: string; extra: RequestExtra | null; fetched: FetchedResponse }
  | { kind: 'refused'; url: string; status: number | null; reason: string; detail: string | null };

export interface Journey {
  arrival: Arrival;
  redirects: Preview['redirects'];
  /** Milliseconds of all hops, waiting for their turn included. */
  ms: number;
  /** Of these, the browser's; null: none was asked. */
  renderMs: number | null;
  /** What the browser cut or left of the page. */
  flags: string[];
}

/**
 * Fetches a page as a crawl would: each hop with all that holds for a crawl's fetch, each redirect judged by the scope.
 * Where the signal gives up, it is refused as `aborted`.
 */
export async function fetchPage(
  parts: { fetcher: Pick<InlineFetcher, 'fetch'>; parser: Pick<ParserPool, 'preview'>; rendering: Rendering },
  { plan, session }: { plan: ParsePlanInput; session: Session },
  start: { url: string; extra: RequestExtra | null },
  signal: AbortSignal,
): Promise<Journey> {
  const redirects: Preview['redirects'] = [];
  const from = performance.now();
  let [renderMs, flags]: [number | null, string[]] = [null, []];
  const arrived = (arrival: Arrival): Journey => {
    const ms = Math.round(performance.now() - from);
    return { arrival, redirects, ms, renderMs, flags };
  };
  let { url, extra } = start;
  for (;;) {
    const hop = await orFailure(CallFailed, () => parts.fetcher.fetch(session, callOf(url, extra), signal));
    if (hop instanceof CallFailed)
      return arrived({ kind: 'refused', url, status: null, reason: hop.code, detail: hop.message });
    const refused = (reason: string, detail: string | null, at = url) =>
      arrived({ kind: 'refused', url: at, status: hop.status, reason, detail });
    const shown = await show(parts.rendering, { plan, session }, { url, extra, hop }, signal, redirects.length);
    if (shown.kind === 'failure') return refused(shown.reason, shown.detail);
    const fetched = shown.kind === 'page' ? shown.fetched : hop;
    if (shown.kind === 'page') [renderMs, flags] = [shown.ms, shown.flags];
    const location = shown.kind === 'redirect' ? shown.location : null;
    const job = redirectJob(plan, jobOf(plan, url, extra, fetched), location);
    const judged = job === null ? null : await orFailure(ParseFailure, () => parts.parser.preview(plan, job));
    if (judged instanceof ParseFailure) return refused(judged.reason, judged.message);
    if (judged === null || (location === null && judged.page.refreshes !== true))
      return arrived({ kind: 'page', url, extra, fetched });
    const [link] = judged.page.links;
    if (link === undefined) return refused('bad_url', `it redirects to ${location?.slice(0, 500)}, which is not a URL`);
    const next = redirectTo({ redirects: redirects.length }, plan.settings, link.url);
    if ('ending' in next) return refused(next.ending.reason ?? '', next.ending.detail);
    redirects.push({ url, status: hop.status, to: link.url });
    if (link.reason !== null) return refused(link.reason, link.detail, link.url);
    url = link.url;
    extra = link.extra ?? null;
  }
}

/** What tells where a response leads: its Location, or a page that may refresh to another; null: it leads nowhere. */
function redirectJob({ settings }: ParsePlanInput, job: PageJob, location: string | null): PageJob | null {
  if (location !== null) return { ...job, redirectTo: location };
  const isPage = job.extra?.kind === undefined && statusFailure(job.status) === null;
  return isPage && settings.maxMetaRefreshSeconds !== null && mayRefresh(job) ? { ...job, refreshOnly: true } : null;
}

/** A redirect by its status, or what the browser makes of the page. Where the signal gives up, it fails as `aborted`. */
async function show(
  rendering: Rendering,
  { plan, session }: { plan: ParsePlanInput; session: Session },
  { url, extra, hop }: { url: string; extra: RequestExtra | null; hop: FetchedResponse },
  signal: AbortSignal,
  redirects: number,
): Promise<Shown | { kind: 'failure'; reason: string; detail: string | null }> {
  const redirect = redirectOf(hop, { redirects }, plan.settings);
  if (redirect !== null && 'ending' in redirect)
    return { kind: 'failure', reason: redirect.ending.reason ?? '', detail: redirect.ending.detail };
  if (redirect !== null) return { kind: 'redirect', location: redirect.location };
  if (statusFailure(hop.status) !== null || !rendering.concerns(plan, extra)) return { kind: 'as_is' };
  const { crawlId } = plan;
  const giveUp = () => rendering.closeCrawl(crawlId);
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    const headers = { ...session.headersTo(url), ...extra?.headers };
    return await rendering.show({ crawlId, url, extra, fetched: hop, session, headers, plan });
  } catch (error) {
    if (error instanceof ParseFailure) return { kind: 'failure', reason: error.reason, detail: error.message };
    if (!(error instanceof ParserStopped)) throw error;
    return { kind: 'failure', reason: 'aborted', detail: 'the preview was given up' };
  } finally {
    signal.removeEventListener('abort', giveUp);
    giveUp();
  }
}

/** What is known to fail, as a value. */
async function orFailure<T, E extends Error>(
  kind: new (...parts: never[]) => E,
  work: () => Promise<T>,
): Promise<T | E> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
}

function callOf(url: string, extra: RequestExtra | null) {
  return {
    url: sentUrl({ url, extra }),
    method: extra?.method ?? 'GET',
    headers: extra?.headers ?? {},
    body: extra?.body ?? null,
  };
}

/** The parser's job for what came back. */
export function jobOf(
  plan: ParsePlanInput,
  url: string,
  extra: RequestExtra | null,
  {
    status,
    headers,
    body,
    bodyBytes,
    cached,
  }: Pick<FetchedResponse, 'status' | 'headers' | 'body' | 'bodyBytes' | 'cached'>,
): PageJob {
  const contentType = headerOf(headers, 'content-type') ?? null;
  const fetchedAt = cached?.storedAt ?? Date.now();
  return {
    crawlId: plan.crawlId,
    url,
    depth: 0,
    status,
    contentType,
    headers,
    extra,
    body,
    bodyBytes,
    fetchedAt,
    ...pageSignals(headers),
  };
}
