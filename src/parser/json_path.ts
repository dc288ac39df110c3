import { createRequire } from 'node:module';

type Jmespath = typeof import('@jmespath-community/jmespath');
type Ast = ReturnType<Jmespath['compile']>;

/** What is used of the package's interpreter beyond its types; it is exported as one instance only. */
interface Interpreter {
  runtime: {
    _functionTable: Record<string, { _signature: unknown[]; _func: (values: unknown[]) => unknown }>;
    validateArity(name: string, parameters: unknown[], signature: unknown[]): void;
  };
  _rootValue: unknown;
  _scope: { withScope(scope: object): Interpreter['_scope'] };
  search(node: Ast, value: unknown): unknown;
  visit(node: Ast, value: unknown): unknown;
  withScope(scope: object): Interpreter;
}

/** Why an expression is refused, or a JSON text, in words for its author. */
class JsonError extends Error {}

const MAX_LENGTH = 1000;
const MAX_DEPTH = 500;
/**
 * What an expression may work on, or make: where a thread's heap cannot take an allocation of tens of megabytes, V8 ends the
 * whole process and not the thread. A heap that is filled bit by bit ends the thread alone.
 */
const MAX_TEXT = 4_000_000;
const MAX_LIST = 1_000_000;

interface Engine {
  compile: Jmespath['compile'];
  interpreter: Interpreter;
}
let engine: Engine | null = null;

/** Loaded at the first query: 10 ms, which a thread without one is spared. */
function loadEngine(): Engine {
  if (engine === null) {
    const { compile, TreeInterpreter } = createRequire(import.meta.url)('@jmespath-community/jmespath') as Jmespath;
    const Safe = bounded(TreeInterpreter.constructor as new () => Interpreter);
    const interpreter = new Safe();
    boundFunctions(interpreter.runtime._functionTable);
    engine = { compile, interpreter };
  }
  return engine;
}

/** The package's own reads `constructor` and `__proto__` from the prototype of any object, and knows no bounds. */
function bounded(Base: new () => Interpreter): new () => Interpreter {
  return class Safe extends Base {
    override visit(node: Ast, value: unknown): unknown {
      const found =
        node.type === 'Field'
          ? ownField(value, node.name)
          : node.type === 'Flatten'
            ? flat(this.visit(node.child as Ast, value))
            : super.visit(node, value);
      if (typeof found === 'string') checkSize(found.length, 0);
      else if (Array.isArray(found)) checkSize(0, found.length);
      return found;
    }

    override withScope(scope: object): Interpreter {
      const inner = new Safe();
      inner.runtime._functionTable = this.runtime._functionTable;
      inner._rootValue = this._rootValue;
      inner._scope = this._scope.withScope(scope);
      return inner;
    }
  };
}

function ownField(value: unknown, name: string): unknown {
  const holds = typeof value === 'object' && value !== null && !Array.isArray(value);
  return holds && Object.hasOwn(value, name) ? ((value as Record<string, unknown>)[name] ?? null) : null;
}

function flat(list: unknown): unknown {
  if (!Array.isArray(list)) return null;
  checkSize(
    0,
    list.reduce((sum: number, member) => sum + (Array.isArray(member) ? member.length : 1), 0),
  );
  return list.flat();
}

/** @throws where a text or a list is larger than any may be */
function checkSize(chars: number, members: number): void {
  if (chars > MAX_TEXT) throw new JsonError(`a text of more than ${MAX_TEXT} characters`);
  if (members > MAX_LIST) throw new JsonError(`a list of more than ${MAX_LIST} members`);
}

/** Functions that make more than they are given say how much before they do. */
function boundFunctions(table: Interpreter['runtime']['_functionTable']): void {
  const chars = (value: unknown) => (typeof value === 'string' ? value.length : 0);
  const width = ([text, wanted]: unknown[]) => checkSize(chars(text) + Number(wanted), 0);
  const guards: Record<string, (values: unknown[]) => void> = {
    pad_left: width,
    pad_right: width,
    replace: ([text, , by, count = 1]) => {
      checkSize(0, Number(count));
      checkSize((chars(text) + 1) * (chars(by) + 1), 0);
    },
    split: ([text, by, count = 0]) => checkSize(0, Math.max(Number(count), chars(text) / Math.max(1, chars(by)))),
    join: ([glue, list]) => {
      const texts = Array.isArray(list) ? list : [];
      checkSize(
        texts.reduce((sum, text) => sum + chars(text) + chars(glue), 0),
        0,
      );
    },
    to_string: ([value]) => checkSize(outgrows(value, MAX_TEXT) ? MAX_TEXT + 1 : 0, 0),
  };
  for (const [name, guard] of Object.entries(guards)) {
    const entry = table[name]!;
    const work = entry._func;
    entry._func = function guarded(this: unknown, values: unknown[]) {
      guard(values);
      return work.call(this, values);
    };
  }
}

