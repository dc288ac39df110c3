type Json = unknown;

/**
 * The OpenAPI document with a reference wherever a whole component stands inside something else: generated clients get one
 * type for a spider, not one for each place, and the document half its size. The schemas that check requests stay whole.
 */
export function foldComponents<T extends object>(document: T): T {
  const { components } = document as { components?: { schemas?: Record<string, Json> } };
  const names = new Map(Object.entries(components?.schemas ?? {}).map(([name, schema]) => [keyOf(schema), name]));
  const schemas = Object.fromEntries(
    Object.entries(components?.schemas ?? {}).map(([name, schema]) => [name, foldMembers(schema, names)]),
  );
  return { ...(foldMembers(document, names) as T), components: { ...components, schemas } };
}

function fold(value: Json, names: ReadonlyMap<string, string>): Json {
  if (typeof value !== 'object' || value === null) return value;
  const name = 'type' in value ? names.get(keyOf(value)) : undefined;
  return name === undefined ? foldMembers(value, names) : { $ref: `#/components/schemas/${name}` };
}

function foldMembers(value: Json, names: ReadonlyMap<string, string>): Json {
  if (Array.isArray(value)) return value.map((member) => fold(member, names));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, fold(member, names)]));
}

/** Examples are a component's own. */
function keyOf(schema: Json): string {
  const { examples: _, ...rest } = schema as { examples?: Json };
  return JSON.stringify(rest);
}
