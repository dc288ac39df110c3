import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { chown, type FileHandle, open, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPool } from './client.ts';
import { type Cluster, cannotRun, DATABASE_NAME, serverProcess } from './embedded_cluster.ts';
import { EmbeddedServerError } from './embedded_error.ts';
import { processIdentity } from './embedded_owner.ts';

/**
 * What differs from PostgreSQL's defaults. Nothing about durability does: fsync, synchronous_commit and full_page_writes
 * stay on.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  huge_pages: 'off',
  max_wal_size: '2GB', // fewer checkpoints while a crawl writes
  jit: 'off', // costs more than it saves on statements of milliseconds
  max_parallel_workers_per_gather: '0', // the cores belong to the crawl; and /dev/shm is small in a container
  autovacuum_naptime: '10s', // the ledger's queue index dies as fast as it grows
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'warning',
  log_min_error_statement: 'panic', // no statements, and so no items, in the log
  log_checkpoints: 'off',
  log_autovacuum_min_duration: '-1',
};

/** A running server. */
export interface Postmaster {
  pid: number;
  identity: string;
  port: number;
  /** Null when an earlier process had started it. */
  child: ChildProcess | null;
}

interface PidFile {
  pid: number;
  port: number;
  status: string;
}

export function databaseUrl(cluster: Cluster, port: number, database: string): string {
  return `postgres://${DATABASE_NAME}:${cluster.password}@127.0.0.1:${port}/${database}`;
}

/** True while this very process lives. */
export function isRunning({ pid, identity }: Postmaster): boolean {
  return processIdentity(pid) === identity;
}

/**
 * The server that an earlier, killed process left running on this cluster, when it answers; one that does not is
 * stopped, and so is every one when the signal fires. Null: there is none, and a new one may start.
 */
export async function adopt(cluster: Cluster, signal: AbortSignal): Promise<Postmaster | null> {
  const found = await readPidFile(cluster.data);
  if (found === null) return null;
  if (!(found.pid > 0)) return removeEmptyPidFile(cluster.data);
  const identity = processIdentity(found.pid);
  if (identity === null) return null;
  if (!(await serves(found.pid, cluster))) {
    await disown(cluster);
    return null;
  }
  const server = { pid: found.pid, identity, port: found.port, child: null };
  for (let tries = 0; tries < 600 && isRunning(server) && !signal.aborted; tries++) {
    const now = await readPidFile(cluster.data);
    if (now?.status === 'ready' && (await answers(cluster, now.port))) return { ...server, port: now.port };
    await sleep(100);
  }
  await shutDown(server);
  return null;
}

/**
 * Starts a server on a free port of 127.0.0.1 and waits until it takes connections, which after a crash is when it has
 * replayed its log. It has a process group of its own, so that Ctrl-C reaches the service alone, which then stops it.
 *
 * @throws EmbeddedServerError with the end of the server's log; the signal's reason, with the server stopped
 */
export async function launch(cluster: Cluster, log: (line: string) => void, signal: AbortSignal): Promise<Postmaster> {
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted();
    const port = await freePort();
    const child = await spawnServer(cluster, port);
    const identity = processIdentity(child.pid!);
    if (identity !== null) {
      const server = { pid: child.pid!, identity, port, child };
      if (await becomesReady(cluster, child, log, signal)) return server;
      if (signal.aborted) await shutDown(server);
      signal.throwIfAborted();
    }
    const reason = await logTail(cluster.log);
    // Either passes: someone was quicker to take the port, or children of a killed server have not noticed yet.
    const passing = /could not create any TCP|pre-existing shared memory block|lock file .* already exists/.test(
      reason,
    );
    if (!passing || attempt >= 60) throw new EmbeddedServerError(`The embedded database did not start: ${reason}`);
    await sleep(250);
  }
}

/** A fast shutdown (open transactions roll back), harder where that takes longer than a minute. Returns when it is gone. */
export async function shutDown(server: Postmaster): Promise<void> {
  const steps: [NodeJS.Signals, number][] = [
    ['SIGINT', 60_000],
    ['SIGQUIT', 10_000],
    ['SIGKILL', 5_000],
  ];
  for (const [signal, patience] of steps) {
    if (!isRunning(server)) return;
    try {
      process.kill(server.pid, signal);
    } catch {
      return; // gone between the two lines
    }
    for (let waited = 0; waited < patience && isRunning(server); waited += 20) await sleep(20);
  }
  if (isRunning(server))
    throw new EmbeddedServerError(`The embedded database (process ${server.pid}) cannot be stopped`);
}

