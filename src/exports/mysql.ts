import type { Connection, RowDataPacket } from 'mysql2/promise';
import type { TableTarget } from '../model/export.ts';
import type { Problem } from '../model/spider.ts';
import { isMariaDb, MysqlSession, type Server, type ServerError } from './mysql_session.ts';
import { checkTable, type TableDatabase, TableExport, type TableSession } from './table.ts';
import { ExportError, type ExportJob, type Target } from './target.ts';

const CONNECT_MS = 5000;
/** Seconds after which the server ends a session that says nothing: one in a transaction holds locks. */
const IDLE_S = 60;
/** Milliseconds after which a connection is not counted on any more. */
const STALE_MS = 30_000;

/** Items as rows of a table of MySQL or MariaDB, each exactly once. @param url of the connection */
export function mysqlTarget(job: ExportJob, target: TableTarget, url: string): Target {
  return new TableExport(job, target, new MysqlDatabase(url, target));
}

/** What is wrong with the table as it is. @throws ExportError where the database does not say */
export function checkMysql(target: TableTarget, url: string): Promise<Problem[]> {
  return checkTable(new MysqlDatabase(url, target), target);
}

class MysqlDatabase implements TableDatabase {
  readonly #url: string;
  readonly #target: TableTarget;
  #open: { connection: Connection; server: Server } | null = null;
  #usedAt = 0;
  #closed = false;

  constructor(url: string, target: TableTarget) {
    this.#url = url;
    this.#target = target;
  }

  async transaction<T>(work: (session: TableSession) => Promise<T>): Promise<T> {
    try {
      const { connection, server } = await this.#connected();
      await connection.query('start transaction');
      try {
        const result = await work(new MysqlSession(connection, this.#target, server));
        await connection.query('commit');
        this.#usedAt = performance.now();
        return result;
      } catch (error) {
        await connection.query('rollback').catch(() => {});
        throw error;
      }
    } catch (error) {
      throw failureOf(error);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#drop();
  }

  #drop(): void {
    this.#open?.connection.destroy();
    this.#open = null;
  }

  async #connected(): Promise<{ connection: Connection; server: Server }> {
    if (this.#open !== null && performance.now() - this.#usedAt > STALE_MS) this.#drop();
    if (this.#open !== null) return this.#open;
    const connection = await connect(this.#url);
    try {
      const server = await prepareSession(connection);
      if (this.#closed) throw new ExportError('gone', 'the export was closed');
      this.#open = { connection, server };
      return this.#open;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }
}

async function connect(url: string): Promise<Connection> {
  const { createConnection } = await import('mysql2/promise');
  const parsed = new URL(url);
  // The driver takes JSON there, or nothing.
  const isSecure = parsed.searchParams.get('ssl') === 'true';
  if (isSecure) parsed.searchParams.delete('ssl');
  const connection = await createConnection({
    uri: parsed.href,
    charset: 'utf8mb4',
    timezone: 'Z',
    connectTimeout: CONNECT_MS,
    supportBigNumbers: true,
    flags: ['-LOCAL_FILES'],
    ...(isSecure ? { ssl: {} } : {}),
  });
  // What is lost between two statements is seen at the next.
  connection.on('error', () => {});
  return connection;
}

/** Strict, so that no value is cut in silence, and with backslashes as escapes, on which our quoting relies. */
async function prepareSession(connection: Connection): Promise<Server> {
  await connection.query(
    `set session sql_mode = 'TRADITIONAL', time_zone = '+00:00', innodb_lock_wait_timeout = 20, wait_timeout = ${IDLE_S}`,
  );
  const [rows] = await connection.query<(RowDataPacket & Server)[]>(
    'select version() as version, database() as `schema`, @@max_allowed_packet as maxPacket',
  );
  const { version, schema, maxPacket } = rows[0]!;
  if (isMariaDb(version)) await connection.query('set session max_statement_time = 30');
  return { version, schema, maxPacket };
}

const NO_RIGHT: ReadonlySet<number> = new Set([1142, 1143, 1227]);
const NO_ROOM: ReadonlySet<number> = new Set([1021, 1041, 1114]);
const LOGIN = 'the database refuses the user or the password of the connection';
const DATABASE = 'there is no such database, or the user of the connection may not use it';
const READS = 'the database takes no writes';
/** Why nothing can be written at all: whoever runs the database mends it, and it is tried again. */
const REFUSED: ReadonlyMap<number, string> = new Map([
  [1044, DATABASE],
  [1045, LOGIN],
  [1049, DATABASE],
  [1251, LOGIN],
  [1290, READS],
  [1698, LOGIN],
  [1792, READS],
  [1836, READS],
]);
const SLOW: ReadonlySet<number> = new Set([1205, 1969, 3024]);

/** What the server says about values is the user's own; addresses, users and databases are not shown. */
function failureOf(error: unknown): ExportError {
  if (error instanceof ExportError) return error;
  const { errno = 0, sqlState, sqlMessage, code = '' } = error as Partial<ServerError> & { code?: string };
  const message = sqlMessage?.slice(0, 500) ?? '';
  if (sqlState === undefined || sqlMessage === undefined)
    return new ExportError('connect', `the database cannot be reached (${code || 'closed'})`);
  if (SLOW.has(errno)) return new ExportError('timeout', 'the database took too long');
  if (NO_ROOM.has(errno)) return new ExportError('full', `the database has no room (${errno})`);
  const refusal = REFUSED.get(errno);
  if (refusal !== undefined) return new ExportError('refused', `${refusal} (${errno})`);
  if (NO_RIGHT.has(errno))
    return new ExportError('refused', `the user of the connection has no right to ${what(message)} (${errno})`, {
      permanent: true,
    });
  if (sqlState.startsWith('08')) return new ExportError('connect', `the database refuses (${errno})`);
  // Not permanent: the table may have been changed or dropped meanwhile; when it is opened again it is looked at anew.
  if (sqlState.startsWith('42')) return new ExportError('schema', message);
  return new ExportError('other', `${message} (${errno})`);
}

/** Of "CREATE command denied to user 'u'@'host' for table `db`.`t`": what, without whom and where. */
function what(denied: string): string {
  const [, command, table] = /^([A-Z, ]+) command denied .* for table .*?([^.`']+)[`']?$/.exec(denied) ?? [];
  return table === undefined ? 'this' : `${command} of the table ${table}`;
}
