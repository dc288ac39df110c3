import type { Connection, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import type { ColumnType, TableTarget } from '../model/export.ts';
import { type Column, columnsOf, createdKey, createdType, type Family, type TableInfo } from './columns.ts';
import { refuseOwn } from './own_tables.ts';
import { readRejected } from './rejected.ts';
import type { Destination, Row, TableCursor, TableSession } from './table.ts';
import { ExportError, type ExportJob } from './target.ts';

/** Of one statement; a server may allow less. */
const MAX_STATEMENT_BYTES = 4 * 1024 * 1024;
/** Beside the values, in a packet. */
const STATEMENT_OVERHEAD = 64 * 1024;
/** Of all text columns of a key together: InnoDB's 3,072 bytes at four a character, less what other columns take. */
const KEY_CHARS = 740;
const MAX_KEY_CHARS = 700;

const TYPES: Readonly<Record<ColumnType, string>> = {
  text: 'longtext',
  integer: 'bigint',
  number: 'double',
  boolean: 'boolean',
  timestamp: 'datetime(6)',
  json: 'json',
};

/** What is to be known of a server. */
export interface Server {
  version: string;
  /** The database of the connection's URL; null: it has none. */
  schema: string | null;
  maxPacket: number;
}

export function isMariaDb(version: string): boolean {
  return /mariadb/i.test(version);
}

function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** One transaction of MySQL or MariaDB. */
export class MysqlSession implements TableSession {
  readonly #connection: Connection;
  readonly #target: TableTarget;
  readonly #server: Server;
  readonly #schema: string;
  readonly #name: string;

  constructor(connection: Connection, target: TableTarget, server: Server) {
    const dot = target.table.indexOf('.');
    const schema = dot === -1 ? server.schema : target.table.slice(0, dot);
    if (!schema)
      throw new ExportError('schema', 'neither the connection nor `table` names a database', { permanent: true });
    refuseOwn(schema, target.table.slice(dot + 1), false);
    this.#connection = connection;
    this.#target = target;
    this.#server = server;
    this.#schema = schema;
    this.#name = target.table.slice(dot + 1);
  }

  /** Ends the transaction, as whatever makes tables does, and begins another. */
  async prepare(): Promise<void> {
    const there = await this.#rows(
      'select 1 from information_schema.tables where table_schema = ? and table_name = ?',
      [this.#schema, 'orbweaver_cursors'],
    );
    if (there.length > 0) return;
    await this.#connection.query(`
      create table if not exists ${this.#cursors} (
        crawl char(36) character set ascii not null, export smallint not null, target varchar(200) not null,
        next_offset bigint not null, rejected longtext not null, changed_at datetime(6) not null,
        primary key (crawl, export)
      ) engine = InnoDB default character set utf8mb4`);
    await this.#connection.query('start transaction');
  }

  async describe(): Promise<TableInfo | null> {
    const of = [this.#schema, this.#name];
    const tables = await this.#rows<{ engine: string | null }>(
      'select engine as engine from information_schema.tables where table_schema = ? and table_name = ?',
      of,
    );
    if (tables.length === 0) return null;
    const columns = await this.#rows<DescribedColumn>(
      `select column_name as name, data_type as kind, column_type as type, is_nullable as nullable, extra as extra,
        column_default as standard
      from information_schema.columns where table_schema = ? and table_name = ? order by ordinal_position`,
      of,
    );
    const indexes = await this.#rows<{ name: string; col: string | null; part: number | null }>(
      `select index_name as name, column_name as col, sub_part as part from information_schema.statistics
      where table_schema = ? and table_name = ? and non_unique = 0 order by index_name, seq_in_index`,
      of,
    );
    const json = isMariaDb(this.#server.version) ? await this.#jsonColumns() : new Set<string>();
    const uniques = Map.groupBy(indexes, ({ name }) => name);
    return {
      columns: columns.map((column) => infoOf(column, json)),
      // Of a prefix, or an expression: it does not say that two rows are the same.
      uniques: [...uniques.values()]
        .filter((parts) => parts.every(({ col, part }) => col !== null && part === null))
        .map((parts) => parts.map(({ col }) => col!)),
      replacesByAny: true,
      isTransactional: tables[0]!.engine === 'InnoDB',
    };
  }

  async create(): Promise<void> {
    const { version } = this.#server;
    const key = createdKey(this.#target);
    const columns = columnsOf(this.#target);
    const texts = columns.filter((one) => key.includes(one.name) && createdType(one) === 'text').length;
    const lines = columns.map((column) => {
      const type = createdType(column);
      const isKey = type === 'text' && key.includes(column.name);
      return `${quoted(column.name)} ${isKey ? keyType(column, texts, version) : TYPES[type]} null`;
    });
    if (key.length > 0) lines.push(`unique key (${key.map(quoted).join(', ')})`);
    await this.#connection.query(
      `update ${this.#cursors} set next_offset = 0, rejected = '{}', changed_at = utc_timestamp(6) where target = ?`,
      [this.#full],
    );
    await this.#connection.query(
      `create table if not exists ${this.#table} (${lines.join(', ')}) engine = InnoDB default character set utf8mb4`,
    );
    await this.#connection.query('start transaction');
  }

  async cursor({ crawlId, n }: ExportJob): Promise<TableCursor | null> {
    const [row] = await this.#rows<{ next: number; rejected: string }>(
      `select next_offset as next, rejected as rejected from ${this.#cursors} where crawl = ? and export = ? for update`,
      [crawlId, n],
    );
    return row === undefined ? null : { next: row.next, rejected: readRejected(JSON.parse(row.rejected)) };
  }

  /** Before it is locked: a lock on what is not there yet is one on its neighbours' places, too. */
  async makeCursor({ crawlId, n }: ExportJob): Promise<void> {
    await this.#connection.query(
      `insert into ${this.#cursors} (crawl, export, target, next_offset, rejected, changed_at)
      values (?, ?, ?, 0, '{}', utc_timestamp(6)) on duplicate key update crawl = crawl`,
      [crawlId, n, this.#full],
    );
  }

  async setCursor({ crawlId, n }: ExportJob, { next, rejected }: TableCursor): Promise<void> {
    await this.#connection.query(
      `update ${this.#cursors} set next_offset = ?, rejected = ?, changed_at = utc_timestamp(6)
      where crawl = ? and export = ?`,
      [next, JSON.stringify(rejected), crawlId, n],
    );
  }

  async insert(rows: readonly Row[], to: Destination): Promise<void> {
    const room = Math.min(MAX_STATEMENT_BYTES, this.#server.maxPacket - STATEMENT_OVERHEAD);
    const { before, after } = insertStatement(this.#table, to);
    await this.#connection.query('savepoint orbweaver_rows');
    try {
      for (const values of pieces(
        rows.map(({ values }) => this.#tuple(values)),
        room,
        this.#server.maxPacket,
      ))
        await this.#connection.query<ResultSetHeader>({ sql: before + values + after });
    } catch (error) {
      if (this.valueFault(error) !== null) await this.#connection.query('rollback to savepoint orbweaver_rows');
      throw error;
    }
  }

  valueFault(error: unknown): string | null {
    if (error instanceof TooLarge) return error.message;
    const { errno = 0, sqlState = '', message } = error as Partial<ServerError> & Error;
    return /^(2[1237]|4[45])/.test(sqlState) || VALUE_ERRORS.has(errno) ? message : null;
  }

  /** MariaDB's type `json` is a text with a check. */
  async #jsonColumns(): Promise<Set<string>> {
    const checks = await this.#rows<{ clause: string }>(
      `select check_clause as clause from information_schema.check_constraints
      where constraint_schema = ? and table_name = ? and check_clause like 'json_valid(%'`,
      [this.#schema, this.#name],
    );
    return new Set(
      checks.map(({ clause }) => /^json_valid\(`(.*)`\)$/is.exec(clause)?.[1]?.replaceAll('``', '`') ?? ''),
    );
  }

  async #rows<T>(sql: string, values: readonly unknown[]): Promise<T[]> {
    const [rows] = await this.#connection.query<RowDataPacket[]>(sql, [...values]);
    return rows as T[];
  }

  #tuple(values: readonly (string | null)[]): string {
    return `(${values.map((value) => (value === null ? 'null' : this.#connection.escape(value))).join(',')})`;
  }

  get #table(): string {
    return `${quoted(this.#schema)}.${quoted(this.#name)}`;
  }

  get #cursors(): string {
    return `${quoted(this.#schema)}.orbweaver_cursors`;
  }

  get #full(): string {
    return `${this.#schema}.${this.#name}`;
  }
}

