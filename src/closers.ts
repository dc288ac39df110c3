import type { Logger } from 'pino';

/**
 * The end of the process: closes what was started, the last first. The end may begin during the start, whose steps then
 * fail or are not begun; only what outlives the process (the embedded database) is added before its step is done.
 */
export class Closers {
  readonly #log: Logger;
  readonly #stack: { name: string; close: () => Promise<unknown> | unknown }[] = [];
  readonly #begun = new AbortController();
  #code = 0;
  #closed: Promise<void> | null = null;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Fires when the process begins to end. */
  get stopping(): AbortSignal {
    return this.#begun.signal;
  }

  add(name: string, close: () => Promise<unknown> | unknown): void {
    this.#stack.push({ name, close });
  }

  /** Closes everything and ends the process. May be called again: the first code that is not 0 counts. */
  exit(code: number): Promise<void> {
    this.#code ||= code;
    this.#begun.abort();
    this.#closed ??= this.#closeAll().then(() => process.exit(this.#code));
    return this.#closed;
  }

  async #closeAll(): Promise<void> {
    for (let entry = this.#stack.pop(); entry !== undefined; entry = this.#stack.pop()) {
      try {
        await entry.close();
      } catch (error) {
        this.#log.warn({ err: error }, `${entry.name} did not close`);
      }
    }
  }
}
