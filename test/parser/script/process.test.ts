import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findBoundary } from '../../../dist/parser/script/boundary.js';
import { ScriptProcess } from '../../../dist/parser/script/process.js';

const NOBODY = { frame: () => {}, gone: () => {} };

for (const kind of ['bubblewrap', 'process'] as const)
  test(`a process inside ${kind} that is ended while it starts is gone, at whatever moment`, async () => {
    const launch = await findBoundary(kind);
    const ends = Array.from({ length: 24 }, async (_, i) => {
      await sleep(i * 40);
      const child = new ScriptProcess(launch, NOBODY);
      await sleep((i % 12) * 2);
      child.kill();
      return Promise.race([child.gone.then(() => 'gone'), sleep(60_000, 'still there', { ref: false })]);
    });
    assert.deepEqual([...new Set(await Promise.all(ends))], ['gone']);
  });
