import { isTransient } from '../db/client.ts';

/**
 * Runs one step again and again: at once while the step says that there is more to do, else at the next `wake` or after
 * `intervalMs`. A step that fails is reported and repeated after a pause that grows with the failures in a row.
 */
export class Loop {
  readonly #step: () => Promise<boolean>;
  readonly #onError: (error: unknown, failures: number) => void;
  readonly #intervalMs: number;
  #woken = false;
  #resume: () => void = () => {};
  #stopped = false;
  #running: Promise<void> | null = null;

  constructor(intervalMs: number, step: () => Promise<boolean>, onError: (error: unknown, failures: number) => void) {
    this.#intervalMs = intervalMs;
    this.#step = step;
    this.#onError = onError;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  wake(): void {
    this.#woken = true;
    this.#resume();
  }

  /** Resolves when the step under way has ended; safe before `start` and twice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#resume();
    await this.#running;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#stopped) {
      let more = false;
      this.#woken = false;
      try {
        more = await this.#step();
        failures = 0;
      } catch (error) {
        this.#onError(error, ++failures);
      }
      if (this.#stopped || more) continue;
      if (failures > 0) await this.#sleep(Math.min(2000, 50 * 2 ** failures), false);
      else if (!this.#woken) await this.#sleep(this.#intervalMs, true);
    }
  }

  #sleep(ms: number, wakeable: boolean): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#resume = () => {
        if (!wakeable && !this.#stopped) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

type Report = (detail: object, message: string) => void;

/** Reports failures of a loop: the first, and then ever more rarely: an outage is one event, not one every two seconds. */
export function reporter(log: { warn: Report; error: Report }, what: string) {
  return (error: unknown, failures: number): void => {
    if (Number.isInteger(Math.log2(failures)))
      log[isTransient(error) ? 'warn' : 'error']({ err: error, failures }, `${what} failed; it is repeated`);
  };
}
