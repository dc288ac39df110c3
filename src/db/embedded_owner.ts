import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmbeddedServerError } from './embedded_error.ts';

/** Of a file name: `owner.<pid>.<hash of its identity>.<random>`. */
const PREFIX = 'owner.';

/**
 * What tells a process from a later one with the same pid: its start time (and the boot, on Linux).
 *
 * @returns null when there is no such process, or only its zombie
 */
export function processIdentity(pid: number): string | null {
  try {
    if (process.platform !== 'linux') {
      const [state, ...started] = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { encoding: 'utf8' })
        .trim()
        .split(/\s+/);
      return state === undefined || state.startsWith('Z') ? null : started.join(' ');
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the name in parentheses may hold anything; after it, state is field 3 and starttime field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${fields[19]}`;
  } catch {
    return null;
  }
}

/**
 * Makes this process the only one that uses the directory, until the returned function is called or the process is gone.
 *
 * Each comer puts up a file that names it, then looks for those of others, and has the directory when no other living one
 * is there: of two, the later to put up its file sees the other. Of several comers the first by name waits for the rest
 * to withdraw, so that one of them wins. (Removing a dead owner's single lock file has no atomic form: two comers may
 * each think that they removed the dead one's, when the second removed the first's.)
 *
 * @throws EmbeddedServerError when a living process has it
 */
export async function takeOwnership(dataDir: string): Promise<() => Promise<void>> {
  const mine = `${PREFIX}${process.pid}.${identityHash(process.pid)}.${randomBytes(4).toString('hex')}`;
  const file = join(dataDir, mine);
  const release = () => rm(file, { force: true });
  let others: string[] = [];
  for (let tries = 0; tries < 20; tries++) {
    await writeFile(file, '');
    others = (await livingOwners(dataDir)).filter((name) => name !== mine);
    if (others.length === 0) return release;
    if (others.some((name) => name < mine)) await release();
    await sleep(20);
  }
  await release();
  throw new EmbeddedServerError(
    `DATA_DIR ${dataDir} is in use by process ${pidOf(others[0] ?? '')}; stop it, or set DATABASE_URL to share one database between nodes`,
  );
}

/** The names of the files of living processes; those of dead ones are removed. */
async function livingOwners(dataDir: string): Promise<string[]> {
  const living: string[] = [];
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(PREFIX)) continue;
    if (identityHash(pidOf(name)) === name.split('.')[2]) living.push(name);
    else await rm(join(dataDir, name), { force: true });
  }
  return living;
}

function pidOf(name: string): number {
  return Number(name.split('.')[1]);
}

function identityHash(pid: number): string {
  return createHash('sha256')
    .update(processIdentity(pid) ?? '')
    .digest('hex')
    .slice(0, 16);
}
