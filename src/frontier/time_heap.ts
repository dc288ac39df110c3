/** A binary heap of entries by time, the earliest first. */
export class TimeHeap<T> {
  readonly #entries: { at: number; value: T }[] = [];

  get size(): number {
    return this.#entries.length;
  }

  /** The earliest time; Infinity where there is none. */
  get nextAt(): number {
    return this.#entries[0]?.at ?? Infinity;
  }

  push(at: number, value: T): void {
    const entries = this.#entries;
    let i = entries.length;
    entries.push({ at, value });
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (entries[parent]!.at <= at) break;
      [entries[i], entries[parent]] = [entries[parent]!, entries[i]!];
      i = parent;
    }
  }

  /** Takes the earliest; undefined where there is none. */
  pop(): T | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (first === undefined || last === undefined) return undefined;
    if (entries.length === 0) return first.value;
    entries[0] = last;
    this.#sink();
    return first.value;
  }

  #sink(): void {
    const entries = this.#entries;
    for (let i = 0; ; ) {
      const left = 2 * i + 1;
      if (left >= entries.length) return;
      const right = left + 1;
      const child = right < entries.length && entries[right]!.at < entries[left]!.at ? right : left;
      if (entries[i]!.at <= entries[child]!.at) return;
      [entries[i], entries[child]] = [entries[child]!, entries[i]!];
      i = child;
    }
  }
}
