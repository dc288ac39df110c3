import { META_FIELDS, META_PREFIXES, SOURCES, type Source, TRANSFORMS } from '../model/field.ts';
import { pointerPart } from '../model/pointer.ts';
import type { ProblemCode } from '../model/problems.ts';
import {
  checkJsonQuery,
  checkKeys,
  checkRegex,
  checkSelector,
  checkWord,
  checkXPath,
  found,
  hint,
  isRecord,
  type Report,
  short,
} from './check_values.ts';
import { checkTypedPath } from './structured.ts';

const MAX_NESTING = 8;
const MAX_FIELDS = 200;
const MAX_NAME = 200;
const FIELD_KEYS = [...SOURCES, 'value', 'as', 'locale', 'match', 'default'];
/** Transforms that a locale matters to. */
const LOCAL = ['number', 'integer', 'date'];

/** The names that fields may ask for; null: any. */
export interface KnownNames {
  params: readonly string[] | null;
  passed: readonly string[] | null;
}

/** Where fields are read. */
export interface FieldScope {
  /** Below an element, or a part of JSON. */
  scoped: boolean;
  /** A part of JSON: plain strings are JMESPath. */
  json: boolean;
}

export function checkFields(fields: unknown, scope: FieldScope, at: string, names: KnownNames, report: Report): void {
  new FieldCheck(names, report).fields(fields, scope, at, 1);
}

class FieldCheck {
  readonly #names: KnownNames;
  readonly #report: Report;

  constructor(names: KnownNames, report: Report) {
    this.#names = names;
    this.#report = report;
  }

  fields(fields: unknown, scope: FieldScope, at: string, level: number): void {
    const problem = shapeProblem(fields, level);
    if (problem !== null) this.#report(at, ...problem);
    if (problem !== null || !isRecord(fields)) return;
    for (const [name, field] of Object.entries(fields)) {
      const pointer = `${at}/${pointerPart(name)}`;
      if (name === '' || name.length > MAX_NAME)
        this.#report(pointer, 'bad_name', `a field's name has 1 to ${MAX_NAME} characters`);
      this.#field(field, scope, pointer, level);
    }
  }

