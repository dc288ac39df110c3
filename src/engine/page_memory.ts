import { setTimeout as sleep } from 'node:timers/promises';
import { inKeyedTransaction, retried, type Sql } from '../db/client.ts';
import { UNFOLLOWED } from '../db/gone.ts';
import { findPages, type KnownPage, readLinks } from '../db/spider_pages.ts';
import type { CrawlRun } from '../frontier/crawl_run.ts';
import { ENDED_EARLY, emptyPage, type Outcome, type PageNote, type ParsedPage } from '../model/outcome.ts';
import type { ClaimedRequest, Recall } from '../model/request.ts';
import { type FetchedResponse, headerOf } from '../model/response.ts';
import { ParseFailure, ParserStopped } from '../parser/failure.ts';
import type { ParserPool } from '../parser/pool.ts';
import { spaceOf } from '../pipeline/dedupe.ts';
import { pageDefinition } from './definition_hash.ts';
import { Gatherer } from './gatherer.ts';
import { ended, outcomeOf, parseFailed } from './outcomes.ts';
import type { Rendering } from './rendering.ts';

/** Pages whose links are read, or recalled, at once. */
const MAX_AT_ONCE = 64;
const WAIT_MS = 20;
const AGAIN_MS = 500;
const NO_BODY = new SharedArrayBuffer(0);
/** What may be sent back to a server as it came. */
const ETAG = /^[\x20-\x7e]{1,1000}$/;
/** RFC 9110, 13.1 and 14.2: with one of them the answer depends on more than the page. */
const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range', 'range'];

export interface MemoryOptions {
  sql: Sql;
  parser: ParserPool;
  /** Takes the outcomes of requests that are not fetched. */
  onOutcome: (outcome: Outcome) => void;
  /** Whether more outcomes can be taken. */
  hasRoom: () => boolean;
  /** Whether the node stops: nothing new is begun. */
  isStopping: () => boolean;
  /** A browser's page may change while its document does not. */
  rendering: Pick<Rendering, 'concerns'>;
  log: { error: (detail: object, message: string) => void };
}

/**
 * What earlier crawls of a spider remember of pages, for crawls with `dedup.scope: spider`: a page that gave items within
 * `ttl` is not fetched, one that has validators is asked for only if it has changed. Either way the links that it had are
 * followed, so that the crawl goes on behind it.
 */
export class PageMemory {
  readonly #options: MemoryOptions;
  readonly #links: Gatherer<{ space: string; fp: string }, string | null>;

