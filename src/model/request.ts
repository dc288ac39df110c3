import { Type } from './type.ts';

/** A request's states as the API shows them. A delayed request (waiting for its retry) is shown as queued with `retryAt`. */
export const REQUEST_STATES = ['queued', 'fetching', 'done', 'failed', 'skipped'] as const;
export type RequestState = (typeof REQUEST_STATES)[number];

/** A request's states as `requests.state` stores them. */
export const STATE = { queued: 0, delayed: 1, fetching: 2, done: 3, failed: 4, skipped: 5 } as const;
export type StateCode = (typeof STATE)[keyof typeof STATE];

/** The API's word for a stored state, by code. */
export const STATE_NAMES: readonly RequestState[] = ['queued', 'queued', 'fetching', 'done', 'failed', 'skipped'];

/** Why a request was skipped: it was never fetched, or what came back is not a page of its own. */
export const SKIPPED_REASONS = [
  'robots',
  'offsite',
  'denied',
  'depth',
  'scheme',
  'trap',
  'max_pages_per_host',
  'unchanged',
  'already_scraped',
  'url_too_long',
  'bad_url',
  'request_too_large',
  'egress',
  'redirected',
  'redirect_duplicate',
  'content_type',
] as const;

/** Why a request failed or was skipped: the closed list of the ledger. */
export const REASONS = [
  ...SKIPPED_REASONS,
  // the fetch failed
  'too_many_redirects',
  'dns',
  'connect',
  'proxy',
  'tls',
  'timeout',
  'reset',
  'truncated',
  'too_large',
  'bad_encoding',
  'bad_response',
  'http_4xx',
  'http_5xx',
  'robots_unreachable',
  'not_cached',
  // the page failed
  'render_timeout',
  'render_error',
  'parse_timeout',
  'parse_memory',
  'parse_error',
  'script_error',
  'pipeline_error',
  'crashed',
] as const;
export type Reason = (typeof REASONS)[number];

export const ReasonSchema = Type.Enum([...REASONS], { description: 'Why the request failed or was skipped' });

/** What a request is besides a plain GET of its URL, as `requests.extra` stores it. Absent parts are the usual ones. */
export interface RequestExtra {
  /** Upper case; absent: GET. */
  method?: string;
  /** Names in lower case. Sent besides the crawl's own; not sent on to another origin by a redirect. */
  headers?: Record<string, string>;
  /** Counts in the fingerprint. */
  body?: string;
  /** The URL to ask for, where the site redirected the canonical one to another way of writing it. */
  sent?: string;
  /** Absent: a page for the spider. `robots`: its `Sitemap:` lines are wanted. */
  kind?: 'sitemap' | 'robots';
  /** Sitemap indexes on the way here. */
  sitemapDepth?: number;
  /** The page entry, or the script's callback, that the response is given to. */
  page?: string;
  /** A script asked for it: a browser makes the page of the response. (Of page entries the parser knows when the response is here.) */
  render?: true;
  /** What the page that found it passed on: `{ "meta": "passed:name" }`, a script's `response.meta`. */
  pass?: Record<string, unknown>;
}

/** A start request, ready to be stored. */
export interface StartRequest {
  url: string;
  fp: string;
  /** Null where it is skipped at once. */
  origin: string | null;
  seq: number;
  rank: bigint;
  priority: number;
  reason: Reason | null;
  detail: string | null;
  /** JSON text of its `RequestExtra`; null: a plain GET. */
  extra: string | null;
}

/** A request as the frontier hands it to the engine: claimed, in state fetching, its attempt already counted. */
export interface ClaimedRequest {
  crawlId: string;
  /** 32 hex digits. */
  fp: string;
  seq: number;
  hostId: number;
  /** The host lease's fencing number at the time of the claim. */
  fence: number;
  url: string;
  depth: number;
  priority: number;
  /** Attempts begun, this one included; the commit names it, so that an outcome of an earlier claim is refused. */
  attempts: number;
  /** Of these, attempts whose node died. They do not use up `retries`. */
  crashes: number;
  /** Hops of the redirect chain that led here. */
  redirects: number;
  /** Null: a plain GET. */
  extra: RequestExtra | null;
  /** In a crawl with `dedup.scope: spider`: what is known of its page. Absent: nothing is, and nothing is to be remembered. */
  recall?: Recall;
}

/** What earlier crawls of its spider know of a page. */
export interface Recall {
  /** Stands for the spider. */
  space: string;
  /** Hash of what extracts now, as 32 hex digits. */
  definition: string;
  /** Whether the links are known that the page had under this definition. Absent: it was never scraped. */
  links?: 'known' | 'unknown';
  /** Validators of the page as it was scraped under this definition; null: it had none, or it was not scraped. */
  etag: string | null;
  lastModified: string | null;
}
