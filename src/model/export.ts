import { CHANGE_KINDS } from './outcome.ts';
import { recordOf } from './record.ts';
import { type Static, Type } from './type.ts';

/** What a consumer of a crawl's items writes to. */
export const EXPORT_KINDS = ['postgres', 'mysql', 'mongodb', 'redis', 'file', 's3'] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];

export const EXPORT_STATES = ['active', 'done', 'failed'] as const;
export type ExportState = (typeof EXPORT_STATES)[number];

const connection = Type.String({ minLength: 1, maxLength: 100, description: 'A name of CONNECTIONS' });
const FieldPath = Type.String({ minLength: 1, maxLength: 500, description: 'A field, or a path as `specs.weight`' });

/** Types of a column that we create, by the words of both databases' families. */
const COLUMN_TYPES = ['text', 'integer', 'number', 'boolean', 'timestamp', 'json'] as const;
export type ColumnType = (typeof COLUMN_TYPES)[number];

const TableSchema = Type.Object(
  {
    connection,
    table: Type.String({ minLength: 1, maxLength: 130, description: '`table` or `schema.table`' }),
    columns: Type.Optional(
      recordOf(
        Type.Union([
          FieldPath,
          Type.Object(
            {
              field: Type.Optional(FieldPath),
              meta: Type.Optional(
                Type.Enum(['crawl', 'offset', 'type', 'url', 'scrapedAt', 'change', 'data'], {
                  description: 'What is not a field: the crawl’s id, the item’s offset, its whole data …',
                }),
              ),
              type: Type.Optional(Type.Enum([...COLUMN_TYPES])),
            },
            {
              additionalProperties: false,
              description: '`field` or `meta`, and the type of the column if it is created',
            },
          ),
        ]),
        {
          names: { minLength: 1, maxLength: 63 },
          maxProperties: 200,
          description:
            'Column: field of the item. Absent: crawl, offset, type, url, scraped_at and data, the last as JSON',
        },
      ),
    ),
    key: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 63 }), {
        minItems: 1,
        maxItems: 10,
        description: 'Columns that identify a row: an item with the same ones replaces it. Absent: each item is a row',
      }),
    ),
    create: Type.Optional(
      Type.Boolean({ description: 'Create the table where there is none; default true. One that is there is checked' }),
    ),
  },
  { additionalProperties: false },
);
export type TableTarget = Static<typeof TableSchema>;

const MongoSchema = Type.Object(
  {
    connection,
    collection: Type.String({ minLength: 1, maxLength: 120 }),
    key: Type.Optional(
      Type.Array(FieldPath, {
        minItems: 1,
        maxItems: 10,
        description: 'Fields that identify a document: an item with the same ones replaces it. Absent: one per item',
      }),
    ),
  },
  { additionalProperties: false },
);
export type MongoTarget = Static<typeof MongoSchema>;

const RedisSchema = Type.Object(
  {
    connection,
    stream: Type.String({ minLength: 1, maxLength: 500, description: 'Key of the stream' }),
    maxLength: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1e9, description: 'About so many entries are kept; absent: all' }),
    ),
  },
  { additionalProperties: false },
);
export type RedisTarget = Static<typeof RedisSchema>;

const FILE_FORMATS = ['ndjson', 'csv', 'parquet'] as const;
const file = {
  format: Type.Enum([...FILE_FORMATS]),
  gzip: Type.Optional(Type.Boolean({ description: 'Not for parquet, which is compressed inside' })),
  maxBytes: Type.Optional(
    Type.Integer({
      minimum: 1024,
      maximum: 1e12,
      description: 'A new file is begun where this one has so many bytes; absent: 1 GiB',
    }),
  ),
};
const FileSchema = Type.Object(
  {
    ...file,
    name: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$',
        description: 'How the files’ names begin; default `items`. They lie below DATA_DIR/exports/<crawl>',
      }),
    ),
  },
  { additionalProperties: false },
);
export type FileTarget = Static<typeof FileSchema>;

