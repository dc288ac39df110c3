/** What htmlparser2's Tokenizer and the scanner tell of markup, in one form. */
import { Tokenizer, type TokenizerCallbacks } from 'htmlparser2';
import { Scanner } from '../../dist/parser/scanner.js';
import type { Source } from '../../dist/parser/source_text.js';

/** One event; runs of text are joined, and each event ends with a line feed. */
class Log {
  lines = '';
  /** Tags that the log has, for which `told` decides whether their attributes are told. */
  tags = 0;
  #text = '';
  text(text: string): void {
    this.#text += text;
  }
  add(line: string): void {
    if (this.#text !== '') this.lines += `text ${JSON.stringify(this.#text)}\n`;
    this.#text = '';
    if (line !== '') this.lines += `${line}\n`;
  }
}

/** Every third tag's attributes are only counted. */
const told = (tags: number) => tags % 3 !== 0;

const nothing = () => {};

/** What the Tokenizer tells of a page that it gets in one piece. It reports places of the whole input, also -1. */
export function referenceTokens(source: string): string {
  const log = new Log();
  let attributes = 0;
  let name = '';
  let value = '';
  const callbacks: TokenizerCallbacks = {
    ontext: (start, end) => log.text(source.slice(start, end)),
    onopentagname: (start, end) => {
      attributes = 0;
      log.tags++;
      log.add(`tag ${JSON.stringify(source.slice(start, end))}`);
    },
    onattribname: (start, end) => {
      attributes++;
      name = source.slice(start, end);
      value = '';
    },
    onattribdata: (start, end) => {
      value += source.slice(start, end);
    },
    onattribend: () => {
      if (told(log.tags)) log.add(`attribute ${JSON.stringify([name, value])}`);
    },
    onopentagend: () => log.add(`end ${attributes}`),
    onselfclosingtag: () => log.add(`selfclosing ${attributes}`),
    onclosetag: (start, end) => log.add(`endtag ${JSON.stringify(source.slice(start, end))}`),
    onend: () => log.add(''),
    oncdata: nothing,
    oncomment: nothing,
    ondeclaration: nothing,
    onprocessinginstruction: nothing,
    onattribentity: nothing,
    ontextentity: nothing,
  };
  const tokenizer = new Tokenizer({ decodeEntities: false }, callbacks);
  tokenizer.write(source);
  tokenizer.end();
  return log.lines;
}

/** What the scanner tells of the same page in pieces. @param stopAfter events after which it is stopped */
export function scannedTokens(chunks: Iterable<string>, stopAfter = Number.POSITIVE_INFINITY): string {
  const log = new Log();
  let events = 0;
  const count = () => {
    if (++events >= stopAfter) scanner.stop();
    if (events > stopAfter) throw new Error(`event ${events} after the stop`);
  };
  const slice = ({ text, length }: Source, start: number, end: number) => {
    if (start < 0 || end < start || end > length) throw new RangeError(`${start} to ${end} of ${length}`);
    return text.slice(start, end);
  };
  const scanner = new Scanner({
    text: (source, start, end) => {
      if (start === end) throw new RangeError('an empty text');
      log.text(slice(source, start, end));
      count();
    },
    tag: (source, start, end) => {
      log.tags++;
      log.add(`tag ${JSON.stringify(slice(source, start, end))}`);
      count();
      return told(log.tags);
    },
    attribute: (source, nameStart, nameEnd, valueStart, valueEnd) => {
      const parts = [slice(source, nameStart, nameEnd), slice(source, valueStart, valueEnd)];
      log.add(`attribute ${JSON.stringify(parts)}`);
      count();
    },
    tagEnd: (selfClosing, attributes) => {
      log.add(`${selfClosing ? 'selfclosing' : 'end'} ${attributes}`);
      count();
    },
    endTag: (source, start, end) => {
      log.add(`endtag ${JSON.stringify(slice(source, start, end))}`);
      count();
    },
  });
  for (const chunk of chunks) scanner.write(chunk);
  scanner.end();
  log.add('');
  return log.lines;
}