interface DescribedColumn {
  name: string;
  kind: string;
  type: string;
  nullable: string;
  extra: string;
  standard: string | null;
}

function infoOf({ name, kind, type, nullable, extra, standard }: DescribedColumn, json: ReadonlySet<string>) {
  const isGenerated = /\b(virtual|stored|persistent) generated\b|^(virtual|stored|persistent)/i.test(extra);
  const isFilled = nullable === 'YES' || standard !== null || /auto_increment|default_generated/i.test(extra);
  const family: Family = json.has(name) ? 'json' : familyOf(kind.toLowerCase(), type);
  return { name, type, family, isRequired: !isFilled && !isGenerated, isGenerated };
}

function familyOf(kind: string, type: string): Family {
  if (/^tinyint\(1\)/i.test(type)) return 'boolean';
  switch (kind) {
    case 'tinyint':
    case 'smallint':
    case 'mediumint':
    case 'int':
    case 'bigint':
      return 'integer';
    case 'float':
    case 'double':
    case 'decimal':
      return 'number';
    case 'datetime':
    case 'timestamp':
    case 'date':
      return 'timestamp';
    case 'json':
      return 'json';
    default:
      return /(char|text|binary|blob)$/.test(kind) ? 'text' : 'other';
  }
}

/** A text that can be a key, and that is no other one's whose case, accents or trailing spaces differ. */
function keyType({ from }: Column, texts: number, version: string): string {
  if ('meta' in from && from.meta === 'crawl') return 'char(36) character set ascii';
  const [major = 0, minor = 0, patch = 0] = version.split(/\D/).map(Number);
  const isNew = major > 8 || (major === 8 && (minor > 0 || patch >= 17));
  const collation = isMariaDb(version) ? 'utf8mb4_nopad_bin' : isNew ? 'utf8mb4_0900_bin' : 'utf8mb4_bin';
  const chars = Math.min(MAX_KEY_CHARS, Math.floor(KEY_CHARS / texts));
  return `varchar(${chars}) character set utf8mb4 collate ${collation}`;
}

