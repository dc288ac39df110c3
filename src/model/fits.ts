/** The keywords of JSON Schema that this service's own schemas use. */
export interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  propertyNames?: Schema;
  required?: string[];
  minProperties?: number;
  maxProperties?: number;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  anyOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  description?: string;
  examples?: unknown[];
  writeOnly?: boolean;
}

/** Whether a value, read from JSON, fits a schema. */
export type Fits = (value: unknown) => boolean;
type Named = Record<string, unknown>;

const isObject = (value: unknown): value is Named =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

// As JSON Schema has it, a keyword says nothing about values of a type that it is not for.
const ofObjects = (fits: (value: Named, names: string[]) => boolean): Fits => {
  return (value) => !isObject(value) || fits(value, Object.keys(value));
};
const ofLists = (fits: (value: unknown[]) => boolean): Fits => {
  return (value) => !Array.isArray(value) || fits(value);
};
const ofNumbers = (fits: (value: number) => boolean): Fits => {
  return (value) => typeof value !== 'number' || fits(value);
};
const ofStrings = (fits: (value: string) => boolean): Fits => {
  return (value) => typeof value !== 'string' || fits(value);
};

const TYPES: Record<string, Fits> = {
  array: Array.isArray,
  boolean: (value) => typeof value === 'boolean',
  integer: Number.isInteger,
  null: (value) => value === null,
  number: Number.isFinite,
  object: isObject,
  string: (value) => typeof value === 'string',
};

/** Of each keyword: what it asks of a value. Null: nothing. */
const KEYWORDS: { [K in keyof Required<Schema>]: (given: Required<Schema>[K], schema: Schema) => Fits | null } = {
  type: (type) => {
    const fits = TYPES[type];
    if (fits === undefined) throw new Error(`no type of JSON Schema: ${type}`);
    return fits;
  },
  properties: (properties) => {
    const members = Object.entries(properties).map(([name, schema]) => [name, compile(schema)] as const);
    return ofObjects((value) => members.every(([name, fits]) => !Object.hasOwn(value, name) || fits(value[name])));
  },
  additionalProperties: (given, { properties = {} }) => {
    const fits = typeof given === 'boolean' ? () => given : compile(given);
    return ofObjects((value, names) => names.every((name) => Object.hasOwn(properties, name) || fits(value[name])));
  },
  propertyNames: (schema) => {
    const fits = compile(schema);
    return ofObjects((_, names) => names.every(fits));
  },
  required: (wanted) => ofObjects((value) => wanted.every((name) => Object.hasOwn(value, name))),
  minProperties: (least) => ofObjects((_, names) => names.length >= least),
  maxProperties: (most) => ofObjects((_, names) => names.length <= most),
  items: (schema) => {
    const fits = compile(schema);
    return ofLists((value) => value.every(fits));
  },
  minItems: (least) => ofLists((value) => value.length >= least),
  maxItems: (most) => ofLists((value) => value.length <= most),
  // The lists that have it are of words.
  uniqueItems: (unique) => (unique ? ofLists((value) => new Set(value).size === value.length) : null),
  anyOf: (schemas) => {
    const branches = schemas.map(compile);
    return (value) => branches.some((fits) => fits(value));
  },
  enum: (values) => {
    const known = new Set(values);
    return (value) => known.has(value);
  },
  const: (wanted) => (value) => value === wanted,
  minimum: (least) => ofNumbers((value) => value >= least),
  maximum: (most) => ofNumbers((value) => value <= most),
  minLength: (least) => ofStrings((value) => value.length >= 2 * least || charactersOf(value) >= least),
  maxLength: (most) =>
    ofStrings((value) => value.length <= most || (value.length <= 2 * most && charactersOf(value) <= most)),
  pattern: (pattern) => {
    const regex = new RegExp(pattern, 'u');
    return ofStrings((value) => regex.test(value));
  },
  description: () => null,
  examples: () => null,
  writeOnly: () => null,
};

/**
 * A function that says whether a value fits the schema; it throws at no value. Why one does not fit is said by the routes.
 *
 * @throws Error where the schema has a keyword that is not in `Schema`, at any depth
 */
export function compile(schema: Schema): Fits {
  const all: Fits[] = [];
  for (const [keyword, given] of Object.entries(schema)) {
    if (!Object.hasOwn(KEYWORDS, keyword)) throw new Error(`a keyword of JSON Schema that is not checked: ${keyword}`);
    const make = KEYWORDS[keyword as keyof Schema] as (given: unknown, schema: Schema) => Fits | null;
    const fits = make(given, schema);
    if (fits !== null) all.push(fits);
  }
  return (value) => all.every((fits) => fits(value));
}

/** Code points. */
export function charactersOf(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
