/** What a write costs besides its bytes: a system call or two. */
const WRITE_COST = 8 * 1024;

/**
 * Spreads the writes of all streams over turns of the event loop: a thousand pieces of 200 KB that go out in one turn hold
 * it for as long as the kernel needs to copy them. In the order of asking.
 */
export class Pacer {
  readonly #perTurn: number;
  readonly #waiting: { cost: number; go: () => void }[] = [];
  #left: number;
  #isDue = false;

  /** @param perTurn bytes */
  constructor(perTurn: number) {
    this.#perTurn = perTurn;
    this.#left = perTurn;
  }

  /** Null: write now. A write of any size has its turn. */
  take(bytes: number): Promise<void> | null {
    this.#plan();
    const cost = bytes + WRITE_COST;
    if (this.#left > 0) {
      this.#left -= cost;
      return null;
    }
    return new Promise((go) => this.#waiting.push({ cost, go }));
  }

  #plan(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#left = this.#perTurn;
      let n = 0;
      while (this.#left > 0 && n < this.#waiting.length) this.#left -= this.#waiting[n++]!.cost;
      if (n === 0) return;
      for (const { go } of this.#waiting.splice(0, n)) go();
      this.#plan();
    });
  }
}
