import type { PageInput } from './content.ts';

/** Bytes that are decoded at once; fewer where the reading may end early, since what was decoded is read to its end. */
const PART = 64 * 1024;
const SMALL_PART = 8 * 1024;
/** What the rest of a page might say of all of it: its base, where it refreshes to. */
const DIRECTIVE = /<base[\s/>]|http-equiv/i;

/**
 * A page's text in chunks.
 *
 * @param isSatisfied whether every query has what it wants, asked after each chunk was read: then the rest is told only if it
 *   says something of the page itself. Null: everything is told
 */
export function chunksOf(page: Pick<PageInput, 'text' | 'parts'>, isSatisfied: (() => boolean) | null) {
  const chunks = () => page.parts?.(isSatisfied === null ? PART : SMALL_PART) ?? [page.text];
  return isSatisfied === null ? chunks() : untilSatisfied(chunks, isSatisfied);
}

/** What is left is looked through and not held: it is decoded anew where it has to be told. */
function* untilSatisfied(chunks: () => Iterable<string>, isSatisfied: () => boolean): Generator<string> {
  const rest = Iterator.from(chunks());
  let told = 0;
  for (let chunk = rest.next(); chunk.done !== true; chunk = rest.next()) {
    yield chunk.value;
    told++;
    if (!isSatisfied()) continue;
    if (hasDirective(rest, chunk.value)) yield* Iterator.from(chunks()).drop(told);
    return;
  }
}

/** @param before what was told last: its last characters may be the beginning of one */
function hasDirective(rest: Iterable<string>, before: string): boolean {
  let tail = before.slice(-20);
  for (const chunk of rest) {
    const text = tail + chunk;
    if (DIRECTIVE.test(text)) return true;
    tail = text.slice(-20);
  }
  return false;
}
