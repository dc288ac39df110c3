import type { Reason } from './request.ts';

/** One item, ready to be stored. */
export interface ItemRow {
  type: string;
  /** The item's data as JSON text, well formed and free of NUL, exactly as it will be given back. */
  data: string;
  /** Bytes of `data` in UTF-8. */
  size: number;
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
  /** What was cut to stay inside the limits: `depth`, `nodes`, `links`, `attributes`, `items`. */
  flags: string[];
  /** Milliseconds of the worker's time. */
  parseMs: number;
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
  /** Null unless `done`, or a redirect whose target is the one link. */
  page: ParsedPage | null;
}
