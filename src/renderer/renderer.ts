import { randomBytes } from 'node:crypto';
import type { Settings } from '../model/settings.ts';
import { removeLeftovers } from './directory.ts';
import { type FromThread, MAX_BYTES, type RenderEnd, type Rendered, type RenderJob } from './protocol.ts';
import { type OpenSocket, RenderProxy } from './proxy.ts';
import { BrowserThread } from './thread.ts';

export type { Rendered, RenderJob };

export interface RendererOptions {
  /** Of Chromium. */
  executable: string;
  /** Pages at once. */
  pages: number;
  /** Of the browser with all its processes, in MiB. */
  memoryMb: number;
  /** Opens a connection for a page, through the egress guard. */
  open: OpenSocket;
  log: (message: string, detail: object) => void;
  /** The browser is closed when nothing was rendered for so long; a minute unless told. */
  idleMs?: number;
}

const IDLE_MS = 60_000;
/** Beside a page's own time: for a browser that starts, and for the thread to say that the time is over. */
const GRACE_MS = 90_000;
const MAX_LAUNCH_FAILURES = 3;

/** The job was given up: its crawl was closed, or the renderer was stopped. */
export class RenderStopped extends Error {}

interface Task {
  readonly id: number;
  readonly job: RenderJob;
  readonly proxy: Settings['proxy'];
  readonly resolve: (rendered: Rendered) => void;
  readonly reject: (error: Error) => void;
  /** It was under way when a browser died: it is tried once more, alone, so that a second death is its own. */
  isSuspect: boolean;
}

/** A place for one page at a time. Its browser context stays for the next page of the same crawl. */
interface Slot {
  /** The context's name and secret at the proxy. */
  context: string;
  crawlId: string | null;
  task: Task | null;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Makes pages in one Chromium that all crawls share: it is started for the first page and closed after a minute without
 * any. At most so many pages are under way; those that wait take turns by crawl. A page that fails is closed with its
 * context, a browser that dies, or does not answer, is replaced, and what was under way in it is tried once more.
 */
export class Renderer {
  readonly #options: RendererOptions;
  readonly #proxy: RenderProxy;
  readonly #slots: Slot[];
  /** Tasks that wait, by crawl, in the order of the crawls' turns. */
  readonly #queues = new Map<string, Task[]>();
  readonly #isRoot = process.getuid?.() === 0;
  #port: Promise<number> | null = null;
  #thread: BrowserThread | null = null;
  #idle: NodeJS.Timeout | undefined;
  #version: string | null = null;
  #restarts = 0;
  #launchFailures = 0;
  #ids = 0;
  #isStopped = false;

  constructor(options: RendererOptions) {
    this.#options = options;
    this.#proxy = new RenderProxy(options.open);
    this.#slots = Array.from({ length: options.pages }, newSlot);
  }

  /** Pages under way. */
  get busy(): number {
    return this.#slots.filter(({ task }) => task !== null).length;
  }

  get pages(): number {
    return this.#slots.length;
  }

  get isRunning(): boolean {
    return this.#thread !== null;
  }

  /** Null until the first page. */
  get version(): string | null {
    return this.#version;
  }

  /** Browsers that died or were ended. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Whether pages run in Chromium's sandbox, which it does not have for root. */
  get sandbox(): boolean {
    return !this.#isRoot;
  }

