import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readConfig } from '../dist/config.js';
import { type TestDatabase, testDatabase } from './support/database.ts';
import { startService } from './support/service.ts';

const SERVER = fileURLToPath(new URL('../dist/server.js', import.meta.url));

let database: TestDatabase;
let scratch: string;
before(async () => {
  database = await testDatabase();
  scratch = await mkdtemp(join(tmpdir(), 'orbweaver-start-'));
  await chmod(scratch, 0o755); // the database's user must get there, or the data would go elsewhere
});
after(async () => {
  await database.drop();
  await rm(scratch, { recursive: true });
});

/** 44: the process ends with 1 and says why in one line on stderr, and on stdout that it listens it never said. */
async function refuses(env: Record<string, string>, why: RegExp): Promise<void> {
  const child = spawn(process.execPath, [SERVER], {
    env: {
      ...process.env,
      DATABASE_URL: database.url,
      PORT: '0',
      LOG_LEVEL: 'error',
      PARSER_THREADS: '1',
      SCRIPTS: 'off',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let complained = '';
  child.stdout.on('data', (bytes) => {
    said += bytes;
  });
  child.stderr.on('data', (bytes) => {
    complained += bytes;
  });
  const timer = setTimeout(() => child.kill('SIGTERM'), 120_000); // one that starts after all
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  assert.match(complained, why);
  assert.equal(complained.trimEnd().split('\n').length, 1, complained);
  assert.match(complained, /^orbweaver: /);
  assert.equal(code, 1);
  assert.equal(said, '');
}

/** DATABASE_URL with something changed. */
function databaseWith(change: Partial<URL>): { DATABASE_URL: string } {
  const url = new URL(database.url);
  Object.assign(url, change);
  return { DATABASE_URL: url.href };
}

/** A port of 127.0.0.1 that is listened on while `work` runs. */
async function withPort(work: (port: number) => Promise<void>): Promise<void> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await work((server.address() as AddressInfo).port);
  } finally {
    server.close();
  }
}

describe('44: a bad setting', () => {
  const bad: [Record<string, string>, RegExp][] = [
    [{ PORT: 'http' }, /PORT is "http"; expected a whole number from 0 to 65535/],
    [{ PORT: '65536' }, /PORT is "65536"/],
    [{ HOST: '0.0.0.0' }, /HOST is 0\.0\.0\.0, which others can reach, and API_KEYS is empty/],
    [{ DATABASE_URL: 'mysql://x' }, /DATABASE_URL is not a URL of the form postgres:/],
    [{ ROLE: 'boss' }, /ROLE is "boss"; expected one of all, api, worker/],
    [{ API_KEYS: 'me:short' }, /API_KEYS: each key is name:secret/],
    [{ API_KEYS: 'me:0123456789abcdef:admin' }, /API_KEYS, scope of me is "admin"; expected one of read, write/],
    [{ EGRESS_ALLOW: '10.0.0.0' }, /EGRESS_ALLOW has "10\.0\.0\.0"; expected CIDRs/],
    [{ PARSER_THREADS: '0' }, /PARSER_THREADS is "0"; expected a whole number from 1 to 64/],
    [{ PARSER_MEMORY_MB: '1e9' }, /PARSER_MEMORY_MB/],
    [{ MAX_FETCHES: '-1' }, /MAX_FETCHES is "-1"/],
    [{ LOG_LEVEL: 'loud' }, /LOG_LEVEL is "loud"; expected one of trace/],
  ];
  for (const [env, why] of bad) test(JSON.stringify(env), () => assert.throws(() => readConfig(env), { message: why }));

  test('is one line, and the end of the process', () => refuses(...bad[0]!));
  test('an address that is not there', () => refuses({ HOST: '192.0.2.1', API_KEYS: 'me:0123456789abcdef' }, /HOST/));
});

describe('44: the port and the database', () => {
  test('the port is taken; the node leaves nothing in the database', async () => {
    await withPort((port) => refuses({ PORT: String(port) }, new RegExp(`port ${port} is taken: set PORT`)));
    assert.deepEqual([...(await database.sql`select id from nodes`)], []);
  });

  test('nobody listens at DATABASE_URL', () =>
    refuses(databaseWith({ port: '9' }), /DATABASE_URL does not answer: connect ECONNREFUSED 127\.0\.0\.1:9/));

  test('who listens there is no PostgreSQL, and hangs up', async () => {
    const server = createServer((socket) => socket.destroy());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await refuses(databaseWith({ port: String(port) }), /DATABASE_URL does not answer/).finally(() => server.close());
  });

  test('the password is wrong', () =>
    refuses(
      databaseWith({ password: 'wrong' }),
      /DATABASE_URL is refused by the server: password authentication failed/,
    ));

  test('the database does not exist', () =>
    refuses(databaseWith({ pathname: '/nothing' }), /DATABASE_URL is refused .*database "nothing" does not exist/));

  test('the user may not create tables', async () => {
    const { sql } = database;
    await sql`create role orbweaver_test_reader login password 'reader'`;
    await sql`alter table schema_migrations rename to schema_migrations_hidden`;
    try {
      const reader = databaseWith({ username: 'orbweaver_test_reader', password: 'reader' });
      await refuses(reader, /DATABASE_URL is refused by the server: permission denied/);
    } finally {
      await sql`alter table schema_migrations_hidden rename to schema_migrations`;
      await sql`drop role orbweaver_test_reader`;
    }
  });

  test('the database was written by a newer program', async () => {
    const { sql } = database;
    const [{ newest }] = (await sql`select max(version) as newest from schema_migrations`) as never as [
      { newest: number },
    ];
    await sql`insert into schema_migrations (version, name, checksum) values (${newest + 1}, 'x', 'x')`;
    try {
      await refuses({}, new RegExp(`The database has version ${newest + 1}, this program knows ${newest}`));
    } finally {
      await sql`delete from schema_migrations where version > ${newest}`;
    }
  });
});

describe('44: DATA_DIR', () => {
  const embedded = (dataDir: string) => ({ DATABASE_URL: '', DATA_DIR: dataDir });

  test('it is a file', async () => {
    const file = join(scratch, 'file');
    await writeFile(file, '');
    await refuses(embedded(file), /The embedded database cannot start in DATA_DIR .*file: EEXIST|not a directory/);
  });

  test('another service uses it, and is not disturbed', async () => {
    const dataDir = join(scratch, 'in use');
    const first = await startService(embedded(dataDir));
    try {
      await refuses(embedded(dataDir), new RegExp(`DATA_DIR .*in use is in use by process ${first.pid}`));
      assert.equal((await fetch(`${first.url}/readyz`)).status, 200);
    } finally {
      await first.stop();
    }
  });

  test('its disk is full', async (t) => {
    const disk = join(scratch, 'disk');
    await mkdir(disk, { mode: 0o755 });
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=20m,mode=755', 'none', disk], { stdio: 'ignore' });
    } catch {
      return t.skip('mounting needs rights that this process does not have');
    }
    try {
      await refuses(
        embedded(join(disk, 'data')),
        /The embedded database could not be initialised .*(No space left|Check free disk space)/,
      );
      const left = await readdir(join(disk, 'data'));
      assert.deepEqual(
        left.filter((name) => name !== 'postgres.location'),
        [],
        'nothing half made is left',
      );
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});

test('a page has the memory of PARSER_MEMORY_MB, whatever heap the process is started with', async () => {
  const service = await startService({
    DATABASE_URL: database.url,
    NODE_OPTIONS: '--max-old-space-size=1024 --max-semi-space-size=8',
    PARSER_MEMORY_MB: '32',
  });
  try {
    // Some hundred MB as a tree.
    const tags = (name: string) => Array.from({ length: 300 }, (_, i) => `<${name} ${i}>`).join('');
    const response = await fetch(`${service.url}/spiders/preview`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        spider: { pages: [{ items: [{ type: 'page', fields: { title: 'title' } }] }] },
        url: 'http://books.example/',
        html: `${tags('b')}${tags('i')}${'x</b>'.repeat(300)}`,
        settings: { parser: 'html5', parseTimeoutMs: 30_000 },
      }),
    });
    const { outcome } = (await response.json()) as { outcome: { reason: string } };
    assert.equal(outcome.reason, 'parse_memory');
  } finally {
    await service.stop();
  }
});
