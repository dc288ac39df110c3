import { Worker } from 'node:worker_threads';
import type { Explanation } from '../../model/explanation.ts';
import type { ParsedPage } from '../../model/outcome.ts';
import type { ParsePlanInput } from '../../model/spider.ts';
import { ParseFailure, ParserStopped } from '../failure.ts';
import type { PageJob } from '../protocol.ts';
import { type Boundary, findBoundary, type Launch } from './boundary.ts';
import type { Answer, BrokerData, BrokerReply, Described, FromBroker, Question, ToBroker } from './broker_messages.ts';
import { CallFailed, type ScriptCalls } from './calls.ts';

export type { Boundary, Described };

export interface ScriptPoolOptions {
  /** Processes that work at once. */
  processes: number;
  /** `KnownFingerprints.buffer`: links that are in it do not come back. */
  known: SharedArrayBuffer;
  /** `process` leaves bubblewrap out. */
  boundary?: Boundary['kind'];
  /** Told of processes that had to be ended. */
  log?: (message: string, detail: object) => void;
}

/** Bytes that may wait before `hasRoom` says no. */
const ROOM_BYTES = 128 * 1024 * 1024;
const HEAP_MB = 512;
const YOUNG_MB = 24;
const RESTART_MS = 1000;

/** A page at which the broker was lost so often is taken to be the fault. */
const MAX_LOSSES = 3;

interface Job {
  bytes: number;
  /** Sent again to the next broker where one is lost: bodies are shared memory. */
  message: ToBroker;
  losses: number;
  resolve(reply: BrokerReply): void;
  reject(error: Error): void;
}

/**
 * Runs script spiders: each page in a process that has no rights and can be killed (`boundary`), driven by one thread, the
 * broker, so that nothing of it costs the event loop. See docs/sandbox.md.
 *
 * A callback that takes too much CPU, time or memory fails its page; the pages that shared its process go on in another.
 */
export class ScriptPool {
  readonly #options: ScriptPoolOptions;
  readonly #crawls = new Map<string, { plan: ParsePlanInput; calls: ScriptCalls }>();
  readonly #callers = new Map<string, ScriptCalls>();
  readonly #jobs = new Map<number, Job>();
  readonly #calls = new Map<number, AbortController>();
  readonly #counts = new Int32Array(new SharedArrayBuffer(8));
  #launch: Launch | null = null;
  #broker: Worker | null = null;
  #state: 'new' | 'started' | 'stopped' = 'new';
  #ended: (() => void) | null = null;
  #restart: NodeJS.Timeout | null = null;
  #numbers = 0;
  #bytes = 0;

  constructor(options: ScriptPoolOptions) {
    this.#options = options;
  }

  /** Which wall is in force; known once the pool is started. */
  get boundary(): Boundary {
    const { kind, detail } = this.#launch ?? { kind: 'process' as const, detail: 'not started' };
    return { kind, detail };
  }