  /** Never fails for what a page does. @param proxy of the crawl's settings: what the page loads goes by it @throws RenderStopped */
  render(job: RenderJob, proxy: Settings['proxy'] = null): Promise<Rendered> {
    if (this.#isStopped) return Promise.reject(new RenderStopped('the renderer was stopped'));
    return new Promise((resolve, reject) => {
      const task = { id: ++this.#ids, job, proxy, resolve, reject, isSuspect: false };
      this.#wait(task);
      this.#dispatch();
    });
  }

  /** Gives up a crawl's pages and closes their contexts. */
  closeCrawl(crawlId: string): void {
    const waiting = this.#queues.get(crawlId) ?? [];
    this.#queues.delete(crawlId);
    for (const task of waiting) task.reject(new RenderStopped('the crawl was closed'));
    for (const slot of this.#slots) if (slot.crawlId === crawlId) this.#closeSlot(slot);
  }

  /** Gives up every page, and takes no more. */
  giveUp(): void {
    this.#isStopped = true;
    for (const crawlId of new Set([...this.#queues.keys(), ...this.#slots.flatMap(({ crawlId: id }) => id ?? [])]))
      this.closeCrawl(crawlId);
  }

  async stop(): Promise<void> {
    this.giveUp();
    clearTimeout(this.#idle);
    const thread = this.#thread;
    this.#thread = null;
    await thread?.stop();
    this.#proxy.stop();
  }

  #wait(task: Task): void {
    const queue = this.#queues.get(task.job.crawlId);
    if (queue === undefined) this.#queues.set(task.job.crawlId, [task]);
    else if (task.isSuspect) queue.unshift(task);
    else queue.push(task);
  }

  #dispatch(): void {
    while (this.#queues.size > 0) {
      const slot = this.#slots.find(({ task }) => task === null);
      const alone = this.#slots.find(({ task }) => task?.isSuspect)?.task;
      if (slot === undefined || alone !== undefined) return;
      const [crawlId, queue] = this.#queues.entries().next().value!;
      if (queue[0]!.isSuspect && this.busy > 0) return;
      const task = queue.shift()!;
      this.#queues.delete(crawlId);
      if (queue.length > 0) this.#queues.set(crawlId, queue);
      void this.#begin(task, this.#slotFor(crawlId) ?? slot);
    }
  }

  /** A free place: one that the crawl had before, else one that nobody has. */
  #slotFor(crawlId: string): Slot | undefined {
    const free = this.#slots.filter(({ task }) => task === null);
    return free.find((slot) => slot.crawlId === crawlId) ?? free.find((slot) => slot.crawlId === null);
  }

  async #begin(task: Task, slot: Slot): Promise<void> {
    clearTimeout(this.#idle);
    if (slot.crawlId !== task.job.crawlId) this.#forget(slot);
    slot.task = task;
    slot.crawlId = task.job.crawlId;
    slot.timer = setTimeout(
      () => this.#thread?.kill('the browser does not answer'),
      task.job.plan.timeoutMs + GRACE_MS,
    );
    try {
      this.#port ??= this.#prepare();
      const proxyPort = await this.#port;
      if (slot.task !== task) return; // it was given up meanwhile
      this.#proxy.admit(slot.context, task.proxy);
      this.#thread ??= this.#launch(proxyPort);
      this.#thread.send({ kind: 'render', id: task.id, context: slot.context, job: task.job });
    } catch (error) {
      this.#end(slot, failureOf(`the browser could not be started: ${(error as Error).message}`), 0, 0);
    }
  }

  /** @returns the proxy's port */
  async #prepare(): Promise<number> {
    await removeLeftovers();
    return this.#proxy.start();
  }

  #launch(proxyPort: number): BrowserThread {
    const { executable, memoryMb } = this.#options;
    const thread: BrowserThread = new BrowserThread(
      { executable, proxyPort, sandbox: this.sandbox, memoryMb },
      (message) => this.#receive(thread, message),
    );
    return thread;
  }

  #receive(thread: BrowserThread, message: FromThread): void {
    if (thread !== this.#thread) return;
    switch (message.kind) {
      case 'ready':
        this.#version = message.version;
        this.#launchFailures = 0;
        return;
      case 'gone':
        this.#died(thread, message.message);
        return;
      case 'done': {
        const slot = this.#slots.find(({ task }) => task?.id === message.id);
        if (slot === undefined) return;
        this.#end(slot, message.end, message.requests, message.ms);
        if (!message.isKept) Object.assign(slot, newSlot());
        this.#dispatch();
        return;
      }
    }
  }

  #end(slot: Slot, end: RenderEnd, requests: number, ms: number): void {
    const { task } = slot;
    clearTimeout(slot.timer);
    slot.task = null;
    const { refused, bytes } = this.#proxy.close(slot.context);
    if (end.kind === 'page' && bytes > MAX_BYTES) end.flags.push('render_limit');
    task?.resolve({ ...end, usage: { requests, refused, bytes, ms: Math.round(ms) } });
    if (this.busy > 0 || this.#queues.size > 0) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#rest(), this.#options.idleMs ?? IDLE_MS).unref();
  }

  /** Nothing was rendered for a while. */
  #rest(): void {
    const thread = this.#thread;
    this.#thread = null;
    for (const slot of this.#slots) Object.assign(slot, newSlot());
    void thread?.stop();
  }

  /** The browser is gone with all its pages. */
  #died(thread: BrowserThread, message: string): void {
    this.#thread = null;
    this.#restarts++;
    this.#options.log('the browser ended and is replaced', { reason: message });
    if (thread.version === null) this.#launchFailures++;
    // The one that starts no more is not started for each page three times over.
    const isHopeless = thread.version === null && this.#launchFailures >= MAX_LAUNCH_FAILURES;
    for (const slot of this.#slots) {
      const { task } = slot;
      if (task !== null && (task.isSuspect || isHopeless)) this.#end(slot, failureOf(message), 0, 0);
      else if (task !== null) this.#again(slot, task);
      Object.assign(slot, newSlot());
    }
    this.#dispatch();
  }

  #again(slot: Slot, task: Task): void {
    clearTimeout(slot.timer);
    this.#proxy.close(slot.context);
    task.isSuspect = true;
    this.#wait(task);
  }

  #closeSlot(slot: Slot): void {
    const { task } = slot;
    if (task !== null) this.#thread?.send({ kind: 'abort', id: task.id });
    clearTimeout(slot.timer);
    this.#proxy.close(slot.context);
    this.#forget(slot);
    task?.reject(new RenderStopped('the crawl was closed'));
    this.#dispatch();
  }

  /** The place is free for any crawl. */
  #forget(slot: Slot): void {
    if (slot.crawlId !== null) this.#thread?.send({ kind: 'forget', context: slot.context });
    Object.assign(slot, newSlot());
  }
}

function newSlot(): Slot {
  return { context: randomBytes(16).toString('hex'), crawlId: null, task: null, timer: undefined };
}

function failureOf(detail: string): RenderEnd {
  return { kind: 'failure', reason: 'render_error', detail: detail.slice(0, 500) };
}
