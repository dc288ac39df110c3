import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

const LINES = 20_000;
const LOG = new URL('../dist/log.js', import.meta.url).href;

/** A process that logs 20 MB, says so on stderr, and ends when it is told to. */
function startLogging(): ChildProcess {
  const code = `import { openLog } from ${JSON.stringify(LOG)};
    const log = openLog('info');
    for (let n = 0; n < ${LINES}; n++) log.info({ n }, 'x'.repeat(1000));
    setTimeout(() => console.error('logged'), 1500);
    process.stdin.once('data', () => process.exit(0));`;
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'pipe' });
}

test('a log that nobody reads keeps no process from its end', async () => {
  const child = startLogging();
  await once(child.stderr!, 'data');
  child.stdin!.write('end');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

test('a log that is read late says how many lines are missing, and where', async () => {
  const child = startLogging();
  await once(child.stderr!, 'data');
  let text = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    text += chunk;
    if (/missing.*\n/.test(text)) child.stdin!.write('end');
  });
  await once(child, 'close');
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { n?: number; lines?: number });
  const read = lines.filter(({ n }) => n !== undefined);
  assert.deepEqual(
    read.map(({ n }) => n),
    [...Array(read.length).keys()],
  );
  assert.ok(read.length > 3500, 'four megabytes wait');
  assert.equal(lines.at(-1)?.lines, LINES - read.length);
});
