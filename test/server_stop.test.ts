import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readConfig } from '../dist/config.js';
import { testDatabase } from './support/database.ts';
import { startService } from './support/service.ts';

const SERVER = fileURLToPath(new URL('../dist/server.js', import.meta.url));
/** At SIGUSR2 the service gets a promise that nobody looks after. */
const BUG = `import { isMainThread } from 'node:worker_threads';
if (isMainThread) process.on('SIGUSR2', () => Promise.reject(new Error('a bug of the test')));`;

describe('the end of the process, with an embedded database', () => {
  let dataDir: string;
  const children: ChildProcess[] = [];
  before(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'orbweaver end '));
    await chmod(dataDir, 0o755); // started by root, the database runs as a user who must get there
  });
  afterEach(async () => {
    for (const child of children.splice(0))
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
  });
  after(async () => {
    const moved = await readFile(join(dataDir, 'postgres.location'), 'utf8').catch(() => '');
    for (const dir of [dataDir, moved.split('\n')[0]])
      if (dir) await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  });

  function start(): { child: ChildProcess; output: () => string; listening: Promise<void> } {
    const env = {
      PORT: '0',
      DATA_DIR: dataDir,
      PARSER_THREADS: '2',
      DATABASE_URL: '',
      API_KEYS: '',
      ROLE: '',
      HOST: '',
    };
    const preload = `--import=data:text/javascript,${encodeURIComponent(BUG)}`;
    const child = spawn(process.execPath, [preload, SERVER], { env: { ...process.env, ...env, LOG_LEVEL: 'info' } });
    children.push(child);
    let output = '';
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk;
        if (/listens on/.test(output)) resolve();
      });
    return { child, output: () => output, listening: promise };
  }

  /** No process works in the directory any more, and nobody owns it. */
  async function assertNothingLeft(): Promise<void> {
    const commands = execFileSync('ps', ['-A', '-ww', '-o', 'pid=,command='], { encoding: 'utf8' }).split('\n');
    assert.deepEqual(
      commands.filter((command) => command.includes(dataDir)),
      [],
    );
    const owners = (await readdir(dataDir)).filter((name) => name.startsWith('owner.'));
    assert.deepEqual(owners, []);
  }

  // The first ones meet the making of the cluster, the others the start of the server and of what comes after it.
  for (const ms of [200, 600, 1200, 500, 1000])
    it(`SIGTERM ${ms} ms after the start leaves no database server`, async () => {
      const { child, output } = start();
      await sleep(ms);
      child.kill('SIGTERM');
      const [code, signal] = await once(child, 'exit');
      assert.ok(code === 0 || signal === 'SIGTERM', `${code}: ${output()}`);
      assert.doesNotMatch(output(), /orbweaver: /);
      await assertNothingLeft();
    });

  it('a Ctrl-C that comes twice at once, as under npm, stops in order', async () => {
    const { child, output, listening } = start();
    await listening;
    child.kill('SIGINT');
    child.kill('SIGINT');
    assert.deepEqual(await once(child, 'exit'), [0, null], output());
    await assertNothingLeft();
  });

  it('an error that nobody caught is logged, and stops in order with code 1', async () => {
    const { child, output, listening } = start();
    await listening;
    child.kill('SIGUSR2');
    assert.deepEqual(await once(child, 'exit'), [1, null], output());
    const fatal =
      output()
        .split('\n')
        .find((line) => line.includes('"level":60')) ?? '';
    assert.match(fatal, /a bug of the test/);
    assert.match(fatal, /"stack":/);
    await assertNothingLeft();
  });
});

it('a worker serves health, readiness and metrics alone, and the start is one line', async () => {
  const database = await testDatabase();
  const worker = await startService({ DATABASE_URL: database.url, ROLE: 'worker' });
  try {
    for (const path of ['/healthz', '/readyz', '/metrics'])
      assert.equal((await fetch(worker.url + path)).status, 200, path);
    for (const path of ['/crawls', '/docs/', '/openapi.json', '/'])
      assert.equal((await fetch(worker.url + path)).status, 404, path);
    assert.equal(worker.output(), `Orbweaver works on ${worker.url} (ROLE=worker)\n`);
  } finally {
    await worker.stop();
    await database.drop();
  }
});

it('an address that others can reach needs API_KEYS, whatever the role', () => {
  for (const ROLE of ['all', 'api', 'worker']) {
    assert.throws(() => readConfig({ ROLE, HOST: '0.0.0.0' }), /API_KEYS is empty/);
    assert.equal(readConfig({ ROLE, HOST: '0.0.0.0', API_KEYS: `me:${'x'.repeat(16)}` }).role, ROLE);
    assert.equal(readConfig({ ROLE, HOST: 'localhost' }).role, ROLE);
  }
});
