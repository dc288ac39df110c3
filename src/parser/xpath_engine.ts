import { createRequire } from 'node:module';
import { unbalanced } from './selector_words.ts';
import { namespaceOf, type TreeNode } from './xpath_tree.ts';

/** What is used of fontoxpath. Its own types bring the DOM's globals with them. */
interface Engine {
  evaluateXPath: {
    (text: string, context: unknown, facade: object, variables: null, returnType: number, options: object): unknown;
    ALL_RESULTS_TYPE: number;
  };
  getBucketForSelector(text: string): string | null;
  registerXQueryModule(text: string): void;
}

type Parameter = 'string' | 'number';

/** Why an XPath is refused, in words for its author. */
class XPathError extends Error {}

const MAX_LENGTH = 1000;
/** fontoxpath keeps every expression that it ever compiled, 6 KB each; after so many it is loaded anew. */
const MAX_COMPILED = 2000;
const FUNCTIONS = 'http://www.w3.org/2005/xpath-functions';
const LENIENT = 'lenient';
const ONE: Parameter[] = ['string'];
const TWO: Parameter[] = ['string', 'string'];
/**
 * XPath 1.0's functions of strings, which take the first node of several where 3.1 refuses: `contains(text(), 'x')` and
 * `normalize-space(//h1)` are what people write. For each count of parameters what each is made.
 */
const LENIENT_FUNCTIONS: Readonly<Record<string, readonly Parameter[][]>> = {
  contains: [TWO],
  'starts-with': [TWO],
  'ends-with': [TWO],
  'substring-before': [TWO],
  'substring-after': [TWO],
  substring: [
    ['string', 'number'],
    ['string', 'number', 'number'],
  ],
  translate: [['string', 'string', 'string']],
  concat: Array.from({ length: 19 }, (_, i) => i + 2).map((count) => new Array<Parameter>(count).fill('string')),
  matches: [TWO],
  replace: [['string', 'string', 'string']],
  'normalize-space': [ONE],
  'string-length': [ONE],
  'lower-case': [ONE],
  'upper-case': [ONE],
  string: [ONE],
  number: [ONE],
};
const FUNCTION_PREFIXES = new Set(['', 'fn', 'math', 'map', 'array', 'xs']);
/** They write to the log, differ each time, or find functions by name at run time. */
const FORBIDDEN = new Set(['trace', 'random-number-generator', 'serialize', 'function-lookup']);

let engine: Engine | null = null;
let compiled = 0;

/** Loaded at the first XPath (60 ms and 4 MB), so that a thread without one is spared. */
function loadEngine(): Engine {
  if (engine === null || compiled > MAX_COMPILED) {
    // A `require` of its own each time, since it would hold on to what it has loaded.
    const require = createRequire(import.meta.url);
    delete require.cache[require.resolve('fontoxpath')];
    engine = require('fontoxpath') as Engine;
    compiled = 0;
    engine.registerXQueryModule(lenientModule());
  }
  return engine;
}

/** The tree as fontoxpath walks it. Its hints of what it looks for are not needed: lists are there already. */
const FACADE = {
  getAllAttributes: (node: TreeNode) => node.attributes,
  getAttribute: (node: TreeNode, name: string) =>
    node.attributes.find(({ nodeName }) => nodeName === name)?.data ?? null,
  getChildNodes: (node: TreeNode) => node.children,
  getData: (node: TreeNode) => node.data,
  getFirstChild: (node: TreeNode) => node.children[0] ?? null,
  getLastChild: (node: TreeNode) => node.children.at(-1) ?? null,
  getNextSibling: (node: TreeNode) => node.parent?.children[node.index + 1] ?? null,
  getPreviousSibling: (node: TreeNode) => node.parent?.children[node.index - 1] ?? null,
  getParentNode: (node: TreeNode) => node.parent,
};

const OPTIONS = {
  moduleImports: { lenient: LENIENT },
  namespaceResolver: namespaceOf,
  functionNameResolver: ({ prefix, localName }: { prefix: string; localName: string }, count: number) => {
    if (!FUNCTION_PREFIXES.has(prefix) || FORBIDDEN.has(localName)) return { namespaceURI: 'unknown', localName };
    if (prefix !== '' && prefix !== 'fn') return { namespaceURI: namespaceOf(prefix), localName };
    const lenient =
      (Object.hasOwn(LENIENT_FUNCTIONS, localName) &&
        LENIENT_FUNCTIONS[localName]!.some((types) => types.length === count)) ||
      (Object.hasOwn(GUARDED, localName) && GUARDED[localName]!.includes(count));
    // With other numbers of parameters nothing would bound it.
    const isBounded = Object.hasOwn(MADE, localName) || Object.hasOwn(GUARDED, localName);
    return { namespaceURI: lenient ? LENIENT : isBounded ? 'unknown' : FUNCTIONS, localName };
  },
};

/**
 * What a function may make, or cut into pieces: where a thread's heap cannot take an allocation of tens of megabytes, V8 ends
 * the whole process and not the thread.
 */
const MAX_MADE = 4_000_000;
const MAX_CUT = 1_000_000;

