import { randomUUID } from 'node:crypto';
import type { Sql } from '../db/client.ts';
import { leftAloneUntil } from '../db/hosts.ts';
import { recycle } from '../downloader/body.ts';
import { ApiError, refuse } from '../errors.ts';
import { parsePlanOf } from '../frontier/crawl_run.ts';
import type { Explanation } from '../model/explanation.ts';
import { emptyPage, type ParsedPage } from '../model/outcome.ts';
import type { Preview, PreviewInput, SpiderCheck } from '../model/preview.ts';
import type { RequestExtra, StartRequest } from '../model/request.ts';
import { SKIPPED_REASONS } from '../model/request.ts';
import { type FetchedResponse, headerOf } from '../model/response.ts';
import type { Params, ParsePlanInput, Problem, Spider } from '../model/spider.ts';
import { ParseFailure, ParserStopped } from '../parser/failure.ts';
import type { PageJob, ParserPool } from '../parser/pool.ts';
import type { ScriptPool } from '../parser/script/pool.ts';
import { planCrawl } from './crawl_input.ts';
import type { Engine } from './engine.ts';
import { type Checks, readInput } from './lifecycle.ts';
import { statusFailure } from './outcomes.ts';
import { fetchPage, jobOf } from './preview_fetch.ts';
import { checkSamples } from './samples.ts';
import { newSession, type Session } from './sessions.ts';

/** Previews at once on one node: each may hold a parser thread for as long as its settings let it. */
const MAX_RUNNING = 4;
/** Besides the settings' `timeoutMs`: for waiting, robots.txt and redirects, and for the spider. */
const SPARE_MS = 10_000;
/** A crawl skips pages for these reasons, and calls them failed for all others. */
const SKIPPED: ReadonlySet<string> = new Set(SKIPPED_REASONS);
const NOTHING: Explanation = {
  content: '',
  pages: [],
  fields: [],
  links: { kept: [], dropped: [] },
  tree: null,
  ms: {},
  warnings: [],
};

export interface PreviewsOptions {
  /** For stored spiders. */
  sql: Sql;
  parser: ParserPool;
  /** Null: scripts are off on this node. */
  scripts: Pick<ScriptPool, 'preview'> | null;
  engine: Pick<Engine, 'fetcher' | 'callsOf' | 'steps' | 'rendering'>;
  checks: Checks;
}

/** What is previewed, checked. */
interface Planned {
  plan: ParsePlanInput;
  session: Session;
  /** Canonical. */
  url: string;
  extra: RequestExtra | null;
  /** Why a crawl would not fetch it; null: it would. */
  outside: { reason: string; detail: string | null } | null;
  warnings: string[];
  timeoutMs: number;
}

/** What the spider is run on. */
interface Read {
  url: string;
  extra: RequestExtra | null;
  response: Pick<FetchedResponse, 'status' | 'headers' | 'body' | 'bodyBytes' | 'cached'>;
}

/**
 * Runs a spider on one page, and says what it makes of it and why. Nothing is stored. All guards and limits of a crawl hold,
 * for the page's fetch and for whatever the spider calls.
 */
export class Previews {
  readonly #options: PreviewsOptions;
  #running = 0;

  constructor(options: PreviewsOptions) {
    this.#options = options;
  }

  /** As many are under way as may be. */
  get isFull(): boolean {
    return this.#running >= MAX_RUNNING;
  }

