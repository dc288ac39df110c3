import postgres from 'postgres';

const TYPES = {
  /** int8 as a number: every counter here is far below 2⁵³. Ranks are not; they are read as text. */
  bigint: { to: 20, from: [20], serialize: (value: number | bigint) => value.toString(), parse: Number },
};

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
    types: TYPES,
    onnotice: () => {},
    connect_timeout: 10,
    backoff: (retries) => Math.min(2, 0.1 * 2 ** retries),
    connection: { application_name: name, statement_timeout: statementTimeoutMs },
  });
}

/** True where the statement may succeed when it is run again: the connection went, the server restarts, a deadlock. */
export function isTransient(error: unknown): boolean {
  const code = (error as { code?: string }).code ?? '';
  return (
    /^(08|53|57P|40001$|40P01$|55P03$|57014$)/.test(code) ||
    /^(CONNECTION_|CONNECT_TIMEOUT|ECONN|EPIPE|ENOENT|ETIMEDOUT|EHOSTUNREACH)/.test(code)
  );
}
