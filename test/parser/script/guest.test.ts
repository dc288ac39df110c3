import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ParsedPage } from '../../../dist/model/outcome.js';
import type { ParsePlanInput } from '../../../dist/model/spider.js';
import type { ScriptCalls } from '../../../dist/parser/script/calls.js';
import type { ScriptPool } from '../../../dist/parser/script/pool.js';
import { crawlId, NO_CALLS, type PageOptions, pageJob, scriptPlan, spider, startPool } from './scripts.ts';

const HTML = `<!doctype html><title> A  page </title><h1>Head</h1><h2>One</h2><h2>Two <b>and</b> a half</h2>
<ul><li class=a data-x=1><a href="/a">£1,234.50</a></li><li class=b><a href="b.html">EUR 2</a></li><li>none</li></ul>`;

describe('what a script is given', () => {
  let pool: ScriptPool;
  let crawls = 0;
  before(async () => {
    pool = await startPool();
  });
  after(() => pool.stop());

  async function run(
    members: string,
    html = HTML,
    options: PageOptions = {},
    more: Partial<ParsePlanInput> = {},
    calls: ScriptCalls = NO_CALLS,
  ): Promise<ParsedPage> {
    const id = crawlId(++crawls + 100);
    pool.openCrawl(scriptPlan(spider(members), {}, { crawlId: id, ...more }), calls);
    try {
      return await pool.run(pageJob(html, options, id));
    } finally {
      pool.closeCrawl(id);
    }
  }
  /** The value of an expression over `r`, the response, and `ctx`. */
  async function value(expression: string, html = HTML, options: PageOptions = {}): Promise<unknown> {
    const page = await run(`async parse(r, ctx) { return { value: ${expression} }; }`, html, options);
    return (JSON.parse(page.items[0]!.data) as { value: unknown }).value;
  }

  it('reads a page by CSS', async () => {
    assert.equal(await value(`r.css('h1').text()`), 'Head');
  });
});
