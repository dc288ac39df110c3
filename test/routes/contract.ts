import assert from 'node:assert/strict';
import type { FastifyInstance } from 'fastify';
import type { TSchema } from 'typebox';
import { Errors } from 'typebox/value';
import { COMPONENTS } from '../../dist/routes/components.js';

interface Schema {
  $ref?: string;
  properties?: Record<string, Schema>;
  patternProperties?: object;
  additionalProperties?: unknown;
  items?: Schema;
  anyOf?: Schema[];
  /** Of an answer in several media types. */
  content?: object;
}

/**
 * Watches that every answer of the API fits its schema and has no field that the schema does not name: answers are written
 * as they are, and nothing else would notice.
 */
export function holdToContract(app: FastifyInstance): { check(): void } {
  const complaints: string[] = [];
  app.addHook('preSerialization', async (request, reply, payload) => {
    const responses = request.routeOptions.schema?.response as Record<string, Schema> | undefined;
    const schema = whole(responses?.[String(reply.statusCode)]);
    if (schema === undefined || schema.content !== undefined) return payload;
    const answer = JSON.parse(JSON.stringify(payload)) as unknown;
    const found = [...strays(schema, answer, ''), ...misfits(schema, answer)];
    if (found.length > 0)
      complaints.push(`${request.method} ${request.url} → ${reply.statusCode}: ${found.join('; ')}`);
    return payload;
  });
  return { check: () => assert.deepEqual(complaints, []) };
}

function misfits(schema: Schema, answer: unknown): string[] {
  const errors = Errors(schema as TSchema, answer);
  return errors.map(({ instancePath, message }) => `${instancePath} ${message}`);
}

/** With the components in the place of the references to them. */
function whole<T>(schema: T): T {
  if (Array.isArray(schema)) return schema.map(whole) as T;
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $ref } = schema as Schema;
  if ($ref !== undefined) return whole(COMPONENTS[$ref.replace('#', '')]) as T;
  return Object.fromEntries(Object.entries(schema).map(([name, part]) => [name, whole(part)])) as T;
}

function* strays(schema: Schema, value: unknown, at: string): Generator<string> {
  if (schema.anyOf !== undefined) {
    const all = schema.anyOf.map((one) => [...strays(one, value, at)]);
    yield* all.sort((a, b) => a.length - b.length)[0]!;
  } else if (Array.isArray(value)) {
    for (const [i, member] of value.entries()) yield* strays(schema.items ?? {}, member, `${at}/${i}`);
  } else if (typeof value === 'object' && value !== null) {
    const isOpen = schema.patternProperties !== undefined || schema.additionalProperties !== undefined;
    for (const [name, member] of Object.entries(value)) {
      const known = schema.properties?.[name];
      if (known !== undefined) yield* strays(known, member, `${at}/${name}`);
      else if (schema.properties !== undefined && !isOpen) yield `${at}/${name} is not named`;
    }
  }
}
