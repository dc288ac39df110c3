import { Context, dropCalls, Follow, logger, type OpenPage, pageOfCall, requests, settle, Typed } from './context.ts';
import { host, isArray, Mistake, type PageInput, parse, publish, stringify } from './host.ts';
import { Response } from './response.ts';
import { Selection } from './selection.ts';
import { describe, isPromise, itemJson, kindOf } from './values.ts';

type Callback = (response: Response, ctx: Context) => unknown;
interface Spider {
  [name: string]: unknown;
  processItem?: (item: object, ctx: Context) => unknown;
}

const DEFAULT_TYPE = 'item';
const TYPE = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$/;
const EXPECTED = 'expected an item (an object) or ctx.follow(…)';

/** What stands beside a script, and what other crawlers have within: silence would look as if it held. */
const BESIDE = 'put it beside `script` in the definition';
const ELSEWHERE = [
  ...['scope', 'params', 'pipeline', 'settings', 'sitemaps', 'samples'].map((member) => [member, BESIDE] as const),
  ['start_urls', 'it is called `startUrls`'],
  ['allowed_domains', 'put `"scope": { "hosts": […] }` beside `script`'],
  ['custom_settings', 'put `settings` beside `script`'],
] as const;

let spider: Spider = {};
let callbacks: string[] = [];
const open = new Map<number, OpenPage>();
/** The page whose callback was begun, or whose call was answered, last: `console` writes there. */
let current = 0;

function adopt(exported: unknown): string {
  if (typeof exported !== 'object' || exported === null)
    throw new Mistake(
      `the default export is ${kindOf(exported)}; expected \`export default { async *parse(response, ctx) { … } }\``,
    );
  spider = exported as Spider;
  callbacks = functionsOf(spider).filter((name) => name !== 'processItem');
  if (callbacks.length === 0)
    throw new Mistake('the default export has no callback; expected `async *parse(response, ctx) { … }`');
  for (const [member, mend] of ELSEWHERE)
    if (spider[member] !== undefined && typeof spider[member] !== 'function')
      throw new Mistake(`\`${member}\` has no effect within a script: ${mend}`);
  const { name, startUrls, processItem } = spider;
  if (processItem !== undefined && typeof processItem !== 'function')
    throw new Mistake(`processItem is ${kindOf(processItem)}; expected a function`);
  return stringify({ name: name ?? null, startUrls: startUrls ?? [], callbacks });
}

