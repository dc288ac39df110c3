import type { KnownFingerprints } from '../../model/known.ts';
import type { ParsePlanInput } from '../../model/spider.ts';
import type { PageJob } from '../protocol.ts';
import type { Launch } from './boundary.ts';
import type { BrokerReply, Described, Question } from './broker_messages.ts';
import { CallDesk } from './call_desk.ts';
import { describeScript } from './description.ts';
import { explain } from './explain.ts';
import { PageResults } from './results.ts';
import { Runner } from './runner.ts';
import { type Ending, PageTask, ScriptCrawl } from './tasks.ts';
import { isText } from './text_type.ts';

const WATCH_MS = 20;
/** A process that works for a crawl is taken from it after so long, where another crawl has none. */
const SLICE_MS = 1000;
/** Processes that may wait for their pages' calls beside those that are served. */
const PARKED = 4;
/** Of these, so many are for crawls with quick pages alone. */
const KEPT_FOR_QUICK = 1;
const IDLE_MS = 10_000;
const SPARE_IDLE_MS = 60_000;
/** A page that lost its process so often, by no fault that could be told, is taken to be the fault. */
const MAX_DISPLACED = 3;
const RESTART_MS = 1000;
/** Scripts that are described at a time. */
const MAX_DESCRIBED = 2;

export interface BrokerOptions {
  launch: Launch;
  processes: number;
  known: KnownFingerprints;
  reply: (message: BrokerReply) => void;
  /** Asks the engine, for a page of `owner`. */
  ask: (owner: string, question: Question, signal: AbortSignal) => Promise<unknown>;
  log: (message: string, detail: object) => void;
  /** Told whenever they change. */
  count: (busy: number, kills: number) => void;
}

/**
 * Hands pages to script processes: a process works for one crawl and is never used for another. Crawls that wait for one
 * are served by CPU time used, those with quick pages apart from the others; a process that only waits for its pages' calls does not count. One process is kept ready,
 * with no crawl in it.
 */
