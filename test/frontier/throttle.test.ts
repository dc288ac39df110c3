import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextThrottle, throttledDelay } from '../../dist/frontier/throttle.js';

const AUTO = { targetConcurrency: 2, startDelayMs: 400, maxDelayMs: 5000 };

/** The delays that answers of these latencies lead to. */
function follow(latencies: number[], { isSuccess = true, from = null as number | null, delayMs = 0 } = {}) {
  let delay = from;
  return latencies.map((latencyMs) => {
    delay = nextThrottle(delay, { autothrottle: AUTO, delayMs }, latencyMs, isSuccess);
    return delay;
  });
}

test('19: the delay goes to latency / target: up at once, down half of the way', () => {
  assert.equal(throttledDelay(null, {}), 1000);
  assert.equal(throttledDelay(null, AUTO), 400);
  assert.equal(throttledDelay(90_000, {}), 60_000);
  assert.deepEqual(follow([200, 200, 1000, 100]), [250, 175, 500, 275]);
  assert.deepEqual(follow([100_000]), [5000], 'to maxDelayMs');
  assert.deepEqual(follow([10, 10, 10], { delayMs: 150 }), [202.5, 150, 150], 'never below delayMs');
});

test('19: an error never speeds a host up, and may slow it down', () => {
  assert.deepEqual(follow([1, 1], { isSuccess: false }), [null, null]);
  assert.deepEqual(follow([1, 8000, 1], { isSuccess: false, from: 300 }), [300, 4000, 4000]);
  assert.equal(nextThrottle(300, { autothrottle: null, delayMs: 0 }, 9000, true), 300, 'nor does a crawl without it');
});
