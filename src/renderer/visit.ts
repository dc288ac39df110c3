import { setTimeout as sleep } from 'node:timers/promises';
import type { BrowserContext, Page } from 'playwright-core';
import type { PlainCookie } from '../model/render.ts';
import { PageSession } from './page_session.ts';
import type { RenderEnd, RenderJob } from './protocol.ts';

/** So long nothing loads, and the page is read. */
const QUIET_MS = 500;
/** A page that asks for something every second is never quiet: so long after its `load` it is read all the same. */
const MAX_BUSY_MS = 5000;
const CLOSE_MS = 3000;

/** What became of a page, and what it cost. */
export interface Visit {
  end: RenderEnd;
  requests: number;
  ms: number;
  /** The page is closed, and its context is good for another. */
  isClean: boolean;
}

/**
 * Makes one page in a tab that stands empty, and empties it again. Never rejects.
 *
 * @param signal gives up
 */
export async function visit(page: Page, job: RenderJob, signal: AbortSignal): Promise<Visit> {
  const from = performance.now();
  let session: PageSession | null = null;
  let end: RenderEnd;
  try {
    await giveCookies(page.context(), job);
    session = await PageSession.start(page, job);
    end = await settle(page, session, job, signal);
    if (end.kind !== 'failure') end.cookies = (await page.context().cookies()) satisfies PlainCookie[];
  } catch (error) {
    end = failure(error);
  }
  const ms = performance.now() - from;
  const isGood = end.kind !== 'failure' && session?.flags.has('render_limit') === false;
  const isClean = isGood && session !== null && (await within(CLOSE_MS, empty(page, session)));
  return { end, requests: session?.requests ?? 0, ms, isClean };
}

async function empty(page: Page, session: PageSession): Promise<void> {
  for (const other of page.context().pages()) if (other !== page) await other.close();
  // Before its session ends: until it is gone, it may still try to go elsewhere.
  await page.goto('about:blank');
  await session.end();
}

/** True where it was done in time. */
export async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const done = work.then(
    () => true,
    () => false,
  );
  return Promise.race([done, sleep(ms, false, { ref: false })]);
}

async function giveCookies(context: BrowserContext, { cookies }: RenderJob): Promise<void> {
  await context.clearCookies();
  if (cookies.length === 0) return;
  // One that the browser refuses would have it refuse them all.
  await context.addCookies(cookies).catch(async () => {
    for (const cookie of cookies) await context.addCookies([cookie]).catch(() => {});
  });
}

/** Waits for whatever comes first: the page is ready, it leads elsewhere, it dies, its time is over. */
async function settle(page: Page, session: PageSession, job: RenderJob, signal: AbortSignal): Promise<RenderEnd> {
  const { timeoutMs, waitFor } = job.plan;
  const over = new AbortController();
  const timeout = AbortSignal.timeout(timeoutMs);
  const stopped = AbortSignal.any([timeout, signal, over.signal]);
  const isOver = new Promise<never>((_, reject) => {
    stopped.addEventListener('abort', () => reject(stopped.reason), { once: true });
  });
  const onCrash = Promise.withResolvers<never>();
  const crash = () => onCrash.reject(new Error('the page crashed (it may have used too much memory)'));
  page.once('crash', crash);
  const crashed = onCrash.promise;
  isOver.catch(() => {});
  crashed.catch(() => {});
  const redirected = session.redirected.then((url): RenderEnd => ({ kind: 'redirect', url, cookies: [] }));
  const read = shown(page, session, job, stopped);
  read.catch(() => {});
  try {
    // A page that leads elsewhere may have been read a moment before it said so.
    return await Promise.race([redirected, read, crashed, isOver]);
  } catch (error) {
    if (!timeout.aborted || signal.aborted) throw error;
    const missing = waitFor === null ? 'it had not loaded' : `nothing fitted ${waitFor}`;
    return { kind: 'failure', reason: 'render_timeout', detail: `${missing} within ${timeoutMs} ms` };
  } finally {
    over.abort();
    page.off('crash', crash);
  }
}

async function shown(page: Page, session: PageSession, job: RenderJob, signal: AbortSignal): Promise<RenderEnd> {
  const { timeoutMs, waitFor } = job.plan;
  const timeout = timeoutMs + CLOSE_MS; // ours comes first
  const arrived = page.goto(job.url, { waitUntil: 'commit', timeout });
  // Its own navigation, which was not followed, counts as an interruption.
  await arrived.catch((error: unknown) => session.hasRefused || Promise.reject(error));
  if (waitFor === null) await session.loaded;
  if (waitFor === null) await quiet(session, signal);
  else await page.waitForSelector(`css=${waitFor}`, { state: 'attached', timeout });
  const text = await session.read();
  if (text === null)
    return { kind: 'failure', reason: 'too_large', detail: `the rendered page is over ${job.maxBytes} bytes` };
  const html = new TextEncoder().encode(text);
  if (html.length > job.maxBytes)
    return { kind: 'failure', reason: 'too_large', detail: `the rendered page is over ${job.maxBytes} bytes` };
  return { kind: 'page', html, cookies: [], flags: [...session.flags] };
}

async function quiet(session: PageSession, signal: AbortSignal): Promise<void> {
  const until = performance.now() + MAX_BUSY_MS;
  while (session.quietMs < QUIET_MS && !session.flags.has('render_limit')) {
    if (performance.now() > until) {
      session.flags.add('render_busy');
      return;
    }
    await sleep(Math.max(20, QUIET_MS - session.quietMs), undefined, { signal });
  }
}

function failure(error: unknown): RenderEnd {
  const message = error instanceof Error ? error.message : String(error);
  // playwright adds a call log below its first line
  return { kind: 'failure', reason: 'render_error', detail: message.split('\n')[0]!.slice(0, 300) };
}