/** Several rows with one key are taken in their order: the last one counts. */
function insertStatement(table: string, { columns, key }: Destination): { before: string; after: string } {
  const names = columns.map(({ name }) => quoted(name));
  const before = `insert into ${table} (${names.join(', ')}) values `;
  if (key.length === 0) return { before, after: '' };
  const sets = names.map((name) => `${name} = values(${name})`).join(', ');
  return { before, after: ` on duplicate key update ${sets}` };
}

/** A row that is larger than the server's packets. */
class TooLarge extends Error {}

/** Lists of rows of at most so many bytes, or of one row. */
function* pieces(tuples: readonly string[], room: number, maxPacket: number): Generator<string> {
  let piece: string[] = [];
  let bytes = 0;
  for (const tuple of tuples) {
    const size = Buffer.byteLength(tuple) + 1;
    if (size + STATEMENT_OVERHEAD > maxPacket)
      throw new TooLarge(`the item has ${size} bytes, and max_allowed_packet of the server is ${maxPacket}`);
    if (bytes + size > room && piece.length > 0) {
      yield piece.join(',');
      piece = [];
      bytes = 0;
    }
    piece.push(tuple);
    bytes += size;
  }
  if (piece.length > 0) yield piece.join(',');
}

/** What a server says of an error. */
export interface ServerError {
  errno: number;
  sqlState: string;
  sqlMessage: string;
}

/** Errors about values whose state is the general one: truncated, incorrect string, check violated, row too large. */
const VALUE_ERRORS: ReadonlySet<number> = new Set([1118, 1264, 1265, 1292, 1366, 1406, 3819, 4025]);
