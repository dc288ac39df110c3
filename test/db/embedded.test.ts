import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openPool } from '../../dist/db/client.js';
import {
  type EmbeddedOptions,
  type EmbeddedServer,
  EmbeddedServerError,
  startEmbedded,
} from '../../dist/db/embedded.js';
import { processIdentity } from '../../dist/db/embedded_owner.js';

let root: string;
let dataDir: string;
const servers: EmbeddedServer[] = [];
const children: ChildProcess[] = [];

// A space and a quote in every path. Making a cluster takes a second, so the tests share one, and those that need
// another one take a directory of their own.
before(async () => {
  root = await mkdtemp(join(tmpdir(), "orbweaver it's "));
  await chmod(root, 0o755);
});
after(() => rm(root, { recursive: true }));
beforeEach(() => {
  dataDir = join(root, 'the data');
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  const place = await movedTo();
  if (place !== null) await rm(place, { recursive: true });
});

async function start(options: Omit<EmbeddedOptions, 'dataDir'> = {}): Promise<EmbeddedServer> {
  const server = await startEmbedded({ dataDir, ...options });
  servers.push(server);
  return server;
}

/** Starts the server in another process, which stays. */
async function startInChild(): Promise<{ child: ChildProcess; url: string }> {
  const script = fileURLToPath(new URL('embedded_child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = await once(child.stdout!, 'data');
  return { child, url: String(line).trim() };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const sql = openPool(url, 1, 'test');
  try {
    return [...(await sql.unsafe(text))];
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function movedTo(): Promise<string | null> {
  const note = await readFile(join(dataDir, 'postgres.location'), 'utf8').catch(() => null);
  return note?.split('\n')[0] ?? null;
}

const pidFile = () => join(dataDir, 'postgres', 'data', 'postmaster.pid');
const postmasterPid = async () => Number((await readFile(pidFile(), 'utf8')).split('\n')[0]);
const write = (url: string) =>
  query(url, 'drop table if exists t; create table t (n integer); insert into t values (7)');
const read = async (url: string) => (await query(url, 'select n from t')).map((row) => row.n);

test('starts durable, stops fast, may be stopped twice, and has its data the next time', async () => {
  const first = await start();
  assert.equal(first.adopted, false);
  assert.equal(new URL(first.url).hostname, '127.0.0.1');
  const [settings] = await query(
    first.url,
    `select current_setting('fsync') fsync, current_setting('synchronous_commit') commit, current_setting('full_page_writes') pages,
       current_setting('data_checksums') checksums, current_setting('server_encoding') encoding, current_database() name`,
  );
  assert.deepEqual(settings, {
    fsync: 'on',
    commit: 'on',
    pages: 'on',
    checksums: 'on',
    encoding: 'UTF8',
    name: 'orbweaver',
  });
  await write(first.url);
  const pid = await postmasterPid();
  await Promise.all([first.stop(), first.stop()]);
  assert.equal(processIdentity(pid), null);
  assert.deepEqual((await readdir(dataDir)).sort(), ['postgres', 'postgres.log']);
  const second = await start();
  assert.deepEqual(await read(second.url), [7]);
});

test('wants the password, which only its user may read', async () => {
  const { url } = await start();
  const wrong = new URL(url);
  wrong.password = 'guess';
  await assert.rejects(query(wrong.href, 'select 1'), /password authentication failed/);
  assert.equal((await stat(join(dataDir, 'postgres', 'password'))).mode & 0o777, 0o600);
});

test('a server whose service was killed is taken over, with its data', async () => {
  const { child, url } = await startInChild();
  await write(url);
  await kill(child);
  const server = await start();
  assert.equal(server.adopted, true);
  assert.equal(server.url, url);
  assert.deepEqual(await read(server.url), [7]);
  const pid = await postmasterPid();
  await server.stop();
  assert.equal(processIdentity(pid), null);
});

test('service and server killed at once, with a query running: recovers by itself', async () => {
  const { child, url } = await startInChild();
  await write(url);
  const busy = query(url, 'select pg_sleep(60)').catch(() => {});
  process.kill(await postmasterPid(), 'SIGKILL');
  await kill(child);
  const server = await start();
  assert.equal(server.adopted, false);
  assert.deepEqual(await read(server.url), [7]);
  await busy;
});

test('the pid of a dead server that now belongs to another process does not matter, nor does a broken pid file', async () => {
  const first = await start();
  await write(first.url);
  const lines = (await readFile(pidFile(), 'utf8')).split('\n');
  await first.stop();
  await writeFile(pidFile(), [process.pid, ...lines.slice(1)].join('\n'));
  const second = await start();
  assert.equal(second.adopted, false);
  assert.deepEqual(await read(second.url), [7]);
  await second.stop();
  await writeFile(pidFile(), '');
  assert.deepEqual(await read((await start()).url), [7]);
});

test('a second service on the same directory is refused, by name, and disturbs nothing', async () => {
  const { child, url } = await startInChild();
  await assert.rejects(start(), (error: Error) => {
    assert.ok(error instanceof EmbeddedServerError);
    assert.match(error.message, new RegExp(`in use by process ${child.pid}; stop it, or set DATABASE_URL`));
    return true;
  });
  await write(url);
  await kill(child);
  assert.equal((await start()).adopted, true);
});

test('of many that start at once after a crash, one wins', async () => {
  const { child } = await startInChild();
  await kill(child);
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => start()));
  assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
});

test('an initdb that was killed half-way leaves no cluster', async () => {
  dataDir = join(root, 'half');
  const half = join(dataDir, 'postgres.init-0123456789ab', 'data');
  await mkdir(half, { recursive: true });
  await writeFile(join(half, 'PG_VERSION'), '18\n');
  await start();
  assert.equal(existsSync(dirname(half)), false);
});

test('the end of the server is told, once', async () => {
  const { promise, resolve } = Promise.withResolvers<unknown[]>();
  const server = await start({ onExit: (...args) => resolve(args) });
  process.kill(await postmasterPid(), 'SIGKILL');
  const alive = setInterval(() => {}, 1000);
  assert.deepEqual(await promise, [null, 'SIGKILL']);
  clearInterval(alive);
  await server.stop();
});

test('a cluster that cannot start says why in one line, and frees the directory', async () => {
  await (await start()).stop();
  const control = join(dataDir, 'postgres', 'data', 'global', 'pg_control');
  const bytes = await readFile(control);
  await writeFile(control, bytes.subarray(0, 100));
  await assert.rejects(start(), (error: Error) => {
    assert.ok(error instanceof EmbeddedServerError);
    assert.match(error.message, /^The embedded database did not start: .*(FATAL|PANIC).*pg_control.*postgres\.log\)$/);
    return true;
  });
  await writeFile(control, bytes);
  await start();
});

test(
  'root: a directory below one that is closed to others works, and stays where it was',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async () => {
    const closed = join(root, 'closed');
    await mkdir(closed, { mode: 0o700 });
    dataDir = join(closed, 'data');
    const first = await start();
    const place = await movedTo();
    assert.match(place ?? '', /^\/var\/lib\/orbweaver\/[0-9a-f]{12}-[0-9a-f]{6}$/);
    await write(first.url);
    await first.stop();
    await chmod(closed, 0o755);
    const second = await start();
    assert.deepEqual(await read(second.url), [7]);
    assert.equal(await movedTo(), place);
  },
);