/** Names of an object's own functions, and of its classes' methods. */
function functionsOf(object: object): string[] {
  const names = new Set<string>();
  for (let at: object | null = object; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  names.delete('constructor');
  return [...names].filter((name) => typeof (object as Spider)[name] === 'function');
}

function begin(number: number, text: string): void {
  const input = parse(text) as PageInput;
  const page: OpenPage = { number, input, callbacks, calls: 0, idle: 0, yielded: [], state: new Map() };
  open.set(number, page);
  current = number;
  void run(page);
}

async function run(page: OpenPage): Promise<void> {
  const { number, input } = page;
  try {
    const response = new Response(number, input.response, input.depth, input.meta);
    const context = new Context(page, response);
    await collect(page, context, callbackOf(input.callback).call(spider, response, context));
    if (open.get(number) !== page) return;
    warnOfLeftovers(page);
    host.emit(number, 'ended', '', stringify(page.yielded));
  } catch (error) {
    host.emit(number, 'failed', isMemory(error) ? 'memory' : '', describe(error));
  }
}

function callbackOf(name: string): Callback {
  if (callbacks.includes(name)) return spider[name] as Callback;
  throw new Mistake(`there is no callback \`${name}\`; the script has ${callbacks.join(', ')}`);
}

function isMemory(error: unknown): boolean {
  return error instanceof Error && error.name === 'InternalError' && error.message === 'out of memory';
}

function warnOfLeftovers({ number, calls, idle }: OpenPage): void {
  const warn = logger(number) as unknown as Record<'warn', (text: string) => void>;
  const underWay = calls === 1 ? 'one of its calls was' : `${calls} of its calls were`;
  if (calls > 0) warn.warn(`the callback ended while ${underWay} under way: is an \`await\` missing?`);
  const unused = idle === 1 ? 'a request of ctx.follow was' : `${idle} requests of ctx.follow were`;
  if (idle > 0) warn.warn(`${unused} made and not yielded: is a \`yield\` missing?`);
}

/** Takes all that a callback gave: of a generator its parts and what it returned, of a promise what it came to. */
async function collect(page: OpenPage, context: Context, result: unknown): Promise<void> {
  if (result === undefined || result === null) return;
  if (typeof result !== 'object') throw new Mistake(`the callback returned ${kindOf(result)}; ${EXPECTED}`);
  if (isPromise(result)) return collect(page, context, await result);
  if (isArray(result)) {
    for (let i = 0; i < result.length; i++) await take(page, context, result[i]);
    return;
  }
  if (Symbol.asyncIterator in result || (Symbol.iterator in result && !(result instanceof Selection)))
    return drain(page, context, result as AsyncIterable<unknown> | Iterable<unknown>);
  await take(page, context, result);
}

async function drain(
  page: OpenPage,
  context: Context,
  source: AsyncIterable<unknown> | Iterable<unknown>,
): Promise<void> {
  const isAsync = Symbol.asyncIterator in source;
  const parts = isAsync ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  for (;;) {
    const step = isAsync ? await parts.next() : (parts.next() as IteratorResult<unknown>);
    if (open.get(page.number) !== page) return;
    if (step.done === true) {
      await collect(page, context, step.value);
      return;
    }
    const later = take(page, context, step.value);
    if (later !== null) await later;
  }
}

/** One part: a request, or an item, which `processItem` sees first. Null: it was taken at once. */
function take(page: OpenPage, context: Context, part: unknown): Promise<void> | null {
  if (part instanceof Follow) {
    page.idle--;
    page.yielded[page.yielded.length] = requests.get(part)!;
    return null;
  }
  // No destructuring of a list: a script may have changed how lists are iterated.
  const isTyped = part instanceof Typed;
  const type = isTyped ? part.type : DEFAULT_TYPE;
  const data = isTyped ? part.data : part;
  if (
    typeof data !== 'object' ||
    data === null ||
    isArray(data) ||
    data instanceof Selection ||
    data instanceof Response
  )
    throw new Mistake(`the callback yielded ${kindOf(data)}; ${EXPECTED}`);
  if (isPromise(data)) throw new Mistake('the callback yielded a Promise: is an `await` missing?');
  if (typeof type !== 'string' || !TYPE.test(type))
    throw new Mistake(
      `ctx.item was given the type ${String(type).slice(0, 100)}; expected a name of letters, digits, _ and -`,
    );
  if (spider.processItem !== undefined) return process(page, context, type, data);
  host.emit(page.number, 'item', type, itemJson(data));
  return null;
}

async function process(page: OpenPage, context: Context, type: string, data: object): Promise<void> {
  const result = await spider.processItem!(data, context);
  if (open.get(page.number) !== page) return;
  if (result === null) host.emit(page.number, 'dropped', 'processItem', '');
  else if (typeof result === 'object' && !isArray(result)) host.emit(page.number, 'item', type, itemJson(result));
  else throw new Mistake(`processItem returned ${kindOf(result)}; expected the item, or null to drop it`);
}

function drop(number: number): void {
  open.delete(number);
  dropCalls(number);
}

/** Its page may have ended, where code goes on that nobody waits for: then the line is lost, and no other page suffers. */
const write =
  (level: 'debug' | 'info' | 'warn' | 'error') =>
  (...parts: unknown[]) => {
    if (!open.has(current)) return;
    (logger(current) as unknown as Record<string, (...parts: unknown[]) => void>)[level]!(...parts);
  };
const scriptConsole = Object.freeze({
  log: write('info'),
  info: write('info'),
  debug: write('debug'),
  warn: write('warn'),
  error: write('error'),
});
Object.defineProperty(globalThis, 'console', { value: scriptConsole });

function answer(call: number, ok: number, text: string): void {
  current = pageOfCall(call) ?? current;
  settle(call, ok, text);
}

publish({ adopt, begin, settle: answer, drop, describe });
