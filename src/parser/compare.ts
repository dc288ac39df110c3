import { pointerPart } from '../model/pointer.ts';
import type { Difference } from '../model/preview.ts';
import type { Sample } from '../model/spider.ts';
import { canonicalize, parseHttpUrl, type UrlRules, type UrlSettings, urlRules } from '../model/url.ts';
import { isRecord } from './check_values.ts';

/** More are not listed: whoever has so many has read the first. */
const MAX_DIFFERENCES = 50;
/** Of a value in a difference, in JSON: it is shown whole below this, else as text that is cut. */
const MAX_SHOWN = 2000;

type Expected = Pick<Sample, 'items' | 'contains' | 'links' | 'minItems'>;

/** A sample, and what a spider made of its page. */
export interface CompareJob {
  expected: Expected;
  /** Data of the items as JSON text, in order. */
  items: readonly string[];
  /** Kept, canonical. */
  links: readonly string[];
  /** What counts in a URL. */
  settings: UrlSettings;
}

/**
 * How a page's result differs from what its sample expects; none: it is as expected. The order of fields does not matter,
 * the order of items and of lists does; numbers are equal or not. Costs items × `contains`, so it is for a parser thread.
 */
export function compareSample(job: CompareJob): Difference[] {
  return [...differences(job).take(MAX_DIFFERENCES)];
}

function* differences({ expected, links, settings, ...job }: CompareJob): Generator<Difference> {
  const items = job.items.map((json) => JSON.parse(json) as unknown);
  const { minItems = 0 } = expected;
  if (items.length < minItems) {
    const message = `the page gave ${count(items.length, 'item')}; expected at least ${minItems}`;
    yield { pointer: '/minItems', expected: minItems, found: items.length, message };
  }
  if (expected.items !== undefined) yield* itemDifferences(expected.items, items);
  for (const [i, part] of (expected.contains ?? []).entries()) yield* partDifferences(part, items, `/contains/${i}`);
  const kept = new Set(links);
  const rules = urlRules(settings);
  for (const [i, link] of (expected.links ?? []).entries())
    if (!kept.has(canonicalOf(link, rules)))
      yield { pointer: `/links/${i}`, expected: link, message: `the link ${link} was not kept` };
}

function canonicalOf(link: string, rules: UrlRules): string {
  const parsed = parseHttpUrl(link);
  return parsed === null ? link : canonicalize(parsed, rules).url;
}

function* itemDifferences(expected: unknown[], found: unknown[]): Generator<Difference> {
  if (expected.length !== found.length) {
    const message = `the page gave ${count(found.length, 'item')}; expected ${expected.length}`;
    yield { pointer: '/items', expected: expected.length, found: found.length, message };
  }
  for (const [i, item] of expected.entries()) {
    const pointer = `/items/${i}`;
    if (i < found.length) yield* valueDifferences(item, found[i], pointer);
    else yield { pointer, expected: shown(item), message: 'this item is missing' };
  }
  for (const [i, item] of found.entries())
    if (i >= expected.length)
      yield { pointer: `/items/${i}`, found: shown(item), message: 'this item was not expected' };
}

function* valueDifferences(expected: unknown, found: unknown, at: string): Generator<Difference> {
  if (Array.isArray(expected) && Array.isArray(found)) {
    for (let i = 0; i < Math.max(expected.length, found.length); i++)
      yield* memberDifferences(expected[i], found[i], i < expected.length, i < found.length, `${at}/${i}`);
  } else if (isRecord(expected) && isRecord(found)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(found)])) {
      const has = [Object.hasOwn(expected, key), Object.hasOwn(found, key)] as const;
      yield* memberDifferences(expected[key], found[key], ...has, `${at}/${pointerPart(key)}`);
    }
  } else if (expected !== found) {
    const message = `found ${text(found)}; expected ${text(expected)}`;
    yield { pointer: at, expected: shown(expected), found: shown(found), message };
  }
}

function* memberDifferences(
  expected: unknown,
  found: unknown,
  isExpected: boolean,
  isFound: boolean,
  at: string,
): Generator<Difference> {
  if (isExpected && isFound) yield* valueDifferences(expected, found, at);
  else if (isExpected) yield { pointer: at, expected: shown(expected), message: `missing; expected ${text(expected)}` };
  else yield { pointer: at, found: shown(found), message: `found ${text(found)}; expected nothing here` };
}

/** Some item has all that `part` has. Else: what the nearest one lacks. */
function* partDifferences(part: unknown, items: unknown[], pointer: string): Generator<Difference> {
  let nearest: { i: number; lacks: string[] } | null = null;
  for (const [i, item] of items.entries()) {
    const lacks: string[] = [...lacking(part, item, '').take(nearest?.lacks.length ?? MAX_DIFFERENCES)];
    if (lacks.length === 0) return;
    if (nearest === null || lacks.length < nearest.lacks.length) nearest = { i, lacks };
  }
  const why =
    nearest === null ? 'there is no item' : `the nearest is item ${nearest.i}: ${nearest.lacks.slice(0, 5).join('; ')}`;
  const found = nearest === null ? {} : { found: shown(items[nearest.i]) };
  yield { pointer, expected: shown(part), ...found, message: `no item contains this; ${why}` };
}

/** Each member that `part` has and `item` has not, or has otherwise. Members that only the item has are welcome. */
function* lacking(part: unknown, item: unknown, at: string): Generator<string> {
  if (isRecord(part) && isRecord(item)) {
    for (const [key, value] of Object.entries(part))
      if (Object.hasOwn(item, key)) yield* lacking(value, item[key], `${at}/${pointerPart(key)}`);
      else yield `${at}/${pointerPart(key)} is missing`;
  } else if (Array.isArray(part) && Array.isArray(item) && part.length === item.length) {
    for (const [i, value] of part.entries()) yield* lacking(value, item[i], `${at}/${i}`);
  } else if (part !== item) {
    yield `${at === '' ? 'it' : at} is ${text(item)}, not ${text(part)}`;
  }
}

function count(n: number, noun: string): string {
  return n === 1 ? `one ${noun}` : `${n} ${noun}s`;
}

/** Short, for a message. */
function text(value: unknown): string {
  const json = JSON.stringify(value) ?? 'nothing';
  return json.length > 100 ? `${json.slice(0, 100)}…` : json;
}

function shown(value: unknown): unknown {
  const json = JSON.stringify(value) ?? '';
  return json.length > MAX_SHOWN ? `${json.slice(0, MAX_SHOWN)}…` : value;
}
