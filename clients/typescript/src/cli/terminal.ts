// What comes from crawled pages may hold whatever a terminal obeys: titles of windows, keys to be typed, lines hidden by others.

/** C0 but for tab and the ends of lines, DEL, C1, and the marks that turn the order of writing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROLS = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)/g;

/** A text that a terminal only shows: its control characters are written as `\u001b`. */
export function plain(text: string): string {
  return text.replaceAll(CONTROLS, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Lines for a person. */
export function say(stream: NodeJS.WriteStream, text: string): void {
  stream.write(`${plain(text)}\n`);
}
