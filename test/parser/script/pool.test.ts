import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { crawlKey, KnownFingerprints } from '../../../dist/model/known.js';
import { ParserStopped } from '../../../dist/parser/failure.js';
import { ScriptPool } from '../../../dist/parser/script/pool.js';
import { descendants } from '../../support/processes.ts';
import { crawlId, fetchCalls, fetched, NO_CALLS, pageJob, scriptPlan, spider, startPool } from './scripts.ts';

const SPIN = 'for (;;);';
/** A native that QuickJS cannot interrupt. */
const STUCK = `'a'.repeat(4e6).indexOf('a'.repeat(2e6) + 'b');`;
const GOOD = spider(`parse(r) { return { t: r.css('h1').text() }; }`);
const HTML = '<h1>Head</h1>';

for (const boundary of ['bubblewrap', 'process'] as const)
  describe(`the script pool, with ${boundary}`, () => {
    const start = (processes = 1) => startPool({ processes, boundary });

    it('says which wall is in force', async () => {
      const pool = await start();
      try {
        const asked = boundary === 'process' || !existsSync('/usr/bin/bwrap') ? 'process' : 'bubblewrap';
        assert.equal(pool.boundary.kind, asked);
        assert.ok(pool.boundary.detail.length > 10);
        assert.equal(descendants(process.pid).length, 0, 'no process before one is needed');
      } finally {
        await pool.stop();
      }
    });

    it('ends what cannot be interrupted, blames that page alone, and goes on', async () => {
      const pool = await start();
      try {
        const script = spider(`parse(r, ctx) { return { t: r.css('h1').text() }; },
          async waits(r, ctx) { await ctx.fetch('/x'); return { n: 1 }; },
          stuck() { ${STUCK} }`);
        let release = () => {};
        let open = 0;
        const gate = new Promise<void>((resolve) => {
          release = resolve;
        });
        const calls = fetchCalls(async () => {
          open++;
          if (open <= 3) await gate;
          return fetched('x');
        });
        pool.openCrawl(scriptPlan(script, { parseTimeoutMs: 200 }), calls);
        const waiting = [1, 2, 3].map(() => pool.run(pageJob(HTML, { extra: { page: 'waits' } })));
        while (open < 3) await sleep(5);
        await assert.rejects(pool.run(pageJob(HTML, { extra: { page: 'stuck' } })), {
          reason: 'parse_timeout',
          message: /more than 200 ms of CPU \(parseTimeoutMs\) and could not be interrupted/,
        });
        release();
        for (const page of await Promise.all(waiting)) assert.equal(page.items[0]!.data, '{"n":1}');
        assert.equal(open, 6, 'the innocent pages began anew');
        assert.equal(pool.kills, 1);
      } finally {
        await pool.stop();
      }
    });

    it('interrupts what can be, without losing the process', async () => {
      const pool = await start();
      try {
        pool.openCrawl(scriptPlan(spider(`parse() {}, spin() { ${SPIN} }`), { parseTimeoutMs: 1000 }), NO_CALLS);
        for (let i = 0; i < 3; i++)
          await assert.rejects(pool.run(pageJob(HTML, { extra: { page: 'spin' } })), {
            reason: 'parse_timeout',
            message: 'callback `spin` used more than 1000 ms of CPU (parseTimeoutMs)',
          });
        await pool.run(pageJob(HTML));
        assert.equal(pool.kills, 0);
      } finally {
        await pool.stop();
      }
    });

    it('leaves no process behind when it stops, whatever they are at', async () => {
      const pool = await start(2);
      pool.openCrawl(scriptPlan(spider(`parse() { ${STUCK} }`), { parseTimeoutMs: 60_000 }), NO_CALLS);
      const jobs = [pool.run(pageJob(HTML)), pool.run(pageJob(HTML))].map((job) =>
        job.catch((error: unknown) => error),
      );
      while (descendants(process.pid).length < 2) await sleep(10);
      await sleep(300);
      await pool.stop();
      await pool.stop();
      for (const error of await Promise.all(jobs)) assert.ok(error instanceof ParserStopped, String(error));
      for (let tries = 0; descendants(process.pid).length > 0 && tries < 1500; tries++) await sleep(20);
      assert.deepEqual(descendants(process.pid), []);
    });

    it('leaves no process behind when the node is killed', async () => {
      const node = holder(boundary);
      try {
        const children = await spinning(node);
        assert.ok(children.length > 0);
        node.kill('SIGKILL');
        for (let tries = 0; children.some((pid) => existsSync(`/proc/${pid}`) && isAlive(pid)) && tries < 1500; tries++)
          await sleep(20);
        assert.deepEqual(children.filter(isAlive), []);
      } finally {
        node.kill('SIGKILL');
      }
    });
  });

