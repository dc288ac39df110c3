/** Whether a body fits its schema is decided by code of ours; TypeBox's compiler is what it is held to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { compile, type Schema } from '../../dist/model/fits.js';
import { COMPONENTS } from '../../dist/routes/components.js';
import fc from '../support/property.ts';

/** The long form of the fuzz has 10,000 values for each. */
const RUNS = Math.ceil(Number(process.env.FUZZ_CASES ?? 1000) / 10);

/** Bodies of requests, and every keyword at least once. */
const SCHEMAS: Record<string, Schema> = {
  ...Object.fromEntries(
    ['StartCrawl', 'PreviewRequest', 'NewSchedule', 'ChangeSchedule', 'ChangeCrawl', 'Webhook', 'Spider'].map(
      (name) => [name, COMPONENTS[name] as Schema],
    ),
  ),
  const: { anyOf: [{ type: 'string', const: 'a' }, { type: 'boolean', const: true }, { const: null }, { const: 1 }] },
  text: { type: 'string', minLength: 2, maxLength: 4, pattern: '^[ab😀]*$' },
  numbers: {
    type: 'array',
    minItems: 1,
    maxItems: 3,
    uniqueItems: true,
    items: { type: 'number', minimum: 0, maximum: 3 },
  },
  whole: { type: 'object', additionalProperties: { type: 'integer', minimum: -1 }, minProperties: 1, maxProperties: 2 },
  names: { type: 'object', propertyNames: { minLength: 2, maxLength: 3 }, properties: { ab: { type: 'null' } } },
  untyped: { minLength: 2, minimum: 2, minItems: 2, minProperties: 2, required: ['ab'], items: { type: 'boolean' } },
};

/** No -0: of a list with 0 and -0 TypeBox says that its items are unique. */
const JUNK = fc.constantFrom<unknown[]>(
  ...[null, true, false, 0, 1, -1, 1.5, 1e308, Infinity, '', 'a', 'ab', 'abc', '😀', '😀😀', 'a\nb', [], [[]], {}],
  ...[[1, 1], ['a', 'b'], { a: 1 }, { ab: null }, { '': 0 }, { abcd: 1 }, { constructor: 1 }, { toString: {} }],
);

/** Values that fit the schema but for a part here and there. */
function some(schema: Schema): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 99, arbitrary: near(schema) }, { weight: 1, arbitrary: JUNK });
}

function near(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(some));
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if ('const' in schema) return fc.constant(schema.const);
  switch (schema.type) {
    case 'object':
      return objectOf(schema);
    case 'array':
      return fc.array(schema.items === undefined ? JUNK : some(schema.items), { maxLength: 4 });
    case 'string':
      return textOf(schema);
    case 'integer':
    case 'number': {
      const { minimum = -5, maximum = 5 } = schema;
      const inside = fc.constantFrom(minimum, maximum, Math.ceil((minimum + maximum) / 2));
      const beside = fc.constantFrom(minimum - 1, maximum + 1, minimum + 0.5);
      return fc.oneof({ weight: 30, arbitrary: inside }, { weight: 1, arbitrary: beside });
    }
    case 'boolean':
      return fc.boolean();
    default:
      return JUNK;
  }
}

function objectOf({ properties = {}, required = [], additionalProperties = true }: Schema): fc.Arbitrary<unknown> {
  const members = Object.entries(properties).map(([name, schema]) => {
    const missing = required.includes(name) ? fc.nat(99).map((n) => n === 0) : fc.nat(9).map((n) => n > 0);
    return fc.tuple(some(schema), missing).map(([value, isMissing]) => (isMissing ? null : member(name, value)));
  });
  const other = typeof additionalProperties === 'object' ? some(additionalProperties) : JUNK;
  const names = fc.constantFrom('a', 'ab', 'abcd', 'a\nb', 'price', '__proto__', 'x'.repeat(201));
  const more = fc.array(
    fc.tuple(names, other).map(([name, value]) => member(name, value)),
    { maxLength: 3 },
  );
  const isOpen = fc.nat(29).map((n) => n === 0 || (additionalProperties !== false && n > 9));
  return fc
    .tuple(fc.tuple(...members), more, isOpen)
    .map(([known, added, open]) => JSON.parse(`{${[...known, ...(open ? added : [])].filter((one) => one !== null)}}`));
}

const member = (name: string, value: unknown) => `${JSON.stringify(name)}:${textOfJson(value)}`;
const textOfJson = (value: unknown) => (value === Infinity ? '1e999' : JSON.stringify(value));

function textOf({ minLength = 0, maxLength = 20 }: Schema): fc.Arbitrary<unknown> {
  const lengths = [minLength, minLength - 1, minLength + 1, maxLength, maxLength + 1].filter((n) => n >= 0 && n < 5000);
  const units = fc.constantFrom('a', '😀', 'é', 'a-', '/', '0');
  return fc.oneof(
    fc.tuple(units, fc.constantFrom(0, 1, ...lengths)).map(([unit, n]) => unit.repeat(n)),
    fc.constantFrom('name', 'a b', 'GET', 'https://books.example/', '0123456789abcdef0123456789abcdef', '*/5 * * * *'),
  );
}

for (const [name, schema] of Object.entries(SCHEMAS))
  test(`${name}: what fits is what fits for TypeBox`, () => {
    const fits = compile(schema);
    const reference = Compile(schema as TSchema);
    let fitting = 0;
    fc.assert(
      fc.property(some(schema), (value) => {
        assert.equal(fits(value), reference.Check(value), JSON.stringify(value));
        fitting += Number(fits(value));
      }),
      { numRuns: RUNS },
    );
    assert.ok(fitting > 0, 'some fit');
  });

test('a keyword that is not known is refused, at any depth', () => {
  for (const schema of [
    { oneOf: [] },
    { items: { not: {} } },
    { properties: { a: { format: 'date' } } },
    { type: 'text' },
  ])
    assert.throws(() => compile(schema as Schema), /JSON Schema/);
});
