import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Wakeups } from '../../dist/stream/wakeups.js';

const never = new AbortController().signal;
const LONG = 60_000;

describe('Wakeups', () => {
  it('wakes the readers of the crawl that was named, and no others', async () => {
    const wakeups = new Wakeups();
    const one = wakeups.subscribe('a');
    const other = wakeups.subscribe('b');
    const woken = one.next(LONG, never);
    wakeups.publish(['a'], 5);
    assert.equal(await woken, 5);
    assert.equal(await other.next(1, never), null);
    one.close();
    other.close();
  });

  it('loses none that comes between two waits', async () => {
    const wakeups = new Wakeups();
    const reader = wakeups.subscribe('a');
    wakeups.publish(['a'], 1);
    wakeups.publish(['a'], 2);
    assert.equal(await reader.next(LONG, never), 1, 'the oldest commit that it stands for');
    assert.equal(await reader.next(1, never), null, 'each is told once');
    reader.close();
  });

  it('ends a wait at its time and at its signal', async () => {
    const wakeups = new Wakeups();
    const reader = wakeups.subscribe('a');
    assert.equal(await reader.next(1, never), null);
    const controller = new AbortController();
    const waiting = reader.next(LONG, controller.signal);
    controller.abort();
    assert.equal(await waiting, null);
    assert.equal(await reader.next(LONG, controller.signal), null);
    reader.close();
  });

  it('keeps nothing for readers that left', () => {
    const wakeups = new Wakeups();
    const readers = Array.from({ length: 1000 }, () => wakeups.subscribe('a'));
    assert.equal(wakeups.size, 1000);
    wakeups.publish(['a', 'b']);
    wakeups.publish(['a', 'b']);
    for (const reader of readers) reader.close();
    for (const reader of readers) reader.close();
    assert.equal(wakeups.size, 0);
  });

  it('moves its version with each wake-up, so that no read older than it is shared', () => {
    const wakeups = new Wakeups();
    const before = wakeups.version;
    wakeups.publish([]);
    assert.notEqual(wakeups.version, before);
  });
});
