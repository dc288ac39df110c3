import { createRequire } from 'node:module';
import { pointerNames, pointerPart } from '../model/pointer.ts';
import { MAX_PROBLEMS, type ProblemCode } from '../model/problems.ts';
import type { Params, Problem } from '../model/spider.ts';
import { schemaLibrary, schemaMistakes } from './json_schema.ts';

const MAX_ERRORS = 500;
const require = createRequire(import.meta.url);

/**
 * Why a crawl's params do not fit its spider's schema: each place once, with what was found and what was expected; empty where
 * they fit. Of a schema that is not sound nothing is said here: the check of its spider does that. Pointers start at the
 * params. To be run where it can be killed.
 */
export function paramProblems(schema: Record<string, unknown>, params: Params): Problem[] {
  if (schemaMistakes(schema).length > 0) return [];
  const errors = errorsOf(schema, params);
  const problems = errors.flatMap((error) => (isDetail(error, errors) ? [] : problemsOf(error, params)));
  const byPlace = new Map(problems.toReversed().map((problem) => [problem.pointer, problem]));
  return [...byPlace.values()].toReversed().slice(0, MAX_PROBLEMS);
}

function errorsOf(schema: Record<string, unknown>, params: Params): readonly SchemaError[] {
  const { Errors } = schemaLibrary();
  const { Settings } = require('typebox/system') as typeof import('typebox/system');
  const { maxErrors } = Settings.Get();
  // The library's own bound of eight would hide mistakes, and which choice they belong to.
  Settings.Set({ maxErrors: MAX_ERRORS });
  try {
    return Errors(schema, params)[1] as readonly SchemaError[];
  } finally {
    Settings.Set({ maxErrors });
  }
}

interface SchemaError {
  keyword: string;
  schemaPath: string;
  instancePath: string;
  params: Record<string, unknown>;
  message: string;
}

/** True for what is told better by another error: the branches of a choice, and marks of what others say. */
function isDetail({ keyword, schemaPath }: SchemaError, all: readonly SchemaError[]): boolean {
  if (keyword === 'if' || keyword === 'propertyNames') return true;
  if (keyword === 'boolean' && schemaPath.endsWith('/additionalProperties')) return true;
  return all.some(
    (other) =>
      (other.keyword === 'anyOf' || other.keyword === 'oneOf') &&
      schemaPath.startsWith(`${other.schemaPath}/${other.keyword}/`),
  );
}

function problemsOf(error: SchemaError, root: Params): Problem[] {
  const { keyword, params, instancePath: pointer } = error;
  if (keyword === 'required')
    return (params.requiredProperties as string[]).map((name) => ({
      pointer: `${pointer}/${pointerPart(name)}`,
      code: 'required',
      message: `\`${name}\` is missing`,
    }));
  if (keyword === 'additionalProperties')
    return (params.additionalProperties as string[]).map((name) => ({
      pointer: `${pointer}/${pointerPart(name)}`,
      code: 'unknown_field',
      message: `the schema has no property \`${short(name)}\``,
    }));
  const message = `found ${show(valueAt(root, pointer))}; ${expected(error)}`;
  return [{ pointer, code: CODES[keyword] ?? 'bad_value', message }];
}

const CODES: Readonly<Record<string, ProblemCode>> = {
  type: 'wrong_type',
  minLength: 'too_short',
  minItems: 'too_short',
  minProperties: 'too_short',
  maxLength: 'too_long',
  maxItems: 'too_long',
  maxProperties: 'too_long',
  minimum: 'out_of_range',
  maximum: 'out_of_range',
  exclusiveMinimum: 'out_of_range',
  exclusiveMaximum: 'out_of_range',
  pattern: 'bad_format',
  format: 'bad_format',
};

function valueAt(root: unknown, pointer: string): unknown {
  let at = root;
  for (const name of pointerNames(pointer)) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = Object.hasOwn(at, name) ? (at as Record<string, unknown>)[name] : undefined;
  }
  return at;
}

function expected({ keyword, params, message }: SchemaError): string {
  if (keyword === 'enum') return `expected one of ${short(JSON.stringify(params.allowedValues).slice(1, -1))}`;
  if (keyword === 'const') return `expected ${short(JSON.stringify(params.allowedValue))}`;
  if (keyword === 'anyOf' || keyword === 'oneOf') return `it fits no choice of \`${keyword}\`, or too many`;
  return `it ${message}`;
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : short(JSON.stringify(value));
}

function short(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
