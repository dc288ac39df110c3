/**
 * Does one thing a turn of the event loop, in order. Bodies that arrive together would all be read, checked and answered
 * before anything else has its turn: fifty of a megabyte are seconds.
 */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #isDue = false;

  run(work: () => void): void {
    this.#waiting.push(work);
    this.#plan();
  }

  #plan(): void {
    if (this.#isDue || this.#waiting.length === 0) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      try {
        this.#waiting.shift()!();
      } finally {
        this.#plan();
      }
    });
  }
}