  constructor(options: MemoryOptions) {
    this.#options = options;
    // One read at a time: while it is under way, pages gather for the next.
    this.#links = new Gatherer({
      max: MAX_AT_ONCE,
      lingerMs: 0,
      concurrency: 1,
      send: (pages) => this.#readLinks(pages),
    });
  }

  /**
   * Notes on each claimed request what is known of its page.
   *
   * @returns those that are to be fetched; the others have their outcome
   */
  async admit(run: CrawlRun, requests: ClaimedRequest[]): Promise<ClaimedRequest[]> {
    const space = spaceOf(run);
    for (const request of requests) {
      const definition = pageDefinition(run, request);
      if (definition !== null) request.recall = { space, definition, etag: null, lastModified: null };
    }
    const known = await this.#find(run, requests);
    if (known.size === 0) return requests;
    const [fetched, fresh]: [ClaimedRequest[], ClaimedRequest[]] = [[], []];
    for (const request of requests) {
      const page = known.get(request.fp);
      if (page !== undefined) this.#note(run, request, page);
      (page?.usable && page.freshSince !== null ? fresh : fetched).push(request);
    }
    for (let from = 0; from < fresh.length; from += MAX_AT_ONCE) {
      const some = fresh.slice(from, from + MAX_AT_ONCE);
      const isOver = await this.#waitForRoom();
      const left = isOver ? some : await this.#skip(some, known);
      fetched.push(...left);
    }
    return fetched;
  }

  #note(run: CrawlRun, request: ClaimedRequest, page: KnownPage): void {
    request.recall!.links = page.usable ? 'known' : 'unknown';
    if (page.usable && !this.#options.rendering.concerns(run, request.extra)) makeConditional(run, request, page);
  }

  /**
   * Hands on the outcome of a request that did not bring its page, though an earlier crawl had it: what it led to then is
   * followed all the same, so that one bad answer hides nothing.
   */
  async follow(request: ClaimedRequest, outcome: Outcome): Promise<void> {
    const { onOutcome, log } = this.#options;
    // Of one that ended early the links are known as far as it came.
    const recalled = outcome.page === null ? await this.#recall(request, outcome.fetchedAt).catch(() => null) : null;
    const page = outcome.page ?? emptyPage();
    try {
      onOutcome({ ...outcome, page: recalled ?? { ...page, flags: [...page.flags, UNFOLLOWED] } });
    } catch (error) {
      log.error(
        { err: error, crawl: request.crawlId, url: request.url },
        'an outcome was handed on, and its taker failed',
      );
    }
  }

  /** The outcome of a conditional request whose page is as it was (RFC 9110, 15.4.5). */
  async unchanged(run: CrawlRun, request: ClaimedRequest, fetched: FetchedResponse, now: number): Promise<Outcome> {
    let page: ParsedPage | null;
    try {
      page = await this.#recall(request, now);
    } catch (error) {
      if (error instanceof ParseFailure)
        return outcomeOf(request, fetched, now, parseFailed(request, run.settings, now, error, true));
      page = null;
    }
    // Forgotten meanwhile, or the database is away: asked for again, without a condition in the first case.
    if (page === null) return outcomeOf(request, fetched, now, again(now + AGAIN_MS));
    const detail = 'status 304: as an earlier crawl scraped it';
    const ending = ended('skipped', 'unchanged', detail, page);
    return { ...outcomeOf(request, fetched, now, ending), note: { kind: 'unchanged' } };
  }

  /**
   * Without the database all is fetched: that costs time, and loses nothing. Whether a page was scraped is not known then: where
   * it cannot be read, what was behind it is not gone.
   */
  async #find(run: CrawlRun, requests: readonly ClaimedRequest[]): Promise<ReadonlyMap<string, KnownPage>> {
    const { sql, log } = this.#options;
    const asked = requests.flatMap(({ fp, recall }) =>
      recall === undefined ? [] : { fp, definition: recall.definition },
    );
    const { ttl = null } = run.settings.dedup;
    try {
      const pages = await retried(() =>
        inKeyedTransaction(sql, (tx) => findPages(tx, spaceOf(run), asked, run.id, ttl)),
      );
      return new Map(pages.map((page) => [page.fp, page]));
    } catch (error) {
      log.error({ err: error, crawl: run.id }, 'what earlier crawls scraped could not be read');
      for (const { recall } of requests) if (recall !== undefined) recall.links = 'unknown';
      return new Map();
    }
  }

  /** @returns requests that are to be fetched after all: their page was forgotten meanwhile */
  async #skip(requests: readonly ClaimedRequest[], known: ReadonlyMap<string, KnownPage>): Promise<ClaimedRequest[]> {
    const left = await Promise.all(
      requests.map(async (request) => {
        const { freshSince, crawlId } = known.get(request.fp)!;
        const now = Date.now();
        try {
          const page = await this.#recall(request, now);
          if (page === null) return request;
          const detail = `${freshSince!.toISOString()} by crawl ${crawlId}`;
          this.#options.onOutcome(outcomeOf(request, null, now, ended('skipped', 'already_scraped', detail, page)));
        } catch (error) {
          if (!(error instanceof ParserStopped)) return request;
          this.#options.onOutcome(outcomeOf(request, null, now, again(now)));
        }
        return [];
      }),
    );
    return left.flat();
  }

  /** The links that a page had, judged anew; null: they are not known. @throws ParseFailure, ParserStopped */
  async #recall({ crawlId, fp, url, depth, extra, recall }: ClaimedRequest, now: number): Promise<ParsedPage | null> {
    const remembered = recall?.links === 'known' ? await this.#links.ask({ space: recall.space, fp }) : null;
    if (remembered === null) return null;
    return this.#options.parser.parse({
      ...{ crawlId, url, depth, status: 200, extra, contentType: null },
      ...{ body: NO_BODY, bodyBytes: 0, fetchedAt: now, remembered },
    });
  }

  async #readLinks(pages: { space: string; fp: string }[]): Promise<(string | null)[]> {
    const rows = await retried(() => inKeyedTransaction(this.#options.sql, (tx) => readLinks(tx, pages)));
    const links = new Map(rows.map((row) => [row.space + row.fp, row.links]));
    return pages.map(({ space, fp }) => links.get(space + fp) ?? null);
  }

  /** @returns true where the node stops */
  async #waitForRoom(): Promise<boolean> {
    while (!this.#options.hasRoom() && !this.#options.isStopping()) await sleep(WAIT_MS);
    return this.#options.isStopping();
  }
}

