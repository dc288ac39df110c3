import { inSavepoint, inTransaction, openGuestPool, type Sql, type Tx } from '../db/client.ts';
import type { ColumnType, TableTarget } from '../model/export.ts';
import type { Problem } from '../model/spider.ts';
import { columnsOf, createdKey, createdType, type Family, type TableInfo } from './columns.ts';
import { refuseOwn } from './own_tables.ts';
import { readRejected } from './rejected.ts';
import {
  checkTable,
  type Destination,
  type Row,
  type TableCursor,
  type TableDatabase,
  TableExport,
  type TableSession,
} from './table.ts';
import { ExportError, type ExportJob, type Target } from './target.ts';

const STATEMENT_MS = 30_000;
/** Seconds; 0: at once. */
const END_TIMEOUT = 0;
/** Of an advisory lock: two exports that make the same table at once would fail at PostgreSQL's own catalogue. */
const CREATE_LOCK = 7_201_410;

const TYPES: Readonly<Record<ColumnType, string>> = {
  text: 'text',
  integer: 'bigint',
  number: 'double precision',
  boolean: 'boolean',
  timestamp: 'timestamptz',
  // Not jsonb, which sorts fields and drops the ones that come twice: an item stays as it was made.
  json: 'json',
};

/** Items as rows of a table of PostgreSQL, each exactly once. @param url of the connection */
export function postgresTarget(job: ExportJob, target: TableTarget, url: string): Target {
  return new TableExport(job, target, new PostgresDatabase(url, target));
}

/** What is wrong with the table as it is. @throws ExportError where the database does not say */
export function checkPostgres(target: TableTarget, url: string): Promise<Problem[]> {
  return checkTable(new PostgresDatabase(url, target), target);
}

class PostgresDatabase implements TableDatabase {
  readonly #sql: Sql;
  readonly #target: TableTarget;
  #schema: string | null = null;

  constructor(url: string, target: TableTarget) {
    this.#sql = openGuestPool(url, 1, 'orbweaver export');
    this.#target = target;
  }