  /** Runs `work` as one of the few at a time. @throws ApiError `too_busy` */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.isFull)
      throw new ApiError(
        'too_busy',
        `This node has ${MAX_RUNNING} previews and checks under way; try again in a second`,
      );
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
    }
  }

  /**
   * @param input of the right shape
   * @param signal gives up
   * @throws ApiError `invalid_request` or `invalid_spider` with every problem
   */
  async preview(input: PreviewInput, signal: AbortSignal): Promise<Preview> {
    const planned = await this.#plan(input);
    const from = performance.now();
    const preview =
      input.html === undefined ? await this.#visit(planned, signal) : await this.#take(planned, input, signal);
    preview.timing.total = Math.round(performance.now() - from);
    preview.warnings.unshift(...planned.warnings);
    return preview;
  }

  /**
   * Runs a stored spider's samples, and compares.
   *
   * @param version null: the newest
   * @param params below each sample's own
   * @throws ApiError `spider_not_found`
   */
  check(spider: { name: string; version: number | null; params: Params }, signal: AbortSignal): Promise<SpiderCheck> {
    const { sql, parser } = this.#options;
    return checkSamples({ sql, parser, preview: (input, stop) => this.preview(input, stop) }, spider, signal);
  }

  async #plan(input: PreviewInput): Promise<Planned> {
    const { planned, problems } = await readPreview(this.#options.sql, input, this.#options.checks);
    refuse(problems);
    const { crawl, requests } = planned;
    const start = requests[0]!;
    const { parseTimeoutMs, callbackTimeoutMs, timeoutMs } = crawl.settings;
    const bounded = {
      ...crawl.settings,
      parseTimeoutMs: Math.min(parseTimeoutMs, SPARE_MS),
      callbackTimeoutMs: Math.min(callbackTimeoutMs, timeoutMs + SPARE_MS),
    };
    const id = randomUUID();
    const { definition, scopeHosts } = crawl;
    const session = newSession({ id, settings: bounded, scopeHosts, definition });
    session.jar?.give(bounded.initialCookies);
    return {
      plan: parsePlanOf({ id, definition, params: crawl.params, scopeHosts, settings: bounded }),
      session,
      url: start.url,
      extra: await extraOf(input, definition, start, this.#options.checks),
      outside: start.reason === null ? null : { reason: start.reason, detail: start.detail },
      warnings: [...crawl.warnings],
      timeoutMs: timeoutMs + SPARE_MS,
    };
  }

  /** The page was given. */
  #take(
    planned: Planned,
    { html = '', contentType = 'text/html', status = 200 }: PreviewInput,
    signal: AbortSignal,
  ): Promise<Preview> {
    const bytes = Buffer.from(html);
    const body = new SharedArrayBuffer(bytes.length);
    new Uint8Array(body).set(bytes);
    // It came as text: whatever charset its type names, these bytes are UTF-8.
    const type = `${contentType.split(';')[0]!.trim()}; charset=utf-8`;
    const response = { status, headers: { 'content-type': type }, body, bodyBytes: bytes.length };
    return this.#read(planned, { url: planned.url, extra: planned.extra, response }, signal);
  }

  async #visit(planned: Planned, signal: AbortSignal): Promise<Preview> {
    const { url, outside, timeoutMs } = planned;
    if (outside !== null) return emptyPreview(url, null, outside.reason, outside.detail);
    const alone = await this.#leftAlone(planned);
    if (alone !== null) return emptyPreview(url, null, 'timeout', alone);
    const patience = AbortSignal.timeout(timeoutMs);
    const { fetcher, rendering } = this.#options.engine;
    const parts = { fetcher, rendering, parser: this.#options.parser };
    const journey = await fetchPage(parts, planned, planned, AbortSignal.any([signal, patience]));
    signal.throwIfAborted();
    const { arrival, redirects, ms, renderMs, flags } = journey;
    if (arrival.kind === 'refused') {
      const [reason, detail]: [string, string | null] = patience.aborted
        ? ['timeout', `there was no answer within ${timeoutMs} ms`]
        : [arrival.reason, arrival.detail];
      return { ...emptyPreview(arrival.url, arrival.status, reason, detail), redirects, timing: { fetch: ms } };
    }
    const { fetched } = arrival;
    try {
      const preview = await this.#read(planned, { ...arrival, response: fetched }, signal);
      preview.timing.fetch = ms - (renderMs ?? 0);
      if (renderMs !== null) preview.timing.render = renderMs;
      preview.flags.push(...flags);
      if (fetched.truncated === true) tellTruncated(preview);
      return { ...preview, redirects, fetched: receiptOf(fetched) };
    } finally {
      recycle(fetched.body);
    }
  }

  /** Why the page's turn does not come within the preview's time; null: it may. */
  async #leftAlone({ url, session, timeoutMs }: Planned): Promise<string | null> {
    // What is stored needs no turn.
    if (session.settings.cache !== null) return null;
    const until = await leftAloneUntil(this.#options.sql, new URL(url).origin);
    if (until === null || until.getTime() - Date.now() <= timeoutMs) return null;
    const why = `its host is left alone until ${until.toISOString()} (Retry-After or back-off)`;
    return `${why}, and a preview waits for ${timeoutMs} ms`;
  }

  async #read(planned: Planned, { url, extra, response }: Read, signal: AbortSignal): Promise<Preview> {
    const { plan, timeoutMs } = planned;
    const { status } = response;
    const failure = statusFailure(status);
    if (failure !== null) return emptyPreview(url, status, failure.reason, failure.detail);
    const patience = AbortSignal.timeout(timeoutMs);
    try {
      const { page, explanation } = await this.#explain(planned, jobOf(plan, url, extra, response));
      const stepsFrom = performance.now();
      const whole = await this.#options.engine.steps.preview(plan, page, AbortSignal.any([signal, patience]));
      if (page.pending !== undefined) explanation.ms.calls = Math.round(performance.now() - stepsFrom);
      const preview = fullPreview(url, status, whole, explanation);
      const [to] = page.links;
      if (page.refreshes === true && to !== undefined)
        return { ...preview, outcome: { state: 'skipped', reason: 'redirected', detail: to.url } };
      if (explanation.unread !== true) return preview;
      const detail = headerOf(response.headers, 'content-type') ?? null;
      return { ...preview, outcome: { state: 'skipped', reason: 'content_type', detail } };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ParserStopped && patience.aborted)
        return emptyPreview(url, status, 'pipeline_error', `the pipeline was not done within ${timeoutMs} ms`);
      if (!(error instanceof ParseFailure)) throw error;
      return { ...emptyPreview(url, status, error.reason, error.message), logs: [...error.logs] };
    }
  }

  #explain({ plan, session }: Planned, job: PageJob): Promise<{ page: ParsedPage; explanation: Explanation }> {
    const { parser, scripts, engine } = this.#options;
    // Sitemaps are the parser's, whatever the spider.
    if (plan.definition.script === undefined || job.extra?.kind !== undefined) return parser.preview(plan, job);
    if (scripts === null) throw new ParseFailure('script_error', 'scripts are off on this node (SCRIPTS)');
    return scripts.preview(plan, job, engine.callsOf(session));
  }
}

