import { charactersOf, type Schema } from '../model/fits.ts';
import { nearest } from '../model/nearest.ts';
import { pointerPart } from '../model/pointer.ts';
import { MAX_PROBLEMS, type ProblemCode } from '../model/problems.ts';
import type { Problem } from '../model/spider.ts';

/** Nesting of a body. Far above any real one, far below what overflows a stack. */
const MAX_NESTING = 64;
/** Where a secret may be that its schema does not say to be one. */
const SECRET_PLACE = /\/(?:headers(?:\/[^/]*)?|secret|password|bearer|initialCookies\/\d+\/value)$/;
/** Characters of a name: it is a part of each pointer below it, and a hundred of those may be answered. */
const MAX_NAME = 1000;
/** Names of one object: each pass over tens of thousands holds the event loop for tens of milliseconds. */
const MAX_NAMES = 5000;

/**
 * Says why a value does not fit a schema: every bad field at once, with what was found and what was expected. Whether it
 * fits is decided elsewhere, by the compiled schema; this only explains.
 *
 * @param at pointer of the value
 */
export function explain(schema: Schema, value: unknown, at: string): Problem[] {
  return [...problems(schema, value, at).take(MAX_PROBLEMS)];
}

function* problems(schema: Schema, value: unknown, at: string): Generator<Problem> {
  if (typeof value !== 'string' || !(schema.writeOnly === true || SECRET_PLACE.test(at)))
    yield* found(schema, value, at);
  else
    for (const one of found(schema, value, at))
      yield { ...one, message: one.message.replace(`found ${show(value)}`, () => 'found a string that is not shown') };
}

function* found(schema: Schema, value: unknown, at: string): Generator<Problem> {
  if (schema.anyOf !== undefined) {
    const branch = schema.anyOf.find((one) => fitsType(one, value));
    if (branch === undefined) yield wrongType(schema, value, at);
    else yield* problems(branch, value, at);
  } else if (schema.enum !== undefined && !schema.enum.includes(value)) {
    yield problem(at, 'bad_value', value, `one of ${schema.enum.map((word) => JSON.stringify(word)).join(', ')}`);
  } else if (!fitsType(schema, value)) {
    yield wrongType(schema, value, at);
  } else if (typeof value === 'string') yield* stringProblems(schema, value, at);
  else if (typeof value === 'number') yield* numberProblems(schema, value, at);
  else if (Array.isArray(value)) yield* arrayProblems(schema, value, at);
  else if (typeof value === 'object' && value !== null)
    yield* objectProblems(schema, value as Record<string, unknown>, at);
}

function fitsType(schema: Schema, value: unknown): boolean {
  switch (schema.type) {
    case undefined:
      return true;
    case 'integer':
      return Number.isInteger(value);
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'null':
      return value === null;
    default:
      return typeof value === schema.type;
  }
}

function wrongType(schema: Schema, value: unknown, at: string): Problem {
  const listed = schema.type === 'array' && typeof value === 'string' ? `: ${JSON.stringify([shorten(value)])}` : '';
  return problem(at, 'wrong_type', value, typeName(schema) + listed);
}

function typeName(schema: Schema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeName).join(' or ');
  if (schema.type === 'integer') return 'a whole number';
  if (schema.type === 'null') return 'null';
  if (schema.type === 'array') return 'a list';
  if (schema.type === 'boolean') return 'true or false';
  if (schema.type !== 'object') return `a ${schema.type ?? 'value'}`;
  const needed = schema.required ?? [];
  return needed.length > 0 ? `an object {${needed.join(', ')}}` : 'an object';
}

function* stringProblems(schema: Schema, value: string, at: string): Generator<Problem> {
  const { minLength = 0, maxLength = Infinity } = schema;
  // Characters are counted where that may matter: megabytes of them take their time.
  const isClear = value.length >= 2 * minLength && (value.length <= maxLength || value.length > 2 * maxLength);
  const length = isClear ? value.length : charactersOf(value);
  if (schema.minLength !== undefined && length < schema.minLength)
    yield problem(
      at,
      'too_short',
      value,
      schema.minLength === 1 ? 'a string that is not empty' : `at least ${schema.minLength} characters`,
    );
  if (schema.maxLength !== undefined && length > schema.maxLength)
    yield problem(at, 'too_long', value, `at most ${schema.maxLength} characters`);
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value))
    yield problem(
      at,
      'bad_format',
      value,
      `a string that matches ${schema.pattern}${schema.description === undefined ? '' : ` (${schema.description})`}`,
    );
}

function* numberProblems(schema: Schema, value: number, at: string): Generator<Problem> {
  const { minimum = -Infinity, maximum = Infinity } = schema;
  if (value < minimum || value > maximum)
    yield problem(at, 'out_of_range', value, maximum === Infinity ? `at least ${minimum}` : `${minimum} to ${maximum}`);
}

