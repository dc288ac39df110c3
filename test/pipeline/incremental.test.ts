import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claim } from '../../dist/db/claims.js';
import { emptyPage, type Outcome } from '../../dist/model/outcome.js';
import { commitOutcomes } from '../../dist/pipeline/commit.js';
import { spaceOf } from '../../dist/pipeline/dedupe.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { holdHost, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

test('26: two crawls of one spider bring the same item in one commit: the later is compared with the earlier', async () => {
  const { sql } = database;
  const [name, node, key] = [randomUUID(), randomUUID(), 'a'.repeat(32)];
  const starts = [randomUUID(), randomUUID()];
  const outcomes: Outcome[] = [];
  for (const start of starts) {
    const { id, hostId } = await seedCrawl(sql, { queued: 2 });
    await sql`update crawls set spider_name = ${name}, start_hash = ${start}, gone_pending = false where id = ${id}`;
    const fence = await holdHost(sql, node, hostId);
    const { requests } = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 1 }]);
    const item = { type: 'x', data: '{}', size: 2, state: { key, hash: key, fields: '{}' } };
    outcomes.push({
      ...{ ...requests[0]!, state: 'done', reason: null, detail: null, readyAt: null, status: 200, bodyBytes: 10 },
      ...{ wireBytes: 10, fetchMs: 5, fetchedAt: Date.now(), page: { ...emptyPage(), items: [item] } },
    });
  }
  const { applied } = await commitOutcomes(sql, node, outcomes, new Map(), false);
  assert.equal(applied.length, 2);
  for (const [i, { crawlId }] of outcomes.entries()) {
    const rows = await sql`select change->>'kind' as kind from items where crawl_id = ${crawlId}`;
    assert.deepEqual(
      rows.map((row) => row.kind),
      [['new', 'same'][i]],
    );
  }
  const [row] = await sql`select start from spider_items where space = ${spaceOf({ id: '', spiderName: name })}`;
  assert.equal(row!.start, starts[1]);
});