/** Characters that a call may come to, as an XPath of its parameters `$p0` …; and how many they may be. */
const MADE: Readonly<Record<string, readonly [chars: (parameters: string[]) => string, most: number]>> = {
  concat: [(all) => `fn:sum((${all.map((one) => `fn:string-length(${one})`).join(', ')}))`, MAX_MADE],
  replace: [([text, , by]) => `(fn:string-length(${text}) + 1) * (fn:string-length(${by}) + 1)`, MAX_MADE],
};

/** Guards of standard functions that are not lenient. */
const GUARDED: Readonly<Record<string, number[]>> = {
  'string-join': [1, 2],
  tokenize: [1, 2],
  'string-to-codepoints': [1],
};

function guardedFunctions(): string[] {
  const total = 'fn:sum(for $s in $p0 return fn:string-length(fn:string($s)))';
  return Object.entries(GUARDED).flatMap(([name, counts]) =>
    counts.map((count) => {
      const list = Array.from({ length: count }, (_, i) => `$p${i}`);
      const parameters = list.map((one) => `${one} as item()*`).join(', ');
      const joined = count === 1 ? total : `(${total} + fn:count($p0) * fn:string-length(fn:string($p1)))`;
      const [chars, most] = name === 'string-join' ? [joined, MAX_MADE] : ['fn:string-length(fn:string($p0))', MAX_CUT];
      return `declare %public function lenient:${name}(${parameters}) as item()* {
        if (${chars} > ${most}) then fn:error((), "a text of more than ${most} characters") else fn:${name}(${list.join(', ')}) };`;
    }),
  );
}

/** The lenient functions as a module: each hands the first item of each parameter on to the standard one. */
function lenientModule(): string {
  const functions = Object.entries(LENIENT_FUNCTIONS).flatMap(([name, signatures]) =>
    signatures.map((types) => {
      const parameters = types.map((_, i) => `$p${i} as item()*`).join(', ');
      const values = types.map((type, i) => `fn:${type}(fn:head($p${i}))`);
      const call = `fn:${name}(${values.join(', ')})`;
      const [made, most] = MADE[name] ?? [];
      const body =
        made === undefined
          ? call
          : `if (${made(values)} > ${most}) then fn:error((), "a text of more than ${most} characters") else ${call}`;
      return `declare %public function lenient:${name}(${parameters}) as item()* { ${body} };`;
    }),
  );
  return `module namespace lenient = "${LENIENT}";\n${[...functions, ...guardedFunctions()].join('\n')}`;
}

/** @throws what fontoxpath throws where the expression does not fit the page */
export function evaluate(text: string, context: TreeNode | null, disableCache = false): unknown[] {
  const { evaluateXPath } = loadEngine();
  const options = disableCache ? { ...OPTIONS, disableCache } : OPTIONS;
  return evaluateXPath(text, context, FACADE, null, evaluateXPath.ALL_RESULTS_TYPE, options) as unknown[];
}

/** One line of an error at run time. */
export function faultOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0]!.slice(0, 300);
}

/** @throws XPathError on what does not compile */
export function checkSyntax(text: string): void {
  if (text.trim() === '') throw new XPathError('it is empty');
  if (text.length > MAX_LENGTH)
    throw new XPathError(`it has ${text.length} characters; at most ${MAX_LENGTH} are allowed`);
  if (text.includes('fontoxml.com'))
    throw new XPathError('it names the functions of an engine; only XPath is understood');
  const open = unbalanced(text, false);
  if (open !== null) throw new XPathError(open);
  const code = text.replace(/"[^"]*"|'[^']*'/g, '""');
  if (code.includes('||')) throw new XPathError('`||` is not understood; use concat(…)');
  if (/Q\s*\{/.test(code)) throw new XPathError('`Q{…}` is not understood; names are given without their namespaces');
  try {
    loadEngine().getBucketForSelector(text);
  } catch (error) {
    throw new XPathError(syntaxMessage(text, error));
  }
  compiled++;
  try {
    // In a branch that is never taken, so that only what is wrong in itself is found.
    evaluate(`if (false()) then (${text}\n) else ()`, null, true);
  } catch (error) {
    throw new XPathError(staticMessage(faultOf(error)));
  }
}

function syntaxMessage(text: string, error: unknown): string {
  const { location } = error as { location?: { start?: { offset?: unknown } } };
  const at = location?.start?.offset;
  if (typeof at !== 'number') return staticMessage(faultOf(error));
  if (at >= text.length) return 'it ends too early';
  return `it cannot be read from character ${at + 1} on: ${text.slice(at, at + 40)}`;
}

/** The engine's errors name functions by their namespaces, which authors never see. */
function staticMessage(fault: string): string {
  if (/^\d|XQuery/.test(fault)) return 'it is no XPath expression';
  const unknown = /^XPST0017: Function (?:Q\{(.*?)\})?(\S+) with arity of (\d+)/.exec(fault);
  if (unknown === null) return fault.replace(/^XPST0008, The variable (\S+) .*$/, 'the variable $$$1 is not known');
  const [, , name, count] = unknown;
  const similar = [...fault.matchAll(/"Q\{http:\/\/www\.w3\.org\/2005\/xpath-functions\}([\w-]+) \(/g)].map(
    ([, known]) => known!,
  );
  const hint = [...new Set(similar)].filter((known) => !FORBIDDEN.has(known)).join(', ');
  return `there is no function ${name}() with ${count} parameter${count === '1' ? '' : 's'}${hint === '' ? '' : `; near it: ${hint}`}`;
}
