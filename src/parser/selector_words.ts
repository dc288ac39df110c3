import type { Selector } from 'css-what';

const CLOSES: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' };

/**
 * Says which bracket or quote of a selector or an XPath is never closed, which the parsers' own messages do not; null where
 * all are.
 *
 * @param escapes whether a backslash takes the meaning from the next character, as in CSS
 */
export function unbalanced(text: string, escapes: boolean): string | null {
  const open: { mark: string; at: number }[] = [];
  for (let i = 0; i < text.length; i++) {
    const mark = text[i]!;
    if (escapes && mark === '\\') i++;
    else if (mark === '"' || mark === "'") {
      const end = endOfQuote(text, i, escapes);
      if (end < 0) return `the quote ${mark} at character ${i + 1} is never closed`;
      i = end;
    } else if ('([{'.includes(mark)) {
      open.push({ mark, at: i + 1 });
    } else if (Object.hasOwn(CLOSES, mark) && open.pop()?.mark !== CLOSES[mark]) {
      return `the ${mark} at character ${i + 1} closes nothing`;
    }
  }
  const last = open.at(-1);
  return last === undefined ? null : `the ${last.mark} at character ${last.at} is never closed`;
}

function endOfQuote(text: string, start: number, escapes: boolean): number {
  for (let i = start + 1; i < text.length; i++)
    if (escapes && text[i] === '\\') i++;
    else if (text[i] === text[start]) return i;
  return -1;
}

/** What css-what or css-select says of a selector, with the place and what is expected there. */
export function selectorProblem(text: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const rest = /^(?:Expected name, found|Unmatched selector:) ?(.*)$/s.exec(message)?.[1];
  const place = unbalanced(text, true) ?? (rest === undefined ? null : placeOf(text, rest));
  if (place !== null) return place;
  if (message === 'Empty sub-selector') return 'a selector is missing at its beginning, at its end or beside a comma';
  if (message.startsWith("Attribute selector didn't"))
    return 'brackets hold [name], [name=value] or [name="a value"]: quotes are needed around more than one word';
  if (/^Unknown pseudo-class :(?:first|last|eq|gt|lt|even|odd|visible|hidden|text)\b/.test(message))
    return `${message}: it is jQuery's, not CSS`;
  return message;
}

function placeOf(text: string, rest: string): string {
  if (rest === '') return 'it ends where a name is expected';
  const at = text.length - rest.length + 1;
  if (/^[.#:[]/.test(rest)) return `a name is expected behind the ${rest[0]} at character ${at}`;
  return `it cannot be read from character ${at} on: ${rest.slice(0, 40)}`;
}

/** The name that css-what takes and nothing can have, as in `a/b`, `@href` and `div..x`; null where there is none. */
export function oddName(text: string, tokens: readonly Selector[]): string | null {
  if (text.includes('\\')) return null;
  for (const token of tokens) {
    const odd = token.type === 'tag' && /^[^\w\-*\u00b0-\uffff]|^\d/.test(token.name) ? token.name : null;
    if (odd !== null) return `"${odd}" is no name of an element`;
    if (token.type !== 'attribute' || token.name !== 'class' || token.action !== 'element') continue;
    if (/^[.\s]/.test(token.value) && /\.[.\s]/.test(text)) return 'a dot has no name behind it';
  }
  return null;
}
