import { type SpawnOptions, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, lchown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { EmbeddedServerError } from './embedded_error.ts';
import { findPrograms, type Programs, SYSTEM_DIR } from './embedded_programs.ts';
import { type DatabaseUser, isRoot, makeOpenDirectory, mayReach, unprivilegedUser } from './embedded_user.ts';

/** Superuser of the cluster and name of the one database. */
export const DATABASE_NAME = 'orbweaver';

/** A database cluster on disk, ready to be served. */
export interface Cluster {
  data: string;
  /** The server's log. In DATA_DIR itself: what root opens must not lie where the database user could put a link. */
  log: string;
  password: string;
  /** Whom the server runs as; null: this process's user. */
  user: DatabaseUser | null;
  programs: Programs;
}

/**
 * Finds the cluster of `dataDir`, or makes it. It is `<dataDir>/postgres`; where the database user cannot get there, a
 * directory of the system, which `<dataDir>/postgres.location` names.
 *
 * @param dataDir absolute, existing, owned by this process
 * @throws EmbeddedServerError
 */
export async function prepareCluster(dataDir: string, log: (line: string) => void): Promise<Cluster> {
  await removeUnfinished(join(dataDir, 'postgres'));
  const existing = await existingHome(dataDir);
  const user = await userFor(existing);
  const programs = await findPrograms(user);
  const home = existing ?? (await newHome(dataDir, user));
  if (!existsSync(home)) {
    log(`initialising the database in ${home}`);
    await initialise(home, user, programs);
  }
  if (user !== null && !(await mayReach(dirname(home), user, 1)))
    throw new EmbeddedServerError(
      `${home} was moved or closed: the database's user (uid ${user.uid}) may not get there`,
    );
  const password = (await readFile(join(home, 'password'), 'utf8')).trim();
  return { data: join(home, 'data'), log: join(dataDir, 'postgres.log'), password, user, programs };
}

function locationFile(dataDir: string): string {
  return join(dataDir, 'postgres.location');
}

async function existingHome(dataDir: string): Promise<string | null> {
  const local = join(dataDir, 'postgres');
  if (existsSync(local)) return local;
  if (!existsSync(locationFile(dataDir))) return null;
  return (await readFile(locationFile(dataDir), 'utf8')).split('\n')[0] ?? null;
}

/** PostgreSQL insists on running as the owner of its files, so that one stays whatever users come or go. */
async function userFor(home: string | null): Promise<DatabaseUser | null> {
  const owner = home !== null && existsSync(home) ? await stat(home) : null;
  if (isRoot()) {
    if (owner !== null && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
    const user = await unprivilegedUser();
    if (owner !== null) await giveAll(home!, user); // root copied it from elsewhere
    return user;
  }
  if (owner !== null && owner.uid !== process.getuid?.())
    throw new EmbeddedServerError(
      `${home} belongs to the user with uid ${owner.uid}; run as that user or as root, or take another DATA_DIR`,
    );
  return null;
}

async function giveAll(dir: string, user: DatabaseUser): Promise<void> {
  await chown(dir, user.uid, user.gid);
  for (const name of await readdir(dir, { recursive: true })) await lchown(join(dir, name), user.uid, user.gid);
}

async function newHome(dataDir: string, user: DatabaseUser | null): Promise<string> {
  if (user === null || (await mayReach(dataDir, user, 1))) return join(dataDir, 'postgres');
  await makeOpenDirectory(SYSTEM_DIR);
  if (!(await mayReach(SYSTEM_DIR, user, 1)))
    throw new EmbeddedServerError(
      `DATA_DIR ${dataDir} and ${SYSTEM_DIR} are closed to the database's user (uid ${user.uid}); take another DATA_DIR`,
    );
  // A random part, because a DATA_DIR that was deleted and made again is meant to be empty.
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 12);
  const home = join(SYSTEM_DIR, `${hash}-${randomBytes(3).toString('hex')}`);
  const note = 'The first line names the directory of the database: its user cannot reach this one.';
  await writeFile(locationFile(dataDir), `${home}\n${note}\nDelete both together.\n`);
  return home;
}

/** Half clusters, of an initdb that was killed. */
async function removeUnfinished(home: string): Promise<void> {
  const prefix = `${basename(home)}.init-`;
  const names = await readdir(dirname(home));
  const unfinished = names.filter((name) => name.startsWith(prefix));
  await Promise.all(
    unfinished.map((name) => rm(join(dirname(home), name), { recursive: true, force: true, maxRetries: 5 })),
  );
}

/** The directory gets its name when the cluster is whole, with its password beside it. */
async function initialise(home: string, user: DatabaseUser | null, programs: Programs): Promise<void> {
  const temp = `${home}.init-${randomBytes(6).toString('hex')}`;
  const password = join(temp, 'password');
  try {
    await mkdir(temp, { mode: 0o700 });
    await writeFile(password, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
    if (user !== null) await giveAll(temp, user);
    await runInitdb(programs.initdb, join(temp, 'data'), password, user);
    await rename(temp, home);
  } catch (error) {
    await rm(temp, { recursive: true, force: true, maxRetries: 5 });
    throw error;
  }
}

/** `C.UTF-8` of PostgreSQL's own: order by code point, no dependence on the machine's locales. */
async function runInitdb(initdb: string, data: string, pwfile: string, user: DatabaseUser | null): Promise<void> {
  const locale = ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--encoding=UTF8'];
  const args = ['-D', data, '-U', DATABASE_NAME, `--pwfile=${pwfile}`, '--auth=scram-sha-256', ...locale];
  const child = spawn(initdb, args, { ...serverProcess(dirname(data), user), stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-4000);
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', (error) => reject(cannotRun(initdb, error)));
  child.once('close', (code) => resolve(code));
  const code = await promise;
  if (code !== 0)
    throw new EmbeddedServerError(
      `The embedded database could not be initialised (initdb ended with ${code}): ${output}`,
    );
}

/** How every program of the server is run: as the database user, with nothing of this process's environment. */
export function serverProcess(cwd: string, user: DatabaseUser | null): SpawnOptions {
  const env = { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C' };
  return user === null ? { cwd, env } : { cwd, env, uid: user.uid, gid: user.gid };
}

/** The error for a program that could not even be started. */
export function cannotRun(program: string, error: Error): EmbeddedServerError {
  // ENOENT for a file that is there: its loader is not, as on musl.
  const missing = (error as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(program);
  const reason = missing ? 'this system has no glibc' : error.message;
  return new EmbeddedServerError(`The embedded database's program ${program} cannot run: ${reason}; set DATABASE_URL`, {
    cause: error,
  });
}
