/** Many times what the service writes in one: an item has a megabyte. */
const MAX_LINE = 64 * 1024 * 1024;

/** One event of a `text/event-stream`. */
export interface SseEvent {
  event: string;
  data: string;
  /** Null: the event has none. */
  id: string | null;
}

/**
 * Reads server-sent events piece by piece (HTML Standard, 9.2.6). What is not closed by an empty line is not an event: one
 * that was cut in the middle never comes out.
 */
export class SseParser {
  #rest = '';
  #event = '';
  #data: string[] = [];
  #id: string | null = null;

  *feed(text: string): Generator<SseEvent> {
    if (!text.includes('\n')) {
      // Looked through once it has an end; looking each time would be quadratic in the length of a line.
      this.#rest += text;
      if (this.#rest.length > MAX_LINE) throw new Error(`a line of more than ${MAX_LINE} characters`);
      return;
    }
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '' || line === '\r') {
        if (this.#data.length > 0) yield { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id };
        this.#event = '';
        this.#data = [];
        this.#id = null;
      } else this.#take(line.endsWith('\r') ? line.slice(0, -1) : line);
    }
  }

  #take(line: string): void {
    const colon = line.indexOf(':');
    if (colon === 0) return; // a comment: a sign of life
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') this.#event = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id') this.#id = value;
  }
}
