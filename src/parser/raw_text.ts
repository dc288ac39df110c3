import type { Source } from './source_text.ts';

// What ends the texts in which there are no tags.

const END_SCRIPT = '</script';
const END_STYLE = '</style';
export const END_TITLE = '</title';
const END_TEXTAREA = '</textarea';
const END_XMP = '</xmp';
/** By the two letters that a name begins with: 1 where it may be one of those. To cut each `span` and `td` took a tenth of the scan. */
const BEGINS_RAW = new Uint8Array(1024);
for (const pair of ['sc', 'st', 'ti', 'xi', 'te', 'xe', 'tm', 'xm'])
  BEGINS_RAW[lettersOf(pair.charCodeAt(0), pair.charCodeAt(1))] = 1;

function lettersOf(first: number, second: number): number {
  return ((first & 0x1f) << 5) | (second & 0x1f);
}

/**
 * The end mark of the raw text behind a start tag, empty for none. The Tokenizer does not tell a first `t` from an `x`: `<tmp>`
 * is ended by `</xmp>`.
 */
export function markAfter({ codes, text }: Source, start: number, end: number): string {
  if (BEGINS_RAW[lettersOf(codes[start]!, codes[start + 1]!)] === 0) return '';
  const name = text.slice(start, end).toLowerCase();
  if (name === 'script') return END_SCRIPT;
  if (name === 'style') return END_STYLE;
  const rest = name.slice(1);
  return rest === 'itle' ? END_TITLE : rest === 'extarea' ? END_TEXTAREA : rest === 'mp' ? END_XMP : '';
}
