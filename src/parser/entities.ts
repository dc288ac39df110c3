import { Tokenizer, type TokenizerCallbacks } from 'htmlparser2';

const COMMON: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };
/** Any `&`, with what is plain to decode behind it. */
const REFERENCE = /&(?:(?:(amp|lt|gt|quot|apos|nbsp)|#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6}));)?/g;

/** Decodes the character references of text between tags. */
export function decodeText(source: string): string {
  return source.includes('&') ? decode(source, tokenizeText) : source;
}

/** Decodes the character references of an attribute's value, where `&copy=1` stays what it is. */
export function decodeAttribute(source: string): string {
  return source.includes('&') ? decode(source, tokenizeAttribute) : source;
}

/** Pages hardly use more than six names and plain numbers; whatever else there is goes through htmlparser2's tables. */
function decode(source: string, rest: (source: string) => string): string {
  let rare = false;
  const decoded = source.replace(REFERENCE, (whole, name: string | undefined, decimal?: string, hex?: string) => {
    if (name !== undefined) return COMMON[name]!;
    const code = decimal !== undefined ? Number(decimal) : Number.parseInt(hex ?? '0', 16);
    // 128 to 159 mean windows-1252, and surrogates and zero mean U+FFFD: the tables know.
    if (code >= 0x20 && code < 0xd800 && !(code > 0x7e && code < 0xa0)) return String.fromCharCode(code);
    rare = true;
    return whole;
  });
  return rare ? rest(source) : decoded;
}

function tokenizeText(source: string): string {
  return collect(source, '');
}

function tokenizeAttribute(source: string): string {
  return collect(`${source.replaceAll('"', '&quot;')}"`, '<a a="');
}

/** Runs htmlparser2's tokenizer over `prefix + source` and joins what it calls text, or the attribute's value. */
function collect(source: string, prefix: string): string {
  const input = prefix + source;
  let text = '';
  const slice = (start: number, end: number) => {
    text += input.slice(start, end);
  };
  const character = (code: number) => {
    text += String.fromCodePoint(code);
  };
  const nothing = () => {};
  const callbacks: TokenizerCallbacks = {
    ontext: slice,
    ontextentity: character,
    onattribdata: slice,
    onattribentity: character,
    onattribend: nothing,
    onattribname: nothing,
    oncdata: nothing,
    onclosetag: nothing,
    oncomment: nothing,
    ondeclaration: nothing,
    onend: nothing,
    onopentagend: nothing,
    onopentagname: nothing,
    onprocessinginstruction: nothing,
    onselfclosingtag: nothing,
  };
  const tokenizer = new Tokenizer({}, callbacks);
  tokenizer.write(input);
  tokenizer.end();
  return text;
}