function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** A node of its own with a script that never ends. */
function holder(boundary: string): ChildProcess {
  const scripts = new URL('./scripts.ts', import.meta.url).href;
  const code = `
    const { startPool, scriptPlan, spider, pageJob, NO_CALLS } = await import(${JSON.stringify(scripts)});
    const pool = await startPool({ boundary: ${JSON.stringify(boundary)} });
    pool.openCrawl(scriptPlan(spider('parse() { console.log("here"); for (;;); }'), { parseTimeoutMs: 60000 }), NO_CALLS);
    pool.run(pageJob('<p>')).catch(() => {});
    setInterval(() => pool.busyProcesses > 0 && console.log('busy'), 50);`;
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Its script processes, once one of them has used some CPU. */
async function spinning(node: ChildProcess): Promise<number[]> {
  await new Promise((resolve) => node.stdout!.once('data', resolve));
  for (;;) {
    const children = descendants(node.pid!);
    const isSpinning = children.some((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[11]) > 60;
      } catch {
        return false;
      }
    });
    if (isSpinning) return children;
    await sleep(20);
  }
}

describe('crawls in the script pool', () => {
  it('share processes fairly: a crawl with endless work does not keep another out', async () => {
    const pool = await startPool({ processes: 1 });
    try {
      pool.openCrawl(
        scriptPlan(spider('parse() { const end = Date.now() + 30; while (Date.now() < end); }')),
        NO_CALLS,
      );
      const busy = Array.from({ length: 200 }, () => pool.run(pageJob(HTML)).catch((error: unknown) => error));
      pool.openCrawl(scriptPlan(GOOD, {}, { crawlId: crawlId(2) }), NO_CALLS);
      const page = await pool.run(pageJob(HTML, {}, crawlId(2)));
      assert.equal(page.items.length, 1);
      assert.ok(pool.queuedJobs > 0, 'the other crawl was not done first');
      pool.closeCrawl(crawlId(1));
      await Promise.all(busy);
    } finally {
      await pool.stop();
    }
  });

  it('a crawl whose pages all wait keeps no other crawl waiting', async () => {
    const pool = await startPool({ processes: 1 });
    try {
      const calls = fetchCalls(
        (_, signal) =>
          new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
      );
      pool.openCrawl(scriptPlan(spider(`async parse(r, ctx) { await ctx.fetch('/x'); }`)), calls);
      const held = Array.from({ length: 20 }, () => pool.run(pageJob(HTML)).catch((error: unknown) => error));
      pool.openCrawl(scriptPlan(GOOD, {}, { crawlId: crawlId(2) }), NO_CALLS);
      assert.equal((await pool.run(pageJob(HTML, {}, crawlId(2)))).items.length, 1);
      pool.closeCrawl(crawlId(1));
      for (const error of await Promise.all(held)) assert.ok(error instanceof ParserStopped);
    } finally {
      await pool.stop();
    }
  });

  it('share nothing: globals of one are not those of another, nor of itself after a change', async () => {
    const pool = await startPool({ processes: 1 });
    try {
      const script = spider('parse() { globalThis.n = (globalThis.n ?? 0) + 1; return { n: globalThis.n }; }');
      const runIn = async (n: number) => JSON.parse((await pool.run(pageJob(HTML, {}, crawlId(n)))).items[0]!.data).n;
      for (const n of [1, 2]) pool.openCrawl(scriptPlan(script, {}, { crawlId: crawlId(n) }), NO_CALLS);
      assert.deepEqual([await runIn(1), await runIn(2), (await runIn(1)) > 0], [1, 1, true]);
      pool.openCrawl(scriptPlan(script, {}, { crawlId: crawlId(1) }), NO_CALLS);
      assert.equal(await runIn(1), 1);
    } finally {
      await pool.stop();
    }
  });

  it('leave out links that are known to be in the ledger', async () => {
    const known = new KnownFingerprints(1024);
    const pool = new ScriptPool({ processes: 1, known: known.buffer });
    await pool.start();
    try {
      pool.openCrawl(
        scriptPlan(spider(`*parse(r, ctx) { yield ctx.follow('/a'); yield ctx.follow('/b'); }`)),
        NO_CALLS,
      );
      const first = await pool.run(pageJob(HTML));
      known.add(crawlKey(crawlId(1)), first.links[0]!.fp, 1);
      const second = await pool.run(pageJob(HTML));
      assert.deepEqual(
        second.links.map(({ url }) => url),
        ['http://site.test/b'],
      );
    } finally {
      await pool.stop();
    }
  });

  it('a pool that is not started, or stopped, and a crawl that is not open, refuse', async () => {
    const pool = new ScriptPool({ processes: 1, known: new KnownFingerprints(1024).buffer });
    await assert.rejects(pool.run(pageJob(HTML)), ParserStopped);
    await pool.stop();
    const other = await startPool();
    await assert.rejects(other.run(pageJob(HTML)), ParserStopped);
    await other.stop();
    await assert.rejects(other.describe(GOOD), ParserStopped);
  });
});