/** Every problem that a posted preview has beyond its schema. */
export async function previewProblems(sql: Sql, input: PreviewInput, checks: Checks): Promise<Problem[]> {
  return (await readPreview(sql, input, checks)).problems;
}

/** As a crawl whose one start URL is the page. */
async function readPreview(sql: Sql, input: PreviewInput, checks: Checks) {
  const { spider, params, settings, url, page, pass, render } = input;
  const startUrls = [withoutUndefined({ url, page, pass, render })];
  const crawl = withoutUndefined({ spider, params, settings, startUrls });
  const { plan, problems } = await readInput(sql, crawl, checks);
  return { planned: plan, problems: problems.map(ofPreview) };
}

/** A problem of the crawl's start URL is one of the preview itself. */
function ofPreview(problem: Problem): Problem {
  return { ...problem, pointer: problem.pointer.replace(/^\/startUrls(?:\/0)?/, '') || '/url' };
}

function withoutUndefined<T extends object>(value: T) {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/** What the request is besides a GET: as the preview asks for it, else as the spider's own start request for this URL has it. */
async function extraOf(
  { page, pass, render, params, settings }: PreviewInput,
  spider: Spider,
  start: StartRequest,
  checks: Checks,
): Promise<RequestExtra | null> {
  const asked = page !== undefined || pass !== undefined || render !== undefined;
  const plan = asked ? null : await planCrawl(withoutUndefined({ spider, params, settings }), checks);
  const own = plan?.requests ?? [];
  const { extra } = own.find(({ url }) => url === start.url) ?? start;
  return extra === null ? null : (JSON.parse(extra) as RequestExtra);
}

/** As `done` does for a crawl's page. */
function tellTruncated(preview: Preview): void {
  preview.flags = [...preview.flags, 'truncated'];
  preview.warnings.push('the body ended too early (settings.truncated is keep): this is what came of it');
}

function receiptOf({ ms, bodyBytes, headers, cached }: FetchedResponse): Preview['fetched'] {
  const contentType = headerOf(headers, 'content-type') ?? null;
  const cookies = [headers['set-cookie']].flat().flatMap((line) => line?.split('=')[0]?.trim() || []);
  const stored = cached === undefined ? null : new Date(cached.storedAt).toISOString();
  return { ms, bytes: bodyBytes, contentType, cookies, cached: stored };
}

function fullPreview(url: string, status: number, page: ParsedPage, explanation: Explanation): Preview {
  return {
    url,
    status,
    redirects: [],
    fetched: null,
    outcome: { state: 'done', reason: null, detail: null },
    content: explanation.content,
    pages: explanation.pages,
    items: page.items.map(({ type, data }) => ({ type, data })),
    dropped: page.dropped,
    fields: explanation.fields,
    links: explanation.links,
    tree: explanation.tree,
    logs: page.logs ?? [],
    state: page.state ?? {},
    flags: page.flags,
    timing: Object.fromEntries(
      Object.entries(explanation.ms).map(([stage, ms]) => [stage, Math.round(ms * 100) / 100]),
    ),
    warnings: [...explanation.warnings],
  };
}

function emptyPreview(url: string, status: number | null, reason: string, detail: string | null): Preview {
  const state = SKIPPED.has(reason) ? 'skipped' : 'failed';
  return {
    ...fullPreview(url, status ?? 0, emptyPage(), NOTHING),
    status,
    content: null,
    outcome: { state, reason, detail },
  };
}
