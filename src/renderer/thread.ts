import { Worker } from 'node:worker_threads';
import { newDirectory, removeDirectory } from './directory.ts';
import type { FromThread, ThreadData, ToThread } from './protocol.ts';

const STOP_MS = 5000;

/** The heap of what drives the browser; V8's own bounds are some of the machine's memory. */
const LIMITS = { maxOldGenerationSizeMb: 1024, maxYoungGenerationSizeMb: 24 };

/** A thread with its browser: starting, then ready, then gone, whatever ended it. */
export class BrowserThread {
  /** Null until it is ready. */
  version: string | null = null;
  readonly #worker: Worker;
  readonly #directory: string;
  readonly #onMessage: (message: FromThread) => void;
  readonly #gone: Promise<void>;
  #pid: number | null = null;
  #isGone = false;

  /** @param onMessage the last one is `gone` */
  constructor(data: Omit<ThreadData, 'directory'>, onMessage: (message: FromThread) => void) {
    this.#onMessage = onMessage;
    this.#directory = newDirectory();
    const workerData: ThreadData = { ...data, directory: this.#directory };
    const env = { PATH: process.env.PATH ?? '', TMPDIR: this.#directory, HOME: this.#directory };
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData, env, resourceLimits: LIMITS });
    this.#worker.on('message', (message: FromThread) => this.#receive(message));
    let failure = 'the thread of the browser ended';
    this.#worker.on('error', (error: Error) => {
      failure = error.message;
    });
    this.#gone = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#end(failure);
        resolve();
      });
    });
  }

  send(message: ToThread): void {
    if (!this.#isGone) this.#worker.postMessage(message);
  }

  /** Ends browser and thread at once, whatever they are doing. */
  kill(message: string): void {
    this.#end(message);
    this.#killBrowser();
    void this.#worker.terminate();
    void this.#gone.then(() => removeDirectory(this.#directory));
  }

  /** Closes the browser in order; kills it where that takes too long. */
  async stop(): Promise<void> {
    this.send({ kind: 'stop' });
    const timer = setTimeout(() => this.kill('the renderer was stopped'), STOP_MS);
    await this.#gone;
    clearTimeout(timer);
    this.#killBrowser();
    await removeDirectory(this.#directory);
  }

  #receive(message: FromThread): void {
    if (this.#isGone) return;
    if (message.kind === 'gone') {
      this.kill(message.message);
      return;
    }
    if (message.kind === 'ready') {
      this.version = message.version;
      this.#pid = message.pid;
    }
    this.#onMessage(message);
  }

  #end(message: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#onMessage({ kind: 'gone', message });
  }

  /** It leads a process group. Where it is not known yet, the end of its pipe ends it. */
  #killBrowser(): void {
    if (this.#pid === null) return;
    for (const target of [-this.#pid, this.#pid])
      try {
        process.kill(target, 'SIGKILL');
      } catch {
        // it is gone
      }
  }
}
