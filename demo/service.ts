import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(new URL('../dist/server.js', import.meta.url));

/** The service as a process of its own, with a database of its own in a temporary folder. */
export interface Service {
  url: string;
  /** Resolves with its exit code when it ends. */
  ended: Promise<number | null>;
  /** SIGTERM; resolves when it is gone and its folder is removed. */
  stop(): Promise<void>;
}

/**
 * Starts the service on a free port. Settings of the environment that would lead it elsewhere are blanked.
 *
 * @throws Error with what the service said, when it does not start; nothing is left behind
 */
export async function startService(): Promise<Service> {
  const dataDir = await mkdtemp(join(tmpdir(), 'orbweaver demo '));
  await chmod(dataDir, 0o755); // started by root, the database runs as a user who must get there
  const own = { HOST: '127.0.0.1', PORT: '0', DATA_DIR: dataDir, EGRESS_ALLOW: '127.0.0.0/8', LOG_LEVEL: 'warn' };
  const child = spawn(process.execPath, [SERVER], {
    env: { ...process.env, DATABASE_URL: '', API_KEYS: '', ROLE: '', ...own },
    detached: true, // Ctrl-C reaches the demo alone, which then stops the service in order
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const url = await listening(child, ended);
  if (url === null) {
    await removeData(dataDir);
    throw new Error('the service did not start');
  }
  return {
    url,
    ended,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      await removeData(dataDir);
    },
  };
}

/** The address from the service's one line on stdout; everything else it says goes to stderr. Null: it ended. */
async function listening(child: ChildProcess, ended: Promise<unknown>): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  for (const stream of [child.stdout!, child.stderr!])
    createInterface({ input: stream }).on('line', (line) => {
      const address = /listens on (\S+)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
      else console.error(line);
    });
  void ended.then(() => resolve(null));
  return promise;
}

/** The database lies in the folder, or where the folder's first line of `postgres.location` says. */
async function removeData(dataDir: string): Promise<void> {
  const note = await readFile(join(dataDir, 'postgres.location'), 'utf8').catch(() => '');
  const elsewhere = note.split('\n')[0] ?? '';
  const options = { recursive: true, force: true, maxRetries: 5 };
  if (elsewhere !== '') await rm(elsewhere, options);
  await rm(dataDir, options);
}
