import type { CookieChange, CrawlWarning, LogLine, Outcome, ParsedPage } from '../model/outcome.ts';
import type { ClaimedRequest } from '../model/request.ts';
import type { FetchedResponse } from '../model/response.ts';
import type { ParseFailure } from '../parser/failure.ts';
import type { PageJob } from '../parser/protocol.ts';
import { pageSignals } from './headers.ts';
import type { ended } from './outcomes.ts';
import { type Session, takeCalls } from './sessions.ts';

// What a page's way (pages.ts) hands from one stage to the next.

/** What the parser is given. */
export function jobOf(
  request: ClaimedRequest,
  session: Session | undefined,
  fetched: FetchedResponse,
  now: number,
  redirectTo: string | undefined,
): PageJob {
  return {
    crawlId: request.crawlId,
    url: request.url,
    depth: request.depth,
    status: fetched.status,
    extra: request.extra,
    contentType: first(fetched.headers['content-type']),
    ...(session?.wantsHeaders ? { headers: fetched.headers } : {}),
    body: fetched.body,
    bodyBytes: fetched.bodyBytes,
    fetchedAt: now,
    ...pageSignals(fetched.headers),
    ...(redirectTo === undefined ? {} : { redirectTo }),
  };
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

/** What an outcome tells besides its page. */
export function notes(session: Session | undefined, warnings: CrawlWarning[]): Pick<Outcome, 'calls' | 'warnings'> {
  const calls = session === undefined ? undefined : takeCalls(session);
  return { ...(calls === undefined ? {} : { calls }), ...(warnings.length === 0 ? {} : { warnings }) };
}

function first(header: string | string[] | undefined): string | null {
  return (Array.isArray(header) ? header[0] : header) ?? null;
}
