import type { FailureReason } from '../protocol.ts';
import { readAnswer } from './answers.ts';
import type { Launch } from './boundary.ts';
import type { Frame } from './frames.ts';
import { ScriptProcess } from './process.ts';
import { type CallResult, type ChildCall, LIMITS, type ToChild, type Turn } from './protocol.ts';
import type { CrawlRunner, PageTask, ScriptCrawl } from './tasks.ts';

/** Pages of one crawl that may be open in a process, waiting for their calls. */
const MAX_PAGES = 8;
const MAX_PAGE_BYTES = 32 * 1024 * 1024;
/** Messages on their way: the one it is at and the one behind. */
const MAX_AHEAD = 2;
/** Milliseconds after the script's own interruption at which the process is ended. */
const GRACE_MS = 200;
/** Times its CPU limit that a turn may take by the clock. */
const MAX_WALL = 5;
/** A turn younger than this is not looked at. */
const YOUNG_MS = 30;
/** After so much CPU time in one turn a process goes behind the others. */
const BURN_MS = 100;
const START_MS = 20_000;
const OTHER_TURN_MS = 1200;
/** CPU time that a process may use while nothing is asked of it. */
const MAX_IDLE_CPU_MS = 500;
/** Log lines of all its pages in one turn. */
const MAX_TURN_LOGS = (MAX_PAGES + 1) * LIMITS.logs;
/** Memory of a process besides the script's: node, its heap, and thrice the bodies. */
const BASE_BYTES = 400 * 1024 * 1024;
const BODY_FACTOR = 3;
/** After so much CPU time a process is replaced. */
const MAX_CPU_MS = 300_000;

/** What a runner tells the broker. */
export interface RunnerEvents {
  ready(runner: Runner): void;
  asked(task: PageTask, call: ChildCall): void;
  described(runner: Runner, description: NonNullable<Turn['description']>): void;
  /** It has room again. */
  changed(): void;
  /** It is gone; `displaced` are to be run elsewhere. `culprit` has been ended. */
  gone(runner: Runner, displaced: PageTask[], why: string, culprit: PageTask | null): void;
}

interface OpenTurn {
  task: PageTask | null;
  limitMs: number;
  /** CPU milliseconds of the process when it began; null where the system does not tell. */
  cpuFrom: number | null;
}

/**
 * A process with the crawl that it works for. Each message is answered in its turn, so the oldest message without an answer
 * is what the process is at, and its page is the one to blame when the process has to be ended; the others go on elsewhere.
 */
export class Runner implements CrawlRunner {
  crawl: ScriptCrawl | null = null;
  /** It gets no more pages, and ends when those that it has are done. */
  isDraining = false;
  assignedAt = 0;
  /** When it last had something to do. */
  usedAt = performance.now();
  readonly process: ScriptProcess;
  readonly #events: RunnerEvents;
  readonly #pages = new Map<number, PageTask>();
  readonly #turns: OpenTurn[] = [];
  #since = performance.now();
  #cpuMs = 0;
  /** CPU milliseconds of the process when it had answered all. */
  #idleFrom: number | null = null;
  #turnLogs = 0;
  #doomed: { reason: FailureReason; message: string } | null = null;
  #isWanted = true;

  constructor(launch: Launch, events: RunnerEvents) {
    this.#events = events;
    this.process = new ScriptProcess(launch, {
      frame: (_, frame) => this.#read(frame),
      gone: (_, detail, memory) => this.#gone(detail, memory),
    });
  }

  get isBusy(): boolean {
    return this.#turns.length > 0 || this.#pages.size > 0;
  }

  /** It can take a page of its crawl. */
  get hasRoom(): boolean {
    const isFull = this.#pages.size >= MAX_PAGES || this.#turns.length >= MAX_AHEAD;
    return !this.isDraining && !isFull && !this.process.isGone && this.#doomed === null && this.#isWanted;
  }

  /** It has room for a body of this size. */
  fits(bytes: number): boolean {
    return this.#pages.size === 0 || this.#bytes() + bytes <= MAX_PAGE_BYTES;
  }

  assign(crawl: ScriptCrawl): void {
    this.crawl = crawl;
    this.assignedAt = performance.now();
    crawl.runners.add(this);
    this.#send({ kind: 'open', plan: crawl.plan, explain: crawl.explain }, null, OTHER_TURN_MS);
  }