  #field(field: unknown, scope: FieldScope, at: string, level: number): void {
    if (typeof field === 'string') {
      if (scope.json) checkJsonQuery(field, at, this.#report);
      else checkSelector(field, scope.scoped, at, this.#report);
    } else if (Array.isArray(field)) {
      if (field.length !== 1)
        this.#report(at, 'bad_list', `found a list of ${field.length}; expected a list of exactly one field: [".tag"]`);
      else if (Array.isArray(field[0]))
        this.#report(`${at}/0`, 'bad_list', 'found a list in a list; expected a selector or an object');
      else this.#field(field[0], scope, `${at}/0`, level);
    } else if (isRecord(field)) {
      this.#object(field, scope, at, level);
    } else {
      const expected = 'a selector, a list of one field, or { selector, value, as, match, default }';
      this.#report(at, 'wrong_type', `${found(field)}; expected ${expected}`);
    }
  }

  #object(field: Record<string, unknown>, scope: FieldScope, at: string, level: number): void {
    checkKeys(field, FIELD_KEYS, at, this.#report);
    const source = this.#source(field, scope, at);
    const { value, as, match } = field;
    if (source === null && value === undefined && as === undefined && match === undefined)
      this.#report(at, 'empty_field', `nothing says what to read; expected one of ${SOURCES.join(', ')}, or a value`);
    if (as !== undefined) checkWord(as, TRANSFORMS, `${at}/as`, this.#report);
    if (match !== undefined) checkRegex(match, `${at}/match`, this.#report);
    if (field.locale !== undefined) this.#locale(field, at);
    if (value !== undefined) this.#value(field, source, scope, at, level);
  }

  /** The field's one source, and whether it can be read in this scope. */
  #source(field: Record<string, unknown>, scope: FieldScope, at: string): Source | null {
    const named = SOURCES.filter((source) => field[source] !== undefined);
    const [first = null, ...others] = named;
    for (const other of others)
      if (!(first === 'selector' && other === 'json'))
        this.#report(`${at}/${other}`, 'conflict', `"${other}" does not go with "${first}": a field has one source`);
    for (const source of named) {
      const pointer = `${at}/${source}`;
      if (scope.json && (source === 'selector' || source === 'xpath'))
        this.#report(
          pointer,
          'conflict',
          'a part of JSON has no elements; expected "json", with a path from that part',
        );
      else this.#checkSource(source, field[source], scope, pointer);
    }
    return first;
  }

  #checkSource(source: Source, text: unknown, scope: FieldScope, at: string): void {
    switch (source) {
      case 'selector':
        checkSelector(text, scope.scoped, at, this.#report);
        break;
      case 'xpath':
        checkXPath(text, at, this.#report);
        break;
      case 'json':
        checkJsonQuery(text, at, this.#report);
        break;
      case 'jsonld':
      case 'microdata': {
        const why =
          typeof text === 'string' ? checkTypedPath(text) : 'expected a type and a path, as Product.brand.name';
        if (why !== null) this.#report(at, 'bad_path', `${found(text)}; ${why}`);
        break;
      }
      case 'opengraph':
        if (typeof text !== 'string' || text.trim() === '')
          this.#report(at, 'bad_value', `${found(text)}; expected a property, as title or image:width`);
        break;
      case 'meta':
        this.#meta(text, at);
        break;
    }
  }

  #meta(meta: unknown, at: string): void {
    const prefix = typeof meta === 'string' ? META_PREFIXES.find((one) => meta.startsWith(one)) : undefined;
    if (typeof meta !== 'string' || prefix === undefined) {
      checkWord(meta, [...META_FIELDS, ...META_PREFIXES.map((one) => `${one}NAME`)], at, this.#report);
      return;
    }
    const name = meta.slice(prefix.length);
    if (name === '') {
      this.#report(at, 'unknown_word', `${found(meta)}; expected a name behind "${prefix}"`);
      return;
    }
    const known = prefix === 'param:' ? this.#names.params : prefix === 'passed:' ? this.#names.passed : null;
    if (known === null || known.includes(name)) return;
    const what = prefix === 'param:' ? "the spider's params have no" : 'no follow rule or start URL passes';
    this.#report(at, 'unknown_name', `${what} "${short(name)}"${hint(name, known)}`);
  }

  #locale({ locale, as }: Record<string, unknown>, at: string): void {
    if (!LOCAL.some((one) => one === as))
      this.#report(`${at}/locale`, 'conflict', `"locale" goes with "as": ${LOCAL.join(', ')}`);
    if (typeof locale !== 'string' || !isLocale(locale))
      this.#report(`${at}/locale`, 'bad_locale', `${found(locale)}; expected a language tag, as de or en-GB`);
  }

  #value(field: Record<string, unknown>, source: Source | null, scope: FieldScope, at: string, level: number): void {
    const { value } = field;
    const inJson = source === null ? scope.json : source !== 'selector' && source !== 'xpath';
    const hasJson = inJson || field.json !== undefined;
    if (source === 'meta' || source === 'opengraph') {
      this.#report(`${at}/value`, 'conflict', `"value" does not go with "${source}"`);
    } else if (typeof value === 'string') {
      if (value.trim() === '')
        this.#report(
          `${at}/value`,
          'bad_value',
          "found an empty string; expected an attribute's name or nested fields",
        );
      else if (inJson)
        this.#report(
          `${at}/value`,
          'conflict',
          'a part of JSON has no attributes; expected nested fields, or a longer path',
        );
    } else {
      this.fields(value, { scoped: true, json: hasJson }, `${at}/value`, level + 1);
      for (const key of ['as', 'match'])
        if (field[key] !== undefined)
          this.#report(`${at}/${key}`, 'conflict', `nested fields have no text that "${key}" could change`);
    }
  }
}

/** Why it cannot be a set of fields, as code and message. */
function shapeProblem(fields: unknown, level: number): [ProblemCode, string] | null {
  if (!isRecord(fields)) return ['wrong_type', `${found(fields)}; expected an object of fields`];
  const count = Object.keys(fields).length;
  if (count === 0) return ['empty_fields', 'found an empty object; expected at least one field'];
  if (count > MAX_FIELDS) return ['too_many_fields', `found ${count} fields; expected at most ${MAX_FIELDS}`];
  return level > MAX_NESTING ? ['too_deep', `fields are nested deeper than ${MAX_NESTING}`] : null;
}

function isLocale(text: string): boolean {
  try {
    return text.length <= 100 && Intl.getCanonicalLocales(text).length === 1;
  } catch {
    return false;
  }
}
