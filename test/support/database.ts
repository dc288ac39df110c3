import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openPool, type Sql } from '../../dist/db/client.js';
import { processIdentity } from '../../dist/db/embedded_owner.js';
import { migrate, readMigrations } from '../../dist/db/migrate.js';

export interface TestDatabase {
  /** Of this database. */
  url: string;
  sql: Sql;
  /** Closes `sql` and removes the database, whoever is still connected. */
  drop(): Promise<void>;
}

/** Of an advisory lock in the server's `postgres` database, held while the template is made. */
const TEMPLATE_LOCK = 7_201_409;

/**
 * A fresh, migrated database. On the server of `TEST_DATABASE_URL`, whose user may create databases; without it on an
 * embedded one that all test files of a run share, and that ends with the run.
 */
export async function testDatabase(): Promise<TestDatabase> {
  const server = process.env.TEST_DATABASE_URL || (await sharedServer());
  const template = await templateDatabase(server);
  const name = `orbweaver_test_${randomBytes(6).toString('hex')}`;
  await asAdmin(server, (admin) => admin`create database ${admin(name)} template ${admin(template)}`);
  const url = withDatabase(server, name);
  const sql = openPool(url, 10, 'test');
  const drop = async () => {
    await sql.end({ timeout: 1 });
    await asAdmin(server, (admin) => admin`drop database if exists ${admin(name)} with (force)`);
  };
  return { url, sql, drop };
}

function withDatabase(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

async function asAdmin<T>(server: string, work: (admin: Sql) => Promise<T>): Promise<T> {
  const admin = openPool(withDatabase(server, 'postgres'), 1, 'test admin');
  try {
    return await work(admin);
  } finally {
    await admin.end({ timeout: 1 });
  }
}

/** Migrated once per set of migrations; it gets its name when it is whole. */
async function templateDatabase(server: string): Promise<string> {
  const hash = createHash('sha256');
  for (const { checksum } of await readMigrations()) hash.update(checksum);
  const name = `orbweaver_template_${hash.digest('hex').slice(0, 16)}`;
  const exists = (admin: Sql) => admin`select 1 from pg_database where datname = ${name}`;
  await asAdmin(server, async (admin) => {
    if ((await exists(admin)).length > 0) return;
    await admin`select pg_advisory_lock(${TEMPLATE_LOCK})`; // one connection: it goes with it
    if ((await exists(admin)).length > 0) return;
    const half = `orbweaver_half_${randomBytes(6).toString('hex')}`;
    await admin`create database ${admin(half)}`;
    const sql = openPool(withDatabase(server, half), 1, 'test template');
    await migrate(sql).finally(() => sql.end({ timeout: 1 }));
    await admin`alter database ${admin(half)} rename to ${admin(name)}`;
  });
  return name;
}

/** The URL of the shared server; signs its user in and starts it where needed. */
async function sharedServer(): Promise<string> {
  const dir = sharedDirectory();
  await signIn(dir, process.pid);
  // The runner too, so that the server lasts from the first file to the last.
  if (process.env.NODE_TEST_CONTEXT !== undefined && process.ppid > 1) await signIn(dir, process.ppid);
  let starter: { exitCode: number | null } | null = null;
  for (let tries = 0; tries < 1200; tries++) {
    const url = await announcedUrl(dir);
    if (url !== null) return url;
    if (starter === null || starter.exitCode !== null) {
      const script = fileURLToPath(new URL('database_server.ts', import.meta.url));
      const child = spawn(process.execPath, [script, dir], { detached: true, stdio: 'ignore' });
      child.unref();
      starter = child;
    }
    await sleep(50);
  }
  throw new Error(`no test database came up in ${dir}`);
}

/** One per user of this machine and working tree: the programs come from the tree. */
function sharedDirectory(): string {
  const tree = createHash('sha256')
    .update(import.meta.url)
    .digest('hex')
    .slice(0, 8);
  return join(tmpdir(), `orbweaver-test-${process.getuid?.()}-${tree}`);
}

/** The server stays while this process lives. */
async function signIn(dir: string, pid: number): Promise<void> {
  const temp = join(dir, `user.${randomBytes(6).toString('hex')}`);
  for (let tries = 0; ; tries++) {
    try {
      await mkdir(join(dir, 'users'), { recursive: true });
      if ((await stat(dir)).uid !== process.getuid?.()) throw new Error(`${dir} belongs to another user`);
      await writeFile(temp, processIdentity(pid) ?? '');
      return await rename(temp, join(dir, 'users', String(pid)));
    } catch (error) {
      // The end of an earlier run may remove the directory between two of these lines.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === 20) throw error;
    }
  }
}

async function announcedUrl(dir: string): Promise<string | null> {
  try {
    const found: { url: string; pid: number; identity: string } = JSON.parse(
      await readFile(join(dir, 'server.json'), 'utf8'),
    );
    return processIdentity(found.pid) === found.identity ? found.url : null;
  } catch {
    return null;
  }
}
