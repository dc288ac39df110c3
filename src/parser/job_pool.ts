import { DEFAULT_SETTINGS } from '../model/settings.ts';
import type { ParsePlanInput } from '../model/spider.ts';
import { failureOf, ParseFailure, ParserStopped } from './failure.ts';
import type { JobMessage } from './protocol.ts';
import { type Answer, FairQueues, type Job, type JobQueue } from './queue.ts';
import { type Lane, ParserThread } from './thread.ts';

export interface ParserPoolOptions {
  threads: number;
  /** Heap of one thread in MiB; a page that needs more fails with `parse_memory`. */
  memoryMb: number;
  /** `KnownFingerprints.buffer`: links that are in it do not come back. */
  known: SharedArrayBuffer;
  /** Told of killed and lost threads. */
  log?: (message: string, detail: object) => void;
}

/** Bytes that may wait before `hasRoom` says no. How many pages of one crawl may wait is decided above. */
const ROOM_BYTES = 256 * 1024 * 1024;
/** A thread for slow crawls is kept for so long without work. */
const SLOW_LANE_IDLE_MS = 10_000;
const WATCH_MS = 20;
/**
 * After this much CPU time in one page a thread is demoted. By the clock, a busy machine made quick pages seem to burn, and
 * each burning crawl is given threads of 20 MB that it did not need.
 */
const BURN_MS = 100;
/**
 * Of what somebody waits for (`isAsked`), and of the first page of a crawl in a thread, which may be the first there to load what
 * reads schemas, 70 to 250 ms, or XPath, 150 to 850. Demoted meanwhile, on a machine without an idle core, it came to its end by
 * the clock: a good spider was refused, a good page failed.
 */
const FIRST_BURN_MS = 1000;
/** Times its CPU limit that a job may take by the clock, */
const MAX_WALL = 5;
/** and milliseconds that it may take in any case: what costs little is not to fail because a machine is busy. */
const MIN_WALL_MS = 40_000;
/** A thread that could not start is tried again after this. */
const RESTART_MS = 1000;

/**
 * Worker threads and the jobs that wait for them: one queue per crawl, served by thread time used (`queue.ts`).
 *
 * A page that takes longer than its crawl's `parseTimeoutMs`, or more memory than `memoryMb`, is ended with its thread. The
 * thread is replaced, and pages that waited in it go back to the front of their queues: bodies are shared memory, so
 * nothing is lost. A page that has had the CPU for 100 ms (the first of its crawl in a thread: for a second) is demoted in the
 * operating system, so that it costs the event loop, the database and the other threads little.
 *
 * A crawl whose pages turn out to be slow gets threads of its own, opened when they are needed, of the lowest priority: it
 * ends the threads that it is given, and a thread that was just replaced is several times slower until its code is
 * compiled. Without that lane a crawl beside a burning one kept half of its speed.
 */
export class JobPool {
  readonly #options: ParserPoolOptions;
  readonly #threads = new Set<ParserThread>();
  /** Of the open crawls, by id. */
  readonly #plans = new Map<string, ParsePlanInput>();
  readonly #fair = new FairQueues();
  /** Threads that are being ended, and why the page that they are at fails. */
  readonly #killed = new Map<ParserThread, string>();
  /** The plans that each thread has. */
  readonly #told = new WeakMap<ParserThread, Map<string, ParsePlanInput>>();
  readonly #restarts = new Set<NodeJS.Timeout>();
  #state: 'new' | 'started' | 'stopped' = 'new';
  #watch: NodeJS.Timeout | null = null;
  #retirement: NodeJS.Timeout | null = null;
  #started: { resolve: () => void; reject: (error: Error) => void } | null = null;
  #jobs = 0;
  #bytes = 0;
  #kills = 0;

  constructor(options: ParserPoolOptions) {
    this.#options = options;
  }

