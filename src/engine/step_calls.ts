import { LookupFailed, type Lookups } from '../db/lookups.ts';
import type { Downloader } from '../downloader/downloader.ts';
import type { CrawlRun } from '../frontier/crawl_run.ts';
import type { ItemRow, ParsedPage, StepAnswer, StepQuestion, WaitingItem } from '../model/outcome.ts';
import type { ParsePlanInput, Spider } from '../model/spider.ts';
import { type StepKind, stepName } from '../model/step.ts';
import type { LookupStep, Step } from '../model/step_schema.ts';
import { ParserStopped } from '../parser/failure.ts';
import type { ParserPool } from '../parser/pool.ts';
import type { StepsResult } from '../parser/protocol.ts';
import { withoutDuplicates } from '../pipeline/dedupe.ts';
import { Answers } from './answers.ts';
import { type Asked, enricher } from './enrich.ts';
import { Gatherer } from './gatherer.ts';

const CACHE_SECONDS = 300;
const LOOKUP_TIMEOUT_MS = 10_000;
/** Half of a connection's: a crawl with a slow query leaves others their part. */
const LOOKUP_CONCURRENCY = 2;
const LOOKUP_LINGER_MS = 10;
const MAX_LOOKUPS = 500;
/** Items of a page that ask at once, where an answer is small: a row of a lookup, or a part of a batch … */
const TURN = 1000;
/** … and where each may be a megabyte, which is held until all of the turn are here. */
const SINGLE_TURN = 100;
/** Of answers that are handed to a parser thread in one message: it is copied on the event loop. */
const MAX_HANDED_CHARS = 1024 * 1024;

export interface StepCallsOptions {
  /** With the egress policy of calls. */
  downloader: Downloader;
  lookups: Lookups;
  parser: Pick<ParserPool, 'steps' | 'split'>;
}

type Ask = (question: StepQuestion) => Promise<Asked>;

/** The steps of a crawl, or of a preview, that ask. */
interface CrawlSteps {
  crawlId: string;
  /** Tells its questions from those of others. */
  number: number;
  /** Null: the crawl is open in the parser. */
  definition: Spider | null;
  pipeline: readonly Step[];
  stopping: AbortController;
  /** By number of the step. */
  asks: Map<number, Ask>;
  /** Failures that the crawl's log has: each kind of each step once. */
  told: Set<string>;
}

/**
 * What the items of a page wait for: puts the questions of all pages of a crawl together, gets the answers, and has the
 * parser go on with them, until no item waits. Holds no host slot and no thread meanwhile, so that nothing that waits here
 * has what another needs. Where calls fail, the step's `onError` decides.
 */
export class StepCalls {
  readonly #options: StepCallsOptions;
  readonly #crawls = new Map<string, CrawlSteps>();
  readonly #answers = new Answers();

  constructor(options: StepCallsOptions) {
    this.#options = options;
  }