/** Given back to the queue as it is. */
function again(readyAt: number) {
  return { state: 'delayed' as const, reason: 'parse_error' as const, detail: null, readyAt, page: null };
}

/** Has a request ask with its page's validators, unless it has conditions of its own, or a cache that asks with its own. */
function makeConditional(run: CrawlRun, request: ClaimedRequest, { etag, lastModified }: KnownPage): void {
  const { method = 'GET', headers = {} } = request.extra ?? {};
  const own = [...Object.keys(headers), ...Object.keys(run.settings.headers)].map((name) => name.toLowerCase());
  const isPlain = (method === 'GET' || method === 'HEAD') && run.settings.cache === null;
  if (isPlain && !own.some((name) => CONDITIONS.includes(name))) Object.assign(request.recall!, { etag, lastModified });
}

/** Whether the outcome leaves unseen what an earlier crawl has seen. A page that is not there any more leads nowhere. */
export function isLost({ recall }: ClaimedRequest, { state, reason, status, detail }: Outcome): boolean {
  if (recall?.links === undefined) return false;
  if (state === 'done') return detail?.startsWith(ENDED_EARLY) ?? false;
  if (state === 'skipped') return reason === 'robots' || reason === 'egress';
  return state === 'failed' && status !== 404 && status !== 410;
}

/** Whether the request asks for its page only if it has changed. */
export function isConditional({ recall }: ClaimedRequest): boolean {
  return recall !== undefined && (recall.etag !== null || recall.lastModified !== null);
}

/** RFC 9110, 13.1: a server that knows If-None-Match does not look at the other. */
export function conditionsOf({ etag, lastModified }: Recall): Record<string, string> {
  return {
    ...(etag === null ? {} : { 'if-none-match': etag }),
    ...(lastModified === null ? {} : { 'if-modified-since': lastModified }),
  };
}

/** What is to be remembered of a page that was read whole; undefined: nothing. */
export function noteOf({ recall }: ClaimedRequest, { headers, truncated }: FetchedResponse): PageNote | undefined {
  if (recall === undefined || truncated === true) return undefined;
  const etag = headerOf(headers, 'etag')?.trim() ?? '';
  const lastModified = headerOf(headers, 'last-modified')?.trim() ?? '';
  return {
    kind: 'scraped',
    definition: recall.definition,
    etag: etag !== '*' && ETAG.test(etag) ? etag : null,
    lastModified: isDate(lastModified) ? lastModified : null,
  };
}

function isDate(text: string): boolean {
  return text.length <= 100 && ETAG.test(text) && !Number.isNaN(Date.parse(text));
}
