import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sql } from '../../dist/db/client.js';
import { UNFOLLOWED } from '../../dist/db/gone.js';
import { isLost, PageMemory } from '../../dist/engine/page_memory.js';
import type { CrawlRun } from '../../dist/frontier/crawl_run.js';
import type { Outcome } from '../../dist/model/outcome.js';
import type { ClaimedRequest } from '../../dist/model/request.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { ParserPool } from '../../dist/parser/pool.js';
import { SHOP } from '../support/shop.ts';

test('26: where the database does not say what was scraped, all is fetched, and behind a page that fails nothing is gone', async () => {
  const outcomes: Outcome[] = [];
  const memory = new PageMemory({
    sql: { begin: () => Promise.reject(new Error('away')) } as unknown as Sql,
    parser: {} as ParserPool,
    onOutcome: (outcome) => outcomes.push(outcome),
    hasRoom: () => true,
    isStopping: () => false,
    rendering: { concerns: () => false },
    log: { error: () => {} },
  });
  const settings = { ...DEFAULT_SETTINGS, dedup: { scope: 'spider' as const } };
  const run = {
    id: 'a',
    settings,
    definition: SHOP,
    spiderName: 'shop',
    scopeHosts: [],
    params: {},
  } as unknown as CrawlRun;
  const request = { crawlId: 'a', fp: '0'.repeat(32), url: 'http://a.example/p/1', extra: null } as ClaimedRequest;
  assert.deepEqual(await memory.admit(run, [request]), [request]);
  const failed = { state: 'failed', reason: 'http_5xx', status: 500, page: null, detail: null } as Outcome;
  assert.ok(isLost(request, failed));
  await memory.follow(request, failed);
  assert.deepEqual(outcomes[0]!.page!.flags, [UNFOLLOWED]);
});
