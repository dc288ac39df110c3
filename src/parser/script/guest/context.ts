import { freeze, host, Mistake, type PageInput, parse, type ResponseInput, stringify } from './host.ts';
import { documents, Response } from './response.ts';
import { Selection } from './selection.ts';
import { kindOf, logText } from './values.ts';

const METHODS_WITH_JSON = 'an object: { method, headers, body | form | json }';

/** A request that was prepared by `ctx.follow`; yielding it makes it one of the page's links. */
export class Follow {
  readonly url: string;
  constructor(url: string) {
    this.url = url;
    freeze(this);
  }
}
/** An item with a type of its own. */
export class Typed {
  readonly type: string;
  readonly data: object;
  constructor(type: string, data: object) {
    this.type = type;
    this.data = data;
  }
}
/** Which prepared request a Follow is. */
export const requests = new WeakMap<object, number>();

interface Call {
  page: OpenPage;
  resolve: (answer: unknown) => void;
  reject: (error: Error) => void;
  read: (answer: unknown) => unknown;
  /** Made where the script called, so that its stack tells the line. */
  error: Mistake & { code?: string };
}

/** A page whose callback runs. */
export interface OpenPage {
  number: number;
  input: PageInput;
  /** Names of the script's callbacks. */
  callbacks: readonly string[];
  calls: number;
  /** Requests prepared and not yielded. */
  idle: number;
  /** Numbers of those that were. */
  yielded: number[];
  /** Values set on this page, over what was stored. */
  state: Map<string, unknown>;
}

const calls = new Map<number, Call>();
let numbers = 0;

function call(
  page: OpenPage,
  kind: 'fetch' | 'lookup' | 'read',
  question: object,
  read: Call['read'],
): Promise<unknown> {
  const error: Call['error'] = new Mistake();
  return new Promise((resolve, reject) => {
    const number = ++numbers;
    host.emit(page.number, kind, `${number}`, stringify(question));
    calls.set(number, { page, resolve, reject, read, error });
    page.calls++;
  });
}

/** Settles a call; one whose page has ended is forgotten. */
export function settle(number: number, ok: number, answer: string): void {
  const open = calls.get(number);
  if (open === undefined) return;
  calls.delete(number);
  open.page.calls--;
  try {
    const value = parse(answer) as unknown;
    if (ok === 1) open.resolve(open.read(value));
    else open.reject(failed(open.error, value as { code: string; message: string }));
  } catch (error) {
    open.reject(error as Error);
  }
}

/** The number of the page that made a call; null: it is settled, or its page has ended. */
export function pageOfCall(number: number): number | null {
  return calls.get(number)?.page.number ?? null;
}

export function dropCalls(page: number): void {
  for (const [number, open] of calls) if (open.page.number === page) calls.delete(number);
}

function failed(error: Call['error'], { code, message }: { code: string; message: string }): Error {
  error.message = message;
  error.code = code;
  return error;
}

/** What a script's functions are given as `ctx`. */
export class Context {
  readonly params: Record<string, unknown>;
  readonly crawl: { readonly id: string };
  readonly log: (...parts: unknown[]) => void;
  readonly state: { get(key: string): Promise<unknown>; set(key: string, value: unknown): void };
  readonly #page: OpenPage;
  readonly #response: Response;

  constructor(page: OpenPage, response: Response) {
    this.#page = page;
    this.#response = response;
    this.params = page.input.params;
    this.crawl = freeze({ id: page.input.crawlId });
    this.log = logger(page.number);
    this.state = freeze({
      get: (key: string) => readState(page, keyOf(key)),
      set: (key: string, value: unknown) => writeState(page, keyOf(key), value),
    });
    freeze(this);
  }

