import { mkdtempSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = `orbweaver-render-${hostname()}-`;
/** A removal waits for the last of the browser's processes. */
const REMOVAL = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };

/** A directory of its own for a browser: profile, and whatever else it writes. */
export function newDirectory(): string {
  return mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
}

/** Never rejects: what cannot be removed stays. */
export function removeDirectory(path: string): Promise<void> {
  return rm(path, REMOVAL).catch(() => {});
}

/** Removes what processes of this machine left that were killed. */
export async function removeLeftovers(): Promise<void> {
  const names = await readdir(tmpdir()).catch(() => []);
  for (const name of names) {
    const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length).split('-')[0]) : Number.NaN;
    if (Number.isInteger(pid) && !isAlive(pid)) await removeDirectory(join(tmpdir(), name));
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
