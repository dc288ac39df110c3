import { LRUCache } from 'lru-cache';
import pLimit, { type LimitFunction } from 'p-limit';
import type { Problem, Spider } from '../model/spider.ts';
import { readSql, type SqlText } from '../model/sql_text.ts';
import type { LookupStep } from '../model/step_schema.ts';
import { inTransaction, openGuestPool, type Sql, type Tx } from './client.ts';

/** What one query may bring back: rows, and bytes of their JSON. */
interface Room {
  rows: number;
  bytes: number;
}
const FOR_STEP: Room = { rows: 1, bytes: 64 * 1024 };
const FOR_SCRIPT: Room = { rows: 1000, bytes: 1024 * 1024 };

const MAX_CONNECTIONS = 4;
const SCRIPT_TIMEOUT_MS = 10_000;
/** At the start of a crawl its queries are checked, where the database answers so soon. */
const CHECK_MS = 2000;
/** Characters of the queries that a connection knows. */
const MAX_KNOWN_CHARS = 2 * 1024 * 1024;
/** Seconds. */
const END_TIMEOUT = 1;

/** A lookup that came to nothing. The message never holds an address or a password. */
export class LookupFailed extends Error {
  /** `unknown_connection`, `bad_query`, `bad_value`, `timeout`, `connect`, `too_large`. */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** A connection's pool, opened at its first query, and what is known of the queries that it has seen. */
interface Connection {
  sql: Sql;
  /** Where a database does not answer, what waits for it gives up while it is still here, and costs nothing. */
  limit: LimitFunction;
  described: LRUCache<string, Promise<Described>>;
}

/** What the database says of a query: the types of its parameters, and the names of its columns. */
interface Described {
  types: string[];
  columns: string[];
}

/**
 * Queries on databases that the operator has named: in read-only transactions that are rolled back, under a time limit,
 * and with values that are never part of the text.
 *
 * Many questions of one query are asked as one statement, in which the query is a subquery and its parameters are columns
 * of the list of questions. So only what can be a subquery is accepted: a select, `values`, or `with … select`.
 */
export class Lookups {
  readonly #urls: ReadonlyMap<string, string>;
  readonly #open = new Map<string, Connection>();
  /** Statements sent. */
  statements = 0;

  /** @param urls by name */
  constructor(urls: ReadonlyMap<string, string>) {
    this.#urls = urls;
  }

  /**
   * Asks one query for each list of values; each gets its first row.
   *
   * @param questions JSON values for $1, $2 …
   * @returns for each question a JSON list with one row or none, or why it failed
   */
  async ask(
    connection: string,
    query: string,
    questions: readonly (readonly unknown[])[],
    timeoutMs: number,
  ): Promise<(string | LookupFailed)[]> {
    try {
      return await this.#ask(connection, query, questions, timeoutMs, FOR_STEP);
    } catch (error) {
      const failed = failureOf(error);
      return questions.map(() => failed);
    }
  }

