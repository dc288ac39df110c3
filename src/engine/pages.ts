import { type Downloader, transportOf } from '../downloader/downloader.ts';
import type { CrawlRun } from '../frontier/crawl_run.ts';
import type { HostQueue } from '../frontier/host.ts';
import { sentUrl } from '../model/extra.ts';
import type { Outcome, ParsedPage } from '../model/outcome.ts';
import type { ClaimedRequest } from '../model/request.ts';
import type { FetchedResponse, FetchResult } from '../model/response.ts';
import { ParseFailure, ParserStopped } from '../parser/failure.ts';
import type { ParserPool } from '../parser/pool.ts';
import type { PageJob } from '../parser/protocol.ts';
import { baseHeaders } from './headers.ts';
import type { Manners } from './manners.ts';
import {
  ended,
  fetchFailed,
  fromCache,
  outcomeOf,
  parseFailed,
  renderFailed,
  retryOrFail,
  statusFailure,
} from './outcomes.ts';
import { conditionsOf, isConditional, isLost, noteOf, type PageMemory } from './page_memory.ts';
import {
  cookiesOf,
  endingOf,
  enterParser,
  flagged,
  inParser,
  jobOf,
  logsOf,
  messageOf,
  noted,
  requestOf,
  type Slot,
  sizeOf,
  slotOf,
  withCookies,
} from './page_parts.ts';
import { mayRefresh, type Redirect, redirectOf, redirectTo } from './redirects.ts';
import type { Rendering } from './rendering.ts';
import type { CachedPage, CacheRequest, ResponseCache } from './response_cache.ts';
import type { Scripts } from './scripts.ts';
import type { Session, Sessions } from './sessions.ts';
import type { StepCalls } from './step_calls.ts';

export interface PagesOptions {
  downloader: Downloader;
  parser: ParserPool;
  scripts: Scripts;
  steps: StepCalls;
  rendering: Rendering;
  manners: Manners;
  sessions: Sessions;
  memory: PageMemory;
  cache: ResponseCache;
  /** Takes every outcome. */
  onOutcome: (outcome: Outcome) => void;
  /** A request goes out, or ends without. */
  onSent: (queue: HostQueue) => void;
  /** The download of a request is over; its host slot is free. */
  onFetched: (queue: HostQueue) => void;
  /** A page of this crawl left the parser. */
  onParsed: (run: CrawlRun) => void;
  /** What the cache had of this request when it was admitted is there no more: it is to be admitted anew. */
  onEvicted: (queue: HostQueue, request: ClaimedRequest) => void;
  log: { error: (detail: object, message: string) => void };
}

/** The way of one request: download, parse, outcome. Every path ends in exactly one outcome. */
export class Pages {
  readonly #options: PagesOptions;

  constructor(options: PagesOptions) {
    this.#options = options;
  }

  /**
   * Fetches and parses one request. Never rejects: what nobody has thought of is logged and ends the request as
   * `parse_error`, so that no bug leaves a request in progress or a host slot taken.
   */
  async run(request: ClaimedRequest, queue: HostQueue): Promise<void> {
    const slot = slotOf(queue, this.#options);
    await this.#conclude(request, queue, slot.free, () => this.#fetchAndParse(request, queue, slot));
  }

  /** Reads the stored response of a request and parses it; in its crawl it counts as a fetch meanwhile. Never rejects. */
  async runCached(page: CachedPage): Promise<void> {
    const { request, queue, settle } = page;
    const { run } = queue;
    run.inFlight++;
    let isHeld = true;
    const free = () => {
      if (!isHeld) return;
      isHeld = false;
      run.inFlight--;
      settle();
      this.#options.onParsed(run);
    };
    await this.#conclude(request, queue, free, () => this.#readAndParse(page, free));
  }

  /** @param work null: what was stored is gone */
  async #conclude(
    request: ClaimedRequest,
    queue: HostQueue,
    free: () => void,
    work: () => Promise<Outcome | null>,
  ): Promise<void> {
    const outcome = await work().catch((error: unknown) => this.#unexpected(request, queue, error));
    this.#handOn(request, free);
    if (outcome === null) this.#handOn(request, () => this.#options.onEvicted(queue, request));
    else this.#handOn(request, () => this.end(request, outcome));
  }

  #unexpected(request: ClaimedRequest, queue: HostQueue, error: unknown): Outcome {
    const now = Date.now();
    if (error instanceof ParserStopped)
      return outcomeOf(request, null, now, parseFailed(request, queue.run.settings, now, error, false));
    this.#complain(request, error, 'a request failed unexpectedly');
    return outcomeOf(request, null, now, ended('failed', 'parse_error', messageOf(error)));
  }

