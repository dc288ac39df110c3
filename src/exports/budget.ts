/** Bytes that all exports of a node hold at once. Whoever asks for more than there is waits, in the order of asking. */
export class ByteBudget {
  readonly #total: number;
  readonly #waiting: { bytes: number; resolve: () => void }[] = [];
  #free: number;

  constructor(total: number) {
    this.#total = total;
    this.#free = total;
  }

  /** Never more than the whole is taken, so that nobody waits for ever. @returns what gives it back */
  async take(wanted: number): Promise<() => void> {
    const bytes = Math.min(wanted, this.#total);
    if (this.#waiting.length > 0 || bytes > this.#free)
      await new Promise<void>((resolve) => this.#waiting.push({ bytes, resolve }));
    else this.#free -= bytes;
    return () => this.#give(bytes);
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
