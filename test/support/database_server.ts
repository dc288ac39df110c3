/**
 * The embedded server that the test files of a run share, in a process of its own: it starts the server, says where in
 * `server.json`, and stops and removes everything when no process named in `users/` lives any more. So nothing stays
 * behind, however the tests end.
 *
 * Usage: node database_server.ts <directory>
 */
import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPool } from '../../dist/db/client.js';
import { startEmbedded } from '../../dist/db/embedded.js';
import { processIdentity, takeOwnership } from '../../dist/db/embedded_owner.js';

const dir = process.argv[2];
if (dir === undefined) throw new Error('usage: node database_server.ts <directory>');
const users = join(dir, 'users');
const address = join(dir, 'server.json');

/** A file per user: its name is the pid, its content the identity. Removes those of the dead. */
async function anyUser(): Promise<boolean> {
  let living = false;
  for (const name of await readdir(users)) {
    const identity = await readFile(join(users, name), 'utf8').catch(() => '');
    if (processIdentity(Number(name)) === identity) living = true;
    else await rm(join(users, name), { force: true });
  }
  return living;
}

/** The tests kill the service, never this server or the machine: nothing here asks what the disk would have had. */
async function syncNothing(url: string): Promise<void> {
  const sql = openPool(url, 1, 'test server');
  await sql`alter system set fsync = off`;
  await sql`select pg_reload_conf()`;
  await sql.end({ timeout: 1 });
}

async function announce(url: string): Promise<void> {
  const temp = `${address}.${process.pid}`;
  await writeFile(temp, JSON.stringify({ url, pid: process.pid, identity: processIdentity(process.pid) }), {
    mode: 0o600,
  });
  await rename(temp, address);
}

await mkdir(users, { recursive: true });
// Fails while another process has the directory: that one serves, or is about to end and the tests start one again.
const release = await takeOwnership(dir);
const server = await startEmbedded({ dataDir: join(dir, 'data'), onExit: () => process.exit(1) });
try {
  await syncNothing(server.url);
  // A newcomer first signs in and then reads the address; here the address goes first. So one sees the other.
  do {
    await announce(server.url);
    while (await anyUser()) await sleep(100);
    await rm(address, { force: true });
  } while (await anyUser());
} finally {
  await server.stop();
}
const location = await readFile(join(dir, 'data', 'postgres.location'), 'utf8').catch(() => '');
const elsewhere = location.split('\n')[0];
if (elsewhere) await rm(elsewhere, { recursive: true, force: true });
await rm(join(dir, 'data'), { recursive: true, force: true });
await release();
// Not empty when a newcomer has signed in meanwhile.
await rmdir(users).catch(() => {});
await rmdir(dir).catch(() => {});
