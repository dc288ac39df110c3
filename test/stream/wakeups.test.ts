import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Pacer } from '../../dist/stream/pacer.js';
import { type Subscription, Wakeups } from '../../dist/stream/wakeups.js';

/** How a wait is ended: what `next` gives, or that nothing has come within two turns of the loop. */
async function now(reader: Subscription): Promise<number | null | 'nothing'> {
  const next = reader.next().then((wake) => wake?.committedAt ?? null);
  const nothing = turn().then(() => turn('nothing' as const));
  return Promise.race([next, nothing]);
}

describe('Wakeups', () => {
  it('wakes the readers of the crawl that was named, and no others', async () => {
    const wakeups = new Wakeups();
    const one = wakeups.subscribe('a');
    const other = wakeups.subscribe('b');
    const woken = one.next();
    wakeups.publish(['a'], 5);
    assert.equal((await woken)?.committedAt, 5);
    assert.equal(await now(other), 'nothing');
    one.close();
    other.close();
  });

  it('loses none that comes between two waits', async () => {
    const wakeups = new Wakeups();
    const reader = wakeups.subscribe('a');
    wakeups.publish(['a'], 1);
    wakeups.publish(['a'], 2);
    assert.equal(await now(reader), 1, 'the oldest commit that it stands for');
    assert.equal(await now(reader), 'nothing', 'each is told once');
    reader.close();
  });

  it('wakes readers that nobody told of anything, and ends a wait when it is closed', async () => {
    const wakeups = new Wakeups();
    const reader = wakeups.subscribe('a');
    assert.equal((await reader.next())?.committedAt, null);
    const waiting = reader.next();
    reader.close();
    assert.equal(await waiting, null);
    assert.equal(await reader.next(), null);
  });

  it('wakes many readers in groups, over several turns of the loop, all in one round', async () => {
    const wakeups = new Wakeups();
    const readers = Array.from({ length: 1000 }, () => wakeups.subscribe('a'));
    const woken: number[] = [];
    const waits = readers.map((reader) => reader.next().then((wake) => woken.push(wake!.round)));
    wakeups.publish(['a'], 5);
    await turn();
    assert.ok(woken.length > 0 && woken.length < 200, `${woken.length} in the first turn or two`);
    await Promise.all(waits);
    assert.deepEqual([...new Set(woken)].length, 1);
    for (const reader of readers) reader.close();
  });

  it('keeps nothing for readers that left', () => {
    const wakeups = new Wakeups();
    const readers = Array.from({ length: 1000 }, () => wakeups.subscribe('a'));
    assert.deepEqual([wakeups.size, wakeups.sizeOf('a'), wakeups.sizeOf('b')], [1000, 1000, 0]);
    wakeups.publish(['a', 'b']);
    wakeups.publish(['a', 'b']);
    for (const reader of readers) reader.close();
    for (const reader of readers) reader.close();
    assert.equal(wakeups.size, 0);
  });
});

describe('Pacer', () => {
  it('lets no more than its bytes go in one turn, in the order of asking, and a large write by itself', async () => {
    const pacer = new Pacer(100_000);
    const gone: number[] = [];
    const perTurn: number[] = [];
    const sizes = [40_000, 40_000, 40_000, 500_000, 10, 10];
    const all = Promise.all(
      sizes.map(async (size, i) => {
        await pacer.take(size);
        gone.push(i);
      }),
    );
    for (; gone.length < sizes.length; await turn()) perTurn.push(gone.length);
    await all;
    assert.deepEqual(gone, [0, 1, 2, 3, 4, 5]);
    assert.ok(new Set(perTurn).size >= 2, `went in ${perTurn}`);
    await turn();
    assert.equal(pacer.take(10), null, 'alone, a write does not wait');
  });
});