  /** Begins a page. */
  begin(task: PageTask): void {
    const { job, callback } = task;
    const { settings } = task.crawl.plan;
    const input = {
      url: job.url,
      status: job.status,
      headers: definedOnly(job.headers ?? {}),
      contentType: job.contentType,
      depth: job.depth,
      callback,
      meta: job.extra?.pass ?? {},
    };
    this.#pages.set(task.number, task);
    task.runner = this;
    const body = new Uint8Array(job.body, 0, job.bodyBytes);
    this.#send({ kind: 'page', page: task.number, input }, task, settings.parseTimeoutMs, [body]);
  }

  /** Gives a call its result. */
  settle(task: PageTask, call: number, result: CallResult, segment: Uint8Array | null): void {
    if (this.#pages.get(task.number) !== task) return;
    const left = Math.max(1, task.crawl.plan.settings.parseTimeoutMs - task.cpuMs);
    this.#send({ kind: 'result', page: task.number, call, result }, task, left, segment === null ? [] : [segment]);
  }

  describe(script: string): void {
    this.#send({ kind: 'describe', script }, null, OTHER_TURN_MS);
  }

  /** Ends the process; what it holds is displaced. */
  end(): void {
    this.#isWanted = false;
    this.process.kill();
  }

  /** Looks after it: called every few milliseconds while it is busy. */
  watch(now: number): void {
    if (this.process.isGone || this.#doomed !== null) return;
    const [turn] = this.#turns;
    if (!this.process.isReady) {
      if (now - this.#since > START_MS) this.#doom('script_error', `its process did not start within ${START_MS} ms`);
      return;
    }
    const elapsed = now - this.#since;
    this.#watchMemory();
    if (elapsed < YOUNG_MS) return;
    if (turn === undefined) {
      this.#watchIdle();
      return;
    }
    const cpuMs = this.process.cpuMs();
    const used = cpuMs === null || turn.cpuFrom === null ? elapsed : cpuMs - turn.cpuFrom;
    if (used > BURN_MS) this.process.prioritise(true);
    const limit = turn.limitMs + GRACE_MS;
    if (used > limit || elapsed > limit * MAX_WALL) this.#doom('parse_timeout', overTime(turn));
  }

  /** What waits does nothing, unless somebody else has taken it over. */
  #watchIdle(): void {
    const cpuMs = this.process.cpuMs();
    if (cpuMs === null) return;
    this.#idleFrom ??= cpuMs;
    if (cpuMs - this.#idleFrom > MAX_IDLE_CPU_MS)
      this.#doom('script_error', 'its process worked while nothing was asked of it');
  }

  #watchMemory(): void {
    const bytes = this.process.memoryBytes();
    if (bytes === null) return;
    const scriptMb = this.crawl?.plan.settings.scriptMemoryMb ?? 0;
    const limit = BASE_BYTES + scriptMb * 1024 * 1024 + this.#bytes() * BODY_FACTOR;
    if (bytes > limit)
      this.#doom(
        'parse_memory',
        `its process had ${Math.round(bytes / 1024 / 1024)} MiB; scriptMemoryMb is ${scriptMb}`,
      );
  }

  #bytes(): number {
    let bytes = 0;
    for (const { job } of this.#pages.values()) bytes += job.bodyBytes;
    return bytes;
  }

  #send(message: ToChild, task: PageTask | null, limitMs: number, segments: Uint8Array[] = []): void {
    this.usedAt = performance.now();
    if (this.#turns.length === 0) this.#since = this.usedAt;
    this.#turns.push({ task, limitMs, cpuFrom: null });
    this.process.send(message, segments);
    this.#startClock();
  }

  /** A turn's time, and its callback's, begins when the process is at it. */
  #startClock(): void {
    const [turn] = this.#turns;
    if (turn === undefined || !this.process.isReady) return;
    turn.cpuFrom ??= this.process.cpuMs();
    const { task } = turn;
    if (task === null || task.clock !== null || task.isOver) return;
    task.clock = setTimeout(() => this.#timeOut(task), task.crawl.plan.settings.callbackTimeoutMs);
  }

  #read(frame: Frame): void {
    const message = readAnswer(frame);
    switch (message.kind) {
      case 'ready':
        if (this.process.isReady) throw new Error('it is ready already');
        this.process.isReady = true;
        this.#since = performance.now();
        this.#startClock();
        this.#events.ready(this);
        break;
      case 'log':
        if (this.#turns.length === 0 || ++this.#turnLogs > MAX_TURN_LOGS)
          throw new Error('more log lines than there may be');
        this.#pages.get(message.page)?.log(message.level, message.message);
        break;
      case 'turn':
        this.#answered(message, frame.segments);
    }
  }

  #answered(turn: Turn, segments: Uint8Array[]): void {
    if (this.#turns.shift() === undefined) throw new Error('an answer to nothing');
    this.#since = performance.now();
    this.usedAt = this.#since;
    this.#idleFrom = null;
    this.#turnLogs = 0;
    this.process.prioritise(false);
    this.#startClock();
    let at = 0;
    for (const ended of turn.ended) {
      const items = segments.slice(at, at + ended.items.length);
      at += ended.items.length;
      const task = this.#pages.get(ended.page);
      this.#pages.delete(ended.page);
      this.#cpuMs += ended.cpuMs;
      if (task === undefined) continue;
      task.crawl.charge(ended.cpuMs);
      if (ended.unlogged > 0) task.log('warn', `${ended.unlogged} more lines were logged on this page and left out`);
      if (ended.failure === null) task.end({ kind: 'done', ended, items });
      else task.end({ kind: 'failed', ...ended.failure });
    }
    for (const call of turn.calls) {
      const task = this.#pages.get(call.page);
      if (task !== undefined) this.#events.asked(task, call);
    }
    if (turn.description !== null) this.#events.described(this, turn.description);
    const isFull = turn.ended.some(({ failure }) => failure?.reason === 'parse_memory');
    if (turn.unfit !== null || isFull) this.end();
    if (this.#cpuMs > MAX_CPU_MS) this.isDraining = true;
    this.#events.changed();
  }

  /** The callback's time by the clock is over; the process goes on. */
  #timeOut(task: PageTask): void {
    const { callbackTimeoutMs } = task.crawl.plan.settings;
    this.#pages.delete(task.number);
    this.#send({ kind: 'drop', page: task.number }, null, task.crawl.plan.settings.parseTimeoutMs + OTHER_TURN_MS);
    const message = `callback \`${task.callback}\` did not end within ${callbackTimeoutMs} ms (callbackTimeoutMs)`;
    task.end({ kind: 'failed', reason: 'parse_timeout', message });
    this.#events.changed();
  }

  /** The process is to be ended because of the page that it is at. */
  #doom(reason: FailureReason, message: string): void {
    this.#doomed = { reason, message };
    this.process.kill();
  }