  /** Starts the threads; resolves when all are ready. @throws where a thread cannot start */
  start(): Promise<void> {
    if (this.#state !== 'new') return Promise.resolve();
    this.#state = 'started';
    const ready = new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject };
    });
    for (let i = 0; i < this.#options.threads; i++) this.#addThread('quick');
    return ready;
  }

  /** Ends all threads; what was not done is rejected with `ParserStopped`. Idempotent, resolves when they are gone. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#started?.reject(new ParserStopped('the parser was stopped'));
    for (const timer of this.#restarts) clearTimeout(timer);
    this.#restarts.clear();
    if (this.#watch !== null) clearInterval(this.#watch);
    this.#watch = null;
    if (this.#retirement !== null) clearTimeout(this.#retirement);
    for (const job of this.#fair.drain()) this.#fail(job, new ParserStopped('the parser was stopped'));
    await Promise.all([...this.#threads].map((thread) => thread.terminate()));
  }

  /** «Have you room?» False while so much waits that fetching more pages only costs memory. */
  get hasRoom(): boolean {
    return this.#bytes < ROOM_BYTES;
  }

  /** Jobs accepted and not done. */
  get queuedJobs(): number {
    return this.#jobs;
  }

  /** Their bytes. */
  get queuedBytes(): number {
    return this.#bytes;
  }

  get busyThreads(): number {
    let busy = 0;
    for (const thread of this.#threads) if (thread.held.length > 0) busy++;
    return busy;
  }

  /** Threads ended because of a page: its time, its memory. */
  get kills(): number {
    return this.#kills;
  }

  /** @param queue absent: of a crawl that is not open */
  protected submit(message: JobMessage, queue: JobQueue | undefined, bytes: number, limitMs: number): Promise<Answer> {
    if (this.#state !== 'started') return Promise.reject(new ParserStopped('the parser is not running'));
    if (queue === undefined) return Promise.reject(new ParserStopped('the crawl is not open'));
    return new Promise((resolve, reject) => {
      this.#jobs++;
      this.#bytes += bytes;
      this.#fair.push({ message, queue, bytes, limitMs, charged: 0, burns: false, resolve, reject });
      this.#dispatch();
    });
  }

  /** Rejects what waits in a queue that is not used any more. */
  protected closeQueue(queue: JobQueue): void {
    queue.isClosed = true;
    for (const job of queue.drain()) this.#fail(job, new ParserStopped('the crawl was closed'));
    this.#fair.forget(queue);
  }

  /** Makes a crawl's plan known; again with the same crawl, it replaces the plan for later jobs. */
  protected openPlan(plan: ParsePlanInput): void {
    this.#plans.set(plan.crawlId, plan);
    if (plan.settings.parser === 'html5') for (const thread of this.#threads) this.#tellPlan(thread, plan.crawlId);
  }

  protected closePlan(crawlId: string): void {
    this.#plans.delete(crawlId);
    for (const thread of this.#threads)
      if (this.#told.get(thread)?.delete(crawlId)) thread.tell({ kind: 'close', crawlId });
  }

  /** Of one job of a crawl, in milliseconds; the default where it is not open. */
  protected limitOf(crawlId: string): number {
    return (this.#plans.get(crawlId)?.settings ?? DEFAULT_SETTINGS).parseTimeoutMs;
  }

  /** Hands jobs out until no thread can take one: to idle threads first, then behind quick pages. */
  #dispatch(): void {
    const { threads } = this.#options;
    for (const thread of this.#threads) {
      const slow = thread.lane === 'slow';
      const queue = thread.isIdle ? this.#fair.next(threads, (one) => one.isSlow === slow) : null;
      if (queue !== null) this.#send(thread, queue);
    }
    for (const thread of this.#threads)
      while (thread.canQueue && thread.held.length > 0) {
        const queue = this.#fair.next(threads, (one) => one.isQuick && one.nextIsSmall);
        if (queue === null) break;
        this.#send(thread, queue);
      }
    this.#tendSlowLane();
  }

  /** Slow crawls get threads of their own while they need them. */
  #tendSlowLane(): void {
    let [size, isFree] = [0, false];
    for (const thread of this.#threads) {
      if (thread.lane !== 'slow' || thread.isRetiring) continue;
      size++;
      isFree ||= !thread.isReady || thread.isIdle;
    }
    if (this.#fair.slowWaits(this.#options.threads)) {
      if (!isFree && size < this.#options.threads) this.#addThread('slow');
    } else if (size > 0) {
      this.#retirement ??= setTimeout(() => this.#retireSlowLane(), SLOW_LANE_IDLE_MS).unref();
    }
  }

  #retireSlowLane(): void {
    this.#retirement = null;
    for (const thread of this.#threads) if (thread.lane === 'slow' && thread.isIdle) void thread.terminate();
  }

  #send(thread: ParserThread, queue: JobQueue): void {
    const job = queue.take();
    const { message } = job;
    const { kind } = message;
    if (kind === 'page' || kind === 'steps' || kind === 'render') this.#tellPlan(thread, message.job.crawlId);
    thread.run(job);
    this.#watch ??= setInterval(() => this.#look(), WATCH_MS).unref();
  }

  /** A thread is told a plan when it first needs it: a new thread that was told all would hold the loop, megabytes a crawl. */
  #tellPlan(thread: ParserThread, crawlId: string): void {
    const plan = this.#plans.get(crawlId);
    const told = this.#told.get(thread) ?? new Map<string, ParsePlanInput>();
    this.#told.set(thread, told);
    if (plan === undefined || told.get(crawlId) === plan) return;
    told.set(crawlId, plan);
    thread.tell({ kind: 'open', plan });
  }

  /** parse5 is slow to load: a thread that may need it loads it before it is ready, and not in a page's time. */
  #anyHtml5(): ParsePlanInput[] {
    const plan = this.#plans.values().find(({ settings }) => settings.parser === 'html5');
    return plan === undefined ? [] : [plan];
  }

  #answered(thread: ParserThread, job: Job, answer: Answer): void {
    const { queue } = job;
    queue.settle(job, answer.kind === 'page' ? answer.page.parseMs : answer.ms);
    if (thread.isDemoted && thread.lane === 'quick' && !this.#killed.has(thread)) this.#recover(thread);
    this.#finish(job);
    if (answer.kind === 'failed') job.reject(new ParseFailure(answer.code, answer.message));
    else job.resolve(answer);
    if (thread.isRetiring && thread.held.length === 0) void thread.terminate();
    this.#dispatch();
  }

  /** A demoted thread has finished its page: back to normal, or, where only root may do that, replaced by a new one. */
  #recover(thread: ParserThread): void {
    if (thread.promote()) return;
    thread.isDemoted = false;
    // It works on until its successor is ready, and may burn again meanwhile.
    if (thread.hasSuccessor) return;
    thread.hasSuccessor = true;
    this.#addThread('quick', thread);
  }

  #finish(job: Job): void {
    this.#jobs--;
    this.#bytes -= job.bytes;
  }

  #fail(job: Job, error: Error): void {
    this.#finish(job);
    job.reject(error);
  }

  /** The watchdog: demotes what burns, ends what is over its limit. Asleep while nothing runs. */
  #look(): void {
    const now = performance.now();
    let busy = false;
    for (const thread of this.#threads) {
      const [job] = thread.held;
      if (job === undefined || this.#killed.has(thread)) continue;
      busy = true;
      const elapsed = thread.elapsed(now);
      const asked = isAsked(job);
      const burnMs = asked || thread.isAtFirst ? FIRST_BURN_MS : BURN_MS;
      if (elapsed > burnMs && !thread.isDemoted && (thread.usedMs() ?? elapsed) > burnMs) {
        job.queue.burn(job);
        thread.demote(asked ? 'low' : 'lowest');
      }
      if (elapsed > job.limitMs) this.#suspect(thread, job);
    }
    this.#keepQuickThread();
    if (busy || this.#watch === null) return;
    clearInterval(this.#watch);
    this.#watch = null;
  }

  /**
   * As many crawls whose first pages burn as there are threads would hold them all, each for its whole limit. So where every
   * quick thread burns, another takes the place of one, which works for slow crawls from then on.
   */
  #keepQuickThread(): void {
    const [first, ...others] = [...this.#threads].filter(({ lane }) => lane === 'quick');
    if (first === undefined || [first, ...others].some(({ isDemoted }) => !isDemoted)) return;
    if (this.#threads.size - others.length > this.#options.threads) return;
    first.leaveQuickLane();
    this.#addThread('quick');
  }

  /**
   * The event loop itself may have been late: an answer that is already here is read before the thread is ended. The limit
   * is CPU time, so that a page is not blamed for a busy machine; at some times the limit by the clock the thread is ended anyway.
   */
  #suspect(thread: ParserThread, job: Job): void {
    setImmediate(() => {
      const elapsed = thread.elapsed(performance.now());
      if (thread.held[0] !== job || this.#killed.has(thread) || elapsed <= job.limitMs) return;
      const maxWall = Math.max(job.limitMs * MAX_WALL, MIN_WALL_MS);
      if ((thread.usedMs() ?? elapsed) <= job.limitMs && elapsed <= maxWall) return;
      this.#killed.set(thread, `it took longer than ${job.limitMs} ms`);
      void thread.terminate();
    });
  }

  /** @param predecessor a thread that retires once this one is ready */
  #addThread(lane: Lane, predecessor: ParserThread | null = null): void {
    const data = { known: this.#options.known, plans: this.#anyHtml5() };
    const thread: ParserThread = new ParserThread(lane, this.#options.memoryMb, data, {
      ready: () => this.#ready(predecessor),
      answered: (from, job, answer) => this.#answered(from, job, answer),
      gone: (from, running, waiting, code, message) => this.#gone(from, running, waiting, code, message),
    });
    this.#threads.add(thread);
  }

  #ready(predecessor: ParserThread | null): void {
    if (predecessor !== null) {
      predecessor.isRetiring = true;
      if (predecessor.held.length === 0) void predecessor.terminate();
    }
    if ([...this.#threads].every((thread) => thread.isReady)) this.#started?.resolve();
    this.#dispatch();
  }

  /** A thread is gone: its page failed, what waited behind goes on elsewhere, and another thread takes its place. */
  #gone(thread: ParserThread, running: Job | null, waiting: Job[], code: string | null, message: string): void {
    this.#threads.delete(thread);
    const tooLong = this.#killed.get(thread);
    this.#killed.delete(thread);
    const held = running === null ? waiting : [running, ...waiting];
    if (this.#state === 'stopped') {
      for (const job of held) this.#fail(job, new ParserStopped('the parser was stopped'));
      return;
    }
    this.#takeBack(waiting);
    if (running !== null) {
      const failure = failureOf(tooLong, code, message);
      this.#kills++;
      this.#options.log?.('a parser thread was ended by a page', { ...describe(running), reason: failure.reason });
      running.queue.settle(running, thread.lastMs);
      this.#fail(running, failure);
    }
    this.#replace(thread, code, message);
    this.#dispatch();
  }

  /** Jobs that waited in a dead thread go to the front of their queues, in their order. */
  #takeBack(jobs: readonly Job[]): void {
    for (const job of jobs.toReversed()) {
      job.queue.giveBack(job);
      if (job.queue.isClosed) this.closeQueue(job.queue);
    }
  }

  #replace(thread: ParserThread, code: string | null, message: string): void {
    if (thread.wasReady) {
      const quick = this.#threads.values().filter(({ lane }) => lane === 'quick');
      if (quick.toArray().length < this.#options.threads) this.#addThread('quick');
      return;
    }
    const error = new Error(`a parser thread could not start: ${code} ${message}`);
    this.#started?.reject(error);
    this.#options.log?.(error.message, {});
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      this.#addThread(thread.lane);
    }, RESTART_MS).unref();
    this.#restarts.add(timer);
  }
}

/** A question to the API waits for it: a definition's check, what start URLs give, a preview, a comparison with a sample. */
function isAsked({ message: { kind } }: Job): boolean {
  return kind === 'check' || kind === 'start' || kind === 'preview' || kind === 'compare';
}

function describe({ message, queue }: Job): object {
  return message.kind === 'page' ? { crawl: message.job.crawlId, url: message.job.url } : { job: queue.name };
}
