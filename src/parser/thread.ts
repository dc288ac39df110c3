import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { Worker } from 'node:worker_threads';
import { Inbox } from './pieces.ts';
import type { FromThread, ThreadData, ToThread } from './protocol.ts';
import type { Answer, Job } from './queue.ts';

/** Jobs that a thread may hold: one that runs and those that wait in it, so that it never idles for an answer's way. */
const MAX_HELD = 3;
/**
 * Most of what a page allocates dies with it. Two halves of 4 MB, since V8 takes a third of this, rounded up to a power of two, for each:
 * with halves of 8 MB a page costs the same, with 2 MB 3 to 6 % more in the thread and a fifth more in V8's helpers.
 */
const YOUNG_MB = 12;
/**
 * Nice values (setpriority(2)). On a core that others want, too, the lowest gets a seventieth of it, and the low one a tenth: what
 * somebody waits for comes to its end on a machine that is busy.
 */
const NICE = { normal: 0, low: 10, lowest: 19 };

/** Which crawls a thread works for: those with quick (or unknown) pages, or those with slow ones. */
export type Lane = 'quick' | 'slow';

/** What a thread tells the pool. */
export interface ThreadEvents {
  ready(thread: ParserThread): void;
  answered(thread: ParserThread, job: Job, answer: Answer): void;
  /** The thread is gone, with the jobs that it held; `running` is the one it was at. `code`: why, if it failed by itself. */
  gone(thread: ParserThread, running: Job | null, waiting: Job[], code: string | null, message: string): void;
}

/**
 * One worker thread and the jobs in it. It is starting, then ready, then gone. Demoted (its page burns, so the operating
 * system prefers everyone else) and retiring (it gets no more jobs) are ways of being ready.
 */
export class ParserThread {
  isReady = false;
  /** False for a thread that ended before it was ready. */
  wasReady = false;
  /** Milliseconds that the last job had when the thread ended. */
  lastMs = 0;
  isDemoted = false;
  isRetiring = false;
  /** Another thread is being started in its place. */
  hasSuccessor = false;
  /** Jobs in the thread, the running one first. */
  readonly held: Job[] = [];
  readonly #worker: Worker;
  readonly #events: ThreadEvents;
  readonly #begun: Int32Array;
  readonly #inbox = new Inbox();
  #tid: number | null = null;
  #answered = 0;
  /** When the running job began, as far as is known: when it was sent, or when the one before it was answered. */
  #since = 0;
  #failure: { code: string; message: string } | null = null;
  readonly #gone: Promise<void>;

  #lane: Lane;

  constructor(lane: Lane, memoryMb: number, data: Omit<ThreadData, 'begun'>, events: ThreadEvents) {
    this.#lane = lane;
    const workerData: ThreadData = { ...data, begun: new SharedArrayBuffer(12) };
    this.#begun = new Int32Array(workerData.begun);
    this.#events = events;
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: memoryMb, maxYoungGenerationSizeMb: YOUNG_MB },
    });
    this.#worker.on('message', (message: FromThread) => this.#receive(message));
    this.#worker.on('error', (error: Error & { code?: string }) => {
      this.#failure = { code: error.code ?? 'ERR_UNKNOWN', message: error.message };
    });
    this.#gone = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#end();
        resolve();
      });
    });
  }

  get lane(): Lane {
    return this.#lane;
  }

  /** It works for slow crawls from now on, demoted as it is. */
  leaveQuickLane(): void {
    this.#lane = 'slow';
  }

  /** It can take a job at once. */
  get isIdle(): boolean {
    return this.isReady && !this.isRetiring && this.held.length === 0;
  }

  /** It can take another job behind quick ones. */
  get canQueue(): boolean {
    return (
      this.isReady && !this.isRetiring && this.held.length < MAX_HELD && this.held.every(({ queue }) => queue.isQuick)
    );
  }

  /** Sends a job. Only when idle, or a quick one when `canQueue`. */
  run(job: Job): void {
    if (this.held.length === 0) this.#since = performance.now();
    this.held.push(job);
    this.#worker.postMessage(job.message);
  }

  /** Sends a message that is not answered. */
  tell(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  /** Milliseconds that the running job has taken; 0 while there is none, or while the thread has not begun it. */
  elapsed(now: number): number {
    if (this.held.length === 0) return 0;
    if (this.#unanswered() === 0) this.#since = now;
    return now - this.#since;
  }

  /** Jobs that it has begun and not answered, as far as is known: one, or more where answers are on their way. */
  #unanswered(): number {
    // As Int32, which the count of a thread that is months old has gone beyond.
    return (Atomics.load(this.#begun, 0) - this.#answered) | 0;
  }

  /** CPU milliseconds of the running job, give or take 10; null where the system does not tell (not Linux): the clock has to do then. */
  usedMs(): number | null {
    try {
      // proc(5): the 14th and 15th fields are the clock ticks in user and system mode, a hundred a second.
      const text = readFileSync(`/proc/self/task/${this.#tid}/stat`, 'latin1');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      // As Int32, which the count of a thread that is weeks old has gone beyond.
      return ((Number(fields[11]) + Number(fields[12])) * 10 - Atomics.load(this.#begun, 1)) | 0;
    } catch {
      return null;
    }
  }

  /** The running job is the first of its crawl here: it compiles the plan, and runs code that is cold. */
  get isAtFirst(): boolean {
    return Atomics.load(this.#begun, 2) === 1;
  }

  /** Lowers the thread's priority in the operating system; where that is not possible, nothing happens. */
  demote(to: 'low' | 'lowest'): void {
    this.isDemoted = true;
    this.#prioritise(NICE[to]);
  }

  /** Raises it again. @returns false where the operating system does not allow that */
  promote(): boolean {
    if (!this.#prioritise(NICE.normal)) return false;
    this.isDemoted = false;
    return true;
  }

  /** Ends the thread, whatever it is doing; resolves when it is gone. */
  async terminate(): Promise<void> {
    this.isRetiring = true;
    void this.#worker.terminate();
    await this.#gone;
  }

  #prioritise(priority: number): boolean {
    if (this.#tid === null) return false;
    try {
      setPriority(this.#tid, priority);
      return true;
    } catch {
      return false;
    }
  }

  #receive(message: FromThread): void {
    if (message.kind === 'ready') {
      this.#tid = message.tid;
      this.isReady = true;
      this.wasReady = true;
      if (this.lane === 'slow') this.demote('lowest');
      this.#events.ready(this);
      return;
    }
    if (message.kind === 'piece') {
      this.#inbox.add(message);
      setImmediate(() => this.tell({ kind: 'more' }));
      return;
    }
    if (message.kind === 'page') this.#inbox.complete(message.page);
    const job = this.held.shift();
    this.#answered++;
    this.#since = performance.now();
    if (job !== undefined) this.#events.answered(this, job, message);
  }

  /** An answer may have been lost with the thread, so the shared count says which job it was at. */
  #end(): void {
    this.isReady = false;
    this.lastMs = performance.now() - this.#since;
    const at = this.#unanswered() - 1;
    const running = at >= 0 ? (this.held[at] ?? null) : null;
    const waiting = this.held.filter((job) => job !== running);
    this.held.length = 0;
    const { code, message } = this.#failure ?? { code: null, message: '' };
    this.#events.gone(this, running, waiting, code, message);
  }
}
