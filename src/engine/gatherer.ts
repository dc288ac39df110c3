import pLimit, { type LimitFunction } from 'p-limit';

export interface GathererOptions<Q, A> {
  /** Questions of one batch, and the sum of their weights. */
  max: number;
  maxWeight?: number;
  weigh?: (question: Q) => number;
  /** The first question of a batch waits so long for others; 0: not at all. */
  lingerMs: number;
  /** Batches under way at once; while so many are, questions gather. */
  concurrency: number;
  /** Answers in the order of the questions. */
  send: (questions: Q[]) => Promise<A[]>;
}

/** Gathers questions, whoever asks them, into batches. */
export class Gatherer<Q, A> {
  readonly #options: GathererOptions<Q, A>;
  readonly #limit: LimitFunction;
  readonly #waiting: { question: Q; resolve: (answer: A) => void; reject: (error: unknown) => void }[] = [];
  /** Batches that wait for their turn. */
  #planned = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: GathererOptions<Q, A>) {
    this.#options = options;
    this.#limit = pLimit(options.concurrency);
  }

  /** Rejects where `send` does. */
  ask(question: Q): Promise<A> {
    const { max, lingerMs } = this.#options;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ question, resolve, reject });
      if (lingerMs === 0 || this.#waiting.length >= (this.#planned + 1) * max) this.#plan();
      else if (this.#planned === 0) this.#timer ??= setTimeout(() => this.#plan(), lingerMs);
    });
  }

  #plan(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#planned++;
    void this.#limit(() => this.#sendNext());
  }

  async #sendNext(): Promise<void> {
    this.#planned--;
    const batch = this.#next();
    if (this.#waiting.length > 0 && this.#planned === 0) this.#plan();
    if (batch.length === 0) return;
    try {
      const answers = await this.#options.send(batch.map(({ question }) => question));
      batch.forEach(({ resolve }, i) => {
        resolve(answers[i]!);
      });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  #next() {
    const { max, maxWeight = Infinity, weigh = () => 0 } = this.#options;
    let weight = 0;
    const end = this.#waiting.findIndex(({ question }, i) => {
      weight += weigh(question);
      return i > 0 && (i >= max || weight > maxWeight);
    });
    return this.#waiting.splice(0, end < 0 ? this.#waiting.length : end);
  }
}
