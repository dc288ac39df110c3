import type { TSchema } from 'typebox';
import { Errors } from 'typebox/value';

interface Media {
  schema?: Json;
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}
interface Operation {
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { content?: Record<string, Media> }>;
}
type Json = { [name: string]: unknown };

/** What `/openapi.json` serves. */
export interface ContractDocument {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Json> };
}

/** An example with the place where it stands, and the schema that it stands beside. */
export interface PlacedExample {
  at: string;
  schema: Json;
  value: unknown;
}

/** Every example of the document. */
export function* examplesOf(node: unknown, at = ''): Generator<PlacedExample> {
  if (typeof node !== 'object' || node === null) return;
  const { examples, example, schema, ...rest } = node as Json;
  if (Array.isArray(examples)) for (const value of examples) yield { at, schema: rest, value };
  else if (typeof examples === 'object' && examples !== null)
    for (const { value } of Object.values(examples as Record<string, { value: unknown }>))
      yield { at, schema: schema as Json, value };
  if (example !== undefined) yield { at, schema: (schema ?? rest) as Json, value: example };
  for (const [name, part] of Object.entries({ ...rest, schema })) yield* examplesOf(part, `${at}/${name}`);
}

/** What is wrong with a value; no line where it fits. */
export function misfits(document: ContractDocument, schema: Json, value: unknown): string[] {
  return Errors(inlined(document, schema) as TSchema, value).map(
    ({ instancePath, message }) => `${instancePath} ${message}`,
  );
}

/** With the components in the place of the references to them. */
function inlined(document: ContractDocument, node: unknown): unknown {
  if (Array.isArray(node)) return node.map((one) => inlined(document, one));
  if (typeof node !== 'object' || node === null) return node;
  const { $ref } = node as Json;
  if (typeof $ref === 'string') return inlined(document, document.components.schemas[$ref.split('/').at(-1)!]);
  return Object.fromEntries(Object.entries(node).map(([name, part]) => [name, inlined(document, part)]));
}

/** The schema of an answer in JSON; null: the contract says that it has none, or has it in another type. */
export function answerSchema(document: ContractDocument, method: string, url: string, status: number): Json | null {
  const path = new URL(url).pathname;
  const template = Object.keys(document.paths)
    .sort((a, b) => a.split('{').length - b.split('{').length)
    .find((one) => new RegExp(`^${one.replace(/\{\w+\}/g, '[^/]+')}$`).test(path));
  const operation = template === undefined ? undefined : document.paths[template]?.[method.toLowerCase()];
  if (operation === undefined) throw new Error(`the contract has no ${method} ${path}`);
  const answer = operation.responses[String(status)] ?? operation.responses[`${String(status)[0]}XX`];
  if (answer === undefined) throw new Error(`the contract of ${method} ${path} has no answer ${status}`);
  return answer.content?.['application/json']?.schema ?? null;
}