  /** Fetches a page without leaving the callback. */
  fetch(url: unknown, options: object = {}): Promise<Response> {
    const question = { ...optionsOf(options, 'ctx.fetch'), document: this.#document(), url: urlOf(url, 'ctx.fetch') };
    const page = this.#page;
    const read = (answer: unknown) => new Response(page.number, answer as ResponseInput, page.input.depth, {});
    return call(page, 'fetch', question, read) as Promise<Response>;
  }

  /** Fetches JSON; a status outside 2xx, or what is no JSON, is an error. */
  async fetchJson(url: unknown, options: object = {}): Promise<unknown> {
    const error: Call['error'] & { status?: number } = new Mistake();
    const response = await this.fetch(url, options);
    if (response.ok) return jsonOf(response, error);
    error.status = response.status;
    throw failed(error, {
      code: `http_${`${response.status}`[0]}xx`,
      message: `${response.url} answered ${response.status}`,
    });
  }

  /** Rows of a query on a connection that the operator named. */
  lookup(connection: string, query: string, params: readonly unknown[] = []): Promise<unknown> {
    if (typeof connection !== 'string' || typeof query !== 'string')
      throw new Mistake('ctx.lookup takes a connection, a query and a list: ctx.lookup("name", "select …", [])');
    if (!Array.isArray(params)) throw new Mistake(`ctx.lookup was given ${kindOf(params)} as params; expected a list`);
    return call(this.#page, 'lookup', { connection, query, params }, (rows) => rows);
  }

  /** A request to be yielded. */
  follow(href: unknown, options: object = {}): Follow {
    const parts = optionsOf(options, 'ctx.follow') as { callback?: unknown };
    const { callbacks } = this.#page;
    if (parts.callback !== undefined && !callbacks.includes(parts.callback as string))
      throw new Mistake(
        `ctx.follow: there is no callback \`${String(parts.callback)}\`; the script has ${callbacks.join(', ')}`,
      );
    const url = urlOf(href, 'ctx.follow');
    const number = host.follow(this.#page.number, this.#document(), stringify({ ...parts, url }));
    const follow = new Follow(url);
    requests.set(follow, number);
    this.#page.idle++;
    return follow;
  }

  /** An item with a type, for scripts that yield more than one kind. */
  item(type: string, data: object): Typed {
    return new Typed(type, data);
  }

  #document(): number {
    return documents.get(this.#response)!;
  }
}

function jsonOf(response: Response, error: Call['error']): unknown {
  try {
    return response.json();
  } catch (cause) {
    throw failed(error, { code: 'bad_json', message: `${response.url} is not JSON: ${(cause as Error).message}` });
  }
}

function urlOf(url: unknown, method: string): string {
  if (url instanceof Selection) return urlOf(url.attr('href'), method);
  if (typeof url === 'string') return url;
  throw new Mistake(`${method} was given ${kindOf(url)}; expected a URL`);
}

function optionsOf(options: unknown, method: string): object {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return options;
  throw new Mistake(`${method} was given ${kindOf(options)} as options; expected ${METHODS_WITH_JSON}`);
}

function keyOf(key: unknown): string {
  if (typeof key === 'string' && key !== '' && key.length <= 200) return key;
  throw new Mistake('ctx.state: a key is a text of 1 to 200 characters');
}

async function readState(page: OpenPage, key: string): Promise<unknown> {
  if (!page.state.has(key)) {
    const stored = await call(page, 'read', { key }, (answer) => answer);
    if (!page.state.has(key)) return stored;
  }
  const value = page.state.get(key);
  return value === undefined ? null : parse(stringify(value));
}

function writeState(page: OpenPage, key: string, value: unknown): void {
  const text = value === undefined || value === null ? 'null' : stringify(value);
  if (text === undefined) throw new Mistake(`ctx.state.set: ${kindOf(value)} is nothing that JSON can hold`);
  host.emit(page.number, 'state', key, text);
  page.state.set(key, parse(text));
}

const LEVELS = ['debug', 'info', 'warn', 'error'];

/** `log(…)` or `log('warn', …)`, with `log.debug`, `log.info`, `log.warn`, `log.error`. */
export function logger(page: number): (...parts: unknown[]) => void {
  const at =
    (level: string) =>
    (...parts: unknown[]): void =>
      host.emit(page, 'log', level, logText(parts));
  const log = (...parts: unknown[]): void => {
    const [level] = parts;
    if (parts.length > 1 && LEVELS.includes(level as string)) at(level as string)(...parts.slice(1));
    else at('info')(...parts);
  };
  return freeze(
    Object.assign(log, { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), log: at('info') }),
  );
}

freeze(Context.prototype);
freeze(Follow.prototype);
freeze(Typed.prototype);
