import { CLASS, END_CLASS, EQUALS_CLASS, nextKey, SLASH_CLASS } from './names.ts';
import { END_TITLE, markAfter } from './raw_text.ts';
import { type Source, sourceOf } from './source_text.ts';

/**
 * Tells the tags and texts of HTML: exactly what htmlparser2's `Tokenizer` tells with `{ decodeEntities: false }`, its oddities
 * at unfinished and broken markup included, because `fast` promises the trees of htmlparser2.
 *
 * That Tokenizer makes a call and a switch for each character. Here each kind of token has its own loop over an array of code
 * units, and comments and scripts are left to `indexOf`. Its thirty states are needed only where a chunk ends inside
 * a token. So there are but six, all at places where nothing is half read, and what is half read is kept: the characters
 * from the beginning of the token (a tag up to its name's end, one attribute, an end tag, a declaration) are scanned again
 * with what follows. They wait for as much again as was kept, so that a value in many chunks costs twice its length and not its
 * square. Text, scripts and comments go on in the middle, and of them no more than a piece of their end mark is kept.
 */

/**
 * What a scanner tells of markup, in document order. A range lies whole in the `source` that it comes with; only a run of text may
 * come in parts. With each name comes its key, by `nextKey`, made in the loop that looks for the name's end: to read names a second
 * time took a tenth of what a page's elements cost.
 */
export interface MarkupEvents {
  /** Text between tags, entities as in the source. Never empty. */
  text(source: Source, start: number, end: number): void;
  /** A start tag begins. @returns whether its attributes are to be told one by one; they are counted in any case */
  tag(source: Source, nameStart: number, nameEnd: number, key: number): boolean;
  /** Without quotes, entities as in the source; an empty range where it has no value. */
  attribute(
    source: Source,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
    key: number,
  ): void;
  /** The start tag ends. A tag that the input breaks off in has no end. @param attributes how many it had */
  tagEnd(selfClosing: boolean, attributes: number): void;
  endTag(source: Source, nameStart: number, nameEnd: number, key: number): void;
}

/** Where the next character stands. */
const TEXT = 0;
/** Behind the name of a start tag, before an attribute or the end. */
const TAG = 1;
/** In the text of a script, style, title, textarea or xmp: no tags but the end tag. */
const RAW = 2;
const COMMENT = 3;
const CDATA = 4;
/** Behind the name of an end tag: everything up to `>` is passed over. */
const CLOSED = 5;
const STOPPED = 6;
type State = typeof TEXT | typeof TAG | typeof RAW | typeof COMMENT | typeof CDATA | typeof CLOSED | typeof STOPPED;

const EXCLAMATION = 0x21;
const DOUBLE_QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const DASH = 0x2d;
const SLASH = 0x2f;
const LESS = 0x3c;
const EQUALS = 0x3d;
const GREATER = 0x3e;
const QUESTION = 0x3f;

