import pLimit, { type LimitFunction } from 'p-limit';
import type { Explanation } from '../../model/explanation.ts';
import type { LogLine } from '../../model/outcome.ts';
import type { ParsePlanInput } from '../../model/spider.ts';
import type { FailureReason, PageJob } from '../protocol.ts';
import type { Answer, Question } from './broker_messages.ts';
import { type CallResult, type EndedPage, LIMITS } from './protocol.ts';
import { clean, type PageResults } from './results.ts';

/** Calls of one page, and of one crawl, under way at once. */
const PAGE_CALLS = 8;
const CRAWL_CALLS = 16;
const MAX_NOTED = 200;
const QUICK_MS = 100;
/** What the latest page counts in the mean. */
const LATEST = 0.2;
const DEFAULT_CALLBACK = 'parse';

/** A process that works for a crawl, as its pages see it. */
export interface CrawlRunner {
  /** It gets no more pages. */
  readonly isDraining: boolean;
  /** Gives a call of a page its result. */
  settle(task: PageTask, call: number, result: CallResult, segment: Uint8Array | null): void;
  end(): void;
}

/** How a task came to an end. */
export type Ending =
  | { kind: 'done'; ended: EndedPage; items: Uint8Array[] }
  | { kind: 'failed'; reason: FailureReason; message: string }
  /** Nothing is wrong with it. */
  | { kind: 'stopped' };

/** A page on its way through the broker. */
export class PageTask {
  readonly number: number;
  readonly job: PageJob;
  readonly crawl: ScriptCrawl;
  readonly callback: string;
  logs: LogLine[] = [];
  /** CPU milliseconds that its process has told of. */
  cpuMs = 0;
  isOver = false;
  /** How often it lost its process by no fault of its own. */
  displaced = 0;
  /** The process that it is in. */
  runner: CrawlRunner | null = null;
  /** Ends with the page's stay there. */
  stay = new AbortController();
  limit: LimitFunction = pLimit(PAGE_CALLS);
  clock: NodeJS.Timeout | null = null;
  /** Calls that it made in its process, and the bytes that they fetched. */
  asked = 0;
  fetchedBytes = 0;
  /** Its calls, for the explanation. */
  noted: NonNullable<Explanation['calls']> = [];
  readonly #settle: (task: PageTask, ending: Ending) => void;

  constructor(number: number, job: PageJob, crawl: ScriptCrawl, settle: (task: PageTask, ending: Ending) => void) {
    this.number = number;
    this.job = job;
    this.crawl = crawl;
    this.callback = job.extra?.page ?? DEFAULT_CALLBACK;
    crawl.tasks++;
    this.#settle = settle;
  }

  /** Ends it, once; its calls end with it. */
  end(ending: Ending): void {
    if (this.isOver) return;
    this.isOver = true;
    this.crawl.tasks--;
    this.leave();
    this.#settle(this, ending);
  }

  /** It is no longer in a process: it is done, or goes back to its queue with nothing kept. */
  leave(): void {
    if (this.clock !== null) clearTimeout(this.clock);
    this.clock = null;
    this.runner = null;
    this.stay.abort();
    if (this.isOver) return;
    this.stay = new AbortController();
    this.limit = pLimit(PAGE_CALLS);
    this.logs = [];
    this.cpuMs = 0;
    this.asked = 0;
    this.fetchedBytes = 0;
  }

  /** Notes a call for the explanation. */
  noteCall(question: Question, answer: Answer, ms: number): void {
    if (this.noted.length < MAX_NOTED) this.noted.push({ ...nameOf(question), ms, outcome: outcomeOf(answer) });
  }

  log(level: LogLine['level'], message: string): void {
    if (this.logs.length <= LIMITS.logs) this.logs.push({ level, message: clean(message) });
  }
}

/** A crawl whose pages run here: what waits, and the processes that work for it. */
export class ScriptCrawl {
  readonly plan: ParsePlanInput;
  readonly results: PageResults;
  /** Whom calls are asked of. */
  readonly owner: string;
  /** For a dry run: hits and calls are noted. */
  readonly explain: boolean;
  queue: PageTask[] = [];
  readonly runners = new Set<CrawlRunner>();
  readonly limit: LimitFunction = pLimit(CRAWL_CALLS);
  /** Pages that have not ended. */
  tasks = 0;
  /**
   * CPU milliseconds used: the crawl with the least is served first. A crawl that begins, or begins again, has no less than
   * the least of the others: else a new one would come before those that have been there for long.
   */
  usedMs = 0;
  /** CPU milliseconds of a page, the latest counting most; null: not known yet. */
  #pageMs: number | null = null;
  /** Characters of its state, by key, as far as this node knows. */
  readonly #sizes = new Map<string, number>();
  #chars = 0;

  constructor(plan: ParsePlanInput, results: PageResults, owner: string, explain: boolean) {
    this.plan = plan;
    this.results = results;
    this.owner = owner;
    this.explain = explain;
  }

  /** Its pages are known to take little: it has processes that no slow crawl gets. */
  get isQuick(): boolean {
    return this.#pageMs !== null && this.#pageMs < QUICK_MS;
  }

  /** Whether its pages take little is not known yet. */
  get isNew(): boolean {
    return this.#pageMs === null;
  }

  /** Notes what a page used. */
  charge(cpuMs: number): void {
    this.usedMs += cpuMs;
    this.#pageMs = this.#pageMs === null ? cpuMs : this.#pageMs + (cpuMs - this.#pageMs) * LATEST;
  }

  /** Takes note of what a page keeps. @throws where the crawl would keep too much: then nothing of it is kept */
  keep(state: Record<string, string | null> | undefined): void {
    const changes = Object.entries(state ?? {}).map(([key, json]) => ({
      key,
      size: json === null ? 0 : key.length + json.length,
    }));
    const more = changes.reduce((sum, { key, size }) => sum + size - (this.#sizes.get(key) ?? 0), 0);
    const chars = this.#chars + more;
    if (more > 0 && chars > LIMITS.stateChars)
      throw new Error(`ctx.state of the crawl has ${chars} characters; at most ${LIMITS.stateChars} are kept`);
    this.#chars = chars;
    for (const { key, size } of changes)
      if (size === 0) this.#sizes.delete(key);
      else this.#sizes.set(key, size);
  }
}

function nameOf(question: Question): { kind: 'fetch' | 'lookup' | 'state'; what: string } {
  switch (question.kind) {
    case 'fetch':
      return { kind: 'fetch', what: `${question.call.method} ${question.call.url}` };
    case 'lookup':
      return { kind: 'lookup', what: `${question.connection}: ${question.query}`.slice(0, 500) };
    case 'read':
      return { kind: 'state', what: question.key };
  }
}

function outcomeOf(answer: Answer): string {
  if (!answer.ok) return `${answer.code}: ${answer.message}`.slice(0, 500);
  return 'fetched' in answer ? String(answer.fetched.status) : 'ok';
}
