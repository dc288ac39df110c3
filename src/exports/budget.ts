/** What somebody holds of a budget. */
export interface Held {
  /** Gives back what it does not need. */
  shrinkTo(bytes: number): void;
  /** Gives back the rest. */
  end(): void;
}

/** Bytes that all exports of a node hold at once. Whoever asks for more than there is waits, in the order of asking. */
export class ByteBudget {
  readonly #total: number;
  readonly #waiting: { bytes: number; resolve: () => void }[] = [];
  #free: number;

  constructor(total: number) {
    this.#total = total;
    this.#free = total;
  }

  /** Never more than the whole is taken, so that nobody waits for ever. */
  async take(wanted: number): Promise<Held> {
    let bytes = Math.min(wanted, this.#total);
    if (this.#waiting.length > 0 || bytes > this.#free)
      await new Promise<void>((resolve) => this.#waiting.push({ bytes, resolve }));
    else this.#free -= bytes;
    const shrinkTo = (rest: number) => {
      const given = Math.max(0, bytes - rest);
      bytes -= given;
      this.#give(given);
    };
    return { shrinkTo, end: () => shrinkTo(0) };
  }

  #give(bytes: number): void {
    this.#free += bytes;
    for (let next = this.#waiting[0]; next !== undefined && next.bytes <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.bytes;
      next.resolve();
    }
  }
}
