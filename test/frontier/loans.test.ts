import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LeasedHost } from '../../dist/db/hosts.js';
import type { HostSlot } from '../../dist/frontier/host.js';
import type { Leases } from '../../dist/frontier/leases.js';
import { Loans } from '../../dist/frontier/loans.js';
import { Scheduler } from '../../dist/frontier/scheduler.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';

const ORIGIN = 'http://h1';
const LEASE: LeasedHost = {
  id: 1,
  origin: ORIGIN,
  fence: 1,
  waitMs: 0,
  backoffLevel: 0,
  crawlDelayMs: 0,
  throttleMs: 0,
  isOrphaned: false,
  address: null,
};
const never = new AbortController().signal;
const caller = { id: 'calls of a', settings: DEFAULT_SETTINGS };

function parts() {
  const asked: string[][] = [];
  const wanted = new Set<number>();
  let free: LeasedHost[] = [];
  const leases = {
    valid: true,
    hasOthers: true,
    acquireOrigins: async (origins: string[]) => {
      asked.push(origins);
      return free;
    },
    wantedByOthers: async () => wanted,
  } as unknown as Leases;
  const scheduler = new Scheduler();
  const loans = new Loans({ leases, scheduler, wake: () => {}, onCall: () => {} });
  const addHost = () => scheduler.addHost(LEASE, 0);
  const setFree = () => {
    free = [LEASE];
  };
  return { loans, scheduler, asked, wanted, addHost, setFree };
}

/** What a promise came to by now. */
async function now<T>(promise: Promise<T>): Promise<T | 'waits'> {
  await new Promise((resolve) => setImmediate(resolve));
  return Promise.race([promise, Promise.resolve('waits' as const)]);
}

test('a host that is held is lent at once; one that is not, when it was free, asked for ever more rarely', async () => {
  const { loans, addHost, asked, setFree } = parts();
  const wish = loans.hold(ORIGIN, never);
  for (const at of [0, 10, 49, 50, 149, 150]) await loans.ask(at);
  assert.equal(asked.length, 3, 'at 0, 50 and 150 ms');
  assert.equal(await now(wish), 'waits');
  setFree();
  const [lease] = await loans.ask(1000);
  assert.equal(lease?.origin, ORIGIN);
  const host = addHost();
  loans.grant(host);
  assert.equal(await now(wish), host);
  assert.equal(await now(loans.hold(ORIGIN, never)), host);
  assert.equal(host.borrowed, 2);
  assert.equal(loans.askAt, Infinity);
});

test('whoever gives up is asked for no more', async () => {
  const { loans, asked } = parts();
  const first = new AbortController();
  const wish = loans.hold(ORIGIN, first.signal);
  first.abort(new Error('enough'));
  await assert.rejects(wish, /enough/);
  await loans.ask(0);
  assert.deepEqual([asked, loans.askAt], [[], Infinity]);
});

test('33: a host that is being handed on serves calls while pages of it are in progress, and none after', async () => {
  const { loans, scheduler, addHost } = parts();
  const host: HostSlot = addHost();
  host.draining = true;
  host.outstanding = 1;
  assert.equal(await now(loans.hold(ORIGIN, never)), host);
  const turn = loans.turn(host, caller, never);
  scheduler.next(0);
  assert.equal(await now(turn), true);
  host.outstanding = 0;
  assert.equal(await now(loans.turn(host, caller, never)), false);
  assert.equal(await now(loans.hold(ORIGIN, never)), 'waits');
});

test('a host without pages is handed on when another node waits: at once when idle, after a second when it serves calls', async () => {
  const { loans, scheduler, wanted, addHost } = parts();
  const host = addHost();
  assert.deepEqual(await loans.overdue(host.since), []);
  wanted.add(host.id);
  assert.deepEqual(await loans.overdue(host.since), [host]);
  await loans.hold(ORIGIN, never);
  assert.deepEqual(await loans.overdue(host.since + 999), []);
  assert.deepEqual(await loans.overdue(host.since + 1000), [host]);
  host.outstanding = 1;
  assert.deepEqual(await loans.overdue(host.since + 5000), [], 'its pages are fenced by the lease');
  assert.equal(scheduler.hosts.size, 1);
});
