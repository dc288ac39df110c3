import { recordOf } from './record.ts';
import { type Static, Type } from './type.ts';

const NAME = { minLength: 1, maxLength: 200 };
const FieldName = Type.String(NAME);
const JsonSchema = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: {},
  description: 'A JSON Schema (2020-12)',
});
/** What happens to an item whose step fails or times out. */
const OnError = Type.Enum(['keep', 'drop', 'fail'], {
  description: 'keep the item as it is (default), drop it, or fail its page as `pipeline_error`',
});
const call = {
  set: recordOf(Type.String({ minLength: 1, maxLength: 1000 }), {
    names: NAME,
    description: 'Field of the item: where its value is in the answer (enrich: JMESPath, lookup: a column)',
  }),
  timeoutMs: Type.Optional(Type.Integer({ minimum: 10, maximum: 60_000, description: 'For one call; default 10000' })),
  concurrency: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 256,
      description:
        'Calls at once, per node; default 128, and of a lookup, which asks for many items at once, never more than 2',
    }),
  ),
  cacheSeconds: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 86_400,
      description: 'How long the answer to the same question is kept; default 300, 0 never',
    }),
  ),
  onError: Type.Optional(OnError),
};

const EnrichSchema = Type.Object(
  {
    url: Type.String({ minLength: 1, maxLength: 4000, description: '`{field}` is filled from the item' }),
    method: Type.Optional(Type.Enum(['GET', 'POST', 'PUT'])),
    headers: Type.Optional(recordOf(Type.String({ maxLength: 8000 }))),
    send: Type.Optional(
      recordOf(FieldName, {
        names: NAME,
        description: 'Name in the JSON body: field of the item; absent: the whole item. Not with GET',
      }),
    ),
    batch: Type.Optional(
      Type.Integer({
        minimum: 2,
        maximum: 1000,
        description: 'So many bodies go as one JSON list; the answer is a list of the same length',
      }),
    ),
    retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 5, description: 'Default 1' })),
    ...call,
  },
  { additionalProperties: false },
);

const LookupSchema = Type.Object(
  {
    connection: Type.String({ minLength: 1, maxLength: 100, description: 'A name of CONNECTIONS' }),
    query: Type.String({
      minLength: 1,
      maxLength: 10_000,
      description: 'One select with $1, $2 …; its first row counts',
    }),
    params: Type.Array(FieldName, { maxItems: 20, description: 'Fields of the item, for $1, $2 …' }),
    ...call,
  },
  { additionalProperties: false },
);

const ConditionSchema = Type.Object(
  {
    field: FieldName,
    missing: Type.Optional(Type.Boolean({ description: 'true: it has no value; false: it has one' })),
    equals: Type.Optional(Type.Unsafe<unknown>({})),
    match: Type.Optional(Type.String({ minLength: 1, maxLength: 1000, description: 'RE2' })),
    below: Type.Optional(Type.Number()),
    above: Type.Optional(Type.Number()),
  },
  { additionalProperties: false, description: 'Exactly one condition besides `field`' },
);

/** One step of a pipeline: exactly one of the kinds, and optionally the item type that it is for. */
export const StepSchema = Type.Object(
  {
    type: Type.Optional(Type.String({ description: 'Only items of this type; absent: all' })),
    validate: Type.Optional(JsonSchema),
    dedupe: Type.Optional(
      Type.Object(
        {
          key: Type.Array(FieldName, { minItems: 1, maxItems: 20 }),
          scope: Type.Optional(Type.Enum(['crawl', 'spider'])),
        },
        { additionalProperties: false },
      ),
    ),
    enrich: Type.Optional(EnrichSchema),
    lookup: Type.Optional(LookupSchema),
    drop: Type.Optional(ConditionSchema),
    rename: Type.Optional(recordOf(FieldName, { names: NAME, description: 'Old name: new name' })),
    pick: Type.Optional(Type.Array(FieldName, { minItems: 1, maxItems: 200 })),
    set: Type.Optional(recordOf(Type.Unsafe<unknown>({}), { names: NAME, description: 'Constants' })),
  },
  { additionalProperties: false },
);
export type Step = Static<typeof StepSchema>;
export type EnrichStep = Static<typeof EnrichSchema>;
export type LookupStep = Static<typeof LookupSchema>;
export type DropCondition = Static<typeof ConditionSchema>;
