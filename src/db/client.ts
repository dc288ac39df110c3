import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';

const TYPES = {
  /** int8 as a number: every counter here is far below 2⁵³. Ranks are not; they are read as text. */
  bigint: { to: 20, from: [20], serialize: (value: number | bigint) => value.toString(), parse: Number },
};

/** The arrays that statements here are given: smallint, int, text, bigint, float8, uuid. None is ever read. */
const ARRAY_OIDS = [1005, 1007, 1009, 1016, 1022, 2951];
const ARRAYS = { array: { to: 1009, from: ARRAY_OIDS, serialize: toArray, parse: (text: string) => text } };

/**
 * What JSON has in place of a control character or half a surrogate pair: a letter behind an odd number of backslashes. (An item
 * with line ends is JSON itself, in which they are escaped already.)
 */
const ESCAPED = /(?<!\\)(?:\\\\)*\\[bfnrtu]/;

/**
 * The text of an array of strings, numbers and nulls. In PostgreSQL's text for arrays quotes and backslashes are escaped as in
 * JSON, and nothing else is: so JSON's text of a list, written in one native call, is that of the array wherever JSON had
 * nothing else to escape. Value by value this was 7 % of the event loop's time, most of it for the quotes of items (2.8 µs each,
 * now 0.6; a fingerprint 0.4, now 0.1).
 */
function toArray(values: unknown): unknown {
  if (!Array.isArray(values)) return values;
  const json = values.every(isPlain) ? JSON.stringify(values) : null;
  return json === null || ESCAPED.test(json) ? `{${values.map(element).join(',')}}` : `{${json.slice(1, -1)}}`;
}

function isPlain(value: unknown): boolean {
  return value === null || value === undefined || typeof value === 'string' || Number.isFinite(value);
}

/** One element of an array's text. What is no string is a number here, and stands without quotes. */
function element(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (typeof value !== 'string') return String(value);
  return SPECIAL.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : `"${value}"`;
}

