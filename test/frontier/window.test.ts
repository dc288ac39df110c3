import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostQueue } from '../../dist/frontier/host.js';
import { noteClaim, wantOf, windowOf } from '../../dist/frontier/window.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';

function queueOf(concurrencyPerHost: number, delayMs = 0): HostQueue {
  const settings = { ...DEFAULT_SETTINGS, concurrencyPerHost, delayMs, randomizeDelay: false, robots: false };
  const run = { id: 'crawl', settings };
  const host = { id: 1, fence: 1, queues: new Map([['crawl', { run }]]), calls: new Map(), group: null };
  return { run, host, rows: [], held: 0, claimed: 0, claimedAt: 0, pace: 0 } as unknown as HostQueue;
}

test('what is claimed at once is four times the concurrency, and up to twice that for a host that is quick', () => {
  const queue = queueOf(8);
  assert.equal(windowOf(queue), 32);
  const claims: [claimed: number, afterMs: number, window: number][] = [
    [32, 5000, 32],
    [16, 1000, 32],
    [16, 100, 40], // 16 in a tenth of a second
    [20, 10, 64], // no more than twice, however quick
    [32, 2000, 32],
  ];
  let now = 1000;
  for (const [claimed, afterMs, window] of claims) {
    now += afterMs;
    noteClaim(queue, claimed, now);
    assert.equal(windowOf(queue), window, `${claimed} after ${afterMs} ms`);
  }
  queue.pace = 10;
  assert.equal(wantOf(queue).n, 64);
  assert.equal(windowOf(Object.assign(queueOf(64), { pace: 10 })), 256, 'never more than that');
});

test('where a delay decides it is two seconds’ worth, however quick the host seemed', () => {
  assert.equal(windowOf(Object.assign(queueOf(8, 500), { pace: 10 })), 4);
  assert.equal(windowOf(Object.assign(queueOf(8, 5000), { pace: 10 })), 2);
});
