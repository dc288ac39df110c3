import type { StepAnswer, StepQuestion } from '../model/outcome.ts';
import { enrichMethod } from '../model/step.ts';
import type { EnrichStep, LookupStep } from '../model/step_schema.ts';
import { type Data, hasValue } from './extract.ts';
import { JsonQuery, parseJson } from './json_path.ts';

/** A step that asks the outside: what it asks about an item, and what it makes of the answer. */
export interface AskingStep {
  /** Null: the item lacks what the question needs. */
  question(data: Data): StepQuestion | null;
  /** Sets the item's fields. @returns why that failed, in one word; null: it is done */
  take(data: Data, answer: StepAnswer): string | null;
}

const PLACE = /\{([^{}]*)\}/g;

/** @throws on an expression that does not compile; `check_steps` says so before */
export function compileEnrich(step: EnrichStep): AskingStep {
  const url = compileUrl(step.url);
  const hasBody = enrichMethod(step) !== 'GET';
  const fields = Object.entries(step.set).map(([name, expression]) => ({ name, query: new JsonQuery(expression) }));
  return {
    question(data) {
      const filled = url(data);
      return filled === null ? null : { kind: 'enrich', url: filled, body: hasBody ? bodyOf(step, data) : null };
    },
    take(data, answer) {
      if ('error' in answer) return answer.error;
      const found = parsed(answer.text);
      if (found === null) return 'bad_json';
      const values = fields.map(({ query }) => query.read(found.value));
      if (fields.some(({ query }) => query.fault !== null)) return 'bad_answer';
      fields.forEach(({ name }, i) => {
        data[name] = values[i];
      });
      return null;
    },
  };
}

/** An item without a row gets the fields as null: it was asked about, and nothing is known. */
export function compileLookup(step: LookupStep): AskingStep {
  const fields = Object.entries(step.set);
  return {
    question: (data) => ({ kind: 'lookup', params: step.params.map((name) => data[name] ?? null) }),
    take(data, answer) {
      if ('error' in answer) return answer.error;
      const rows = parsed(answer.text)?.value as Data[] | undefined;
      if (rows === undefined) return 'bad_json';
      const row = rows[0];
      for (const [name, column] of fields)
        data[name] = row !== undefined && Object.hasOwn(row, column) ? row[column] : null;
      return null;
    },
  };
}

/** The field names in an enrich step's URL. */
export function placesOf(url: string): string[] {
  return [...url.matchAll(PLACE)].map(([, name]) => name!);
}

function bodyOf({ send }: EnrichStep, data: Data): string {
  if (send === undefined) return JSON.stringify(data);
  const body: Data = Object.create(null);
  for (const [name, field] of Object.entries(send)) body[name] = data[field] ?? null;
  return JSON.stringify(body);
}

function compileUrl(template: string): (data: Data) => string | null {
  const names = placesOf(template);
  if (names.length === 0) return () => template;
  return (data) =>
    names.every((name) => hasValue(data[name]))
      ? template.replace(PLACE, (_place, name: string) => encodeURIComponent(textOf(data[name])))
      : null;
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(textOf).join(',');
  return (typeof value === 'object' ? JSON.stringify(value) : String(value)).toWellFormed();
}

function parsed(text: string): { value: unknown } | null {
  try {
    return { value: parseJson(text) };
  } catch {
    return null;
  }
}