const SPECIAL = /["\\]/;

const IDLE_IN_TRANSACTION_MS = 5000;
const TRIES = 4;

export type Sql = postgres.Sql<{ bigint: number }>;
export type Tx = postgres.TransactionSql<{ bigint: number }>;
/** A pool or a transaction: what the functions of this folder take as their first argument. */
export type Db = Sql | Tx;

/**
 * Opens a pool. It connects lazily and again after a failure; `sql.end({ timeout })` closes it.
 *
 * @param max connections
 * @param name shows in `pg_stat_activity`
 * @param statementTimeoutMs after which the server cancels a statement
 */
export function openPool(url: string, max: number, name: string, statementTimeoutMs = 30_000): Sql {
  return postgres(url, {
    max,
    types: { ...TYPES, ...ARRAYS },
    // Its query has no owner: where the connection goes during it, its rejection is one that nobody can catch.
    fetch_types: false,
    onnotice: () => {},
    connect_timeout: 10,
    backoff: (retries) => Math.min(2, 0.1 * 2 ** retries),
    connection: {
      application_name: name,
      statement_timeout: statementTimeoutMs,
      // A node that is frozen inside a transaction (SIGSTOP, a paused machine) holds row locks that nobody can take from it:
      // the server ends its transaction well before its lease is over.
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      // Statements here take milliseconds, and where one is thought to cost much a server compiles it each time: Debian's
      // PostgreSQL 15 took 28 s of CPU for the tests of incremental crawls, and 1.3 s without.
      jit: 'off',
    },
  });
}

/**
 * Opens a pool on a database that is not ours: nothing is prepared, since a pooler may stand before it, and connections
 * that are not used are closed.
 */
export function openGuestPool(url: string, max: number, name: string): Sql {
  return postgres(url, {
    max,
    types: { ...TYPES, ...ARRAYS },
    fetch_types: false,
    prepare: false,
    onnotice: () => {},
    connect_timeout: 5,
    idle_timeout: 60,
    backoff: (retries) => Math.min(2, 0.1 * 2 ** retries),
    connection: { application_name: name, idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS },
  });
}

/** The connection is gone, or goes: a socket's error, the driver's own, or a FATAL of the server. */
function isLostConnection(error: unknown): boolean {
  const { code, severity } = error as { code?: string; severity?: string };
  return /^(CONNECTION_|ECONN|EPIPE|ETIMEDOUT|EHOST|ENET)/.test(code ?? '') || /^(FATAL|PANIC)$/.test(severity ?? '');
}

/**
 * Fails outside of a transaction, and else does nothing. A `begin` that the driver hands to a connection in the very turn in
 * which it breaks is resolved as done; without this the statements after it would run on the next connection, each for
 * itself. A round trip, 0.2 ms, for each transaction of hundreds of rows.
 */
const IN_TRANSACTION = 'lock table pg_catalog.pg_namespace in access share mode';

/**
 * Runs `work` in a transaction on a pool. The result is the callback's own; the driver's type would unwrap arrays.
 *
 * Where the connection is lost, the driver would still send its `rollback`, to a socket that is no more: an error that
 * nobody can catch, which ends the process (postgres.js 3.4, issues 1154 and 1208). So the work then never ends for the
 * driver, which rejects by itself when the connection closes.
 */
export function inTransaction<T>(sql: Sql, work: (tx: Tx) => Promise<T>): Promise<T> {
  return begin(sql, IN_TRANSACTION, work);
}

/** For the planner rows count, and pages, which are in memory, do not; and nothing is read whole. */
const BY_KEY = [
  ...['random_page_cost = 0', 'seq_page_cost = 0', 'cpu_tuple_cost = 0.1'],
  'plan_cache_mode = force_generic_plan',
  ...['seqscan', 'bitmapscan', 'hashjoin', 'mergejoin', 'material', 'sort'].map((plan) => `enable_${plan} = off`),
]
  .map((setting) => `; set local ${setting}`)
  .join('');

/**
 * The same for a transaction whose every statement finds its rows by key, whatever the planner believes of the tables:
 * statistics are a minute old at best, and a cached plan as old as its connection. With two thousand host queues in tables
 * that were empty when they were planned for, each claim of 128 read its crawl's whole ledger 256 times (170 to 450 ms), and
 * each fence check every lease 128 times (120 ms, of a thousand leases 900 ms). Values change nothing about such a plan, so
 * it is made once; planning takes 6 to 7 % of the server's time in a short crawl.
 */
export function inKeyedTransaction<T>(sql: Sql, work: (tx: Tx) => Promise<T>): Promise<T> {
  return begin(sql, IN_TRANSACTION + BY_KEY, work);
}

async function begin<T>(sql: Sql, first: string, work: (tx: Tx) => Promise<T>): Promise<T> {
  let result: T | undefined;
  await sql.begin(async (tx) => {
    await unlessLost(async () => {
      await tx.unsafe(first);
      result = await work(tx);
    });
  });
  return result as T;
}

async function unlessLost(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (isLostConnection(error)) await new Promise(() => {});
    throw error;
  }
}

/** Undoes the work alone where it fails; the transaction goes on. A lost connection is as in `inTransaction`. */
export async function inSavepoint(tx: Tx, work: (tx: Tx) => Promise<void>): Promise<void> {
  await tx.savepoint((inner) => unlessLost(() => work(inner)));
}

/**
 * True where the statement may succeed when it is run again: the connection went (25P03: while this node was frozen), the
 * server restarts, a deadlock.
 */
export function isTransient(error: unknown): boolean {
  const code = (error as { code?: string }).code ?? '';
  return (
    /^(08|53|57P|25P03$|40001$|40P01$|55P03$|57014$)/.test(code) ||
    /^(CONNECTION_|CONNECT_TIMEOUT|ECONN|EPIPE|ENOENT|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_AGAIN)/.test(code)
  );
}

/** Tries again after a lost connection, a restart or a deadlock, for about a second. @param work is told its attempt, from 1 */
export async function retried<T>(work: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      if (attempt >= TRIES || !isTransient(error)) throw error;
      await sleep(100 * 2 ** attempt);
    }
  }
}

/** Tries again, however long the database is away. @throws the signal's reason */
export async function patiently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (!isTransient(error)) throw error;
      await sleep(Math.min(1000, 20 * 2 ** attempt), undefined, { signal }).catch(() => {});
    }
  }
}