function* arrayProblems(schema: Schema, value: unknown[], at: string): Generator<Problem> {
  const { minItems = 0, maxItems = Infinity } = schema;
  if (value.length < minItems) yield problem(at, 'too_short', value, `at least ${minItems} of them`);
  if (value.length > maxItems) yield problem(at, 'too_long', value, `at most ${maxItems} of them`);
  else if (schema.items !== undefined)
    for (const [i, entry] of value.entries()) yield* problems(schema.items, entry, `${at}/${i}`);
}

function* objectProblems(schema: Schema, value: Record<string, unknown>, at: string): Generator<Problem> {
  for (const key of schema.required ?? [])
    if (!Object.hasOwn(value, key))
      yield { pointer: child(at, key), code: 'required', message: `\`${key}\` is missing` };
  const size = Object.keys(value).length;
  const { minProperties = 0, maxProperties = Infinity } = schema;
  if (size < minProperties) yield problem(at, 'too_short', value, `at least ${minProperties} of its fields`);
  if (size > maxProperties) return yield problem(at, 'too_long', value, `at most ${maxProperties} fields`);
  for (const [key, entry] of Object.entries(value)) {
    const inner = schemaOf(schema, key);
    const { minLength = 0, maxLength = Infinity } = schema.propertyNames ?? {};
    if (key.length < minLength || key.length > maxLength)
      yield problem(child(at, key), 'bad_name', key, `a name of ${minLength} to ${maxLength} characters`);
    else if (inner === false) yield unknownField(schema, key, at);
    else if (inner !== true) yield* problems(inner, entry, child(at, key));
  }
}

function schemaOf(schema: Schema, key: string): Schema | boolean {
  if (schema.properties !== undefined && Object.hasOwn(schema.properties, key)) return schema.properties[key]!;
  return schema.additionalProperties ?? true;
}

function unknownField(schema: Schema, key: string, at: string): Problem {
  const names = Object.keys(schema.properties ?? {});
  const near = nearest(key, names);
  const hint = near === null ? `known fields: ${names.join(', ')}` : `did you mean \`${near}\`?`;
  return { pointer: child(at, key), code: 'unknown_field', message: `there is no field \`${shorten(key)}\`; ${hint}` };
}

function problem(pointer: string, code: ProblemCode, value: unknown, expected: string): Problem {
  return { pointer, code, message: `found ${show(value)}; expected ${expected}` };
}

/** A value as it reads in a message: short, its kind clear. */
function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null)
    return Object.keys(value).length === 0 ? 'an empty object' : 'an object';
  return typeof value === 'string' ? `the string ${JSON.stringify(shorten(value))}` : String(value);
}

function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** JSON pointer of a member (RFC 6901). */
function child(at: string, key: string): string {
  return `${at}${at === '?' ? '' : '/'}${pointerPart(key)}`;
}

/** True for a JSON text whose brackets nest deeper than a body may: reading it takes a third of a second a megabyte. */
export function isTooDeep(json: string): boolean {
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const code = json.charCodeAt(i);
    if (code === 0x22) {
      for (i++; i < json.length && json.charCodeAt(i) !== 0x22; i++) if (json.charCodeAt(i) === 0x5c) i++;
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > MAX_NESTING + 1) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}

export function tooDeep(): Problem {
  return { pointer: '', code: 'too_deep', message: `nested deeper than ${MAX_NESTING} levels` };
}

/**
 * Why a body is not looked at any further: nested so deep that walking it could overflow a stack, with a name so long that
 * pointers would be megabytes, or with an object of too many names. Null where it is neither.
 */
export function bodyProblem(body: unknown): Problem | null {
  let level = [body];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_NESTING) return tooDeep();
    const objects = level.filter((value) => typeof value === 'object' && value !== null);
    for (const object of objects) {
      const names = Array.isArray(object) ? [] : Object.keys(object as object);
      if (names.length > MAX_NAMES) return manyNames(names.length);
      const long = names.find((name) => name.length > MAX_NAME);
      if (long !== undefined) return longName(long);
    }
    level = objects.flatMap((object) => Object.values(object as object) as unknown[]);
  }
  return null;
}

function manyNames(count: number): Problem {
  const message = `found an object of ${count} fields; expected at most ${MAX_NAMES} in one object`;
  return { pointer: '', code: 'too_long', message };
}

function longName(name: string): Problem {
  const message = `found the name "${shorten(name)}" of ${name.length} characters; expected at most ${MAX_NAME}`;
  return { pointer: '', code: 'bad_name', message };
}