  #handOn(request: ClaimedRequest, give: () => void): void {
    try {
      give();
    } catch (error) {
      this.#complain(request, error, 'an outcome was handed on, and its taker failed');
    }
  }

  #complain({ crawlId, url }: ClaimedRequest, error: unknown, message: string): void {
    this.#options.log.error({ err: error, crawl: crawlId, url }, message);
  }

  async #fetchAndParse(request: ClaimedRequest, queue: HostQueue, slot: Slot): Promise<Outcome> {
    const { run } = queue;
    const { sessions, cache, onParsed } = this.#options;
    const session = sessions.get(run.id);
    const headers = this.#headersFor(request, session, run);
    const asked = run.settings.cache === null ? null : requestOf(request, run, headers);
    const startedAt = Date.now();
    const fetched = await (asked === null
      ? this.#send(request, run, headers, slot.sent)
      : cache.fetch(asked, (conditional) => this.#send(request, run, conditional, slot.sent)));
    const now = Date.now();
    const waitMs = this.#options.manners.heed(queue.host, run.settings, fetched, startedAt, now);
    if (fetched.kind === 'failure') {
      slot.free();
      return outcomeOf(request, fetched, now, fetchFailed(request, run.settings, now, fetched));
    }
    // Before the slot is free: the next request, which begins in that call, goes with these cookies.
    const cookies = cookiesOf(session, request.url, fetched);
    slot.free();
    // A database that is slow stops this crawl alone.
    if (asked !== null) await inParser(run, fetched, onParsed, () => cache.store(asked, fetched, now));
    return withCookies(session, cookies, await this.#outcomeOf(request, run, fetched, now, waitMs));
  }

  #send(
    request: ClaimedRequest,
    run: CrawlRun,
    headers: Readonly<Record<string, string>>,
    onSent: () => void,
  ): Promise<FetchResult> {
    return this.#options.downloader.fetch({
      url: sentUrl(request),
      method: request.extra?.method,
      headers,
      body: request.extra?.body,
      ...transportOf(run.settings),
      onSent,
    });
  }

  /** @param free to be called when the response is here */
  async #readAndParse({ request, queue, key, size }: CachedPage, free: () => void): Promise<Outcome | null> {
    const fetched = await this.#options.cache.take(this.asks(request, queue), key, size);
    if (fetched === null) return null;
    const now = Date.now();
    if (fetched.kind === 'failure')
      return outcomeOf(request, fetched, now, ended('failed', fetched.reason, fetched.detail));
    const session = this.#options.sessions.get(queue.run.id);
    const cookies = cookiesOf(session, request.url, fetched);
    free();
    return withCookies(session, cookies, await this.#outcomeOf(request, queue.run, fetched, now, 0));
  }

  /** The request as it would be sent now, for the cache. @param queue of a crawl with `cache` */
  asks(request: ClaimedRequest, { run }: HostQueue): CacheRequest {
    const headers = this.#headersFor(request, this.#options.sessions.get(run.id), run);
    return requestOf(request, run, headers);
  }

  /** It is not in the cache, and its crawl fetches nothing. */
  missed(request: ClaimedRequest): void {
    const miss = this.#options.cache.miss();
    this.end(request, outcomeOf(request, miss, Date.now(), ended('failed', miss.reason, miss.detail)));
  }

  /** The request's own headers win over the jar's cookies, and those over `auth` and the crawl's headers. */
  #headersFor(request: ClaimedRequest, session: Session | undefined, run: CrawlRun): Record<string, string> {
    const headers = session?.headersTo(request.url) ?? baseHeaders(run.settings);
    const cookie = session?.jar?.header(request.url);
    const own = request.extra?.headers;
    const { recall } = request;
    if (cookie === undefined && own === undefined && recall === undefined) return headers;
    const conditions = recall === undefined ? {} : conditionsOf(recall);
    return { ...headers, ...conditions, ...(cookie === undefined ? {} : { cookie }), ...own };
  }

  async #outcomeOf(
    request: ClaimedRequest,
    run: CrawlRun,
    fetched: FetchedResponse,
    now: number,
    waitMs: number,
  ): Promise<Outcome> {
    const outcome = await this.#judge(request, run, fetched, now, waitMs);
    return fetched.cached === undefined ? outcome : fromCache(outcome, fetched.cached);
  }

  async #judge(
    request: ClaimedRequest,
    run: CrawlRun,
    fetched: FetchedResponse,
    now: number,
    waitMs: number,
  ): Promise<Outcome> {
    const { status } = fetched;
    const redirect = redirectOf(fetched, request, run.settings);
    if (redirect !== null) return this.#redirect(request, run, fetched, now, redirect);
    if (status === 304 && isConditional(request)) return this.#options.memory.unchanged(run, request, fetched, now);
    const failure = statusFailure(status);
    if (failure !== null) {
      const retry = run.settings.retryStatuses.includes(status);
      const ending = retry
        ? retryOrFail(request, run.settings, now, { ...failure, waitMs })
        : ended('failed', failure.reason, failure.detail);
      return outcomeOf(request, fetched, now, ending);
    }
    const session = this.#options.sessions.get(run.id);
    if (session === undefined || !this.#options.rendering.concerns(run, request.extra))
      return this.#parse(request, run, fetched, now);
    return this.#show(request, run, session, fetched, now);
  }

  #redirect(
    request: ClaimedRequest,
    run: CrawlRun,
    fetched: FetchedResponse,
    now: number,
    redirect: Redirect,
  ): Promise<Outcome> | Outcome {
    if ('location' in redirect) return this.#parse(request, run, fetched, now, redirect.location);
    return outcomeOf(request, fetched, now, redirect.ending);
  }

  /** A browser makes the page first. */
  async #show(
    request: ClaimedRequest,
    run: CrawlRun,
    session: Session,
    fetched: FetchedResponse,
    now: number,
  ): Promise<Outcome> {
    try {
      const shown = await this.#askBrowser(request, run, session, fetched);
      switch (shown.kind) {
        case 'as_is':
          return await this.#parse(request, run, fetched, now);
        case 'page':
          return flagged(await this.#parse(request, run, shown.fetched, now), shown.flags);
        case 'redirect':
          return await this.#redirect(request, run, fetched, now, redirectTo(request, run.settings, shown.location));
        case 'failure': {
          const ending = renderFailed(request, run.settings, now, shown);
          return noted(outcomeOf(request, fetched, now, ending), session, []);
        }
      }
    } catch (error) {
      return outcomeOf(request, fetched, now, parseFailed(request, run.settings, now, error, false));
    }
  }

  /** Meanwhile the page counts as in the parser, whose bounds hold for what waits for the browser. */
  async #askBrowser(request: ClaimedRequest, run: CrawlRun, session: Session, fetched: FetchedResponse) {
    const { crawlId, url, extra } = request;
    const headers = this.#headersFor(request, session, run);
    const showing = { crawlId, url, extra, fetched, session, headers, plan: null };
    const { rendering, onParsed } = this.#options;
    return inParser(run, fetched, onParsed, () => rendering.show(showing));
  }

  async #parse(
    request: ClaimedRequest,
    run: CrawlRun,
    fetched: FetchedResponse,
    now: number,
    redirectTo?: string,
  ): Promise<Outcome> {
    const leave = enterParser(run, fetched, this.#options.onParsed);
    const session = this.#options.sessions.get(run.id);
    // A script is given pages; where a redirect or a sitemap leads is the same for every spider.
    const isPage = redirectTo === undefined && request.extra?.kind === undefined;
    const isScripts = run.definition.script !== undefined && isPage;
    try {
      const job = jobOf(request, session, fetched, now, redirectTo);
      const parsed = await (isScripts ? this.#runScript(job, run) : this.#options.parser.parse(job));
      leave();
      const page = parsed.pending === undefined ? parsed : await this.#awaitSteps(run, parsed);
      const ending = endingOf(request, run, fetched, page, redirectTo);
      const warnings = session?.watch.see(request.url, page.cpu) ?? [];
      const note = ending.state === 'done' ? noteOf(request, fetched) : undefined;
      const outcome = noted(outcomeOf(request, fetched, now, ending), session, warnings);
      if (note !== undefined) outcome.note = note;
      return outcome;
    } catch (error) {
      const ending = parseFailed(request, run.settings, now, error, isScripts);
      const wasKilled = ending.reason === 'parse_timeout' || ending.reason === 'parse_memory';
      const warnings = wasKilled ? (session?.watch.killed(request.url, ending.detail ?? '') ?? []) : [];
      const outcome = noted(outcomeOf(request, fetched, now, ending), session, warnings);
      if (error instanceof ParseFailure) outcome.logs = logsOf(error, ending);
      return outcome;
    } finally {
      leave();
    }
  }

  /** Gives a script the page, but where that refreshes to another: that is the same for every spider. */
  async #runScript(job: PageJob, { settings }: CrawlRun): Promise<ParsedPage> {
    if (settings.maxMetaRefreshSeconds !== null && mayRefresh(job)) {
      const page = await this.#options.parser.parse({ ...job, refreshOnly: true });
      if (page.refreshes === true) return page;
    }
    return this.#options.scripts.run(job);
  }

  /** The page with the items that waited. What it holds meanwhile is its place among the pages that may wait. */
  async #awaitSteps(run: CrawlRun, page: ParsedPage): Promise<ParsedPage> {
    const bytes = sizeOf(page);
    run.waiting++;
    run.waitingBytes += bytes;
    try {
      return await this.#options.steps.finish(run.id, page);
    } finally {
      run.waiting--;
      run.waitingBytes -= bytes;
      this.#options.onParsed(run);
    }
  }

  /** Hands on an outcome. What an earlier crawl saw behind a page that did not come is followed all the same. */
  end(request: ClaimedRequest, outcome: Outcome): void {
    if (isLost(request, outcome)) void this.#options.memory.follow(request, outcome);
    else this.#options.onOutcome(outcome);
  }
}
