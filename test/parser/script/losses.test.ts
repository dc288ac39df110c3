import assert from 'node:assert/strict';
import { it, mock } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ParseFailure } from '../../../dist/parser/failure.js';
import { fetchCalls, fetched, NO_CALLS, pageJob, scriptPlan, spider, startPool } from './scripts.ts';

const HTML = '<h1>Head</h1>';

/** A pool, and the end of its broker's thread at a moment of the test's choice. */
async function mortalPool() {
  const post = mock.method(Worker.prototype, 'postMessage');
  const pool = await startPool();
  const loseBroker = async () => {
    await (post.mock.calls.at(-1)!.this as Worker).terminate();
  };
  const stop = async () => {
    post.mock.restore();
    await pool.stop();
  };
  return { pool, loseBroker, stop };
}

it('a broker that is lost is replaced: pages that it had, and those that came meanwhile, go on in the next one', async () => {
  const { pool, loseBroker, stop } = await mortalPool();
  try {
    let calls = 0;
    const answer = async () => {
      if (++calls === 1) await new Promise(() => {});
      return fetched('answer');
    };
    const script = spider(`async parse(r, ctx) { return { t: (await ctx.fetch('/x')).text() }; }`);
    pool.openCrawl(scriptPlan(script), fetchCalls(answer));
    const first = pool.run(pageJob(HTML));
    while (calls === 0) await sleep(5);
    await loseBroker();
    const second = pool.run(pageJob(HTML));
    const pages = await Promise.all([first, second]);
    assert.deepEqual(
      pages.map(({ items }) => items.map(({ data }) => data)),
      [['{"t":"answer"}'], ['{"t":"answer"}']],
    );
    assert.equal(calls, 3);
  } finally {
    await stop();
  }
});

it('a page at which the broker is lost again and again fails: it cannot loop', async () => {
  const { pool, loseBroker, stop } = await mortalPool();
  try {
    let calls = 0;
    const script = spider(`async parse(r, ctx) { await ctx.fetch('/x'); }`);
    const answer = () => {
      calls++;
      return new Promise<never>(() => {});
    };
    pool.openCrawl(scriptPlan(script), fetchCalls(answer));
    const page = pool.run(pageJob(HTML));
    page.catch(() => {});
    for (let loss = 1; loss <= 3; loss++) {
      while (calls < loss) await sleep(5);
      await loseBroker();
    }
    await assert.rejects(
      page,
      (error: ParseFailure) => error instanceof ParseFailure && /ended 3 times/.test(error.message),
    );
  } finally {
    await stop();
  }
});

it('state that is too large fails its page alone, and none of it is kept', async () => {
  const pool = await startPool();
  try {
    const script = spider(`parse(r, ctx) {
      for (let i = 0; i < r.meta.n; i++) ctx.state.set(r.meta.key + i, 'x'.repeat(60000));
      return { n: r.meta.n };
    }`);
    pool.openCrawl(scriptPlan(script), NO_CALLS);
    const run = (key: string, n: number) => pool.run(pageJob(HTML, { extra: { pass: { key, n } } }));
    await run('a', 10);
    await assert.rejects(run('b', 12), /ctx\.state of the crawl has 1\d+ characters; at most 1048576 are kept/);
    await run('c', 0);
    await run('a', 10);
    assert.equal(Object.keys((await run('c', 5)).state ?? {}).length, 5);
  } finally {
    await pool.stop();
  }
});
