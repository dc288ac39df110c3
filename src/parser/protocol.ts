import type { Explanation } from '../model/explanation.ts';
import type { Link, ParsedPage, StepAnswer, WaitingItem } from '../model/outcome.ts';
import type { Difference } from '../model/preview.ts';
import type { RenderPlan } from '../model/render.ts';
import type { RequestExtra } from '../model/request.ts';
import type { ParsePlanInput, Problem, Spider } from '../model/spider.ts';
import type { CompareJob } from './compare.ts';
import type { RobotsAnswer } from './robots.ts';
import type { StartInput, StartPlan } from './start_requests.ts';

/**
 * What the pool and its threads say to each other. A thread answers every job, in the order in which they came; plans are
 * not answered. Before a page with many links come pieces of them, each but the first when it is asked for (`more`). Errors cross as code and message, since an error loses its code on the way.
 */
export type ToThread =
  | { kind: 'open'; plan: ParsePlanInput }
  | { kind: 'close'; crawlId: string }
  | { kind: 'more' }
  | { kind: 'page'; job: PageJob }
  | { kind: 'preview'; plan: ParsePlanInput; job: PageJob }
  | { kind: 'render' /** Null: that of the job's crawl. */; plan: ParsePlanInput | null; job: PageJob }
  | { kind: 'steps'; job: StepsJob }
  | { kind: 'split'; job: SplitJob }
  | { kind: 'compare'; job: CompareJob }
  | { kind: 'check'; spider: Spider }
  | { kind: 'start'; input: StartInput }
  | { kind: 'robots'; job: RobotsJob };

/** Messages that a thread answers. */
export type JobMessage = Exclude<ToThread, { kind: 'open' | 'close' | 'more' }>;

export type FromThread =
  | { kind: 'ready'; tid: number | null }
  | { kind: 'piece'; links: Link[]; linkedFps: string[] }
  | { kind: 'page'; page: ParsedPage }
  | { kind: 'preview'; page: ParsedPage; explanation: Explanation; ms: number }
  | { kind: 'render'; render: RenderPlan | null; ms: number }
  | { kind: 'steps'; items: StepsResult; ms: number }
  | { kind: 'split'; parts: string[] | null; ms: number }
  | { kind: 'compare'; differences: Difference[]; ms: number }
  | { kind: 'check'; problems: Problem[]; ms: number }
  | { kind: 'start'; plan: StartPlan; ms: number }
  | { kind: 'robots'; answer: RobotsAnswer; ms: number }
  | { kind: 'failed'; code: FailureReason; message: string; ms: number };

/** Why a page cannot be parsed: the ledger's reason. */
export type FailureReason =
  | 'parse_timeout'
  | 'parse_memory'
  | 'parse_error'
  | 'content_type'
  | 'too_large'
  | 'script_error'
  | 'pipeline_error';

/** One fetched page, to be parsed by its crawl's plan. */
export interface PageJob {
  crawlId: string;
  /** Canonical URL. */
  url: string;
  depth: number;
  status: number;
  contentType: string | null;
  /** Names in lower case. Absent where the plan does not ask for headers. */
  headers?: Record<string, string | string[] | undefined>;
  /** Of the request; null: a plain GET. */
  extra: RequestExtra | null;
  /** Decoded body; `bodyBytes` of it are in use. It must not change until the answer. */
  body: SharedArrayBuffer;
  bodyBytes: number;
  /** Milliseconds since the epoch. */
  fetchedAt: number;
  /**
   * The Location of a redirect, absolute or relative. The body is not read: the page is one link, judged by the scope, at
   * the depth of this page.
   */
  redirectTo?: string;
  /** `ParsedPage.remembered` of an earlier crawl. The body is not read: the page is these links, judged anew. */
  remembered?: string;
  /** The response's Refresh and X-Robots-Tag headers, where it has them. */
  refresh?: string;
  robotsTag?: string | string[];
  /** Only where it refreshes to is asked: without that, the page is empty. */
  refreshOnly?: true;
}

/** Items of a page that have the answers that they waited for. */
export interface StepsJob {
  crawlId: string;
  /** The spider's pipeline where the crawl is not open: of a preview. */
  definition: Spider | null;
  waiting: WaitingItem[];
  /** One for each. */
  answers: StepAnswer[];
  /** Of the page's other items. */
  bytes: number;
}

/** What became of them: more items, and those that wait again. */
export type StepsResult = Pick<ParsedPage, 'items' | 'dropped' | 'fills' | 'steps' | 'pending' | 'flags'> & {
  /** Of `items`. */
  places: readonly number[];
};

/** The answer to many questions that were sent as one list. */
export interface SplitJob {
  crawlId: string;
  text: string;
}

export interface RobotsJob {
  /** Whose share of the threads it is; where that crawl is not open, that of the previews. */
  crawlId: string;
  /** The robots.txt, a character for each octet (latin1). */
  text: string;
  /** Absolute URLs of its site. */
  urls: string[];
  /** The whole user agent; its product token is what counts. */
  userAgent: string;
}

/** What a thread is given when it starts. */
export interface ThreadData {
  /** `KnownFingerprints.buffer`. */
  known: SharedArrayBuffer;
  /**
   * Three Int32: how many jobs the thread has begun, so that the pool knows which one a dead thread was at; the milliseconds of CPU that
   * the thread had used when it began the last, so that the pool knows what that has used; and 1 where that one compiles its plan.
   */
  begun: SharedArrayBuffer;
  /** A plan whose parser is to be loaded before the thread is ready; the others follow with their first page. */
  plans: ParsePlanInput[];
}
