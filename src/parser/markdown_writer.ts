/** Markup around a run of text. It opens at the first word inside it and closes behind the last one. */
interface Mark {
  open: string;
  close: string;
  /** `inert`: nested in its like, or a link that has been written already. */
  state: 'waiting' | 'open' | 'inert';
}

/** What the lines of a block begin with: a quote's `> `, an item's marker and then as many blanks. */
interface Container {
  first: string;
  next: string;
  used: boolean;
}

interface List {
  ordered: boolean;
  number: number;
  marker: string;
  /** True once one of its items has been written. */
  begun: boolean;
}

/** White space but the single blanks, which are most of it and stay. */
const UNCOLLAPSED = /\s{2,}|[^\S ]/g;
const HARD_BREAK = '  \n';
/** Deeper quotes and lists are written as if they were not. */
const MAX_CONTAINERS = 32;

/**
 * Writes Markdown block by block. Words and marks are collected until the block ends; then its lines are written behind
 * the prefixes of the quotes and items that it lies in. Each call takes time by what it adds, not by what there is.
 */
export class MarkdownWriter {
  readonly #limit: number;
  readonly #out: string[] = [];
  #length = 0;
  /** Line ends before the next block: 2 leaves a line free. */
  #gap = 2;
  readonly #containers: Container[] = [];
  readonly #lists: List[] = [];
  /** The list that ended last, and where: a list right behind it needs another marker. */
  #ended: { at: number; depth: number; marker: string } | null = null;
  #pieces: string[] = [];
  #pending = 0;
  #space = false;
  readonly #marks: Mark[] = [];
  #waiting = 0;
  /** Above 0 everything is on one line: in a heading, in a table's cell. */
  #single = 0;
  #cell = false;
  #level = 0;

  /** @param limit characters */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get full(): boolean {
    return this.#length + this.#pending >= this.#limit;
  }

  get onOneLine(): boolean {
    return this.#single > 0;
  }

  /** Text as HTML has it: white space collapses, what Markdown would misread is escaped. */
  text(text: string): void {
    const words = text.replace(UNCOLLAPSED, ' ');
    if (words.startsWith(' ')) this.#space = true;
    const body = words.trim();
    if (body === '') return;
    this.#put(escaped(body, this.#cell));
    this.#space = words.endsWith(' ');
  }

  /** Markdown that goes into the line as it is: an image. */
  inline(markdown: string): void {
    this.#put(this.#cell ? markdown.replaceAll('|', '\\|') : markdown);
  }

  code(text: string): void {
    const body = text.replace(UNCOLLAPSED, ' ').trim();
    if (body === '') return;
    const fence = '`'.repeat(longestRun(body) + 1);
    const pad = body.startsWith('`') || body.endsWith('`') ? ' ' : '';
    this.inline(fence + pad + body + pad + fence);
  }

  /** Begins `**`, `*` or `~~`; ends with `end`. */
  mark(delimiter: string): void {
    const nested = this.#marks.some(({ open, state }) => open === delimiter && state !== 'inert');
    this.#begin({ open: delimiter, close: delimiter, state: nested ? 'inert' : 'waiting' });
  }

  /** Begins a link's text; it is written at most once, even if it spans several blocks. */
  link(url: string): void {
    const nested = this.#marks.some(({ open }) => open === '[');
    this.#begin({ open: '[', close: `](${url})`, state: nested ? 'inert' : 'waiting' });
  }