const isSpace = (c: number) => c === 0x20 || c === 0x0a || c === 0x09 || c === 0x0c || c === 0x0d;
const isLetter = (c: number) => (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;

/** Characters that are scanned at once. */
const PART = 64 * 1024;

export class Scanner {
  readonly #events: MarkupEvents;
  #state: State = TEXT;
  /** What is half read, and the length from which it is worth another look. */
  #kept = '';
  #due = 0;
  /** Of the start tag that is open. */
  #told = false;
  #attributes = 0;
  /** The end mark of the raw text that is open or follows upon the open tag; empty for none. */
  #mark = '';
  /** Inside raw text, whether the end mark can begin at `<` alone; see `#raw`. */
  #strict = false;

  constructor(events: MarkupEvents) {
    this.#events = events;
  }

  /** @param chunk of any length; may begin and end anywhere */
  write(chunk: string): void {
    for (let from = 0; from < chunk.length; from += PART) {
      this.#kept += chunk.slice(from, from + PART);
      if (this.#kept.length >= this.#due) this.#scan();
    }
  }

  /** The input is at its end: tells what of the half read is text. */
  end(): void {
    this.#scan();
    const kept = this.#kept;
    const start = this.#textOfRest(kept);
    if (start < kept.length) this.#events.text(sourceOf(kept), start, kept.length);
    this.stop();
  }

  /** Nothing more is told; may be called from inside an event. */
  stop(): void {
    this.#state = STOPPED;
    this.#kept = '';
  }

  #scan(): void {
    if (this.#kept === '') return;
    const source = sourceOf(this.#kept);
    this.#kept = '';
    let i = 0;
    while (i < source.length) i = this.#step(source, i);
    this.#due = 2 * this.#kept.length;
  }

  /** Reads on from where nothing is half read. @returns the next such place, or the end of the source */
  #step(source: Source, i: number): number {
    switch (this.#state) {
      case TEXT:
        return this.#text(source, i);
      case TAG:
        return this.#tag(source, i);
      case RAW:
        return this.#raw(source, i);
      case COMMENT:
        return this.#skip(source, i, '-->');
      case CDATA:
        return this.#skip(source, i, ']]>');
      case CLOSED:
        return this.#closed(source, i);
      case STOPPED:
        return source.length;
    }
  }

  /** Keeps what is half read. @returns the end of the source */
  #keep(source: Source, start: number): number {
    this.#kept = source.text.slice(start);
    return source.length;
  }

  /** Texts and the markup between them, as long as that is tags. */
  #text(source: Source, from: number): number {
    const { codes, length } = source;
    let i = from;
    while (this.#state === TEXT && i < length) {
      let open = i;
      while (codes[open] !== LESS) open++;
      if (open > length) open = length;
      if (open > i) {
        this.#events.text(source, i, open);
        if (this.#state !== TEXT) break;
      }
      if (open + 1 >= length) return open < length ? this.#keep(source, open) : length;
      const c = codes[open + 1]!;
      if (isLetter(c)) i = this.#startTag(source, open + 1);
      else if (c === SLASH) i = this.#endTag(source, open);
      else i = this.#noTag(source, open, c);
    }
    return i;
  }

  /** @param open place of `<`. @param c what follows */
  #noTag(source: Source, open: number, c: number): number {
    if (c === EXCLAMATION) return this.#declaration(source, open);
    if (c === QUESTION) return this.#bogus(source, open, open + 2);
    this.#events.text(source, open, open + 1);
    return open + 1;
  }

  /** @param start of the name */
  #startTag(source: Source, start: number): number {
    const { codes, length } = source;
    let end = start;
    let key = 0;
    for (let k = CLASS[codes[end]!]!; k < SLASH_CLASS; k = CLASS[codes[++end]!]!) key = nextKey(key, k);
    if (end === length) return this.#keep(source, start - 1);
    this.#mark = markAfter(source, start, end);
    this.#attributes = 0;
    this.#state = TAG;
    this.#told = this.#events.tag(source, start, end, key);
    return this.#state === TAG ? this.#tag(source, end) : length;
  }

  /** Attributes and the end of a start tag. In one loop it takes half the time that a call for each attribute took. */
  #tag(source: Source, from: number): number {
    const { codes, length } = source;
    let i = from;
    while (i < length) {
      const c = codes[i]!;
      if (isSpace(c)) i++;
      else if (c === GREATER) return this.#tagEnd(i, false);
      else if (c === SLASH) {
        const next = afterSpace(codes, i + 1);
        if (next === length) return this.#keep(source, i);
        if (codes[next] === GREATER) return this.#tagEnd(next, true);
        i = next;
      } else {
        // The first character of a name may be any.
        const start = i++;
        let key = nextKey(0, CLASS[c]!);
        for (let k = CLASS[codes[i]!]!; k < EQUALS_CLASS; k = CLASS[codes[++i]!]!) key = nextKey(key, k);
        const nameEnd = i;
        i = afterSpace(codes, i);
        let valueStart = i;
        let valueEnd = i;
        if (codes[i] === EQUALS) {
          valueStart = afterSpace(codes, i + 1);
          const quote = codes[valueStart]!;
          if (quote === DOUBLE_QUOTE || quote === SINGLE_QUOTE) {
            valueEnd = ++valueStart;
            while (codes[valueEnd] !== quote) valueEnd++;
            i = valueEnd + 1;
          } else {
            valueEnd = endOfUnquoted(codes, valueStart);
            i = valueEnd;
          }
        }
        if (valueEnd >= length) return this.#keep(source, start);
        this.#attributes++;
        if (this.#told) {
          this.#events.attribute(source, start, nameEnd, valueStart, valueEnd, key);
          if (this.#state !== TAG) return length;
        }
      }
    }
    return length;
  }

  /** @param at the place of `>` */
  #tagEnd(at: number, selfClosing: boolean): number {
    this.#state = this.#mark !== '' && !selfClosing ? RAW : TEXT;
    this.#strict = false;
    this.#events.tagEnd(selfClosing, this.#attributes);
    return at + 1;
  }

  /** `</`, spaces and a letter are an end tag; `</>` is text; anything else is a comment up to `>`. @param open place of `<` */
  #endTag(source: Source, open: number): number {
    const { codes, length } = source;
    const start = afterSpace(codes, open + 2);
    if (start === length) return this.#keep(source, open);
    const c = codes[start]!;
    if (c === GREATER) {
      this.#events.text(source, open, start + 1);
      return start + 1;
    }
    if (!isLetter(c)) return this.#bogus(source, open, start);
    return this.#endTagNamed(source, open, start);
  }

  /** @param open place of `<`. @param start of the name */
  #endTagNamed(source: Source, open: number, start: number): number {
    const { codes, length } = source;
    let end = start;
    let key = 0;
    for (let k = CLASS[codes[end]!]!; k < END_CLASS; k = CLASS[codes[++end]!]!) key = nextKey(key, k);
    if (end === length) return this.#keep(source, open);
    const ended = source.codes[end] === GREATER;
    this.#state = ended ? TEXT : CLOSED;
    this.#events.endTag(source, start, end, key);
    return ended ? end + 1 : end;
  }

  /** A comment, CDATA, or else up to `>`, which is not looked for in the first character, nor in the second behind a dash. */
  #declaration(source: Source, open: number): number {
    if (source.text.startsWith('--', open + 2)) {
      this.#state = COMMENT;
      // Its dashes may be the end's too: `<!-->`.
      return open + 2;
    }
    if (source.text.startsWith('[CDATA[', open + 2)) {
      this.#state = CDATA;
      return open + 9;
    }
    return this.#bogus(source, open, open + (source.codes[open + 2] === DASH ? 4 : 3));
  }

  /** Passes over what ends with the next `>`. It is kept, because it becomes text if the input ends before. */
  #bogus(source: Source, open: number, from: number): number {
    const end = source.text.indexOf('>', from);
    return end < 0 ? this.#keep(source, open) : end + 1;
  }

  /** Passes over a comment or CDATA. @param mark whose first two characters are equal */
  #skip(source: Source, from: number, mark: string): number {
    const end = source.text.indexOf(mark, from);
    if (end >= 0) {
      this.#state = TEXT;
      return end + 3;
    }
    const { length } = source;
    let start = length;
    while (start > from && start > length - 2 && source.text[start - 1] === mark[0]) start--;
    return this.#keep(source, start);
  }

  /** Its last character is kept: see `#textOfRest`. */
  #closed(source: Source, from: number): number {
    const end = source.text.indexOf('>', from);
    if (end < 0) return this.#keep(source, source.length - 1);
    this.#state = TEXT;
    return end + 1;
  }

  /**
   * Raw text up to its end mark and a space or `>`. The Tokenizer compares `c | 0x20`, which takes U+001C for `<` and U+000F for
   * `/`, but not where it hurries on to the next `<`, as it does everywhere but in a title.
   */
  #raw(source: Source, from: number): number {
    const { codes, length } = source;
    const mark = this.#mark;
    let matched = 0;
    for (let i = from; i < length; i++) {
      if (this.#strict) {
        i = source.text.indexOf('<', i);
        if (i < 0) break;
        this.#strict = false;
      }
      const c = codes[i]!;
      if (matched === mark.length) {
        if (c === GREATER || isSpace(c)) return this.#rawEnd(source, from, i - mark.length);
        matched = 0;
      }
      if ((c | 0x20) === mark.charCodeAt(matched)) matched++;
      else if (matched > 0) matched = c === LESS ? 1 : 0;
      else this.#strict = mark !== END_TITLE;
    }
    if (length - matched > from) this.#events.text(source, from, length - matched);
    return matched === 0 || this.#state !== RAW ? length : this.#keep(source, length - matched);
  }

  /** @param open place of the end tag */
  #rawEnd(source: Source, from: number, open: number): number {
    if (open > from) this.#events.text(source, from, open);
    return this.#state === RAW ? this.#endTagNamed(source, open, open + 2) : source.length;
  }

  /**
   * Where the text begins that the Tokenizer makes of what is half read at the end of the input. Tags that have a name are
   * dropped, but not one that could still become a script; of declarations the text inside is left, of an end tag's rest and of a
   * `/` before `>` the last character of the input (its section then begins at -1, which to `slice` is the last place).
   */
  #textOfRest(rest: string): number {
    switch (this.#state) {
      case TEXT:
        return textOfMarkup(rest);
      case TAG:
        return rest.charCodeAt(0) === SLASH ? rest.length - 1 : rest.length;
      case RAW:
      case CLOSED:
        return 0;
      case COMMENT:
      case CDATA:
      case STOPPED:
        return rest.length;
    }
  }
}

/** @param rest empty, or what begins with `<` and does not end */
function textOfMarkup(rest: string): number {
  const c = rest.charCodeAt(1);
  if (c === EXCLAMATION || c === QUESTION) return 2;
  if (isLetter(c))
    return /^<(?:s|sc(?:r(?:i(?:pt?)?)?)?|st(?:y(?:le?)?)?|[tx]|[tx]i(?:t(?:le?)?)?|[tx]e(?:x(?:t(?:a(?:r(?:ea?)?)?)?)?)?|[tx]mp?)$/i.test(
      rest,
    )
      ? 1
      : rest.length;
  if (c !== SLASH) return 0;
  const start = rest.slice(2).search(/[^ \n\t\f\r]/) + 2;
  if (start === 1) return 0;
  return isLetter(rest.charCodeAt(start)) ? rest.length : start;
}

function afterSpace(codes: Uint16Array, from: number): number {
  let i = from;
  while (isSpace(codes[i]!)) i++;
  return i;
}

/** The end of an unquoted value: a space or `>`. */
function endOfUnquoted(codes: Uint16Array, from: number): number {
  let i = from;
  for (let c = codes[i]!; c > GREATER || !(c === GREATER || isSpace(c)); ) c = codes[++i]!;
  return i;
}
