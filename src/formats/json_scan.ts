// JSON read without being parsed: what is taken out of an item is the very text that was produced, with its numbers
// (`1.0`, `-0`, twenty digits), its order of keys and a key `__proto__` like any other. All take valid JSON, as the
// database holds it, and are linear in its length.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
/** Blank, tab and line breaks are the only white space; all other characters between tokens are greater. */
const BLANK = 0x20;

/**
 * Visits the members of the object that stands at `at`, in their order, duplicates included.
 *
 * @param at where the object's brace is, or white space before it
 * @param visit is told the key, decoded, and where the value begins and ends (exclusive)
 * @returns false where no object stands there
 */
export function eachMember(
  json: string,
  at: number,
  visit: (key: string, start: number, end: number) => void,
): boolean {
  let i = skipBlanks(json, at);
  if (json.charCodeAt(i) !== OPEN_BRACE) return false;
  i = skipBlanks(json, i + 1);
  while (json.charCodeAt(i) === QUOTE) {
    const keyEnd = stringEnd(json, i);
    const key = decodeString(json, i, keyEnd);
    const start = skipBlanks(json, skipBlanks(json, keyEnd) + 1);
    const end = valueEnd(json, start);
    visit(key, start, end);
    i = skipBlanks(json, end);
    if (json.charCodeAt(i) === COMMA) i = skipBlanks(json, i + 1);
  }
  return true;
}

/** Whether an object with members begins there. @param at where a value begins */
export function isFilledObject(json: string, at: number): boolean {
  return json.charCodeAt(at) === OPEN_BRACE && json.charCodeAt(skipBlanks(json, at + 1)) !== CLOSE_BRACE;
}

/** The string whose literal stands there, quotes included. */
export function decodeString(json: string, start: number, end: number): string {
  const text = json.slice(start + 1, end - 1);
  return text.includes('\\') ? (JSON.parse(json.slice(start, end)) as string) : text;
}

function skipBlanks(json: string, at: number): number {
  while (json.charCodeAt(at) <= BLANK) at += 1;
  return at;
}

function valueEnd(json: string, start: number): number {
  const first = json.charCodeAt(start);
  if (first === QUOTE) return stringEnd(json, start);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return nestedEnd(json, start);
  let i = start;
  for (; i < json.length; i++) {
    const code = json.charCodeAt(i);
    if (code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET || code <= BLANK) break;
  }
  return i;
}

function nestedEnd(json: string, start: number): number {
  let depth = 0;
  for (let i = start; i < json.length; i++) {
    const code = json.charCodeAt(i);
    if (code === QUOTE) i = stringEnd(json, i) - 1;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth += 1;
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      depth -= 1;
      if (depth === 0) return i + 1;
    }
  }
  return json.length;
}

/** Behind the closing quote: the next one before which an even number of backslashes stands. */
function stringEnd(json: string, start: number): number {
  for (let i = json.indexOf('"', start + 1); i !== -1; i = json.indexOf('"', i + 1)) {
    let before = i;
    while (json.charCodeAt(before - 1) === BACKSLASH) before -= 1;
    if ((i - before) % 2 === 0) return i + 1;
  }
  return json.length;
}