  #begin(mark: Mark): void {
    this.#marks.push(mark);
    if (mark.state === 'waiting') this.#waiting++;
  }

  /** Ends the last mark or link. */
  end(): void {
    const mark = this.#marks.pop();
    if (mark?.state === 'waiting') this.#waiting--;
    if (mark?.state === 'open') this.#close(mark);
  }

  #close({ close }: Mark): void {
    const broken = this.#pieces.at(-1) === HARD_BREAK;
    if (broken) this.#pieces.pop();
    this.#pieces.push(close);
    if (broken) this.#pieces.push(HARD_BREAK);
    this.#pending += close.length;
  }

  #put(piece: string): void {
    const last = this.#pieces.at(-1);
    const apart = this.#space && last !== undefined && last !== HARD_BREAK;
    this.#space = false;
    if (apart) this.#pieces.push(' ');
    if (this.#waiting > 0) for (const mark of this.#marks) if (mark.state === 'waiting') this.#open(mark);
    this.#pieces.push(piece);
    this.#pending += piece.length + 1;
  }

  #open(mark: Mark): void {
    const last = this.#pieces.at(-1);
    // `**a**` and `**b**` side by side would be read as one word of asterisks.
    if (last === mark.open && mark.open === mark.close) this.#pieces.pop();
    else if (mark.open === '[' && last?.endsWith('!')) {
      this.#pieces[this.#pieces.length - 1] = `${last.slice(0, -1)}\\!`;
      this.#pieces.push(mark.open);
    } else this.#pieces.push(mark.open);
    mark.state = 'open';
    this.#waiting--;
  }

  /** A line break; two of them end the paragraph. */
  lineBreak(): void {
    if (this.#single > 0 || this.#pieces.length === 0) this.#space = true;
    else if (this.#pieces.at(-1) === HARD_BREAK) this.block();
    else {
      this.#space = false;
      this.#pieces.push(HARD_BREAK);
    }
  }

  /** Ends the paragraph, if there is one. On one line it is a blank. */
  block(): void {
    if (this.#single > 0) {
      this.#space = true;
      return;
    }
    const text = this.#take();
    if (text !== '') this.#write(text.split('\n').map(escapeStart));
  }

  /** The line that was collected; open marks end in it and begin anew in the next. */
  #take(): string {
    for (let i = this.#marks.length - 1; i >= 0; i--) {
      const mark = this.#marks[i]!;
      if (mark.state !== 'open') continue;
      this.#close(mark);
      mark.state = mark.open === '[' ? 'inert' : 'waiting';
      if (mark.state === 'waiting') this.#waiting++;
    }
    if (this.#pieces.at(-1) === HARD_BREAK) this.#pieces.pop();
    const text = this.#pieces.join('');
    this.#pieces = [];
    this.#pending = 0;
    this.#space = false;
    return text;
  }

  /** Begins a heading; ends with `endHeading`. @param level 1 to 6 */
  heading(level: number): void {
    this.block();
    if (this.#single++ === 0) this.#level = level;
  }

  endHeading(): void {
    if (--this.#single > 0) {
      this.#space = true;
      return;
    }
    const text = this.#take();
    if (text !== '') this.#write([`${'#'.repeat(this.#level)} ${text.replace(/(?<!#)#+$/, '\\$&')}`]);
  }

  /** Begins what `endCell` gives back as one line. */
  cell(): void {
    this.block();
    this.#single++;
    this.#cell = true;
  }

  endCell(): string {
    this.#single--;
    this.#cell = false;
    return this.#take();
  }

  quote(): void {
    this.block();
    this.#contain('> ', '> ', false);
  }

  /** Begins a list. @param start the first number; null for bullets */
  list(start: number | null): void {
    this.block();
    const ordered = start !== null;
    const number = start ?? 1;
    const marker = this.#freeMarker(ordered);
    // A number other than 1 right behind a line would be read as a part of it.
    if (this.#containers.at(-1)?.used === true && this.#lists.length > 0 && number === 1) this.#gap = 1;
    this.#lists.push({ ordered, number, marker, begun: false });
  }

  #freeMarker(ordered: boolean): string {
    const [usual, other] = ordered ? (['.', ')'] as const) : (['-', '*'] as const);
    const { at, depth, marker } = this.#ended ?? {};
    return at === this.#length && depth === this.#containers.length && marker === usual ? other : usual;
  }

  /** The next block follows on the next line. */
  tight(): void {
    this.#gap = 1;
  }

  endList(): void {
    this.block();
    const list = this.#lists.pop();
    if (list?.begun === true) this.#ended = { at: this.#length, depth: this.#containers.length, marker: list.marker };
  }

  /** Begins an item of the list, or a bullet where there is none; ends with `endItem`. */
  item(number: number | null): void {
    this.block();
    const list = this.#lists.at(-1) ?? { ordered: false, number: 1, marker: '-', begun: false };
    if (list.begun) this.#gap = 1;
    if (number !== null) list.number = number;
    const marker = list.ordered ? `${list.number++}${list.marker} ` : `${list.marker} `;
    this.#contain(marker, ' '.repeat(marker.length), false);
  }

  endItem(): void {
    const written = this.endContainer();
    const list = this.#lists.at(-1);
    if (written && list !== undefined) list.begun = true;
  }

  /** Begins a list inside a list but outside its items, as many pages have it: it belongs to the item before. */
  nested(): void {
    const indent = ' '.repeat(this.#lists.at(-1)?.ordered === true ? 3 : 2);
    this.block();
    this.#contain(indent, indent, this.#lists.at(-1)?.begun === true);
  }

  #contain(first: string, next: string, used: boolean): void {
    const deep = this.#containers.length >= MAX_CONTAINERS || this.#single > 0;
    this.#containers.push(deep ? { first: '', next: '', used: true } : { first, next, used });
  }

  /** Ends a quote or an item. @returns whether something was written in it */
  endContainer(): boolean {
    this.block();
    return this.#containers.pop()?.used ?? false;
  }

  /** A block of code, kept as it is. */
  fence(text: string, language: string): void {
    this.block();
    const fence = '`'.repeat(Math.max(3, longestRun(text) + 1));
    this.#write([fence + language, ...text.slice(0, this.#limit).split('\n'), fence]);
  }

  rule(): void {
    this.block();
    if (this.#single === 0) this.#write(['---']);
  }

  /** A table by rows of cells, the first of them its head. */
  table(rows: readonly (readonly string[])[], columns: number): void {
    const line = (cells: readonly string[]) =>
      `| ${Array.from({ length: columns }, (_, i) => cells[i] ?? '').join(' | ')} |`;
    const lines: string[] = [];
    let room = this.#limit - this.#length;
    for (const row of rows) {
      if (room <= 0) break;
      lines.push(line(row));
      room -= lines.at(-1)!.length;
      if (lines.length === 1) lines.push(line(new Array(columns).fill('---')));
    }
    this.#write(lines);
  }

  #write(lines: readonly string[]): void {
    if (this.#length >= this.#limit) return;
    if (this.#length > 0) this.#add(this.#gap === 2 ? `\n${this.#prefix('blank').trimEnd()}\n` : '\n');
    this.#add(this.#prefix('first') + lines[0]);
    const next = lines.length > 1 ? this.#prefix('next') : '';
    for (let i = 1; i < lines.length && this.#length < this.#limit; i++) {
      const line = lines[i]!;
      this.#add(`\n${line === '' ? next.trimEnd() : next + line}`);
    }
    this.#gap = 2;
  }

  #prefix(line: 'first' | 'next' | 'blank'): string {
    let prefix = '';
    for (const container of this.#containers) {
      if (line !== 'blank' || container.used) prefix += container.used ? container.next : container.first;
      if (line === 'first') container.used = true;
    }
    return prefix;
  }

  #add(text: string): void {
    this.#out.push(text);
    this.#length += text.length;
  }

  finish(): string {
    this.block();
    return this.#out.join('').slice(0, this.#limit).toWellFormed().trimEnd();
  }
}

function longestRun(text: string): number {
  let longest = 0;
  for (const run of text.match(/`+/g) ?? []) longest = Math.max(longest, run.length);
  return longest;
}

/** `_` inside a word means nothing, `<` and `&` only before a name. */
const MISREAD = /[\\`*[\]|]|_|~~|<(?=[a-z/!?])|&(?=#?\w+;)/gi;

function escaped(text: string, cell: boolean): string {
  if (!/[\\`*_[\]<&~|]/.test(text)) return text;
  return text.replace(MISREAD, (found, at: number) => {
    if (found === '|') return cell ? '\\|' : found;
    if (found === '~~') return '\\~\\~';
    if (found === '_' && isWord(text[at - 1]) && isWord(text[at + 1])) return found;
    return `\\${found}`;
  });
}

function isWord(character: string | undefined): boolean {
  return character !== undefined && /[\p{L}\p{N}]/u.test(character);
}

/** Escapes what means something at the beginning of a line only: headings, items, quotes, rules, tables. */
function escapeStart(line: string): string {
  if (/^(?:#{1,6}(?:\s|$)|[-+](?:\s|$)|>|=+\s*$|-[-\s]*$|:?-[\s:|-]*$|\|)/.test(line)) return `\\${line}`;
  return line.replace(/^(\d{1,9})([.)])(?=\s|$)/, '$1\\$2');
}
