import { createRequire } from 'node:module';
import { pointerNames, pointerPart } from '../model/pointer.ts';
import { MAX_PROBLEMS } from '../model/problems.ts';

/** JSON Schema, of draft 2020-12. Its patterns are JavaScript's own: only to be used where a thread can be killed. */

type Library = typeof import('typebox/schema');
let library: Library | null = null;
const require = createRequire(import.meta.url);

/** The interpreter of schemas, loaded when first asked for: 50 ms and 4 MB that most threads are spared. */
export function schemaLibrary(): Library {
  library ??= require('typebox/schema') as Library;
  return library;
}

const MAX_DEPTH = 100;
/** Names in a path, when it is counted. */
const MAX_PATH = 8;

export interface SchemaMistake {
  /** JSON pointer into the schema. */
  pointer: string;
  message: string;
}

/** The schema is built from a user's JSON, and interpreted: no code is made of it. */
type Schema = Parameters<Library['Check']>[0];

/** What is wrong with a schema itself: keywords of the wrong type, patterns that do not compile, references that lead outside. */
export function schemaMistakes(schema: unknown): SchemaMistake[] {
  const found: SchemaMistake[] = [];
  walk(schema, schema, '', 0, found);
  if (found.length > 0) return found;
  const { Errors, Meta } = schemaLibrary();
  const [ok, errors] = Errors(Meta['https://json-schema.org/draft/2020-12/schema'] as unknown as Schema, schema);
  if (ok) return isEndless(schema) ? [{ pointer: '', message: 'it refers to itself without an end' }] : [];
  // Those of the whole repeat what those of a part say.
  const inner = errors.filter(({ keyword }) => keyword !== 'additionalProperties' && keyword !== 'anyOf');
  const byPointer = new Map<string, SchemaMistake>();
  for (const { instancePath, message } of inner.length > 0 ? inner : errors)
    if (!byPointer.has(instancePath)) byPointer.set(instancePath, { pointer: instancePath, message });
  return [...byPointer.values()];
}

function isEndless(schema: unknown): boolean {
  try {
    schemaLibrary().Check(schema as Schema, {});
    return false;
  } catch (error) {
    if (error instanceof RangeError) return true;
    throw error;
  }
}

/** References and patterns, wherever they stand; `enum`, `const`, `default` and `examples` hold values, not schemas. */
function walk(part: unknown, root: unknown, at: string, depth: number, found: SchemaMistake[]): void {
  if (typeof part !== 'object' || part === null || found.length >= MAX_PROBLEMS) return;
  if (depth > MAX_DEPTH) {
    if (!found.some(({ message }) => message === TOO_DEEP)) found.push({ pointer: '', message: TOO_DEEP });
    return;
  }
  for (const [key, value] of Object.entries(part)) {
    const pointer = `${at}/${pointerPart(key)}`;
    const message = typeof value === 'string' ? textMistake(key, value, root) : null;
    if (message !== null) found.push({ pointer, message });
    if (key === 'patternProperties' && typeof value === 'object' && value !== null)
      for (const pattern of Object.keys(value)) {
        const wrong = textMistake('pattern', pattern, root);
        if (wrong !== null) found.push({ pointer, message: wrong });
      }
    if (!['enum', 'const', 'default', 'examples'].includes(key)) walk(value, root, pointer, depth + 1, found);
  }
}
const TOO_DEEP = `nested deeper than ${MAX_DEPTH}`;

function textMistake(key: string, value: string, root: unknown): string | null {
  if (key === '$ref' || key === '$dynamicRef') {
    if (!value.startsWith('#'))
      return `"${value.slice(0, 80)}" leads outside; only references into the schema itself (#/…) are followed`;
    return key === '$ref' && value.startsWith('#/') && !leadsTo(root, value)
      ? `there is nothing at "${value.slice(0, 80)}"`
      : null;
  }
  if (key !== 'pattern') return null;
  try {
    new RegExp(value, 'u');
    return null;
  } catch (error) {
    return (error as Error).message.slice(0, 300);
  }
}

function leadsTo(root: unknown, ref: string): boolean {
  let part = root;
  for (const name of pointerNames(decode(ref.slice(1)))) {
    if (typeof part !== 'object' || part === null || !Object.hasOwn(part, name)) return false;
    part = (part as Record<string, unknown>)[name];
  }
  return true;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Why a value does not fit a schema. */
export interface Misfit {
  /** JSON pointer to the value that does not fit, or that is missing. */
  pointer: string;
  keyword: string;
  message: string;
}

/** Every misfit of a value, at most eight; none where it fits. */
export function misfits(schema: Record<string, unknown>, value: unknown): Misfit[] {
  const { Check, Errors } = schemaLibrary();
  if (Check(schema as Schema, value)) return [];
  const [, errors] = Errors(schema as Schema, value);
  const found = errors.flatMap(({ keyword, instancePath, message, params }): Misfit[] => {
    const missing = (params as { requiredProperties?: string[] }).requiredProperties;
    if (keyword !== 'required' || missing === undefined) return [{ pointer: instancePath, keyword, message }];
    return missing.map((name) => ({ pointer: `${instancePath}/${pointerPart(name)}`, keyword, message: 'is missing' }));
  });
  return found.length > 0 ? found : [{ pointer: '', keyword: 'schema', message: 'does not fit' }];
}

/**
 * Says the first misfit of a value in a few words, for counting: `/price required`. Of `anyOf` and its like, the whole. What
 * the schema does not name (list indexes, a page's own keys) is `*`, so that the words stay few.
 */
export function misfitWords(schema: Record<string, unknown>): (value: unknown) => string | null {
  const names = new Set<string>();
  collectNames(schema, names);
  return (value) => {
    const all = misfits(schema, value);
    const [first] = all;
    if (first === undefined) return null;
    const whole = all.find(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf');
    const { pointer, keyword } = whole !== undefined && first.pointer.startsWith(whole.pointer) ? whole : first;
    const path = pointerNames(pointer).slice(0, MAX_PATH - 1);
    return `/${path.map((name) => (names.has(name) ? name : '*')).join('/')} ${keyword}`;
  };
}

function collectNames(part: unknown, names: Set<string>): void {
  if (typeof part !== 'object' || part === null) return;
  for (const [key, value] of Object.entries(part)) {
    if (key === 'required' && Array.isArray(value))
      for (const name of value) if (typeof name === 'string') names.add(name);
    if (key === 'properties' && typeof value === 'object' && value !== null)
      for (const name of Object.keys(value)) names.add(name);
    collectNames(value, names);
  }
}
