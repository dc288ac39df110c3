import type { DedupeKey, LogLine, StepQuestion } from '../../model/outcome.ts';
import type { RequestExtra } from '../../model/request.ts';
import type { ParsePlanInput } from '../../model/spider.ts';

/** What one page may bring. The child keeps to them so that a frame fits, the broker because it believes no child. */
export const LIMITS = {
  items: 20_000,
  itemBytes: 8 * 1024 * 1024,
  links: 10_000,
  linkBytes: 4 * 1024 * 1024,
  logs: 100,
  logChars: 2000,
  /** Fetches, lookups and reads of state. */
  calls: 1000,
  stateKeys: 1000,
  stateValueChars: 64 * 1024,
  stateChars: 1024 * 1024,
  /** Bodies of `ctx.fetch`, together. */
  fetchedBytes: 32 * 1024 * 1024,
  /** Characters of `meta`. */
  metaChars: 64 * 1024,
} as const;
/** A frame from a child. */
export const MAX_FRAME = 20 * 1024 * 1024;

/**
 * What the broker says to a child; each is answered by one `turn`, in the order in which they came, so that the oldest one
 * without an answer is what the child is at.
 */
export type ToChild =
  | { kind: 'open'; plan: ParsePlanInput; explain: boolean }
  /** Its one segment is the body. */
  | { kind: 'page'; page: number; input: ChildPage }
  /** `fetch` has the body as its segment, `lookup` and `read` the JSON text; a failed one has none. */
  | { kind: 'result'; page: number; call: number; result: CallResult }
  | { kind: 'drop'; page: number }
  | { kind: 'describe'; script: string };

/** A page as a child is given it. */
export interface ChildPage {
  url: string;
  status: number;
  headers: Record<string, string | string[]>;
  contentType: string | null;
  depth: number;
  callback: string;
  meta: Record<string, unknown>;
}

export type CallResult =
  | { ok: true; fetched: { url: string; status: number; headers: Record<string, string | string[]> } | null }
  | { ok: false; code: string; message: string };

/** What a child says. The broker reads it as a stranger's: `answers.ts`. */
export type FromChild =
  | { kind: 'ready' }
  /** Sent at once, so that it is not lost with the child. */
  | ({ kind: 'log'; page: number } & LogLine)
  | Turn;

/** The answer to one message. */
export interface Turn {
  kind: 'turn';
  calls: ChildCall[];
  /** Pages that came to their end; the items of all of them are the frame's segments, in this order. */
  ended: EndedPage[];
  description: { spider: unknown } | { failure: string } | null;
  /** Why the process is of no further use; null: it is. */
  unfit: string | null;
}

export interface ChildCall {
  page: number;
  call: number;
  question:
    | { kind: 'fetch'; url: string; method: string; headers: Record<string, string>; body: string | null }
    | { kind: 'lookup'; connection: string; query: string; params: unknown[] }
    | { kind: 'read'; key: string };
}

export interface EndedPage {
  page: number;
  cpuMs: number;
  failure: {
    reason: 'script_error' | 'parse_timeout' | 'parse_memory' | 'pipeline_error';
    message: string;
  } | null;
  /** What its items are besides their data; `wait`: at which step of the pipeline, for what. */
  items: ChildItem[];
  /** What steps of the pipeline met. */
  steps: Record<string, number>;
  links: ChildLink[];
  dropped: Record<string, number>;
  state: Record<string, string | null>;
  flags: string[];
  /** Log lines beyond the limit. */
  unlogged: number;
  /** For previews: selectors with their hits. */
  hits: { language: string; text: string; hits: number }[];
}

export interface ChildItem {
  type: string;
  place: number;
  keys: DedupeKey[];
  wait: { step: number; question: StepQuestion } | null;
}

export interface ChildLink {
  /** Absolute. */
  url: string;
  priority: number;
  extra: RequestExtra | null;
  /** The pattern of the scope that refuses it; null: none does. */
  denied: string | null;
}
