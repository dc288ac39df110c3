import type { FromThread, JobMessage } from './protocol.ts';

export type Answer = Exclude<FromThread, { kind: 'ready' | 'piece' }>;

/** One job on its way through the pool. */
export interface Job {
  message: JobMessage;
  queue: JobQueue;
  bytes: number;
  /** Milliseconds that it may take in a thread. */
  limitMs: number;
  /** What its queue was charged when it was sent; settled when it is done. */
  charged: number;
  /** It has run for so long that its thread was demoted. */
  burns: boolean;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** Milliseconds a page is taken to need while nothing is known about its crawl. */
const UNKNOWN_MS = 5;
const SLOW_MS = 100;
const QUICK_MS = 20;
/** For so long after its last job a crawl still counts as active. */
const RECENT_MS = 1000;
const MAX_AHEAD_BYTES = 512 * 1024;

/**
 * The waiting jobs of one crawl, and what its pages cost. Its virtual time is the thread time that it has used: the queue
 * with the least goes next, so that each crawl gets the same share of the CPU however slow its pages are.
 */
export class JobQueue {
  readonly name: string;
  /** Its jobs are of many spiders: what they have cost says little of what the next will. */
  readonly isMixed: boolean;
  virtualMs = 0;
  /** Its crawl is over: what is given back is rejected. */
  isClosed = false;
  /** Jobs in threads. */
  running = 0;
  /** When its newest job came. */
  pushedAt = 0;
  #jobs: Job[] = [];
  #head = 0;
  /** Moving average of milliseconds a job; null until the first is done. */
  #averageMs: number | null = null;
  #burning = 0;

  constructor(name: string, { isMixed = false } = {}) {
    this.name = name;
    this.isMixed = isMixed;
  }

  get waiting(): number {
    return this.#jobs.length - this.#head;
  }

  /** What its pages cost is not known yet. */
  get isNew(): boolean {
    return this.#averageMs === null;
  }

  /** What it sends to a thread may hold that thread for long, and end it. */
  get isSlow(): boolean {
    return this.#burning > 0 || (this.#averageMs !== null && this.#averageMs > SLOW_MS);
  }

  /** Its next job may be sent to a thread that is still busy, and others behind it. */
  get isQuick(): boolean {
    return !this.isMixed && this.#burning === 0 && this.#averageMs !== null && this.#averageMs < QUICK_MS;
  }

  get nextIsSmall(): boolean {
    return (this.#jobs[this.#head]?.bytes ?? 0) <= MAX_AHEAD_BYTES;
  }

  push(job: Job): void {
    this.#jobs.push(job);
  }

  /** Back to the front: a job whose thread died while it waited there. */
  giveBack(job: Job): void {
    this.#jobs = [job, ...this.#jobs.slice(this.#head)];
    this.#head = 0;
    this.#release(job);
  }

  /** Takes the next job and charges its expected time. There must be one. */
  take(): Job {
    const job = this.#jobs[this.#head++]!;
    if (this.#head > 64 && this.#head * 2 > this.#jobs.length) {
      this.#jobs = this.#jobs.slice(this.#head);
      this.#head = 0;
    }
    job.charged = this.#averageMs ?? UNKNOWN_MS;
    this.virtualMs += job.charged;
    this.running++;
    return job;
  }

  /** Says that a running job burns: until it is done, its crawl counts as slow. */
  burn(job: Job): void {
    job.burns = true;
    this.#burning++;
  }

  /** Settles a job that is done. @param ms what it took */
  settle(job: Job, ms: number): void {
    this.#release(job);
    this.virtualMs += ms;
    this.#averageMs = this.#averageMs === null ? ms : this.#averageMs * 0.8 + ms * 0.2;
  }

  /** Takes every waiting job out. */
  drain(): Job[] {
    const jobs = this.#jobs.slice(this.#head);
    this.#jobs = [];
    this.#head = 0;
    return jobs;
  }

  #release(job: Job): void {
    this.running--;
    this.virtualMs -= job.charged;
    job.charged = 0;
    if (job.burns) this.#burning--;
    job.burns = false;
  }
}

/** The queues with something to do, now or a moment ago, and which of them is next. */
export class FairQueues {
  readonly #active = new Set<JobQueue>();
  /** Virtual time of the queue that was served last: where a queue that was idle comes in. */
  #served = 0;

  /** Adds a job to its queue. */
  push(job: Job): void {
    const { queue } = job;
    if (queue.waiting === 0 && queue.running === 0) queue.virtualMs = Math.max(queue.virtualMs, this.#served);
    queue.pushedAt = performance.now();
    this.#active.add(queue);
    queue.push(job);
  }

  /**
   * The queue that is to be served next, of those that `fits` lets through; null where there is none. While other queues
   * are active, a new queue gets one thread and a slow one all but one. So does a mixed one at any time, until it is known to be
   * slow and has threads of its own: two of its jobs that burn would hold two threads for as long as they may take.
   */
  next(threads: number, fits: (queue: JobQueue) => boolean): JobQueue | null {
    this.#prune(performance.now() - RECENT_MS);
    let best: JobQueue | null = null;
    for (const queue of this.#active) {
      if (queue.waiting === 0 || (best !== null && queue.virtualMs >= best.virtualMs)) continue;
      if (this.#mayRun(queue, threads) && fits(queue)) best = queue;
    }
    if (best !== null) this.#served = Math.max(this.#served, best.virtualMs);
    return best;
  }

  /** Whether a slow queue waits that may have another thread. */
  slowWaits(threads: number): boolean {
    for (const queue of this.#active)
      if (queue.isSlow && queue.waiting > 0 && this.#mayRun(queue, threads)) return true;
    return false;
  }

  #mayRun(queue: JobQueue, threads: number): boolean {
    if (queue.isMixed && !queue.isSlow && queue.running >= Math.max(1, threads - 1)) return false;
    if (this.#active.size < 2) return queue.isSlow ? queue.running < threads : true;
    if (queue.isNew) return queue.running === 0;
    return !queue.isSlow || queue.running < Math.max(1, threads - 1);
  }

  /** Forgets a queue that is no longer in use. */
  forget(queue: JobQueue): void {
    this.#active.delete(queue);
  }

  /** Takes every waiting job of every queue out. */
  drain(): Job[] {
    return [...this.#active].flatMap((queue) => queue.drain());
  }

  /** A crawl whose pages come one by one is active between them too. */
  #prune(before: number): void {
    for (const queue of this.#active)
      if (queue.waiting === 0 && queue.running === 0 && queue.pushedAt < before) this.#active.delete(queue);
  }
}
