import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

/** Of a kilobyte each: five times what may wait. */
const MANY = 20_000;
const LOG = new URL('../dist/log.js', import.meta.url).href;

/** A process that logs so many lines of a kilobyte, and what it does then. */
function startLogging(lines: number, then: string): ChildProcess {
  const code = `import { setTimeout as sleep } from 'node:timers/promises';
    import { openLog } from ${JSON.stringify(LOG)};
    const { log, written } = openLog('info');
    for (let n = 0; n < ${lines}; n++) log.info({ n }, 'x'.repeat(1000));
    ${then}`;
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'pipe' });
}

async function readLines(child: ChildProcess, seen: (text: string) => void = () => {}) {
  let text = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    text += chunk;
    seen(text);
  });
  await once(child, 'close');
  const lines = text.trim().split('\n');
  return lines.map((line) => JSON.parse(line) as { n?: number; lines?: number });
}

for (const [when, then] of [
  ['at once', 'await written(); process.exit(0);'],
  ['a moment later', 'await sleep(300); await written(); process.exit(0);'],
  ['later', 'await sleep(1500); await written(); process.exit(0);'],
  ['without waiting', 'process.exit(0);'],
] as const)
  test(`a log that nobody reads keeps no process from its end: ${when}`, async () => {
    assert.deepEqual(await once(startLogging(MANY, then), 'exit'), [0, null]);
  });

test('the last lines are written, in their order', async () => {
  const read = await readLines(startLogging(500, 'await written(); process.exit(0);'));
  assert.deepEqual(
    read.map(({ n }) => n),
    [...Array(500).keys()],
  );
});

test('a log that is read late says how many lines are missing, and where', async () => {
  const child = startLogging(
    MANY,
    `setTimeout(() => console.error('logged'), 1500);
    process.stdin.once('data', () => process.exit(0));`,
  );
  await once(child.stderr!, 'data');
  const lines = await readLines(child, (text) => {
    if (/missing.*\n/.test(text)) child.stdin!.write('end');
  });
  const read = lines.filter(({ n }) => n !== undefined);
  assert.deepEqual(
    read.map(({ n }) => n),
    [...Array(read.length).keys()],
  );
  assert.ok(read.length > 3500, 'four megabytes wait');
  assert.equal(lines.at(-1)?.lines, MANY - read.length);
});
