import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Sql } from '../../dist/db/client.js';
import { emptyPage, type Outcome } from '../../dist/model/outcome.js';
import { Committer } from '../../dist/pipeline/committer.js';

const LINGER_MS = 15;
const MANY = 20;
const KIB = 1024;

interface Bench {
  committer: Committer;
  /** Places of the outcomes of each commit, in the order of the commits. */
  batches: number[][];
  /** Commits that are under way, and the most that ever were. */
  running: { now: number; most: number };
  /** Adds so many outcomes, each with an item of so many bytes. */
  add: (n: number, bytes?: number) => void;
  /** One linger goes by. */
  tick: () => Promise<void>;
  /** Whether nothing is left to be begun. */
  starves: { now: boolean };
  /** Requests whose outcomes are still to come, and those that have come. */
  outstanding: { now: number };
}

/**
 * A committer whose database knows no crawl: it takes every batch and applies none of it. Timers go by hand.
 *
 * @param begin what the transaction waits for; throws where the database is away
 * @param then what is done about a commit
 */
function setUp(
  t: TestContext,
  begin: () => Promise<void> = async () => {},
  then: () => Promise<void> = async () => {},
): Bench {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const running = { now: 0, most: 0 };
  const statement = Object.assign(() => Promise.resolve([]), { unsafe: () => Promise.resolve([]) });
  const sql = Object.assign(() => Promise.resolve([]), {
    async begin(work: (tx: typeof statement) => Promise<void>) {
      running.most = Math.max(running.most, ++running.now);
      try {
        await begin();
        await work(statement);
      } finally {
        running.now--;
      }
    },
  }) as unknown as Sql;
  const batches: number[][] = [];
  const log = { warn: () => {}, error: () => {} };
  const onCommitted = (_: unknown, batch: readonly Outcome[]) => {
    batches.push(batch.map(({ seq }) => seq));
    void then();
  };
  const starves = { now: false };
  const outstanding = { now: Number.POSITIVE_INFINITY };
  const state = { isStarved: () => starves.now, outstanding: () => outstanding.now };
  const committer = new Committer({ sql, nodeId: 'node', notify: () => false, ...state, onCommitted, log });
  let seq = 0;
  return {
    ...{ committer, batches, running, starves, outstanding },
    add(n, bytes = 10) {
      for (let i = 0; i < n; i++) committer.add(outcome(seq++, bytes));
    },
    async tick() {
      t.mock.timers.tick(LINGER_MS);
      await settled();
    },
  };
}

function outcome(seq: number, bytes: number): Outcome {
  const page = { ...emptyPage(), items: [{ type: 'thing', data: '{}', size: bytes }] };
  return {
    ...{ crawlId: 'crawl', fp: String(seq), seq, hostId: 1, fence: 1, attempts: 1, depth: 0, redirects: 0 },
    ...{ url: 'http://a.example/', state: 'done', reason: null, detail: null, readyAt: null, status: 200 },
    ...{ bodyBytes: 10, wireBytes: 10, fetchMs: 5, fetchedAt: 0, page },
  };
}

