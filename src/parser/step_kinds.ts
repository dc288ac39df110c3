import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { RE2JS } from 're2js';
import type { DedupeKey } from '../model/outcome.ts';
import type { DropCondition, Step } from '../model/step_schema.ts';
import { type Data, hasValue } from './extract.ts';

const require = createRequire(import.meta.url);

/** What a pure step makes of an item: its data, changed or not, or why it is dropped. */
export type PureResult = { data: Data } | { dropped: string };
export type PureStep = (data: Data) => PureResult;

/** @throws on what does not compile; `check_steps` says so before. @returns null where the step is of another kind */
export function compilePure(step: Step): PureStep | null {
  if (step.validate !== undefined) return compileValidate(step.validate);
  if (step.drop !== undefined) return compileDrop(step.drop);
  if (step.rename !== undefined) return compileRename(step.rename);
  if (step.pick !== undefined) return compilePick(step.pick);
  if (step.set !== undefined) return compileSet(step.set);
  return null;
}

function compileValidate(schema: Record<string, unknown>): PureStep {
  // 50 ms to load, which only spiders that validate pay.
  const { misfitWords } = require('./json_schema.js') as typeof import('./json_schema.ts');
  const wordsOf = misfitWords(schema);
  return (data) => {
    const words = wordsOf(data);
    return words === null ? { data } : { dropped: `validate: ${words}` };
  };
}

function compileDrop(condition: DropCondition): PureStep {
  const holds = compileCondition(condition);
  const dropped = `drop: ${condition.field}`;
  return (data) => (holds(data[condition.field]) ? { dropped } : { data });
}

/** Of a list, one member is enough. */
function compileCondition({ missing, equals, match, below, above }: DropCondition): (value: unknown) => boolean {
  if (missing !== undefined) return (value) => hasValue(value) !== missing;
  const holds = compileComparison(equals, match, below, above);
  return (value) => holds(value) || (Array.isArray(value) && value.some(holds));
}

function compileComparison(
  equals: unknown,
  match: string | undefined,
  below: number | undefined,
  above: number | undefined,
): (value: unknown) => boolean {
  if (match !== undefined) {
    const regex = RE2JS.compile(match);
    return (value) => (typeof value === 'string' || typeof value === 'number') && regex.matcher(String(value)).find();
  }
  if (below !== undefined) return (value) => typeof value === 'number' && value < below;
  if (above !== undefined) return (value) => typeof value === 'number' && value > above;
  const wanted = canonical(equals);
  return (value) => value !== undefined && canonical(value) === wanted;
}

/** Each field keeps its place; one that has the new name already gives way. */
function compileRename(names: Record<string, string>): PureStep {
  const renamed = new Map(Object.entries(names));
  return (data) => {
    const taken = new Set([...renamed].filter(([from]) => from in data).map(([, to]) => to));
    const copy = emptyData();
    for (const [name, value] of Object.entries(data)) {
      const to = renamed.get(name);
      if (to !== undefined) copy[to] = value;
      else if (!taken.has(name)) copy[name] = value;
    }
    return { data: copy };
  };
}

function compilePick(names: readonly string[]): PureStep {
  return (data) => {
    const copy = emptyData();
    for (const name of names) if (name in data) copy[name] = data[name];
    return { data: copy };
  };
}

function compileSet(values: Record<string, unknown>): PureStep {
  const entries = Object.entries(values);
  return (data) => {
    for (const [name, value] of entries) data[name] = value;
    return { data };
  };
}

/** Without a prototype: a field may be called `__proto__`. */
function emptyData(): Data {
  return Object.create(null) as Data;
}

/** The item's key; null where a field of it has no value: such an item is nobody's duplicate. */
export function keyOf(step: Step, data: Data): DedupeKey | null {
  const { key: names, scope = 'crawl' } = step.dedupe!;
  // The step's number is not in it: a spider's keys hold while steps come and go around this one.
  const key = keyHash(step.type ?? null, names, data);
  return key === null ? null : { scope, key };
}

/** 128 bits of SHA-256 over fields and their values, as 32 hex digits; null where one of them has no value. */
export function keyHash(type: string | null, names: readonly string[], data: Data): string | null {
  const values = names.map((name) => data[name]);
  if (!values.every(hasValue)) return null;
  return createHash('sha256')
    .update(canonical([type, names, values]))
    .digest('hex')
    .slice(0, 32);
}

/** JSON with keys in order, so that equal values have one text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, part: unknown) => {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    const sorted = emptyData();
    for (const name of Object.keys(part).sort()) sorted[name] = (part as Data)[name];
    return sorted;
  });
}
