import { LRUCache } from 'lru-cache';
import type { Asked } from './enrich.ts';

const MAX_BYTES = 16 * 1024 * 1024;
const MAX_ENTRY_BYTES = 1024 * 1024;

/** The answers that this node keeps, of all crawls. Questions that are being asked are not asked again. */
export class Answers {
  /** By question. */
  readonly #kept = new LRUCache<string, string>({
    maxSize: MAX_BYTES,
    maxEntrySize: MAX_ENTRY_BYTES,
    sizeCalculation: (answer, question) => (answer.length + question.length) * 2 + 200,
  });
  readonly #asked = new Map<string, Promise<Asked>>();

  /**
   * @param question with whose it is: crawl and step
   * @param seconds that the answer is kept; failures are not
   */
  async get(question: string, seconds: number, ask: () => Promise<Asked>): Promise<Asked & { cached: boolean }> {
    const kept = this.#kept.get(question);
    if (kept !== undefined) return { answer: { text: kept }, calls: 0, cached: true };
    const shared = this.#asked.get(question);
    if (shared !== undefined) return { answer: (await shared).answer, calls: 0, cached: true };
    const asked = ask();
    this.#asked.set(question, asked);
    try {
      const { answer, calls } = await asked;
      if ('text' in answer && seconds > 0) this.#kept.set(question, answer.text, { ttl: seconds * 1000 });
      return { answer, calls, cached: false };
    } finally {
      this.#asked.delete(question);
    }
  }
}
