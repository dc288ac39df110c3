import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Answers } from '../../dist/engine/answers.js';
import { Gatherer } from '../../dist/engine/gatherer.js';
import { type CrawlRun, hasRoom } from '../../dist/frontier/crawl_run.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';

function gather(options: { max: number; lingerMs: number; concurrency: number; maxWeight?: number }) {
  const batches: number[][] = [];
  const seen = { now: 0, most: 0 };
  const gatherer = new Gatherer<number, string>({
    ...options,
    weigh: (n) => n,
    send: async (questions) => {
      batches.push(questions);
      seen.most = Math.max(seen.most, ++seen.now);
      await sleep(5);
      seen.now--;
      if (questions.includes(13)) throw new Error('unlucky');
      return questions.map(String);
    },
  });
  return { gatherer, batches, seen };
}
const upTo = (n: number) => [...Array(n).keys()];

test('questions are gathered into full batches, each answered in its place', async () => {
  const { gatherer, batches, seen } = gather({ max: 4, lingerMs: 5, concurrency: 2 });
  assert.deepEqual(await Promise.all(upTo(11).map((n) => gatherer.ask(n))), upTo(11).map(String));
  assert.deepEqual(
    batches.map((batch) => batch.length),
    [4, 4, 3],
  );
  assert.equal(seen.most, 2);
});

test('a batch is as heavy as may be, and one question always goes', async () => {
  const { gatherer, batches } = gather({ max: 100, lingerMs: 1, concurrency: 1, maxWeight: 10 });
  await Promise.all([3, 4, 5, 50, 1].map((n) => gatherer.ask(n)));
  assert.deepEqual(batches, [[3, 4], [5], [50], [1]]);
});

test('without lingering each question goes at once, as many as may be under way', async () => {
  const { gatherer, batches, seen } = gather({ max: 1, lingerMs: 0, concurrency: 3 });
  await Promise.all(upTo(10).map((n) => gatherer.ask(n)));
  assert.equal(batches.length, 10);
  assert.equal(seen.most, 3);
});

test('what fails fails for its batch alone', async () => {
  const { gatherer } = gather({ max: 2, lingerMs: 1, concurrency: 1 });
  const results = await Promise.allSettled([12, 13, 14, 15].map((n) => gatherer.ask(n)));
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'rejected', 'fulfilled', 'fulfilled'],
  );
});

test('an answer is kept for its time, a failure is not, and what is being asked is not asked again', async () => {
  const answers = new Answers();
  let calls = 0;
  const ask = (text: string | null) => async () => {
    calls++;
    await sleep(2);
    return { answer: text === null ? { error: 'timeout' } : { text }, calls: 1 };
  };
  const both = await Promise.all([answers.get('a', 60, ask('1')), answers.get('a', 60, ask('2'))]);
  assert.deepEqual(
    both.map(({ answer, calls: made, cached }) => [answer, made, cached]),
    [
      [{ text: '1' }, 1, false],
      [{ text: '1' }, 0, true],
    ],
  );
  assert.deepEqual((await answers.get('a', 60, ask('3'))).answer, { text: '1' });
  await answers.get('b', 60, ask(null));
  assert.deepEqual((await answers.get('b', 0, ask('4'))).answer, { text: '4' });
  assert.deepEqual((await answers.get('b', 60, ask('5'))).answer, { text: '5' });
  assert.equal(calls, 4);
});

test('a crawl with as many waiting pages as may wait, or as many bytes, fetches no more', () => {
  const run = (parts: Partial<CrawlRun>) =>
    hasRoom({
      ...{ inFlight: 0, parsing: 0, parsingBytes: 0, waiting: 999, waitingBytes: 2 ** 24 - 1 },
      ...{ settings: DEFAULT_SETTINGS, ...parts },
    } as CrawlRun);
  assert.equal(run({}), true);
  assert.equal(run({ waiting: 1000 }), false);
  assert.equal(run({ waitingBytes: 2 ** 24 }), false);
});