  /**
   * The rows of one query, for `ctx.lookup`.
   *
   * @returns a JSON list of at most 1,000 objects and 1 MiB
   * @throws LookupFailed
   */
  async query(connection: string, query: string, params: readonly unknown[], signal: AbortSignal): Promise<string> {
    const asked = this.#ask(connection, query, [params], SCRIPT_TIMEOUT_MS, FOR_SCRIPT).catch((error) => {
      throw failureOf(error);
    });
    const [answer] = await within(asked, signal);
    if (answer instanceof LookupFailed) throw answer;
    return answer!;
  }

  /**
   * What is wrong with the queries of a spider's pipeline, whatever shape it has. Databases that do not answer within 2 s
   * are left out.
   */
  async check(spider: Spider): Promise<Problem[]> {
    const steps: unknown[] = Array.isArray(spider.pipeline) ? spider.pipeline : [];
    const checks = steps.map(async (step, i): Promise<Problem[]> => {
      const { connection, query, set } = (step as { lookup?: Partial<LookupStep> } | null)?.lookup ?? {};
      if (typeof connection !== 'string' || typeof query !== 'string') return [];
      const at = `/pipeline/${i}/lookup`;
      const found = await this.#tryOut(connection, query);
      if (!(found instanceof LookupFailed)) return columnProblems(set, found, `${at}/set`);
      const { code, message } = found;
      if (code === 'unknown_connection') return [{ pointer: `${at}/connection`, code, message }];
      return code === 'bad_query' ? [{ pointer: `${at}/query`, code, message }] : [];
    });
    return (await Promise.all(checks)).flat();
  }

  /** Closes every connection. */
  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map(({ sql }) => sql.end({ timeout: END_TIMEOUT })));
  }

  async #tryOut(connection: string, query: string): Promise<Described | LookupFailed> {
    try {
      const described = this.#connection(connection).limit(() => this.#describe(connection, query, CHECK_MS));
      return await within(described, AbortSignal.timeout(CHECK_MS));
    } catch (error) {
      return failureOf(error);
    }
  }

  async #ask(
    name: string,
    query: string,
    questions: readonly (readonly unknown[])[],
    timeoutMs: number,
    room: Room,
  ): Promise<(string | LookupFailed)[]> {
    const { limit, sql } = this.#connection(name);
    // By the clock, since a server that is gone does not keep its own time limit.
    const clock = AbortSignal.timeout(timeoutMs);
    const asked = limit(async () => {
      if (clock.aborted) throw new LookupFailed('timeout', 'no connection was free in time');
      const { types } = await this.#describe(name, query, timeoutMs);
      return this.#askAll(sql, wrap(parse(query), types, room), types, questions, timeoutMs);
    });
    return within(asked, clock);
  }

  /** A value that the database cannot take fails the statement of all: it is halved to find the culprit. */
  async #askAll(
    sql: Sql,
    statement: string,
    types: readonly string[],
    questions: readonly (readonly unknown[])[],
    timeoutMs: number,
  ): Promise<(string | LookupFailed)[]> {
    try {
      const columns = columnsOf(questions, types);
      this.statements++;
      const rows = await readOnly(sql, timeoutMs, (tx) =>
        tx.unsafe<{ n: number; rows: string | null; bytes: number }[]>(statement, columns as never[]),
      );
      const answers: (string | LookupFailed)[] = questions.map(() => '[]');
      for (const { n, rows: text, bytes } of rows)
        answers[n] = text ?? new LookupFailed('too_large', `the answer has ${bytes} bytes`);
      return answers;
    } catch (error) {
      const failed = failureOf(error);
      if (failed.code !== 'bad_value') throw failed;
      if (questions.length === 1) return [failed];
      const half = Math.ceil(questions.length / 2);
      return [
        ...(await this.#askAll(sql, statement, types, questions.slice(0, half), timeoutMs)),
        ...(await this.#askAll(sql, statement, types, questions.slice(half), timeoutMs)),
      ];
    }
  }

  #connection(name: string): Connection {
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const url = this.#urls.get(name);
    if (url === undefined) throw this.#unknown(name);
    const sql = openGuestPool(url, MAX_CONNECTIONS, 'orbweaver lookup');
    const described = new LRUCache<string, Promise<Described>>({
      maxSize: MAX_KNOWN_CHARS,
      sizeCalculation: (_, query) => query.length + 1,
    });
    const connection = { sql, limit: pLimit(MAX_CONNECTIONS), described };
    this.#open.set(name, connection);
    return connection;
  }

  #unknown(name: string): LookupFailed {
    const names = [...this.#urls.keys()].join(', ') || 'none';
    return new LookupFailed('unknown_connection', `there is no connection "${name}" in CONNECTIONS; known: ${names}`);
  }

  /** Asked once, and with it whether the query can be wrapped. */
  #describe(name: string, query: string, timeoutMs: number): Promise<Described> {
    const { sql, described } = this.#connection(name);
    const known = described.get(query);
    if (known !== undefined) return known;
    const asked = describe(sql, query, timeoutMs);
    described.set(query, asked);
    asked.catch(() => described.delete(query));
    return asked;
  }
}

/** Runs nothing. */
async function describe(sql: Sql, query: string, timeoutMs: number): Promise<Described> {
  const text = parse(query);
  return readOnly(sql, timeoutMs, async (tx) => {
    const statement = await tx.unsafe(query).describe();
    const types = await typeNames(tx, statement.types);
    try {
      await tx.unsafe(wrap(text, types, FOR_STEP)).describe();
    } catch (error) {
      const { code, message } = failureOf(error);
      const hint = 'the query must be one that can stand in parentheses: select, values, or with … select';
      throw new LookupFailed(code, code === 'bad_query' ? `${message}; ${hint}` : message);
    }
    return { types, columns: (statement.columns ?? []).map((column) => column.name) };
  });
}