/** Of an S3 export's keys. */
const DEFAULT_PREFIX = '{crawl}/items';
const S3Schema = Type.Object(
  {
    ...file,
    connection,
    prefix: Type.Optional(
      Type.String({
        maxLength: 500,
        pattern: '^(?:[^{}\\u0000-\\u001f\\u007f]|\\{crawl\\}|\\{spider\\})*$',
        description:
          'How the objects’ keys begin; `{crawl}` and `{spider}` are filled in; default `{crawl}/items`. ' +
          'Without `{crawl}`, the crawl’s id stands behind it: no two crawls write the same objects',
      }),
    ),
  },
  { additionalProperties: false },
);
export type S3Target = Static<typeof S3Schema>;

const narrowing = {
  type: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'Only items of this type' })),
  fields: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 200 }), {
      minItems: 1,
      maxItems: 200,
      description: 'Only these top-level fields of the data',
    }),
  ),
  changes: Type.Optional(
    Type.Array(Type.Enum([...CHANGE_KINDS]), {
      minItems: 1,
      maxItems: CHANGE_KINDS.length,
      description: 'Only items that are so against earlier crawls of the spider',
    }),
  ),
};

/** A consumer of a crawl's items that writes them elsewhere: exactly one of the kinds. */
export const ExportSchema = Type.Object(
  {
    name: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$',
        description: 'How it is called in the crawl; default: its kind, with a number where that is taken',
      }),
    ),
    ...narrowing,
    flatten: Type.Optional(
      Type.Boolean({
        description: 'Objects inside of the data become fields as `specs.weight`; not for databases’ columns',
      }),
    ),
    postgres: Type.Optional(TableSchema),
    mysql: Type.Optional(TableSchema),
    mongodb: Type.Optional(MongoSchema),
    redis: Type.Optional(RedisSchema),
    file: Type.Optional(FileSchema),
    s3: Type.Optional(S3Schema),
  },
  { additionalProperties: false, description: 'Exactly one of postgres, mysql, mongodb, redis, file, s3' },
);
export type Export = Static<typeof ExportSchema>;

export const WEBHOOK_EVENTS = ['crawl.started', 'items.created', 'crawl.finished', 'crawl.failed'] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** An endpoint that is told of a crawl: Standard Webhooks, https://www.standardwebhooks.com. */
export const WebhookSchema = Type.Object(
  {
    name: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$',
        description: 'How it is called in the crawl; default `webhook`, with a number where that is taken',
      }),
    ),
    url: Type.String({ minLength: 1, maxLength: 2000, description: 'http or https; never redirected' }),
    secret: Type.Optional(
      Type.String({
        maxLength: 100,
        writeOnly: true,
        description:
          '`whsec_` and 24 to 64 bytes in base64. Absent: one is made, and shown in the answer to the start alone',
      }),
    ),
    events: Type.Optional(
      Type.Array(Type.Enum([...WEBHOOK_EVENTS]), {
        minItems: 1,
        maxItems: WEBHOOK_EVENTS.length,
        description: 'Default: all',
      }),
    ),
    headers: Type.Optional(recordOf(Type.String({ maxLength: 8000 }), { maxProperties: 50 })),
    batch: Type.Optional(
      Type.Object(
        {
          items: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'At most; default 100' })),
          seconds: Type.Optional(
            Type.Number({
              minimum: 0,
              maximum: 3600,
              description: 'An item waits at most so long for more; default 1',
            }),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    timeoutMs: Type.Optional(
      Type.Integer({ minimum: 100, maximum: 60_000, description: 'For one try; default 15000' }),
    ),
    ...narrowing,
  },
  { additionalProperties: false },
);
export type Webhook = Static<typeof WebhookSchema>;

/** The kind of an export, and what is said of its target; null: there is none, or more than one. */
export function targetOf(definition: Export): ExportKind | null {
  const kinds = EXPORT_KINDS.filter((kind) => definition[kind] !== undefined);
  return kinds.length === 1 ? kinds[0]! : null;
}

/**
 * What comes before the number in the keys of an S3 export. It always names the crawl: two of them never write the same
 * objects. @param prefix undefined: `{crawl}/items`
 */
export function keyPrefix(prefix: string | undefined, crawlId: string, spider: string | null): string {
  const given = prefix ?? DEFAULT_PREFIX;
  const named = given
    .replaceAll('{crawl}', crawlId)
    .replaceAll('{spider}', spider ?? 'inline')
    .toWellFormed();
  const before = named === '' || named.endsWith('/') ? named : `${named}-`;
  return given.includes('{crawl}') ? before : `${before}${crawlId}-`;
}
