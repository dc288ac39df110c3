import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ScriptPool } from '../../dist/parser/script/pool.js';
import { crawlId, NO_CALLS, pageJob, scriptPlan, spider, startPool } from '../parser/script/scripts.ts';

const QUICK = spider(`parse(r) { return { h: r.css('h1').text() }; }`);
const BURNERS = [
  spider('parse() { while (true); }'),
  // Cannot be interrupted: its process is ended, and tells of no time used.
  spider(`parse() { 'a'.repeat(2e6).indexOf('a'.repeat(1e6) + 'b'); }`),
];

/** Many crawls burn, each with more pages than there are processes. Nothing is timed: it is counted how often they burned. */
describe('crawls whose scripts burn', () => {
  let pool: ScriptPool;
  let burned = 0;
  const running: Promise<unknown>[] = [];
  before(async () => {
    pool = await startPool({ processes: 1 });
    pool.openCrawl(scriptPlan(QUICK), NO_CALLS);
    await page();
    for (let i = 0; i < 12; i++) {
      const id = crawlId(100 + i);
      pool.openCrawl(scriptPlan(BURNERS[i % 2]!, { parseTimeoutMs: 100 }, { crawlId: id }), NO_CALLS);
      for (let k = 0; k < 10; k++) running.push(burn(id));
    }
  });
  after(async () => {
    await pool.stop();
    await Promise.all(running);
  });

  async function burn(id: string): Promise<void> {
    const error = await pool.run(pageJob('<p>', {}, id)).catch((failure: unknown) => failure);
    if ((error as Error).name !== 'ParserStopped') burned++;
  }

  async function page(id = crawlId(1)): Promise<void> {
    const { items } = await pool.run(pageJob('<h1>x</h1>', {}, id));
    assert.equal(items[0]?.data, '{"h":"x"}');
  }

  it('a crawl with quick pages does not take turns with them', async () => {
    for (let i = 0; i < 10; i++) await page();
    assert.ok(burned < 12, `ten pages, and meanwhile ${burned} burned`);
  });

  it('a new crawl comes before those that are known to burn', async () => {
    while (burned < 14) await new Promise((resolve) => setTimeout(resolve, 50));
    const before = burned;
    pool.openCrawl(scriptPlan(QUICK, {}, { crawlId: crawlId(2) }), NO_CALLS);
    for (let i = 0; i < 5; i++) await page(crawlId(2));
    // One that runs goes on to its end, and processes have to start: but it does not wait for all of the hundred and more.
    assert.ok(burned - before < 40, `five pages, and meanwhile ${burned - before} burned`);
  });
});