/** Columns that a step takes and the query has not. */
function columnProblems(set: unknown, { columns }: Described, at: string): Problem[] {
  if (typeof set !== 'object' || set === null) return [];
  return Object.entries(set).flatMap(([field, column]) => {
    if (typeof column !== 'string' || columns.includes(column)) return [];
    const pointer = `${at}/${field.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const message = `the query has no column "${column}"; it has ${columns.join(', ')}`;
    return [{ pointer, code: 'unknown_name', message }];
  });
}

/** -1: a plain `character` would be cut to one character. */
async function typeNames(tx: Tx, oids: readonly number[]): Promise<string[]> {
  if (oids.length === 0) return [];
  const rows = await tx<{ name: string }[]>`
    select format_type(t::oid, -1) as name from unnest(${oids.map(String)}::text[]) with ordinality as u (t, n) order by n`;
  return rows.map(({ name }) => name);
}

function parse(query: string): SqlText {
  try {
    return readSql(query);
  } catch (error) {
    throw new LookupFailed('bad_query', (error as Error).message);
  }
}

/** The list of questions; quoted, so that no name of a user's query means it. */
const QUESTIONS = '"orbweaver questions"';

/** One statement for many questions: $1 their numbers, $2 the values of the first parameter, and so on. */
function wrap(text: SqlText, types: readonly string[], room: Room): string {
  const query = text.parts
    .map((part) => (typeof part === 'string' ? part : `(${QUESTIONS}."${part}")::${types[part - 1]}`))
    .join('');
  const lists = ['$1::int[]', ...types.map((_, i) => `$${i + 2}::text[]`)].join(', ');
  const names = ['n', ...types.map((_, i) => `"${i + 1}"`)].join(', ');
  // The line break ends a comment; `offset 0` keeps the query from being run once for each use of its answer.
  return `select n, case when octet_length(answer) <= ${room.bytes} then answer end as rows, octet_length(answer) as bytes
    from (
      select ${QUESTIONS}.n, (
        select coalesce(json_agg("orbweaver row")::text, '[]')
        from (select * from (${query}\n) as "orbweaver rows" limit ${room.rows}) as "orbweaver row"
      ) as answer
      from unnest(${lists}) as ${QUESTIONS} (${names})
      offset 0
    ) as answers`;
}

function columnsOf(questions: readonly (readonly unknown[])[], types: readonly string[]): unknown[][] {
  const wrong = questions.find((values) => values.length !== types.length);
  if (wrong !== undefined)
    throw new LookupFailed(
      'bad_query',
      `the query has ${types.length} parameters, and ${wrong.length} values are given`,
    );
  return [questions.map((_, i) => i), ...types.map((type, i) => questions.map((values) => toText(values[i], type)))];
}

/** A JSON value as the text that PostgreSQL casts to the type. */
function toText(value: unknown, type: string): string | null {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value) && type.endsWith('[]')) return toArray(value);
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  if (text.includes('\0')) throw new LookupFailed('bad_value', 'a value has a NUL character');
  return text.toWellFormed();
}

function toArray(values: readonly unknown[]): string {
  const quoted = values.map((value) => {
    const text = toText(value, '');
    return text === null ? 'null' : `"${text.replace(/["\\]/g, '\\$&')}"`;
  });
  return `{${quoted.join(',')}}`;
}

/** Carries a result out of a transaction that is rolled back: so no `set_config` outlives it in the pool. */
class RolledBack<T> extends Error {
  readonly result: T;
  constructor(result: T) {
    super('rolled back');
    this.result = result;
  }
}

const BEGIN = 'set transaction read only; savepoint asked';
/** A rollback keeps the session's advisory locks: on our own database a query could have kept new nodes from starting. */
const END = 'rollback to asked; select pg_advisory_unlock_all()';

async function readOnly<T>(sql: Sql, timeoutMs: number, work: (tx: Tx) => Promise<T>): Promise<T> {
  try {
    return await inTransaction(sql, async (tx) => {
      await tx.unsafe(`set local statement_timeout = ${timeoutMs}; ${BEGIN}`).simple();
      let result: T;
      try {
        result = await work(tx);
      } catch (error) {
        const { name, severity } = error as Error & { severity?: string };
        const isConnected = error instanceof LookupFailed || (name === 'PostgresError' && severity === 'ERROR');
        if (isConnected) await tx.unsafe(END).simple();
        throw error;
      }
      await tx.unsafe(END).simple();
      throw new RolledBack(result);
    });
  } catch (error) {
    if (error instanceof RolledBack) return error.result as T;
    throw error;
  }
}

/** The work's result, unless the signal fires first; what it comes to then is nobody's business. */
function within<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(new LookupFailed('timeout', 'no answer in time'));
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}

function failureOf(error: unknown): LookupFailed {
  if (error instanceof LookupFailed) return error;
  const { code = '', message, name } = error as Error & { code?: string };
  if (name !== 'PostgresError')
    return new LookupFailed('connect', `the database cannot be reached (${code || 'closed'})`);
  if (code === '57014') return new LookupFailed('timeout', 'the database took too long');
  if (/^(2[12]|P0)/.test(code)) return new LookupFailed('bad_value', message);
  if (/^(08|28|3D|53|57|58|XX)/.test(code)) return new LookupFailed('connect', `the database refuses (${code})`);
  return new LookupFailed('bad_query', message.slice(0, 500));
}
