import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inTransaction, type Sql, type Tx } from './client.ts';

const MIGRATIONS_DIR = fileURLToPath(new URL('../../migrations', import.meta.url));
const OLDEST_SERVER = 15;
/** Any number that no other use of this database takes for an advisory lock: "orbweave" in ASCII. */
const LOCK = '8030589350496532069';

/** Why this database cannot be used by this program, as one line for the operator. */
export class MigrationError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MigrationError';
  }
}

export interface Migration {
  version: number;
  /** The file's name. */
  name: string;
  /** SHA-256 of the text, with line ends as \n. */
  checksum: string;
  text: string;
}

/**
 * Brings the database to the newest version. Each file runs in a transaction together with its row in
 * `schema_migrations`; several nodes may do this at once.
 *
 * @returns the version
 * @throws MigrationError when the files or the database are not what they must be; the database is then as it was before
 * the file that failed
 */
export async function migrate(sql: Sql, dir = MIGRATIONS_DIR): Promise<number> {
  const files = await readMigrations(dir);
  await refuseOldServer(sql);
  for (let round = 0; round <= files.length; round++) {
    const version = await inTransaction(sql, (tx) => applyNext(tx, files));
    if (version === files.length) return version;
  }
  throw new MigrationError('The migrations do not come to an end');
}

/**
 * Reads `NNNN_name.sql`, numbered from 0001.
 *
 * @throws MigrationError for a gap, a number that is there twice, or another name
 */
export async function readMigrations(dir = MIGRATIONS_DIR): Promise<Migration[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.sql')).sort();
  const files: Migration[] = [];
  for (const name of names) {
    const number = /^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1];
    if (number === undefined) throw new MigrationError(`Migration ${name}: the name is not of the form 0001_name.sql`);
    const version = Number(number);
    if (version !== files.length + 1)
      throw new MigrationError(`Migration ${name}: number ${files.length + 1} was expected; no gap, none twice`);
    const text = (await readFile(join(dir, name), 'utf8')).replaceAll('\r\n', '\n');
    files.push({ version, name, checksum: createHash('sha256').update(text).digest('hex'), text });
  }
  return files;
}

async function refuseOldServer(sql: Sql): Promise<void> {
  const [row] = await sql<{ number: string; version: string }[]>`
    select current_setting('server_version_num') as number, current_setting('server_version') as version`;
  if (Number(row?.number) < OLDEST_SERVER * 10_000)
    throw new MigrationError(`PostgreSQL ${OLDEST_SERVER} or later is needed; the server is ${row?.version}`);
}

/** Applies one migration at most. @returns the version after it */
async function applyNext(tx: Tx, files: readonly Migration[]): Promise<number> {
  await tx`set local statement_timeout = 0`; // others may hold the lock for as long as a migration takes
  await tx`select pg_advisory_xact_lock(${LOCK}::bigint)`;
  await tx`create table if not exists schema_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
  )`;
  const applied = await tx<{ version: number; name: string; checksum: string }[]>`
    select version, name, checksum from schema_migrations order by version`;
  checkApplied(applied, files);
  const next = files[applied.length];
  if (next === undefined) return applied.length;
  try {
    await tx.unsafe(next.text);
  } catch (error) {
    throw new MigrationError(`Migration ${next.name} failed: ${(error as Error).message}`, { cause: error });
  }
  await tx`insert into schema_migrations (version, name, checksum) values (${next.version}, ${next.name}, ${next.checksum})`;
  return next.version;
}

function checkApplied(applied: readonly Omit<Migration, 'text'>[], files: readonly Migration[]): void {
  const newest = applied.at(-1)?.version ?? 0;
  if (newest > files.length)
    throw new MigrationError(
      `The database has version ${newest}, this program knows ${files.length}: run the newer program on it`,
    );
  applied.forEach((row, index) => {
    if (row.version !== index + 1)
      throw new MigrationError(`Version ${index + 1} was never applied, but later ones were`);
    if (row.checksum !== files[index]?.checksum)
      throw new MigrationError(`Migration ${row.name} was changed after it had been applied to this database`);
  });
}