/** Until whatever needs no timer has happened. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const from = (first: number, n: number) => [...Array(n).keys()].map((i) => first + i);
const sizes = (batches: readonly number[][]) => batches.map(({ length }) => length);

test('2: an outcome that comes alone is committed after one linger', async (t) => {
  const { batches, add, tick } = setUp(t);
  add(1);
  await settled();
  assert.deepEqual(batches, []);
  await tick();
  assert.deepEqual(batches, [[0]]);
});

test('2: outcomes that come quickly make one commit, which waits for eight lingers at most', async (t) => {
  const { batches, add, tick } = setUp(t);
  for (let linger = 0; linger < 8; linger++) {
    add(MANY);
    assert.deepEqual(batches, [], 'more may come');
    await tick();
  }
  assert.deepEqual(batches, [from(0, 8 * MANY)]);
});

test('2: a batch collects no longer than outcomes come quickly', async (t) => {
  const { batches, add, tick } = setUp(t);
  add(MANY);
  await tick();
  add(8);
  await tick();
  add(7);
  await tick();
  assert.deepEqual(sizes(batches), [MANY + 8 + 7]);
});

test('2: a batch collects no second time while nothing is left to be begun', async (t) => {
  const { batches, add, tick, starves } = setUp(t);
  starves.now = true;
  add(MANY);
  await tick();
  assert.deepEqual(sizes(batches), [MANY]);
});

test('2: a batch waits for nothing where no other outcome can come', async (t) => {
  const { batches, add, tick, starves, outstanding } = setUp(t);
  starves.now = true;
  outstanding.now = 3;
  add(3);
  await settled();
  assert.deepEqual(sizes(batches), [3]);
  add(2);
  await settled();
  assert.deepEqual(sizes(batches), [3], 'one is still to come');
  await tick();
  assert.deepEqual(sizes(batches), [3, 2]);
});

test('2: a batch that is full waits for nothing', async (t) => {
  const { batches, add } = setUp(t);
  add(256);
  await settled();
  assert.deepEqual(sizes(batches), [256]);
});

test('2: full is a batch of a megabyte as well, and none is larger but for a single outcome', async (t) => {
  const { batches, add, tick } = setUp(t);
  add(3, 400 * KIB);
  await settled();
  assert.deepEqual(batches, [[0, 1]]);
  await tick();
  assert.deepEqual(batches, [[0, 1], [2]]);
  add(1, 3000 * KIB);
  add(1, 3000 * KIB);
  await settled();
  assert.deepEqual(batches, [[0, 1], [2], [3], [4]]);
});

test('2: one commit at a time; what comes meanwhile is the next batch, in its order', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { batches, running, add, tick } = setUp(t, () => promise);
  add(2);
  await tick();
  assert.equal(running.now, 1);
  add(300);
  await tick();
  assert.deepEqual([batches.length, running.now], [0, 1]);
  resolve();
  await settled();
  await tick();
  assert.deepEqual(batches, [from(0, 2), from(2, 256), from(258, 44)]);
  assert.equal(running.most, 1);
});

test('2: a full committer has no room until its outcomes are committed', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { committer, add } = setUp(t, () => promise);
  add(1023);
  assert.equal(committer.hasRoom, true);
  add(1);
  assert.equal(committer.hasRoom, false);
  await settled();
  assert.equal(committer.pending, 1024, 'those that are being committed count');
  resolve();
  await committer.stop(new AbortController().signal);
  assert.deepEqual([committer.hasRoom, committer.pending, committer.pendingBytes], [true, 0, 0]);
  add(3, 3000 * KIB);
  assert.equal(committer.hasRoom, false, 'bytes count as well');
});

test('2: an outcome that comes while a commit ends is in the next, at whatever step of the end it comes', async (t) => {
  for (let step = 0; step < 12; step++) {
    const { committer, batches, add, tick } = setUp(
      t,
      async () => {},
      async () => {
        if (batches.length > 1) return;
        for (let i = 0; i < step; i++) await null;
        add(1);
      },
    );
    add(1);
    await tick();
    await tick();
    assert.deepEqual([batches, committer.pending], [[[0], [1]], 0], `${step} microtasks later`);
    t.mock.timers.reset();
  }
});

test('2: a batch whose database is away is kept, and repeated as it was', async (t) => {
  let tries = 0;
  const { committer, batches, add, tick } = setUp(t, async () => {
    if (++tries < 4) throw Object.assign(new Error('terminating connection'), { code: '57P01' });
  });
  add(3);
  await tick();
  add(2);
  // What it waits between tries are not the timers that go by hand.
  while (batches.length < 2) await tick();
  assert.deepEqual(batches, [from(0, 3), from(3, 2)]);
  assert.deepEqual([tries, committer.totals.commits], [5, 2]);
});

test('12: stopping ends the collecting of a batch, commits all and resolves', async (t) => {
  const { committer, batches, add } = setUp(t);
  add(300);
  await committer.stop(new AbortController().signal);
  assert.deepEqual(sizes(batches), [256, 44]);
});

test('12: stopping gives up a commit that does not end in time', async (t) => {
  const never = Promise.withResolvers<void>();
  const { committer, batches, running, add, tick } = setUp(t, () => never.promise);
  add(300);
  await tick();
  const grace = new AbortController();
  const stopped = committer.stop(grace.signal);
  grace.abort();
  await stopped;
  assert.deepEqual([batches, running.now], [[], 1]);
  never.resolve();
  await settled();
  assert.deepEqual(sizes(batches), [256], 'nothing more is begun');
});