  /** Finds the wall. The broker's thread (60 MB) starts with the first script, processes when they are needed. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return;
    this.#launch = await findBoundary(this.#options.boundary);
    this.#state = 'started';
  }

  /** Ends every process; what was not done is rejected with `ParserStopped`. Idempotent, resolves when they are gone. */
  async stop(): Promise<void> {
    const wasStarted = this.#state === 'started';
    this.#state = 'stopped';
    if (this.#restart !== null) clearTimeout(this.#restart);
    for (const controller of this.#calls.values()) controller.abort();
    const broker = this.#broker;
    if (!wasStarted || broker === null) return;
    await new Promise<void>((resolve) => {
      this.#ended = resolve;
      this.#tell({ kind: 'stop' });
    });
    await broker.terminate();
  }

  /** Makes a crawl known; again with the same crawl, it replaces the plan and stops its pages. */
  openCrawl(plan: ParsePlanInput, calls: ScriptCalls): void {
    this.#crawls.set(plan.crawlId, { plan, calls });
    this.#callers.set(plan.crawlId, calls);
    this.#tell({ kind: 'open', plan });
    this.#startBroker();
  }

  /** Forgets a crawl; its pages are rejected with `ParserStopped`. */
  closeCrawl(crawlId: string): void {
    this.#crawls.delete(crawlId);
    this.#callers.delete(crawlId);
    this.#tell({ kind: 'close', crawlId });
  }

  /**
   * Runs the callback of a page.
   *
   * @throws ParseFailure (script_error, parse_timeout, parse_memory, content_type) with what the script logged, ParserStopped
   */
  async run(job: PageJob): Promise<ParsedPage> {
    const reply = await this.#submit(job.body.byteLength, (id) => ({ kind: 'page', id, job }));
    if (reply.kind !== 'done') throw new Error(`the broker answered ${reply.kind}`);
    return reply.page;
  }

  /** A dry run: nothing is kept, every link comes back, and the explanation says why. @throws as `run` */
  async preview(
    plan: ParsePlanInput,
    job: PageJob,
    calls: ScriptCalls,
  ): Promise<{ page: ParsedPage; explanation: Explanation }> {
    const owner = `preview ${++this.#numbers}`;
    this.#callers.set(owner, calls);
    try {
      const reply = await this.#submit(job.body.byteLength, (id) => ({ kind: 'preview', id, plan, job, owner }));
      if (reply.kind !== 'done' || reply.explanation === null) throw new Error(`the broker answered ${reply.kind}`);
      return { page: reply.page, explanation: reply.explanation };
    } finally {
      this.#callers.delete(owner);
    }
  }

  /** Loads a script alone: what it says of itself, and what is wrong with it. @throws ParserStopped */
  async describe(script: string): Promise<Described> {
    const reply = await this.#submit(0, (id) => ({ kind: 'describe', id, script }));
    if (reply.kind !== 'described') throw new Error(`the broker answered ${reply.kind}`);
    return reply.described;
  }

  /** «Have you room?» False while so much waits that fetching more pages only costs memory. */
  get hasRoom(): boolean {
    return this.#bytes < ROOM_BYTES;
  }

  /** Pages accepted and not done. */
  get queuedJobs(): number {
    return this.#jobs.size;
  }

  get busyProcesses(): number {
    return Atomics.load(this.#counts, 0);
  }

  /** Processes that had to be ended, or ended by themselves. */
  get kills(): number {
    return Atomics.load(this.#counts, 1);
  }

  #submit(bytes: number, message: (id: number) => ToBroker): Promise<BrokerReply> {
    if (this.#state !== 'started') return Promise.reject(new ParserStopped('the script pool is not running'));
    const id = ++this.#numbers;
    return new Promise((resolve, reject) => {
      const job = { bytes, message: message(id), losses: 0, resolve, reject };
      this.#jobs.set(id, job);
      this.#bytes += bytes;
      this.#tell(job.message);
      this.#startBroker();
    });
  }

  #tell(message: ToBroker): void {
    this.#broker?.postMessage(message);
  }

  /** Unless it is there, or has its time to come back; a new one is told all that is open. */
  #startBroker(): void {
    if (this.#state !== 'started' || this.#broker !== null || this.#restart !== null) return;
    const data: BrokerData = {
      launch: this.#launch!,
      processes: this.#options.processes,
      known: this.#options.known,
      counts: this.#counts.buffer as SharedArrayBuffer,
    };
    const broker = new Worker(new URL('./broker_thread.js', import.meta.url), {
      workerData: data,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB, maxYoungGenerationSizeMb: YOUNG_MB },
    });
    this.#broker = broker;
    broker.on('message', (message: FromBroker) => this.#receive(message));
    broker.on('error', (error: Error) => this.#options.log?.(`the script broker failed: ${error.message}`, {}));
    broker.once('exit', () => this.#lost(broker));
    for (const { plan } of this.#crawls.values()) this.#tell({ kind: 'open', plan });
    for (const { message } of this.#jobs.values()) this.#tell(message);
  }

  /** The broker is gone, and its processes with it. Its jobs wait for the next one. */
  #lost(broker: Worker): void {
    if (this.#broker !== broker) return;
    this.#broker = null;
    for (const controller of this.#calls.values()) controller.abort();
    this.#calls.clear();
    this.#ended?.();
    const isOver = this.#state !== 'started';
    for (const [id, job] of this.#jobs)
      if (isOver) this.#end(id, () => job.reject(new ParserStopped('the script pool is not running')));
      else if (++job.losses >= MAX_LOSSES) {
        const message = `the thread that drives the script processes ended ${MAX_LOSSES} times`;
        this.#end(id, () => job.reject(new ParseFailure('script_error', message)));
      }
    if (isOver) return;
    this.#restart = setTimeout(() => {
      this.#restart = null;
      this.#startBroker();
    }, RESTART_MS).unref();
  }

  #receive(message: FromBroker): void {
    switch (message.kind) {
      case 'call':
        void this.#call(message.call, message.owner, message.question);
        return;
      case 'abort':
        this.#calls.get(message.call)?.abort();
        this.#calls.delete(message.call);
        return;
      case 'log':
        this.#options.log?.(message.message, message.detail);
        return;
      case 'ended':
        this.#ended?.();
        return;
      default:
        this.#settle(message);
    }
  }

  #settle(reply: BrokerReply): void {
    const job = this.#jobs.get(reply.id);
    if (job === undefined) return;
    this.#end(reply.id, () => {
      if (reply.kind === 'failed') job.reject(new ParseFailure(reply.reason, reply.message, reply.logs));
      else if (reply.kind === 'stopped') job.reject(new ParserStopped('the crawl was closed'));
      else job.resolve(reply);
    });
  }

  #end(id: number, settle: () => void): void {
    this.#bytes -= this.#jobs.get(id)?.bytes ?? 0;
    this.#jobs.delete(id);
    settle();
  }

  async #call(call: number, owner: string, question: Question): Promise<void> {
    const controller = new AbortController();
    this.#calls.set(call, controller);
    const answer = await this.#answer(this.#callers.get(owner), question, controller.signal);
    // Aborted: the page has ended, or the broker, whose successor numbers its calls anew.
    if (controller.signal.aborted) return;
    this.#calls.delete(call);
    this.#tell({ kind: 'answer', call, answer });
  }

  async #answer(calls: ScriptCalls | undefined, question: Question, signal: AbortSignal): Promise<Answer> {
    if (calls === undefined) return { ok: false, code: 'aborted', message: 'the crawl was closed' };
    try {
      switch (question.kind) {
        case 'fetch':
          return { ok: true, fetched: await calls.fetch(question.call, signal) };
        case 'lookup': {
          const { connection, query, params } = question;
          return { ok: true, text: await calls.lookup(connection, query, params, signal) };
        }
        case 'read':
          return { ok: true, text: await calls.readState(question.key, signal) };
      }
    } catch (error) {
      if (error instanceof CallFailed) return { ok: false, code: error.code, message: error.message };
      this.#options.log?.('a call of a script failed', { error });
      return { ok: false, code: 'failed', message: 'the call failed inside the service' };
    }
  }
}
