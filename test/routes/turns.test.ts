import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Turns } from '../../dist/routes/turns.js';

test('things that come together are done in order, and others have their turn between them', async () => {
  const turns = new Turns();
  const done: string[] = [];
  for (const name of ['a', 'b', 'c']) turns.run(() => done.push(name));
  assert.equal(done.length, 0);
  for (let i = 0; i < 20 && !done.includes('c'); i++) {
    await turn();
    done.push('other');
  }
  const order = done.filter((name) => name !== 'other');
  assert.equal(order.join(), 'a,b,c');
  assert.ok(done.indexOf('other') < done.indexOf('c'), `${done}`);
});

test('one that fails does not keep the others', async () => {
  const turns = new Turns();
  const failures: unknown[] = [];
  const note = (error: unknown) => failures.push(error);
  process.setUncaughtExceptionCaptureCallback(note);
  try {
    let isDone = false;
    turns.run(() => {
      throw new Error('no');
    });
    turns.run(() => {
      isDone = true;
    });
    for (let i = 0; !isDone; i++) {
      assert.ok(i < 100);
      await turn();
    }
    assert.equal(failures.length, 1);
  } finally {
    process.setUncaughtExceptionCaptureCallback(null);
  }
});
