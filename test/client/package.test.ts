/** The package of the client as a user gets it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { readArgs } from '../../clients/typescript/src/cli/command.ts';
import { COMMANDS } from '../../clients/typescript/src/cli/commands.ts';
import { commandsOf } from '../support/curl.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CLIENT = join(ROOT, 'clients/typescript');
const TSC = join(ROOT, 'node_modules/.bin/tsc');

let scratch: string;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'orbweaver-client-'));
});
after(() => rm(scratch, { recursive: true }));

test('the types of the client are those of openapi.yaml', async () => {
  const generator = dirname(createRequire(join(CLIENT, 'package.json')).resolve('openapi-typescript/package.json'));
  const fresh = join(scratch, 'schema.d.ts');
  await run(process.execPath, [join(generator, 'bin/cli.js'), join(ROOT, 'openapi.yaml'), '-o', fresh]);
  const [expected, found] = await Promise.all(
    [fresh, join(CLIENT, 'src/schema.d.ts')].map((file) => readFile(file, 'utf8')),
  );
  assert.ok(found === expected, 'clients/typescript/src/schema.d.ts is stale: npm run -w clients/typescript generate');
});

test('what a browser loads of the client imports nothing of Node', async () => {
  const seen = new Set(['client.ts']);
  for (const file of seen) {
    const text = await readFile(join(CLIENT, 'src', file), 'utf8');
    for (const [, from] of text.matchAll(/^(?:import|export)\s[^'"]*from\s+'([^']+)'/gm)) {
      if (from!.startsWith('./')) seen.add(from!.slice(2));
      else assert.equal(from, 'openapi-fetch', `${file} imports it`);
    }
  }
  assert.ok(seen.size > 3);
});

test('every command line that the help and the README show is one', async () => {
  const readme = /## On the command line\n.*?```sh\n(.*?)```/s.exec(
    await readFile(join(CLIENT, 'README.md'), 'utf8'),
  )![1]!;
  const shown = [...Object.values(COMMANDS).flatMap(({ examples }) => examples), ...readme.trim().split('\n')];
  assert.ok(shown.length >= 15);
  for (const [name, command, ...rest] of shown.flatMap((line) => commandsOf(line, {}))) {
    assert.equal(name, 'orbweaver');
    const redirect = rest.indexOf('>');
    assert.doesNotThrow(() => readArgs(COMMANDS[command!]!, redirect < 0 ? rest : rest.slice(0, redirect)));
  }
});

const PROGRAM = `
import { createClient, OrbweaverError, type Crawl, type Item } from '@orbweaver/client';

const client = createClient({ url: 'http://127.0.0.1:3000', apiKey: 'secret' });
try {
  const crawl: Crawl = await client.startCrawl({ startUrls: ['https://books.example/'], settings: { maxPages: 10 } });
  for await (const item of client.streamItems<{ title: string }>(crawl.id, { after: 10, signal: AbortSignal.timeout(1000) })) {
    const known: Item<{ title: string }> = item;
    const title: string = known.data.title;
    void [title, item.offset.toFixed()];
  }
  for await (const happened of client.followEvents(crawl.id))
    if (happened.event === 'progress') happened.data.pagesPerSecond.toFixed();
  const { data } = await client.http.GET('/crawls/{id}/stats', { params: { path: { id: crawl.id } } });
  data?.byReason.denied?.toFixed();
  // @ts-expect-error there is no such setting
  await client.startCrawl({ startUrls: [], settings: { maxPges: 10 } });
} catch (error) {
  if (!(error instanceof OrbweaverError)) throw error;
  const code: string = error.code;
  const pointers: string[] = error.problems.map(({ pointer }) => pointer);
  void [code, pointers];
}
`;

test('npm pack gives a package that a strict program compiles against, for Node and for browsers, and whose command runs', async () => {
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', scratch], { cwd: CLIENT });
  const modules = join(scratch, 'node_modules');
  const installed = join(modules, '@orbweaver/client');
  await mkdir(installed, { recursive: true });
  await run('tar', ['-xzf', join(scratch, stdout.trim().split('\n').at(-1)!), '-C', installed, '--strip-components=1']);
  const { dependencies } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
    dependencies: object;
  };
  for (const name of Object.keys(dependencies)) await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  assert.deepEqual((await readdir(installed)).sort(), ['README.md', 'dist', 'package.json']);
  await writeFile(join(scratch, 'program.ts'), PROGRAM);
  await writeFile(join(scratch, 'package.json'), '{ "type": "module" }');
  const strict = [
    '--strict',
    '--skipDefaultLibCheck', // of the compiler's own declarations
    '--noEmit',
    '--target',
    'es2022',
    '--exactOptionalPropertyTypes',
    '--noUncheckedIndexedAccess',
  ];
  const browser = ['--module', 'esnext', '--moduleResolution', 'bundler', '--lib', 'es2022,dom', '--types', ''];
  const node = [
    '--module',
    'nodenext',
    '--lib',
    'es2022',
    '--types',
    'node',
    '--typeRoots',
    join(ROOT, 'node_modules/@types'),
  ];
  for (const flags of [browser, node])
    await run(TSC, [...strict, ...flags, 'program.ts'], { cwd: scratch }).catch((error: { stdout: string }) =>
      assert.fail(`${flags.join(' ')}:\n${error.stdout}`),
    );
  const bin = join(installed, 'dist/cli.js');
  assert.match((await run(process.execPath, [bin, 'crawl', '--help'])).stdout, /^orbweaver crawl \[URL …\]/);
});
