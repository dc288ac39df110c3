/** How often the progress is told where there is no terminal. */
const PLAIN_EVERY_MS = 1000;
const PLAIN_COLUMNS = 200;

/** Lines, and below them one line of progress: rewritten in place on a terminal, repeated now and then elsewhere. */
export class Terminal {
  readonly #out: NodeJS.WriteStream;
  #progress = '';
  #toldAt = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** Writes whole lines above the progress. */
  line(text: string): void {
    if (this.#out.isTTY) this.#out.write(`\r\u001b[K${text}\n${this.#progress}`);
    else this.#out.write(`${text}\n`);
  }

  /** Writes one line above the progress, cut to one row. */
  item(text: string): void {
    this.line(this.#cut(text));
  }

  progress(text: string): void {
    if (this.#out.isTTY) {
      this.#progress = this.#cut(text);
      this.#out.write(`\r\u001b[K${this.#progress}`);
    } else if (Date.now() - this.#toldAt >= PLAIN_EVERY_MS) {
      this.#toldAt = Date.now();
      this.#out.write(`${text}\n`);
    }
  }

  /** Takes the progress away. */
  clear(): void {
    if (this.#progress !== '') this.#out.write('\r\u001b[K');
    this.#progress = '';
  }

  #cut(text: string): string {
    const width = this.#out.isTTY ? Math.max(20, (this.#out.columns || 80) - 1) : PLAIN_COLUMNS;
    return text.length > width ? `${text.slice(0, width - 1)}…` : text;
  }
}
