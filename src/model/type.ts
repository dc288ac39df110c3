import type { Type as TypeBox } from 'typebox';

// The builders of TypeBox that this service uses, with its types and without its 683 modules: loading them took 0.4 s of
// the 1.7 s of CPU that the start of a node took, and 22 MB. What they build is the same JSON Schema.

export type { Static, TSchema } from 'typebox';

type Schema = { readonly [keyword: string]: unknown };
type Properties = Readonly<Record<string, Schema>>;

/** On a schema that a property may lack; not a part of the JSON. */
const OPTIONAL = '~optional';

function ofType(type: string): (options?: Schema) => Schema {
  return (options) => ({ type, ...options });
}

function objectOf(properties: Properties, options?: Schema): Schema {
  const required = Object.keys(properties).filter((name) => !Object.hasOwn(properties[name]!, OPTIONAL));
  return { type: 'object', ...(required.length > 0 ? { required } : {}), properties, ...options };
}

function pick(object: Schema, names: readonly string[], options?: Schema): Schema {
  const properties = Object.entries(object.properties as Properties).filter(([name]) => names.includes(name));
  return objectOf(Object.fromEntries(properties), options);
}

const BUILDERS = {
  Array: (items: Schema, options?: Schema) => ({ type: 'array', items, ...options }),
  Boolean: ofType('boolean'),
  Enum: (values: readonly unknown[], options?: Schema) => ({ enum: values, ...options }),
  Integer: ofType('integer'),
  Literal: (value: unknown, options?: Schema) => ({ type: typeof value, const: value, ...options }),
  Null: ofType('null'),
  Number: ofType('number'),
  Object: objectOf,
  Optional: (schema: Schema) => Object.defineProperty({ ...schema }, OPTIONAL, { value: true }),
  Pick: pick,
  String: ofType('string'),
  Union: (anyOf: readonly Schema[], options?: Schema) => ({ anyOf, ...options }),
  Unknown: (options?: Schema) => ({ ...options }),
  Unsafe: (schema: Schema) => ({ ...schema }),
};

/** Builds JSON Schemas of which `Static` gives the types. */
export const Type = BUILDERS as unknown as Pick<typeof TypeBox, keyof typeof BUILDERS>;
