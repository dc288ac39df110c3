import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backOff } from '../../dist/engine/back_off.js';
import { retryAfterMs } from '../../dist/model/retry_after.js';

const NOW = Date.UTC(2026, 10, 23, 8, 0, 0);
const HOUR = 3_600_000;

test('18: Retry-After is seconds or a date in one of three forms; what is past is 0, what is neither is none', () => {
  const cases: [string | string[] | undefined, number | null][] = [
    ['0', 0],
    ['120', 120_000],
    [' 7 ', 7000],
    ['99999999999999999999', 9_999_999_999_000],
    ['Mon, 23 Nov 2026 08:00:10 GMT', 10_000],
    ['Monday, 23-Nov-26 08:01:00 GMT', 60_000],
    ['Mon Nov 23 08:00:05 2026', 5000],
    ['Tue Nov  3 08:00:05 2026', 0],
    ['Sun, 06 Nov 1994 08:49:37 GMT', 0],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 0],
    ['mon, 23 nov 2026 08:00:10 gmt', 10_000],
    ['-5', null],
    ['1.5', null],
    ['soon', null],
    ['5 minutes', null],
    ['2026-11-23T08:00:10Z', null],
    ['Mon, 23 Foo 2026 08:00:10 GMT', null],
    ['Mon, 23 Nov 2026 25:00:10 GMT', null],
    ['', null],
    [undefined, null],
    [['3', '9'], 3000],
  ];
  for (const [header, ms] of cases) assert.equal(retryAfterMs(header, NOW), ms, String(header));
});

const newHost = () => ({ backoffLevel: 0, backedOffAt: 0 });

test('18: a wait doubles with each answer in a row, to the cap; each answer to what was sent after it forgives one', () => {
  const host = newHost();
  const waits = [1, 2, 3, 4, 5].map((n) => backOff(host, n % 2 ? 429 : 503, n * 1000, n * 1000 + 1, null, HOUR));
  for (const [i, ms] of waits.entries()) {
    const whole = 1000 * 2 ** i;
    assert.ok(ms >= 0.75 * whole && ms <= 1.25 * whole, `${ms} at level ${i + 1}`);
  }
  assert.equal(backOff(host, 429, 6000, 6001, null, 5000), 5000, 'maxRetryAfterMs');
  assert.equal(host.backoffLevel, 6);
  assert.equal(backOff(host, 200, 5999, 7000, null, HOUR), 0);
  assert.equal(host.backoffLevel, 6, 'what was sent before says nothing');
  backOff(host, 500, 7000, 7001, null, HOUR);
  assert.equal(host.backoffLevel, 6, 'nor does a failing server');
  for (const status of [200, 404, 301]) backOff(host, status, 7000, 7001, null, HOUR);
  assert.equal(host.backoffLevel, 3);
});

test('18: a burst that was under way together backs off once; its longest Retry-After still counts', () => {
  const host = newHost();
  assert.ok(backOff(host, 429, 1000, 2000, null, HOUR) > 0);
  assert.equal(backOff(host, 429, 1500, 2001, null, HOUR), 0);
  assert.equal(backOff(host, 503, 1999, 2002, 90_000, HOUR), 90_000);
  assert.equal(host.backoffLevel, 1);
});

test('18: Retry-After counts to the cap, on any 5xx; one that is past leaves the back-off', () => {
  assert.equal(backOff(newHost(), 429, 0, 1, 7000, HOUR), 7000);
  assert.equal(backOff(newHost(), 429, 0, 1, 999_000, 60_000), 60_000);
  assert.equal(backOff(newHost(), 502, 0, 1, 7000, HOUR), 7000);
  assert.equal(backOff(newHost(), 502, 0, 1, null, HOUR), 0);
  assert.equal(backOff(newHost(), 200, 0, 1, 7000, HOUR), 0);
  assert.ok(backOff(newHost(), 503, 0, 1, 0, HOUR) >= 750);
});