  #gone(detail: string, memory: boolean): void {
    const culprit = this.#isWanted || this.#doomed !== null ? (this.#turns[0]?.task ?? null) : null;
    this.crawl?.runners.delete(this);
    const displaced = [...this.#pages.values()].filter((task) => task !== culprit);
    this.#pages.clear();
    this.#turns.length = 0;
    if (culprit !== null) {
      // It told of nothing any more; a page that is ended for its time has used it all.
      culprit.crawl.charge(this.#doomed?.reason === 'parse_timeout' ? culprit.crawl.plan.settings.parseTimeoutMs : 0);
      const failure = this.#doomed ?? {
        reason: memory ? ('parse_memory' as const) : ('script_error' as const),
        message: memory ? 'its process ran out of memory' : `its process ended: ${detail}`,
      };
      culprit.end({ kind: 'failed', ...failure });
    }
    this.#events.gone(this, displaced, this.#doomed?.message ?? (this.#isWanted ? detail : ''), culprit);
  }
}

function overTime({ task, limitMs }: OpenTurn): string {
  if (task === null) return `it did not answer within ${limitMs} ms`;
  const { parseTimeoutMs } = task.crawl.plan.settings;
  return `callback \`${task.callback}\` used more than ${parseTimeoutMs} ms of CPU (parseTimeoutMs) and could not be interrupted`;
}

function definedOnly(headers: Record<string, string | string[] | undefined>): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string | string[]] => entry[1] !== undefined),
  );
}
