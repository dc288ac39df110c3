import { execFile } from 'node:child_process';
import type { Stats } from 'node:fs';
import { chmod, mkdir, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedServerError } from './embedded_error.ts';

const run = promisify(execFile);

/** Whom PostgreSQL runs as, when this process is root. */
export interface DatabaseUser {
  uid: number;
  gid: number;
}

/** PostgreSQL refuses to run as root; every other user runs it himself. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/**
 * A user without rights for PostgreSQL to run as: `postgres`, `orbweaver` (made where possible), `nobody`.
 *
 * @throws EmbeddedServerError when there is none
 */
export async function unprivilegedUser(): Promise<DatabaseUser> {
  const known = (await findUser('postgres')) ?? (await findUser('orbweaver'));
  if (known !== null) return known;
  try {
    await run('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', 'orbweaver']);
  } catch {
    // No such tool, or a read-only /etc: nobody will do.
  }
  const user = (await findUser('orbweaver')) ?? (await findUser('nobody'));
  if (user === null)
    throw new EmbeddedServerError(
      'PostgreSQL does not run as root and there is no other user; add one, or set DATABASE_URL',
    );
  return user;
}

async function findUser(name: string): Promise<DatabaseUser | null> {
  try {
    const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, name])));
    const user = { uid: Number(uid?.stdout), gid: Number(gid?.stdout) };
    return user.uid > 0 ? user : null;
  } catch {
    return null;
  }
}

/** True where the user may enter each directory above `path`, by their mode bits, and has `bits` (4 read, 1 enter) on it. */
export async function mayReach(path: string, user: DatabaseUser, bits: number): Promise<boolean> {
  const real = await realpath(path);
  if (!allows(await stat(real), user, bits)) return false;
  let dir = real;
  while (dir !== dirname(dir)) {
    dir = dirname(dir);
    if (!allows(await stat(dir), user, 1)) return false;
  }
  return true;
}

function allows(stats: Stats, user: DatabaseUser, bits: number): boolean {
  const shift = stats.uid === user.uid ? 6 : stats.gid === user.gid ? 3 : 0;
  return ((stats.mode >> shift) & bits) === bits;
}

/** Makes a directory, and those above it, so that every user may enter it, whatever the umask; those there stay as they are. */
export async function makeOpenDirectory(path: string): Promise<void> {
  const first = await makeWithin(path, MKDIR_LIMIT_MS);
  if (first === undefined) return;
  for (let dir = path; dir.length >= first.length; dir = dirname(dir)) await chmod(dir, 0o755);
}

/** Below /proc and its like, Node's recursive mkdir never settles. */
const MKDIR_LIMIT_MS = 10_000;

async function makeWithin(path: string, limitMs: number): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${path} cannot be made`)), limitMs);
  });
  try {
    return await Promise.race([mkdir(path, { recursive: true }), late]);
  } finally {
    clearTimeout(timer);
  }
}
