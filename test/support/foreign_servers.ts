/** Servers of Debian that exports write to, each started for one test file, in a directory that goes with it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from './free_port.ts';

/** Holds what a URL must escape, and a comma, as CONNECTIONS is separated by them. */
const PASSWORD = 'p@ss, w:rd/';

export interface ForeignServer {
  /** With user and password; of MariaDB without a database. */
  url: string;
  stop(): Promise<void>;
}

const needs = (program: string) =>
  existsSync(program) || process.env.CI_SERVERS === '1' ? false : `${program} is not installed`;

const MARIADB = '/usr/sbin/mariadbd';
/** As `describe` takes it: without the server its tests are skipped, but where CI_SERVERS is 1 they fail. */
export const withoutMariaDb = needs(MARIADB);
const REDIS = '/usr/bin/redis-server';
export const withoutRedis = needs(REDIS);

/** MariaDB whose user may do everything. Root has to say that it means it. */
export async function startMariaDb(options: readonly string[] = []): Promise<ForeignServer> {
  const dir = await mkdtemp(join(tmpdir(), 'orbweaver-mariadb-'));
  const user = process.getuid?.() === 0 ? ['--user=root'] : [];
  const data = `--datadir=${join(dir, 'data')}`;
  const made = ['--no-defaults', data, ...user, '--auth-root-authentication-method=normal', '--skip-test-db'];
  await promisify(execFile)('mariadb-install-db', [...made, '--skip-name-resolve']);
  const init = join(dir, 'init.sql');
  await writeFile(
    init,
    `create user orb@'127.0.0.1' identified by '${PASSWORD}';\ngrant all on *.* to orb@'127.0.0.1' with grant option;\n`,
  );
  const port = await freePort();
  const args = ['--no-defaults', data, ...user, `--port=${port}`, `--socket=${join(dir, 'socket')}`];
  const quick = ['--bind-address=127.0.0.1', '--skip-name-resolve', '--innodb-buffer-pool-size=24M'];
  const child = spawn(MARIADB, [...args, ...quick, `--init-file=${init}`, ...options], { stdio: 'ignore' });
  return running(child, dir, port, `mysql://orb:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/`);
}

/** Redis that writes nothing to the disk. */
export async function startRedis(): Promise<ForeignServer> {
  const dir = await mkdtemp(join(tmpdir(), 'orbweaver-redis-'));
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--requirepass', PASSWORD];
  const child = spawn(REDIS, [...args, '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
  return running(child, dir, port, `redis://:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}`);
}

async function running(child: ChildProcess, dir: string, port: number, url: string): Promise<ForeignServer> {
  // A test file that fails before it stops the server ends nevertheless, and leaves nothing behind.
  child.unref();
  const kill = () => {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  };
  process.once('exit', kill);
  const gone = once(child, 'exit');
  for (let tries = 0; !(await answers(port)); tries++) {
    if (tries === 600 || child.exitCode !== null) throw new Error(`${child.spawnfile} did not come up`);
    await sleep(25);
  }
  const stop = async () => {
    child.ref();
    child.kill('SIGKILL');
    await gone;
    process.off('exit', kill);
    await rm(dir, { recursive: true, force: true });
  };
  return { url, stop };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
