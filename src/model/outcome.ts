import type { Reason, RequestExtra } from './request.ts';

/** One item, ready to be stored. */
export interface ItemRow {
  type: string;
  /** The item's data as JSON text, well formed and free of NUL, exactly as it will be given back. */
  data: string;
  /** Bytes of `data` in UTF-8. */
  size: number;
  /** Of the pipeline's dedupe steps: an item whose key is taken is dropped by the commit. Absent: none. */
  keys?: DedupeKey[];
  /** Of an item with a key, in a crawl that compares with earlier ones of its spider. */
  state?: ItemState;
}

/** What later crawls compare an item by. */
export interface ItemState {
  /** 128 bits of SHA-256 over the item's type and its key's fields and values, as 32 hex digits. */
  key: string;
  /** 128 bits of SHA-256 over `fields`. */
  hash: string;
  /** JSON text: a hash of each value by its path, as `specs.weight`. Bounded, however large the item is. */
  fields: string;
}

/** What an item is against the last state that the crawls of its spider know. */
export const CHANGE_KINDS = ['new', 'changed', 'same', 'gone'] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

/** A key that only one stored item may have, in its crawl or in all crawls of its spider. */
export interface DedupeKey {
  scope: 'crawl' | 'spider';
  /** 128 bits of SHA-256 over the key's fields and values, as 32 hex digits. */
  key: string;
}

/** What a pipeline step asks of the outside. */
export type StepQuestion =
  | { kind: 'enrich'; url: string /** JSON text; null: none is sent. */; body: string | null }
  | { kind: 'lookup' /** JSON values for $1, $2 … */; params: unknown[] };

/** JSON text; or why there is none, in one word (`timeout`, `http_5xx`), and where more is known, in a sentence. */
export type StepAnswer = { text: string } | { error: string; detail?: string };

/** An item that waits for an answer before it can go on through the pipeline. */
export interface WaitingItem {
  /** Its place among the items of its page. */
  place: number;
  type: string;
  /** JSON text, as in `ItemRow`. */
  data: string;
  size: number;
  keys: DedupeKey[];
  /** Number of the step that asks. */
  step: number;
  question: StepQuestion;
}

/** What is still to be done with a page's items. */
export interface PendingItems {
  /** The places of `items`. */
  places: number[];
  waiting: WaitingItem[];
}

/** A discovered request, ready to be stored: canonical, fingerprinted, judged. */
export interface Link {
  url: string;
  /** 32 hex digits. */
  fp: string;
  /** `scheme://host[:port]`; null where the link is skipped for good: no rule and no nearer page can take it. */
  origin: string | null;
  priority: number;
  /** Null: to be queued. Else it is stored as skipped with this reason. */
  reason: Reason | null;
  /** The rule that decided, for a skipped link. */
  detail: string | null;
  /** Absent: a plain GET. */
  extra?: RequestExtra;
  /** A redirect's target that is to be fetched once more, should it lie behind: there are cookies for it now, or it is to be asked for in another way (`extra.sent`). */
  again?: true;
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** One line of a crawl's log. */
export interface LogLine {
  level: (typeof LOG_LEVELS)[number];
  message: string;
}

/** What the parser makes of one response. Plain data: the event loop does no work per link but store it. */
export interface ParsedPage {
  items: ItemRow[];
  /** Without those that the node's fingerprint cache knows to be in the ledger at this depth or a smaller one. */
  links: Link[];
  /** Every queued-worthy fingerprint on the page, known ones too; only for crawls with `maxDepth`, else empty. */
  linkedFps: string[];
  /** Items dropped, by reason (`required: price`). */
  dropped: Record<string, number>;
  /** Fields with a value, by `type.field`; `type` alone counts the items. */
  fills: Record<string, number>;
  /**
   * What was cut to stay inside the limits (`depth`, `nodes`, `links`, `attributes`, `items`, `render_limit`), and what else is
   * to be known of it: `truncated`, `cached`, `unfollowed`, `render_busy`, `render_reload`.
   */
  flags: string[];
  /** Items that wait for answers; the engine gets them before the page is an outcome. Absent: none. */
  pending?: PendingItems;
  /** What pipeline steps met and did: `enrich[2]: timeout`, `enrich[2] calls`. Absent: nothing. */
  steps?: Record<string, number>;
  /** CPU milliseconds of the worker. */
  parseMs: number;
  /** CPU milliseconds by page entry (`page product`) or callback (`callback parse`). */
  cpu?: Record<string, number>;
  /** What the script logged. */
  logs?: LogLine[];
  /** It refreshes to another page, which is the one link: a redirect. */
  refreshes?: true;
  /** What the script stored: key and JSON text; null deletes. Committed with the items. */
  state?: Record<string, string | null>;
  /**
   * Of crawls with `dedup.scope: spider`: every link that was kept, known or not, as JSON text for `PageJob.remembered`;
   * null: they were too many to be remembered.
   */
  remembered?: string | null;
}

/** What later crawls of a spider are to know of a page. */
export type PageNote =
  | {
      kind: 'scraped';
      /** Hash of what extracted, as 32 hex digits. */
      definition: string;
      etag: string | null;
      lastModified: string | null;
    }
  | { kind: 'unchanged' };

/** How the detail of a page begins that was read as far as it came (`settings.truncated`): what is not on it may be there. */
export const ENDED_EARLY = 'the body ended too early';

/** A page that gave nothing. */
export function emptyPage(): ParsedPage {
  return { items: [], links: [], linkedFps: [], dropped: {}, fills: {}, flags: [], parseMs: 0 };
}

/** A pitfall that a page ran into, for the crawl's `warnings`. */
export interface CrawlWarning {
  /** How `text` begins: the crawl gets one warning of each beginning. */
  about: string;
  text: string;
}

/** A cookie of a crawl, set or gone, as it is stored. */
export interface CookieChange {
  /** 128 bits of SHA-256 over domain, path and name, as 32 hex digits. */
  key: string;
  /** Order among the changes of one node. */
  n: number;
  gone: boolean;
  /** JSON text, well formed and free of NUL. */
  cookie: string;
}

/** All that one request produced. It is committed whole or not at all. */
export interface Outcome {
  crawlId: string;
  fp: string;
  seq: number;
  hostId: number;
  fence: number;
  attempts: number;
  depth: number;
  redirects: number;
  url: string;
  /** `delayed`: to be fetched again at `readyAt`. */
  state: 'done' | 'failed' | 'skipped' | 'delayed';
  reason: Reason | null;
  detail: string | null;
  /** Milliseconds since the epoch, of a delayed one. */
  readyAt: number | null;
  status: number | null;
  bodyBytes: number;
  wireBytes: number;
  fetchMs: number;
  /** Milliseconds since the epoch. */
  fetchedAt: number;
  /** Null unless `done`, a redirect whose target is the one link, or not read and followed by what an earlier crawl knows of it. */
  page: ParsedPage | null;
  /** Of a request that failed: what its script had logged. */
  logs?: readonly LogLine[];
  /** Calls that the crawl's scripts made on this node since the outcome before: `fetch`, `fetch failed`, `lookup` … */
  calls?: Record<string, number>;
  warnings?: CrawlWarning[];
  /** What its response, and calls of the crawl's scripts meanwhile, changed in the jar. */
  cookies?: readonly CookieChange[];
  /** Absent: nothing is to be remembered. */
  note?: PageNote;
}