/** The lines of postmaster.pid that matter: 1 pid, 4 port, 8 status; the last is written when the server is ready. */
async function readPidFile(data: string): Promise<PidFile | null> {
  try {
    const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n');
    return { pid: Number(lines[0]), port: Number(lines[3]), status: lines[7]?.trim() ?? '' };
  } catch {
    return null;
  }
}

/** PostgreSQL was killed between making the file and writing to it, and does not start while it is there. */
async function removeEmptyPidFile(data: string): Promise<null> {
  await sleep(1000); // or it is writing right now
  if (!((await readPidFile(data))?.pid ?? 0)) await rm(join(data, 'postmaster.pid'), { force: true });
  return null;
}

/** True where the process is the server of this cluster, and not another one that was given its pid. */
async function serves(pid: number, { data, user }: Cluster): Promise<boolean> {
  try {
    if (process.platform !== 'linux') {
      const command = execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
      return command.includes(`/postgres -D ${data} `);
    }
    const owner = statSync(`/proc/${pid}`).uid;
    const program = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '';
    if (!program.endsWith('/postgres') || owner !== (user?.uid ?? process.getuid?.())) return false;
    return readlinkSync(`/proc/${pid}/cwd`) === (await realpath(data)); // PostgreSQL works in its data directory
  } catch {
    return false;
  }
}

/**
 * Writes a pid that no process can have into postmaster.pid. PostgreSQL would refuse to start beside a living process of
 * that pid; deleting the file would also take away the key by which it finds children that outlived their server.
 */
async function disown({ data, user }: Cluster): Promise<void> {
  const file = join(data, 'postmaster.pid');
  const lines = (await readFile(file, 'utf8')).split('\n');
  await rm(file);
  await writeFile(file, ['1073741823', ...lines.slice(1)].join('\n'), { flag: 'wx', mode: 0o600 });
  if (user !== null) await chown(file, user.uid, user.gid);
}

async function answers(cluster: Cluster, port: number): Promise<boolean> {
  const sql = openPool(databaseUrl(cluster, port, 'postgres'), 1, 'orbweaver start');
  try {
    await sql`select 1`;
    return true;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
  });
  return promise;
}

/** Its output goes to a file: a pipe would break, and the server with it, when this process is killed. */
async function spawnServer(cluster: Cluster, port: number): Promise<ChildProcess> {
  const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const log: FileHandle = await open(cluster.log, 'a', 0o600);
  try {
    await log.truncate();
    const child = spawn(cluster.programs.postgres, ['-D', cluster.data, '-p', String(port), ...settings], {
      ...serverProcess(dirname(cluster.data), cluster.user),
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    child.unref();
    const { promise, resolve, reject } = Promise.withResolvers<ChildProcess>();
    child.once('spawn', () => resolve(child));
    child.once('error', (error) => reject(cannotRun(cluster.programs.postgres, error)));
    return await promise;
  } finally {
    await log.close();
  }
}

/** False when it ended instead, or the signal fired. Replaying the log after a crash may take minutes. */
async function becomesReady(
  { data }: Cluster,
  child: ChildProcess,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<boolean> {
  for (let tries = 1; tries < 90_000; tries++) {
    if (signal.aborted) return false;
    if (child.exitCode !== null || child.signalCode !== null) return false;
    const file = await readPidFile(data);
    if (file?.pid === child.pid && file?.status === 'ready') return true;
    if (tries % 1000 === 0) log('the database is recovering from a crash');
    await sleep(10);
  }
  child.kill('SIGQUIT');
  return false;
}

async function logTail(file: string): Promise<string> {
  const lines = (await readFile(file, 'utf8')).trim().split('\n');
  const grave = lines.filter((line) => /FATAL|PANIC|error while loading/.test(line));
  return `${(grave.length > 0 ? grave : lines).slice(-5).join(' | ')} (log: ${file})`;
}