  async transaction<T>(work: (session: TableSession) => Promise<T>): Promise<T> {
    try {
      return await inTransaction(this.#sql, async (tx) => {
        // A pooler may give each transaction another connection: nothing is set for longer.
        await tx
          .unsafe(
            `set local statement_timeout = ${STATEMENT_MS}; set local timezone = 'UTC'; set constraints all immediate`,
          )
          .simple();
        if (this.#schema === null) {
          const schema = await schemaOf(tx, this.#target);
          await refuseOwnOf(tx, schema, this.#target);
          this.#schema = schema;
        }
        return work(new PostgresSession(tx, this.#target, this.#schema));
      });
    } catch (error) {
      throw failureOf(error);
    }
  }

  close(): Promise<void> {
    return this.#sql.end({ timeout: END_TIMEOUT }).catch(() => {});
  }
}

function nameParts(table: string): [schema: string | null, name: string] {
  const dot = table.indexOf('.');
  return dot === -1 ? [null, table] : [table.slice(0, dot), table.slice(dot + 1)];
}

/** The schema that the table is in, or would be made in. */
async function schemaOf(tx: Tx, { table }: TableTarget): Promise<string> {
  const [given, name] = nameParts(table);
  if (given !== null) return given;
  const [found] = await tx<{ schema: string | null }[]>`
    select coalesce((select relnamespace::regnamespace::text from pg_class where oid = to_regclass(${quoted(name)})),
      quote_ident(current_schema())) as schema`;
  if (!found?.schema) throw new ExportError('schema', 'no schema of the search path is there', { permanent: true });
  return found.schema.replace(/^"(.*)"$/s, (_, inner: string) => inner.replaceAll('""', '"'));
}

/** @throws ExportError */
async function refuseOwnOf(tx: Tx, schema: string, { table }: TableTarget): Promise<void> {
  const [found] = await tx<{ ours: boolean }[]>`
    select to_regclass(${`${quoted(schema)}.schema_migrations`}) is not null
      and to_regclass(${`${quoted(schema)}.host_queues`}) is not null as ours`;
  refuseOwn(schema, nameParts(table)[1], found!.ours);
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

class PostgresSession implements TableSession {
  readonly #tx: Tx;
  readonly #target: TableTarget;
  readonly #schema: string;
  /** Quoted, as `#cursors`. */
  readonly #table: string;
  readonly #cursors: string;

  constructor(tx: Tx, target: TableTarget, schema: string) {
    this.#tx = tx;
    this.#target = target;
    this.#schema = schema;
    this.#table = `${quoted(schema)}.${quoted(nameParts(target.table)[1])}`;
    this.#cursors = `${quoted(schema)}.orbweaver_cursors`;
  }

  async prepare(): Promise<void> {
    await this.#tx`select pg_advisory_xact_lock(${CREATE_LOCK})`;
    const isThere = await this.checkRights(false);
    if (isThere) return;
    await this.#tx.unsafe(`
      create table ${this.#cursors} (
        crawl uuid not null, export smallint not null, target text not null, next_offset bigint not null,
        rejected json not null, changed_at timestamptz not null, primary key (crawl, export))`);
  }

  /** @returns whether there is the table of cursors, which is in the schema of the table */
  async checkRights(isNew: boolean): Promise<boolean> {
    const [found] = await this.#tx<{ schema: boolean; cursors: boolean; creates: boolean | null }[]>`
      select n.oid is not null as schema, to_regclass(${this.#cursors}) is not null as cursors,
        has_schema_privilege(n.oid, 'create') as creates
      from (select to_regnamespace(${quoted(this.#schema)})::oid as oid) as n`;
    const { schema, cursors, creates } = found!;
    if (!schema) {
      const message = `there is no schema "${this.#schema}" in the database; create it, or name another in \`table\``;
      throw new ExportError('schema', message, { permanent: true });
    }
    if (creates !== true && (isNew || !cursors)) {
      const name = isNew ? nameParts(this.#target.table)[1] : 'orbweaver_cursors, which holds how far exports are';
      const message = `the user of the connection may not create the table ${name}; grant it CREATE on the schema "${this.#schema}", or create the table`;
      throw new ExportError('refused', message, { permanent: true });
    }
    return cursors;
  }

  async describe(): Promise<TableInfo | null> {
    const columns = await this.#tx<DescribedColumn[]>`
      select a.attname as name, format_type(a.atttypid, -1) as type, t.typname as internal, t.typcategory as category,
        a.attnotnull and not a.atthasdef and a.attidentity = '' as "isRequired",
        a.attgenerated <> '' or a.attidentity = 'a' as "isGenerated"
      from pg_attribute a join pg_type t on t.oid = a.atttypid
      where a.attrelid = to_regclass(${this.#table}) and a.attnum > 0 and not a.attisdropped
      order by a.attnum`;
    if (columns.length === 0) return null;
    const uniques = await this.#tx<{ columns: string }[]>`
      select json_agg(a.attname)::text as columns
      from pg_index i
      cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, n)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where i.indrelid = to_regclass(${this.#table}) and i.indisunique and i.indisvalid and i.indimmediate
        and i.indpred is null and i.indexprs is null and k.n <= i.indnkeyatts
      group by i.indexrelid`;
    return {
      columns: columns.map(({ internal, category, ...column }) => ({
        ...column,
        family: familyOf(internal, category),
      })),
      uniques: uniques.map(({ columns: names }) => JSON.parse(names) as string[]),
      replacesByAny: false,
      isTransactional: true,
    };
  }

  async create(): Promise<void> {
    const lines = columnsOf(this.#target).map((column) => `${quoted(column.name)} ${TYPES[createdType(column)]}`);
    const key = createdKey(this.#target);
    // Not a primary key: an item without a value for its key is a row of its own, and not lost.
    if (key.length > 0) lines.push(`unique (${key.map(quoted).join(', ')})`);
    await this.#tx.unsafe(`create table ${this.#table} (${lines.join(', ')})`);
    await this.#tx.unsafe(
      `update ${this.#cursors} set next_offset = 0, rejected = '{}', changed_at = now() where target = $1`,
      [this.#name],
    );
  }

  async cursor({ crawlId, n }: ExportJob): Promise<TableCursor | null> {
    const [row] = await this.#tx.unsafe<{ next: number; rejected: string }[]>(
      `select next_offset as next, rejected::text as rejected from ${this.#cursors}
      where crawl = $1 and export = $2 for update`,
      [crawlId, n],
    );
    return row === undefined ? null : { next: row.next, rejected: readRejected(JSON.parse(row.rejected)) };
  }

  async makeCursor({ crawlId, n }: ExportJob): Promise<void> {
    await this.#tx.unsafe(
      `insert into ${this.#cursors} (crawl, export, target, next_offset, rejected, changed_at)
      values ($1, $2, $3, 0, '{}', now()) on conflict (crawl, export) do nothing`,
      [crawlId, n, this.#name],
    );
  }

  async setCursor({ crawlId, n }: ExportJob, { next, rejected }: TableCursor): Promise<void> {
    await this.#tx.unsafe(
      `update ${this.#cursors} set next_offset = $3, rejected = $4::text::json, changed_at = now()
      where crawl = $1 and export = $2`,
      [crawlId, n, next, JSON.stringify(rejected)],
    );
  }

  async insert(rows: readonly Row[], to: Destination): Promise<void> {
    const lists = to.columns.map((_, i) => rows.map(({ values }) => values[i]!));
    await inSavepoint(this.#tx, async (tx) => {
      await tx.unsafe(insertStatement(this.#table, to), lists as never[]);
    });
  }

  valueFault(error: unknown): string | null {
    const { name, code = '', message } = error as Error & { code?: string };
    // Of a value, a constraint, a view's check, a trigger; a row that is too large; a key that is twice in one statement.
    return name === 'PostgresError' && /^(2[1237]|44|54|P0)/.test(code) ? message : null;
  }

  get #name(): string {
    return `${this.#schema}.${nameParts(this.#target.table)[1]}`;
  }
}

interface DescribedColumn {
  name: string;
  type: string;
  internal: string;
  category: string;
  isRequired: boolean;
  isGenerated: boolean;
}

function familyOf(internal: string, category: string): Family {
  if (category === 'A') return 'array';
  switch (internal) {
    case 'int2':
    case 'int4':
    case 'int8':
      return 'integer';
    case 'float4':
    case 'float8':
    case 'numeric':
      return 'number';
    case 'bool':
      return 'boolean';
    case 'timestamptz':
    case 'timestamp':
    case 'date':
      return 'timestamp';
    case 'json':
    case 'jsonb':
      return 'json';
    case 'text':
    case 'varchar':
    case 'bpchar':
      return 'text';
    default:
      return 'other';
  }
}

/** Of rows with the same key the last one counts; those without a value for their key are rows of their own. */
function insertStatement(table: string, { columns, info, key }: Destination): string {
  const names = columns.map(({ name }) => quoted(name)).join(', ');
  const values = columns.map(({ name }, i) => {
    const { type } = info.columns.find((one) => one.name === name)!;
    return `c${i}::${type} as v${i}`;
  });
  const lists = columns.map((_, i) => `$${i + 1}::text[]`).join(', ');
  const given = `select n, ${values.join(', ')} from unnest(${lists}) with ordinality as u (${columns.map((_, i) => `c${i}`).join(', ')}, n)`;
  const all = columns.map((_, i) => `v${i}`).join(', ');
  if (key.length === 0) return `insert into ${table} (${names}) select ${all} from (${given}) as given order by n`;
  const keys = key.map((name) => `v${columns.findIndex((column) => column.name === name)}`);
  const same = [...keys, `case when ${keys.map((v) => `${v} is null`).join(' or ')} then n end`].join(', ');
  const others = columns.filter(({ name }) => !key.includes(name)).map(({ name }) => quoted(name));
  const then =
    others.length === 0 ? 'nothing' : `update set ${others.map((name) => `${name} = excluded.${name}`).join(', ')}`;
  return `insert into ${table} (${names})
    select ${all} from (select distinct on (${same}) * from (${given}) as given order by ${same}, n desc) as last order by n
    on conflict (${key.map(quoted).join(', ')}) do ${then}`;
}

/** Why nothing can be written at all, by SQLSTATE: whoever runs the database mends it, and it is tried again. */
const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/^28/, 'the database refuses the user or the password of the connection'],
  [/^3D/, 'there is no such database'],
  [/^25006/, 'the database takes no writes'],
];

/** What the server says about values is the user's own; addresses, users and databases are not shown. */
function failureOf(error: unknown): ExportError {
  if (error instanceof ExportError) return error;
  const { name, code = '', message } = error as Error & { code?: string };
  if (name !== 'PostgresError')
    return new ExportError('connect', `the database cannot be reached (${code || 'closed'})`);
  if (/^(57014|55P03)$/.test(code)) return new ExportError('timeout', 'the database took too long');
  if (/^53[12]00$/.test(code)) return new ExportError('full', `the database has no room (${code})`);
  if (/^(08|53|57|58)/.test(code)) return new ExportError('connect', `the database refuses (${code})`);
  const refusal = REFUSED.find(([codes]) => codes.test(code))?.[1];
  if (refusal !== undefined) return new ExportError('refused', `${refusal} (${code})`);
  if (code === '42501') return new ExportError('refused', message, { permanent: true });
  // Not permanent: the table may have been changed or dropped meanwhile; when it is opened again it is looked at anew.
  if (/^(42|3F)/.test(code)) return new ExportError('schema', message.slice(0, 500));
  return new ExportError('other', `${message.slice(0, 500)} (${code})`);
}