/** True where a JSON value has more characters, roughly, than `limit`; a value that is in it twice counts twice. */
export function outgrows(value: unknown, limit: number): boolean {
  let left = limit;
  const stack: unknown[] = [value];
  while (stack.length > 0) {
    const one = stack.pop();
    left -= typeof one === 'string' ? one.length + 2 : 2;
    if (typeof one === 'object' && one !== null) {
      if (Array.isArray(one)) {
        if (one.length > left) return true;
        for (const member of one) stack.push(member);
      } else
        for (const key in one) {
          left -= key.length + 3;
          stack.push((one as Record<string, unknown>)[key]);
        }
    }
    if (left < 0) return true;
  }
  return false;
}

/** A compiled JMESPath expression over JSON values. */
export class JsonQuery {
  readonly #ast: Ast;
  /** Why the last reading found nothing; null where it ran to its end. */
  fault: string | null = null;

  /** @throws JsonError on what does not compile: syntax, unknown functions, wrong numbers of parameters */
  constructor(expression: string) {
    if (expression.trim() === '') throw new JsonError('it is empty');
    if (expression.length > MAX_LENGTH)
      throw new JsonError(`it has ${expression.length} characters; at most ${MAX_LENGTH} are allowed`);
    try {
      this.#ast = loadEngine().compile(expression);
    } catch (error) {
      throw new JsonError(syntaxMessage(expression, error));
    }
    checkFunctions(this.#ast);
  }

  /** What the expression finds, as JSON; null for nothing, and with `fault` set where it fails on this value. */
  read(value: unknown): unknown {
    this.fault = null;
    try {
      return loadEngine().interpreter.search(this.#ast, value) ?? null;
    } catch (error) {
      this.fault = error instanceof Error ? error.message.slice(0, 300) : String(error);
      return null;
    }
  }

  /** The members of the list that it finds, without null, or what it finds alone. */
  all(value: unknown): unknown[] {
    const found = this.read(value);
    return (Array.isArray(found) ? found : [found]).filter((member) => member !== null && member !== undefined);
  }
}

function checkFunctions(ast: Ast): void {
  const { runtime } = loadEngine().interpreter;
  const stack: unknown[] = [ast];
  while (stack.length > 0) {
    const node = stack.pop();
    if (typeof node !== 'object' || node === null) continue;
    const { type, name, children } = node as { type?: unknown; name?: unknown; children?: unknown };
    if (type === 'Literal') continue;
    if (type === 'Function' && typeof name === 'string' && Array.isArray(children)) {
      if (!Object.hasOwn(runtime._functionTable, name)) throw new JsonError(`there is no function ${name}()`);
      checkArity(name, children);
    }
    stack.push(...Object.values(node));
  }
}

function checkArity(name: string, parameters: unknown[]): void {
  const { runtime } = loadEngine().interpreter;
  try {
    runtime.validateArity(name, parameters, runtime._functionTable[name]!._signature);
  } catch (error) {
    throw new JsonError(error instanceof Error ? error.message.replace(/^Invalid arity: /, '') : String(error));
  }
}

function syntaxMessage(expression: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const what = /\(?EOF\)?/.test(message) ? 'it ends too early' : message.replace(/^Syntax error[:,] /, '');
  if (/^\$\.\.|\[\?\(|\[\*\]\.\.|\.\./.test(expression)) return `${what} (this is JMESPath, not JSONPath)`;
  if (/[A-Za-z_]-\w/.test(expression)) return `${what} (a name with a hyphen stands in double quotes)`;
  return what;
}

/**
 * Parses a JSON text, with a byte order mark or the guard `)]}'` before it. `__proto__` is a key like any other.
 *
 * @throws JsonError where it is no JSON, or nested deeper than 500, which would overflow the stack when it is written
 */
export function parseJson(text: string): unknown {
  const json = text.replace(/^\ufeff?(?:\)\]\}'?,?)?/, '');
  if (nestingOf(json) > MAX_DEPTH) throw new JsonError(`nested deeper than ${MAX_DEPTH}`);
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new JsonError(error instanceof Error ? error.message : String(error));
  }
}

/** The deepest nesting of brackets outside strings. */
function nestingOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x5b || code === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x5d || code === 0x7d) depth--;
    else if (code === 0x22) i = endOfString(text, i + 1);
  }
  return deepest;
}

/** The index of the closing quote of the string that begins at `from`. */
function endOfString(text: string, from: number): number {
  let end = from;
  while (end < text.length && text.charCodeAt(end) !== 0x22) end += text.charCodeAt(end) === 0x5c ? 2 : 1;
  return end;
}