  /** Also when its settings changed: its calls go on. */
  openCrawl({ id, definition }: CrawlRun): void {
    if (!this.#crawls.has(id)) this.#crawls.set(id, newSteps(id, definition, false));
  }

  /** Its pages that wait are rejected with ParserStopped. */
  closeCrawl(crawlId: string): void {
    this.#crawls.get(crawlId)?.stopping.abort();
    this.#crawls.delete(crawlId);
  }

  /** Ends all calls; pages that wait are rejected with ParserStopped. */
  stop(): void {
    for (const { stopping } of this.#crawls.values()) stopping.abort();
  }

  /**
   * The page with all its items.
   *
   * @throws ParseFailure `pipeline_error` where a step's `onError` is `fail`, ParserStopped
   */
  async finish(crawlId: string, page: ParsedPage): Promise<ParsedPage> {
    if (page.pending === undefined) return page;
    const crawl = this.#crawls.get(crawlId);
    if (crawl === undefined) throw new ParserStopped('the crawl is not open');
    return this.#finish(crawl, page);
  }

  /** As a crawl would have it: calls are made, and duplicates are left out, within the page. @throws as `finish` */
  async preview(plan: ParsePlanInput, page: ParsedPage, signal: AbortSignal): Promise<ParsedPage> {
    const crawl = newSteps(plan.crawlId, plan.definition, true);
    const stop = () => crawl.stopping.abort();
    signal.addEventListener('abort', stop, { once: true });
    try {
      const whole = await this.#finish(crawl, page);
      const items = withoutDuplicates(whole.items);
      const duplicates = whole.items.length - items.length;
      const dropped = duplicates === 0 ? whole.dropped : { ...whole.dropped, duplicate: duplicates };
      return { ...whole, items, dropped };
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  async #finish(crawl: CrawlSteps, { pending, ...page }: ParsedPage): Promise<ParsedPage> {
    if (pending === undefined) return page;
    const { crawlId, definition } = crawl;
    const { places } = pending;
    for (let { waiting } = pending, next: WaitingItem[] = []; waiting.length > 0; waiting = next, next = []) {
      for (const asked of turnsOf(crawl.pipeline, waiting))
        for (const part of handfuls(asked, await this.#ask(crawl, asked, page))) {
          const bytes = page.items.reduce((sum, item) => sum + item.size, 0);
          const result = await this.#options.parser.steps({ crawlId, definition, ...part, bytes });
          take(page, places, result);
          for (const item of result.pending?.waiting ?? []) next.push(item);
        }
    }
    return { ...page, items: inOrder(page.items, places) };
  }

  async #ask(crawl: CrawlSteps, waiting: readonly WaitingItem[], page: ParsedPage): Promise<StepAnswer[]> {
    const counts: Record<string, number> = { ...page.steps };
    const log = (message: string) => {
      page.logs = [...(page.logs ?? []), { level: 'warn', message }];
    };
    const answers = await Promise.all(waiting.map((item) => this.#askOne(crawl, item, counts, log)));
    page.steps = counts;
    return answers;
  }

  async #askOne(
    crawl: CrawlSteps,
    { step, question }: WaitingItem,
    counts: Record<string, number>,
    log: (message: string) => void,
  ): Promise<StepAnswer> {
    const { enrich, lookup } = crawl.pipeline[step]!;
    const ask = crawl.asks.get(step) ?? this.#newAsk(crawl, step);
    const text = question.kind === 'enrich' ? `${question.url}\n${question.body}` : JSON.stringify(question.params);
    const seconds = (enrich ?? lookup)?.cacheSeconds ?? CACHE_SECONDS;
    const { answer, calls, cached } = await this.#answers.get(`${crawl.number} ${step} ${text}`, seconds, () =>
      ask(question),
    );
    const name = stepName(question.kind satisfies StepKind, step);
    if (calls > 0) counts[`${name} calls`] = (counts[`${name} calls`] ?? 0) + calls;
    if (cached) counts[`${name} cached`] = (counts[`${name} cached`] ?? 0) + 1;
    if ('error' in answer && answer.detail !== undefined && !crawl.told.has(`${name} ${answer.error}`)) {
      crawl.told.add(`${name} ${answer.error}`);
      log(`${name} failed: ${answer.error} (${answer.detail}); further ones are only counted`);
    }
    return answer;
  }

  #newAsk(crawl: CrawlSteps, step: number): Ask {
    const { enrich, lookup } = crawl.pipeline[step]!;
    const { downloader, parser, lookups } = this.#options;
    const { crawlId, stopping } = crawl;
    let ask: Ask;
    if (lookup !== undefined) ask = lookupAsk(lookup, lookups, stopping.signal);
    else {
      const split = (text: string) => parser.split({ crawlId, text });
      const gatherer = enricher(enrich!, { downloader, split, signal: stopping.signal });
      ask = (question) => gatherer.ask(question as StepQuestion & { kind: 'enrich' });
    }
    crawl.asks.set(step, ask);
    return ask;
  }
}

let opened = 0;

function newSteps(crawlId: string, definition: Spider, isPreview: boolean): CrawlSteps {
  const { pipeline = [] } = definition;
  const stopping = new AbortController();
  const own = isPreview ? definition : null;
  return { crawlId, number: ++opened, definition: own, pipeline, stopping, asks: new Map(), told: new Set() };
}

/** One statement for the questions of many items. */
function lookupAsk(step: LookupStep, lookups: Lookups, signal: AbortSignal): Ask {
  const { connection, query, timeoutMs = LOOKUP_TIMEOUT_MS } = step;
  const concurrency = Math.min(step.concurrency ?? LOOKUP_CONCURRENCY, LOOKUP_CONCURRENCY);
  const send = async (questions: unknown[][]): Promise<Asked[]> => {
    const rows = await unlessStopped(lookups.ask(connection, query, questions, timeoutMs), signal);
    return rows.map((row, i) => ({
      answer: row instanceof LookupFailed ? { error: row.code, detail: row.message } : { text: row },
      calls: i === 0 ? 1 : 0,
    }));
  };
  const gatherer = new Gatherer({ max: MAX_LOOKUPS, lingerMs: LOOKUP_LINGER_MS, concurrency, send });
  return (question) => gatherer.ask((question as StepQuestion & { kind: 'lookup' }).params);
}

/** The database ends its statement by itself, at its time limit. */
function unlessStopped<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new ParserStopped('the crawl was closed'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** The items in the parts in which they ask. */
function* turnsOf(pipeline: readonly Step[], waiting: readonly WaitingItem[]): Generator<WaitingItem[]> {
  let [from, share] = [0, 0];
  for (const [i, { step }] of waiting.entries()) {
    const { enrich } = pipeline[step]!;
    share += enrich !== undefined && enrich.batch === undefined ? TURN / SINGLE_TURN : 1;
    if (share < TURN) continue;
    yield waiting.slice(from, i + 1);
    [from, share] = [i + 1, 0];
  }
  if (from < waiting.length) yield waiting.slice(from);
}

/** The items with their answers, in parts that are small enough to be handed over at once. */
function* handfuls(
  asked: readonly WaitingItem[],
  given: readonly StepAnswer[],
): Generator<{ waiting: WaitingItem[]; answers: StepAnswer[] }> {
  let [from, chars] = [0, 0];
  for (const [i, answer] of given.entries()) {
    const size = asked[i]!.size + ('text' in answer ? answer.text.length : 0);
    if (i > from && chars + size > MAX_HANDED_CHARS) {
      yield { waiting: asked.slice(from, i), answers: given.slice(from, i) };
      [from, chars] = [i, 0];
    }
    chars += size;
  }
  yield { waiting: asked.slice(from), answers: given.slice(from) };
}

/** Adds what became of a page's items. */
function take(page: ParsedPage, places: number[], result: StepsResult): void {
  for (const item of result.items) page.items.push(item);
  for (const place of result.places) places.push(place);
  add(page.dropped, result.dropped);
  add(page.fills, result.fills);
  page.steps ??= {};
  add(page.steps, result.steps ?? {});
  for (const flag of result.flags) if (!page.flags.includes(flag)) page.flags.push(flag);
}

function add(counts: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [key, n] of Object.entries(more)) counts[key] = (counts[key] ?? 0) + n;
}

function inOrder(items: readonly ItemRow[], places: readonly number[]): ItemRow[] {
  const order = [...places.keys()].sort((a, b) => places[a]! - places[b]!);
  return order.map((i) => items[i]!);
}
