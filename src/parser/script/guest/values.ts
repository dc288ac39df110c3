import { isArray, keys, Mistake, stringify } from './host.ts';
import { Response } from './response.ts';
import { Selection } from './selection.ts';

const MAX_DEPTH = 100;
const MAX_MESSAGE = 2000;
/** Where the script's own lines stand in a stack. */
const LINE = /\bscript:(\d+)/;

/** What a value is, in a word for its author. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value !== 'object') return typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`;
  if (isArray(value)) return 'a list';
  if (value instanceof Selection) return 'a selection';
  if (value instanceof Response) return 'a response';
  return isPromise(value) ? 'a Promise' : 'an object';
}

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** An object as JSON, exactly as it will be stored. @throws Mistake naming the field that JSON cannot hold */
export function itemJson(item: object): string {
  return stringify(plain(item, '', []));
}

/** A copy of a value that JSON can hold. @param path dotted, empty at the top @param around the objects that it is in */
function plain(value: unknown, path: string, around: object[]): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return value;
    case 'number':
      if (Number.isFinite(value)) return value;
      throw new Mistake(`${field(path)} is ${value}, which JSON cannot hold: use null`);
    case 'bigint':
      throw new Mistake(`${field(path)} is a BigInt, which JSON cannot hold: use Number() or String()`);
    case 'function':
      throw new Mistake(`${field(path)} is a function: is a call, as \`()\`, missing?`);
    case 'symbol':
      throw new Mistake(`${field(path)} is a symbol, which JSON cannot hold`);
    case 'object':
      return value === null ? null : plainObject(value, path, around);
  }
}

function plainObject(value: object, path: string, around: object[]): unknown {
  if (isPromise(value)) throw new Mistake(`${field(path)} is a Promise: is an \`await\` missing?`);
  if (value instanceof Selection)
    throw new Mistake(`${field(path)} is a selection: is \`.text()\` or \`.attr(…)\` missing?`);
  if (value instanceof Response) throw new Mistake(`${field(path)} is a response; take what you need of it`);
  if (value instanceof Map || value instanceof Set)
    throw new Mistake(`${field(path)} is a ${value instanceof Map ? 'Map' : 'Set'}: make it an object or a list`);
  if (around.includes(value)) throw new Mistake(`${field(path)} contains itself`);
  if (around.length >= MAX_DEPTH) throw new Mistake(`${field(path.slice(0, 100))} is nested deeper than ${MAX_DEPTH}`);
  const { toJSON } = value as { toJSON?: unknown };
  const inside = around.concat([value]);
  if (typeof toJSON === 'function') return plain(toJSON.call(value, path), path, inside);
  if (value instanceof Number || value instanceof String || value instanceof Boolean) return value.valueOf();
  return isArray(value) ? plainList(value, path, inside) : plainRecord(value, path, inside);
}

function plainList(list: readonly unknown[], path: string, around: object[]): unknown[] {
  const copy: unknown[] = [];
  for (let i = 0; i < list.length; i++) copy[i] = plain(list[i], `${path}[${i}]`, around);
  return copy;
}

function plainRecord(record: object, path: string, around: object[]): object {
  const copy: Record<string, unknown> = Object.create(null);
  const names = keys(record);
  // By index: a script may have changed how lists are iterated.
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    copy[name] = plain((record as Record<string, unknown>)[name], path === '' ? name : `${path}.${name}`, around);
  }
  return copy;
}

function field(path: string): string {
  return path === '' ? 'the item' : `field \`${path}\``;
}

/** What to use instead of what other engines have. */
const INSTEAD = new Map([
  ['fetch', 'use ctx.fetch'],
  ['URL', 'response.urljoin(href) makes a URL absolute'],
  ['setTimeout', 'there are no timers; the setting delayMs paces a crawl'],
  ['setInterval', 'there are no timers'],
  ['require', 'a script stands alone, without modules'],
  ['process', 'what a crawl is given is in ctx.params'],
  ['document', 'use response.css or response.xpath'],
  ['window', 'there is no browser; use response.css or response.xpath'],
]);
const UNDEFINED = /^'?(\w+)'? is not defined$/;

function instead(title: string, message: string): string {
  const name = title === 'ReferenceError' ? UNDEFINED.exec(message)?.[1] : undefined;
  const hint = name === undefined ? undefined : INSTEAD.get(name);
  return hint === undefined ? '' : `: ${hint}`;
}

/** What was thrown, with the line of the script where that is known; never throws itself. */
export function describe(error: unknown): string {
  try {
    if (typeof error !== 'object' || error === null)
      return `threw ${kindOf(error)}: ${String(error)}`.slice(0, MAX_MESSAGE);
    const { name, message, stack } = error as { name?: unknown; message?: unknown; stack?: unknown };
    const line = LINE.exec(String(stack))?.[1];
    const title = String(name ?? 'Error');
    const text = title === 'Error' ? String(message) : `${title}: ${String(message)}${instead(title, String(message))}`;
    return text.slice(0, MAX_MESSAGE) + (line === undefined ? '' : ` (line ${line})`);
  } catch {
    return 'threw an error that cannot be read';
  }
}

/** Values for a log line: text as it is, the rest as JSON. */
export function logText(parts: readonly unknown[]): string {
  return parts.map(logPart).join(' ').slice(0, MAX_MESSAGE);
}

function logPart(part: unknown): string {
  if (typeof part === 'string') return part;
  if (part instanceof Error) return describe(part);
  try {
    return typeof part === 'object' && part !== null ? stringify(plain(part, '', [])) : String(part);
  } catch (error) {
    return error instanceof Mistake ? `[${error.message}]` : '[unreadable]';
  }
}
