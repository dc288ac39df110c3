/** One query, cut at its parameters: texts, and between them the numbers of `$1`, `$2` … */
export interface SqlText {
  parts: (string | number)[];
  /** The highest parameter. */
  params: number;
}

/** What is read as one piece, in the order in which it is tried; PostgreSQL's lexical rules. */
const TOKENS = {
  /** Also the beginning of `E'…'`, `U&'…'`; `a$1` is a name. */
  name: /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y,
  number: /\d[\w.]*/y,
  string: /'(?:[^']|'')*'/y,
  escaped: /'(?:[^'\\]|''|\\[\s\S])*'/y,
  identifier: /"(?:[^"]|"")*"/y,
  line: /--[^\n\r]*/y,
  param: /\$(\d{1,5})(?!\w)/y,
  tag: /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y,
} as const;
const BLANK = /^\s*$/;

/**
 * Reads the text of one query, as far as is needed to put it into another one: parameters are told from what looks like
 * one in strings, names and comments, parentheses close, and nothing comes after a semicolon.
 *
 * @throws Error that says what is wrong
 */
export function readSql(text: string): SqlText {
  return new Reader(text).read();
}

class Reader {
  readonly #text: string;
  readonly #parts: (string | number)[] = [];
  #at = 0;
  /** Where the text begins that is not in a part yet. */
  #from = 0;
  #params = 0;
  #depth = 0;
  /** Where the statement ends; null: no semicolon yet. */
  #end: number | null = null;

  constructor(text: string) {
    this.#text = text;
  }

  read(): SqlText {
    if (this.#text.includes('\0')) throw new Error('it has a NUL character');
    while (this.#at < this.#text.length) this.#step();
    if (this.#depth > 0) throw new Error('a parenthesis is not closed');
    const end = this.#end ?? this.#text.length;
    this.#parts.push(this.#text.slice(this.#from, Math.max(end, this.#from)));
    if (this.#parts.every((part) => typeof part === 'string' && BLANK.test(part))) throw new Error('it is empty');
    return { parts: this.#parts, params: this.#params };
  }

  #step(): void {
    const start = this.#at;
    const char = this.#text[start]!;
    if (this.#skipsComment(char)) return;
    if (this.#end !== null && !BLANK.test(char)) throw new Error('it is more than one statement');
    if (char === "'") this.#take('string') || fail('a string is not closed');
    else if (char === '"') this.#take('identifier') || fail('a quoted name is not closed');
    else if (char === '$') this.#dollar();
    else if (this.#take('name')) {
      const isEscaped = this.#text[this.#at] === "'" && /^e$/i.test(this.#text.slice(start, this.#at));
      if (isEscaped) this.#take('escaped') || fail('a string is not closed');
    } else if (!this.#take('number')) this.#mark(char);
  }

  #mark(char: string): void {
    if (char === '(') this.#depth++;
    if (char === ')' && --this.#depth < 0) throw new Error('a parenthesis closes that was not opened');
    if (char === ';') this.#end = this.#at;
    this.#at++;
  }

  #dollar(): void {
    const start = this.#at;
    const number = this.#take('param');
    if (number !== null) {
      const n = Number(number[1]);
      if (n === 0) throw new Error('there is no parameter $0; the first is $1');
      this.#params = Math.max(this.#params, n);
      this.#parts.push(this.#text.slice(this.#from, start), n);
      this.#from = this.#at;
      return;
    }
    const tag = this.#take('tag');
    if (tag === null) {
      this.#at++;
      return;
    }
    const close = this.#text.indexOf(tag[0], this.#at);
    if (close < 0) throw new Error(`the string that ${tag[0]} opens is not closed`);
    this.#at = close + tag[0].length;
  }

  #skipsComment(char: string): boolean {
    if (char === '-') return this.#take('line') !== null;
    if (char !== '/' || this.#text[this.#at + 1] !== '*') return false;
    const marks = /\/\*|\*\//g;
    marks.lastIndex = this.#at;
    for (let depth = 0, mark = marks.exec(this.#text); mark !== null; mark = marks.exec(this.#text)) {
      depth += mark[0] === '/*' ? 1 : -1;
      if (depth > 0) continue;
      this.#at = marks.lastIndex;
      return true;
    }
    throw new Error('a comment is not closed');
  }

  #take(kind: keyof typeof TOKENS): RegExpExecArray | null {
    const token = TOKENS[kind];
    token.lastIndex = this.#at;
    const match = token.exec(this.#text);
    if (match !== null) this.#at = token.lastIndex;
    return match;
  }
}

function fail(message: string): never {
  throw new Error(message);
}
