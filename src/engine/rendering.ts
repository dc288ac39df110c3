import { ByteSink, recycle } from '../downloader/body.ts';
import type { CrawlRun } from '../frontier/crawl_run.ts';
import type { RenderPlan } from '../model/render.ts';
import type { Reason, RequestExtra } from '../model/request.ts';
import { type FetchedResponse, headerOf } from '../model/response.ts';
import type { ParsePlanInput, Problem, Spider } from '../model/spider.ts';
import { ParserStopped } from '../parser/failure.ts';
import type { PageJob, ParserPool } from '../parser/pool.ts';
import type { Rendered, RenderUsage } from '../renderer/protocol.ts';
import { type Renderer, RenderStopped } from '../renderer/renderer.ts';
import { addCalls, type Session } from './sessions.ts';

/** What the browser sends of itself, or must not send. */
const NOT_OWN = new Set(['user-agent', 'accept', 'accept-language', 'accept-encoding', 'cookie', 'content-type']);

/** What the engine asks of the renderer; see Renderer in renderer/renderer.ts. */
export type PageRenderer = Pick<Renderer, 'render' | 'closeCrawl' | 'giveUp'>;

/** A fetched page. */
export interface Showing {
  crawlId: string;
  url: string;
  extra: RequestExtra | null;
  fetched: FetchedResponse;
  session: Session;
  /** As they were sent with the page's request. */
  headers: Readonly<Record<string, string>>;
  /** Of a preview; null: the crawl's. */
  plan: ParsePlanInput | null;
}

export type Shown =
  /** No browser was asked: it is read as it came. */
  | { kind: 'as_is' }
  /** The response with what the browser shows as its body. */
  | { kind: 'page'; fetched: FetchedResponse; flags: string[]; ms: number }
  | { kind: 'redirect'; location: string }
  | { kind: 'failure'; reason: Reason; detail: string };

/** Responses that a browser makes pages of, between their download and the parser. */
export class Rendering {
  readonly #renderer: PageRenderer | null;
  readonly #parser: Pick<ParserPool, 'renderOf'>;

  /** @param renderer null: this node has no browser */
  constructor(renderer: PageRenderer | null, parser: Pick<ParserPool, 'renderOf'>) {
    this.#renderer = renderer;
    this.#parser = parser;
  }

  /** Whether a response of this request may be one. */
  concerns({ definition }: Pick<CrawlRun, 'definition'>, extra: RequestExtra | null): boolean {
    if (extra?.render === true) return true;
    return extra?.kind === undefined && (definition.pages?.some(({ render }) => render) ?? false);
  }

  /**
   * Has the browser make the page, where its page entry says so. What it shows replaces the body, which nobody may look at
   * afterwards; its cookies are the jar's, and what it did is counted among the crawl's calls.
   *
   * @throws ParserStopped, ParseFailure
   */
  async show(showing: Showing): Promise<Shown> {
    const { fetched, session } = showing;
    const plan = await this.#parser.renderOf(jobOf(showing), showing.plan);
    if (plan === null) return { kind: 'as_is' };
    const rendered = await this.#render(showing, plan);
    if (rendered === null)
      return { kind: 'failure', reason: 'render_error', detail: 'this node has no browser (CHROMIUM_PATH)' };
    count(session, rendered.usage);
    if (rendered.kind === 'failure') return rendered;
    session.jar?.takeFromBrowser(showing.url, rendered.cookies);
    if (rendered.kind === 'redirect') return { kind: 'redirect', location: rendered.url };
    const { flags, usage } = rendered;
    return { kind: 'page', fetched: replaced(fetched, rendered.html, usage), flags, ms: usage.ms };
  }

  closeCrawl(crawlId: string): void {
    this.#renderer?.closeCrawl(crawlId);
  }

  /** Ends what is under way; the pages are fetched again by whoever goes on. */
  stop(): void {
    this.#renderer?.giveUp();
  }

  async #render(showing: Showing, plan: RenderPlan): Promise<Rendered | null> {
    const { crawlId, url, fetched, session, headers } = showing;
    const { settings, jar } = session;
    if (this.#renderer === null) return null;
    try {
      const job = {
        crawlId,
        url,
        status: fetched.status,
        responseHeaders: fetched.headers,
        body: fetched.body,
        bodyBytes: fetched.bodyBytes,
        plan,
        userAgent: settings.userAgent,
        acceptLanguage: settings.acceptLanguage,
        ownHeaders: Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_OWN.has(name))),
        cookies: jar?.forBrowser(url) ?? [],
        verifyTls: settings.verifyTls,
        maxBytes: settings.maxBodyBytes,
        followsRefresh: settings.maxMetaRefreshSeconds !== null,
      };
      return await this.#renderer.render(job, settings.proxy);
    } catch (error) {
      throw error instanceof RenderStopped ? new ParserStopped(error.message) : error;
    }
  }
}

/** What is wrong with a spider that wants pages rendered where no browser is; pointers begin at the spider. */
export function renderProblems(spider: Spider | unknown, hasBrowser: boolean): Problem[] {
  const pages: unknown = typeof spider === 'object' && spider !== null && 'pages' in spider ? spider.pages : [];
  if (hasBrowser || !Array.isArray(pages)) return [];
  return pages.flatMap((page: { render?: unknown } | null, i) =>
    page?.render === undefined || page.render === false
      ? []
      : [{ pointer: `/pages/${i}/render`, code: 'rendering_off' as const, message: OFF }],
  );
}

const OFF =
  'this service renders no pages: its operator has not set CHROMIUM_PATH to a Chromium; without `render` the page is read as it is fetched';

function jobOf({ crawlId, url, extra, fetched }: Showing): PageJob {
  const { status, headers, body, bodyBytes } = fetched;
  const contentType = headerOf(headers, 'content-type') ?? null;
  return { crawlId, url, depth: 0, status, contentType, extra, body, bodyBytes, fetchedAt: 0 };
}

function replaced(fetched: FetchedResponse, html: Uint8Array, { bytes }: RenderUsage): FetchedResponse {
  const sink = new ByteSink(html.length);
  sink.append(html);
  recycle(fetched.body);
  const headers = { ...fetched.headers, 'content-type': 'text/html; charset=utf-8' };
  return { ...fetched, headers, body: sink.buffer, bodyBytes: sink.length, wireBytes: fetched.wireBytes + bytes };
}

function count(session: Session, { requests, refused, bytes, ms }: RenderUsage): void {
  addCalls(session, {
    'render pages': 1,
    'render ms': ms,
    'render requests': requests,
    'render refused': refused,
    'render bytes': bytes,
  });
}