export class Broker {
  readonly #options: BrokerOptions;
  readonly #crawls = new Map<string, ScriptCrawl>();
  readonly #runners = new Set<Runner>();
  readonly #descriptions = new Map<Runner, number>();
  #undescribed: { id: number; script: string }[] = [];
  readonly #desk: CallDesk;
  #spare: Runner | null = null;
  #kills = 0;
  #stopped = false;
  #noStartBefore = 0;
  readonly #watch: NodeJS.Timeout;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#desk = new CallDesk(options.ask);
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
  }

  openCrawl(plan: ParsePlanInput): void {
    this.closeCrawl(plan.crawlId);
    this.#crawls.set(
      plan.crawlId,
      new ScriptCrawl(plan, new PageResults(plan, this.#options.known), plan.crawlId, false),
    );
  }

  closeCrawl(crawlId: string): void {
    const crawl = this.#crawls.get(crawlId);
    if (crawl === undefined) return;
    this.#crawls.delete(crawlId);
    this.#close(crawl);
  }

  #close(crawl: ScriptCrawl): void {
    for (const task of crawl.queue.splice(0)) task.end({ kind: 'stopped' });
    for (const runner of crawl.runners) runner.end();
  }

  /** Runs a page; answered by `done`, `failed` or `stopped`. */
  page(id: number, job: PageJob): void {
    const crawl = this.#crawls.get(job.crawlId);
    if (crawl === undefined) this.#options.reply({ kind: 'stopped', id });
    else this.#add(id, job, crawl, (task, ending) => this.#settle(id, task, ending));
  }

  /** Runs a page as a crawl of its own. @param owner whom its calls are asked of */
  preview(id: number, plan: ParsePlanInput, job: PageJob, owner: string): void {
    const crawl = new ScriptCrawl(plan, new PageResults(plan, null), owner, true);
    this.#crawls.set(owner, crawl);
    this.#add(id, job, crawl, (task, ending) => {
      this.#settle(id, task, ending);
      this.closeCrawl(owner);
    });
  }

  #add(id: number, job: PageJob, crawl: ScriptCrawl, settle: (task: PageTask, ending: Ending) => void): void {
    if (!isText(job.body, job.bodyBytes, job.contentType)) {
      const message = job.contentType ?? 'no Content-Type, and not text';
      this.#options.reply({ kind: 'failed', id, reason: 'content_type', message, logs: [] });
      if (crawl.explain) this.closeCrawl(crawl.owner);
      return;
    }
    if (crawl.tasks === 0) crawl.usedMs = Math.max(crawl.usedMs, this.#leastUsed());
    crawl.queue.push(new PageTask(id, job, crawl, settle));
    this.#schedule();
  }

  describe(id: number, script: string): void {
    this.#undescribed.push({ id, script });
    this.#describeNext();
  }

  /** Each script is loaded in a process of its own, a few at a time. */
  #describeNext(): void {
    while (!this.#stopped && this.#descriptions.size < MAX_DESCRIBED && this.#undescribed.length > 0) {
      const { id, script } = this.#undescribed.shift()!;
      const runner = this.#take();
      this.#descriptions.set(runner, id);
      runner.describe(script);
    }
  }

  /** Ends every process; resolves when all are gone. What was not done is answered with `stopped`. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#watch);
    for (const crawl of this.#crawls.values()) this.#close(crawl);
    const described = [...this.#descriptions.values(), ...this.#undescribed.splice(0).map(({ id }) => id)];
    this.#descriptions.clear();
    for (const id of described) this.#options.reply({ kind: 'stopped', id });
    const all = [...this.#runners];
    for (const runner of all) runner.end();
    await Promise.all(all.map(({ process }) => process.gone));
  }

  /** Gives pages to processes, and processes to crawls, until nothing more can be done now. */
  #schedule(): void {
    if (this.#stopped) return;
    for (const runner of this.#runners) this.#fill(runner);
    const waiting = this.#waiting();
    this.#serve(waiting.filter(({ isQuick }) => isQuick));
    this.#serve(waiting.filter(({ isQuick }) => !isQuick));
    this.#count();
  }

  #serve(waiting: readonly ScriptCrawl[]): void {
    for (const crawl of waiting) {
      const runner = this.#runnerFor(crawl);
      if (runner === null) break;
      this.#fill(runner);
    }
  }

  /** Of the crawls that have pages here. */
  #leastUsed(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { tasks, usedMs } of this.#crawls.values()) if (tasks > 0) least = Math.min(least, usedMs);
    return least === Number.POSITIVE_INFINITY ? 0 : least;
  }

  #fill(runner: Runner): void {
    const { crawl } = runner;
    while (
      crawl !== null &&
      runner.hasRoom &&
      crawl.queue[0] !== undefined &&
      runner.fits(crawl.queue[0].job.bodyBytes)
    )
      runner.begin(crawl.queue.shift()!);
  }

  /** Crawls that could use another process: those with the fewest first, then new ones, then those that have used the least. */
  #waiting(): ScriptCrawl[] {
    const all = this.#crawls.values().filter(({ queue }) => queue.length > 0);
    return all
      .toArray()
      .sort((a, b) => serving(a) - serving(b) || Number(b.isNew) - Number(a.isNew) || a.usedMs - b.usedMs);
  }

  #runnerFor(crawl: ScriptCrawl): Runner | null {
    if (performance.now() < this.#noStartBefore) return null;
    if (serving(crawl) >= this.#options.processes) return null;
    // Crawls with quick pages take no turns with those whose pages each take seconds: fifty of these would be a minute.
    const working = [...this.#runners].filter(
      (runner) => runner.crawl !== null && !runner.isDraining && runner.crawl.isQuick === crawl.isQuick,
    );
    if (working.length >= this.#options.processes && (serving(crawl) > 0 || !this.#free(working))) return null;
    const most = this.#options.processes + PARKED - (crawl.isQuick ? 0 : KEPT_FOR_QUICK);
    if (this.#runners.size - (this.#spare === null ? 0 : 1) >= most) return null;
    const runner = this.#take();
    runner.assign(crawl);
    return runner;
  }

  /** Takes a process from a crawl that has no use for it, has two, or had its time. @returns false where none can be had */
  #free(working: readonly Runner[]): boolean {
    const now = performance.now();
    const useless = working.find((runner) => !runner.isBusy && runner.crawl!.queue.length === 0);
    const isOld = (runner: Runner) => now - runner.assignedAt > SLICE_MS || serving(runner.crawl!) > 1;
    const victim = useless ?? working.filter(isOld).sort((a, b) => b.crawl!.usedMs - a.crawl!.usedMs)[0];
    if (victim === undefined) return false;
    victim.isDraining = true;
    if (!victim.isBusy) victim.end();
    return true;
  }

  /** A process without a crawl: the one that is ready, or a new one. Another is started to be ready next time. */
  #take(): Runner {
    const runner = this.#spare ?? this.#start();
    this.#spare = null;
    if (runner.process.isReady) this.#spare = this.#start();
    return runner;
  }

  /** The next spare is started when nobody waits for a start any more. */
  #ready(): void {
    const starting = this.#runners.values().some(({ process }) => !process.isReady);
    if (this.#spare === null && !starting && !this.#stopped) this.#spare = this.#start();
    this.#schedule();
  }

  #start(): Runner {
    const runner = new Runner(this.#options.launch, {
      ready: () => this.#ready(),
      asked: (task, call) => this.#desk.ask(task, call),
      described: (from, description) => this.#described(from, describeScript(description)),
      changed: () => this.#changed(),
      gone: (from, displaced, why, culprit) => this.#gone(from, displaced, why, culprit),
    });
    this.#runners.add(runner);
    return runner;
  }

  #changed(): void {
    for (const runner of this.#runners) if (runner.isDraining && !runner.isBusy) runner.end();
    this.#schedule();
  }

  #described(runner: Runner, described: Described): void {
    const id = this.#descriptions.get(runner);
    this.#descriptions.delete(runner);
    if (id !== undefined) this.#options.reply({ kind: 'described', id, described });
    runner.end();
    this.#describeNext();
  }

  #gone(runner: Runner, displaced: PageTask[], why: string, culprit: PageTask | null): void {
    this.#runners.delete(runner);
    if (this.#spare === runner) this.#spare = null;
    if (this.#descriptions.has(runner))
      this.#described(runner, describeScript({ failure: `it ended its process: ${why || 'stopped'}` }));
    const { crawl } = runner;
    const isOpen = crawl !== null && this.#crawls.get(crawl.owner) === crawl && !this.#stopped;
    for (const task of displaced.toReversed()) this.#displace(task, isOpen, culprit === null && why !== '', why);
    if (why !== '') {
      this.#kills++;
      this.#options.log('a script process was ended', { crawl: crawl?.plan.crawlId, url: culprit?.job.url, why });
      if (!runner.process.isReady) this.#noStartBefore = performance.now() + RESTART_MS;
    }
    this.#schedule();
  }

  /** A page whose process is gone goes to the front of its queue, as if nothing had been. */
  #displace(task: PageTask, isOpen: boolean, isUnclear: boolean, why: string): void {
    if (isUnclear) task.displaced++;
    if (!isOpen) task.end({ kind: 'stopped' });
    else if (task.displaced >= MAX_DISPLACED)
      task.end({ kind: 'failed', reason: 'script_error', message: `its process ended ${MAX_DISPLACED} times: ${why}` });
    else {
      task.leave();
      task.crawl.queue.unshift(task);
    }
  }

  /** Answers for a task that is over. */
  #settle(id: number, task: PageTask, ending: Ending): void {
    const { reply } = this.#options;
    const { logs, crawl, callback, job } = task;
    switch (ending.kind) {
      case 'stopped':
        reply({ kind: 'stopped', id });
        return;
      case 'failed':
        reply({ kind: 'failed', id, reason: ending.reason, message: ending.message, logs });
        return;
      case 'done':
        try {
          const page = crawl.results.page(ending.ended, ending.items, job.depth, callback, logs);
          crawl.keep(page.state);
          const explanation = crawl.explain ? explain(task, ending.ended, page) : null;
          reply({ kind: 'done', id, page, explanation });
        } catch (error) {
          const message = `what it gave cannot be taken: ${(error as Error).message}`.slice(0, 500);
          reply({ kind: 'failed', id, reason: 'script_error', message, logs });
        }
    }
  }

  #look(): void {
    const now = performance.now();
    for (const runner of this.#runners) {
      if (runner.isBusy || runner.crawl !== null) runner.watch(now);
      if (runner.isBusy) continue;
      if (runner !== this.#spare && now - runner.usedAt > IDLE_MS) runner.end();
      else if (runner === this.#spare && this.#runners.size === 1 && now - runner.usedAt > SPARE_IDLE_MS) runner.end();
    }
    if (this.#crawls.values().some(({ queue }) => queue.length > 0)) this.#schedule();
  }

  #count(): void {
    const busy = [...this.#runners].filter(({ isBusy }) => isBusy).length;
    this.#options.count(busy, this.#kills);
  }
}

function serving({ runners }: ScriptCrawl): number {
  let n = 0;
  for (const { isDraining } of runners) if (!isDraining) n++;
  return n;
}
