import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it, test } from 'node:test';
import { countDeletions } from '../../dist/db/deletions.js';
import { applyRetention } from '../../dist/engine/retention.js';
import { commitItems, type TestApi, testApi } from '../routes/api.ts';
import { booksOf, finishDeletions } from '../support/rows.ts';

let api: TestApi;
before(async () => {
  api = await testApi();
});
after(() => api.stop());
beforeEach(() => api.sql`delete from crawls`);

const DAY = 86_400;
const NONE = { items: null, ledger: null };

/** A crawl that ended so many days ago. */
async function endedCrawl(daysAgo: number, keepFor: object | null = null, state = 'finished'): Promise<string> {
  const id = await api.start({ startUrls: ['https://books.example/'], settings: { keepFor } });
  await commitItems(api.sql, id, 2);
  await api.sql`
    update crawls set state = ${state}, stop_reason = 'max_pages', started_at = now() - interval '1 year',
      ended_at = ${state === 'running' ? null : new Date(Date.now() - daysAgo * DAY * 1000)}::timestamptz
    where id = ${id}`;
  return id;
}

async function stateOf(id: string): Promise<'whole' | 'without ledger' | 'gone'> {
  const { status, json } = await api.call('GET', `/crawls/${id}`);
  if (status === 404) return 'gone';
  return json.ledgerDeletedAt === null ? 'whole' : 'without ledger';
}

describe('RETENTION and keepFor', () => {
  const rule = { items: 90 * DAY, ledger: 7 * DAY };
  // [what, RETENTION, keepFor, days since its end, what is left]
  const table: [string, typeof NONE | typeof rule, object | null, number, string][] = [
    ['nothing is said: for ever', NONE, null, 10_000, 'whole'],
    ['before the first time', rule, null, 6, 'whole'],
    ['the ledger’s time is over', rule, null, 8, 'without ledger'],
    ['the items’ time is over', rule, null, 91, 'gone'],
    ['the crawl’s own word goes first', rule, { items: DAY }, 2, 'gone'],
    ['for what it says', rule, { items: null }, 400, 'without ledger'],
    ['null is for ever', rule, { items: null, ledger: null }, 400, 'whole'],
    ['also where the operator says nothing', NONE, { ledger: 3600 }, 1, 'without ledger'],
    ['zero is at once', NONE, { items: 0 }, 0.001, 'gone'],
  ];
  for (const [what, kept, keepFor, days, expected] of table)
    it(`${what}: ${expected}`, async () => {
      const id = await endedCrawl(days, keepFor);
      await applyRetention(api.sql, kept);
      assert.equal(await stateOf(id), expected);
    });

  it('counts from the end: a crawl that runs stays', async () => {
    const id = await endedCrawl(1000, { items: 0, ledger: 0 }, 'running');
    await applyRetention(api.sql, { items: 1, ledger: 1 });
    assert.equal(await stateOf(id), 'whole');
  });

  it('is changed by PATCH', async () => {
    const id = await endedCrawl(8);
    const patch = (keepFor: object | null) => api.call('PATCH', `/crawls/${id}`, { settings: { keepFor } });
    assert.equal((await patch({ ledger: null })).status, 200);
    await applyRetention(api.sql, { items: null, ledger: DAY });
    assert.equal(await stateOf(id), 'whole');
    assert.equal((await patch(null)).status, 200);
    await applyRetention(api.sql, { items: null, ledger: DAY });
    assert.equal(await stateOf(id), 'without ledger');
    assert.equal((await patch({ leger: 1 })).status, 422);
  });
});

test('a crawl whose ledger is gone keeps its items and counters, says so, and cannot go on', async () => {
  const id = await endedCrawl(8);
  const before = (await api.call('GET', `/crawls/${id}`)).json;
  assert.deepEqual(await applyRetention(api.sql, { items: null, ledger: DAY }), { crawls: 0, ledgers: 1 });
  assert.deepEqual(await applyRetention(api.sql, { items: null, ledger: DAY }), { crawls: 0, ledgers: 0 });
  await finishDeletions(api.sql);
  const now = (await api.call('GET', `/crawls/${id}`)).json;
  assert.deepEqual({ ...now, ledgerDeletedAt: null }, before);
  assert.equal(((await booksOf(api.sql, id)).sums as { discovered: number }).discovered, 0);
  const items = await api.call('GET', `/crawls/${id}/items?format=json`);
  assert.equal((items.json.items as object[]).length, 2);
  for (const path of ['/requests', '/requests/why?url=https://books.example/']) {
    const answer = await api.call('GET', `/crawls/${id}${path}`);
    assert.deepEqual([answer.status, answer.json.type], [410, 'ledger_deleted'], path);
  }
  const resumed = await api.call('POST', `/crawls/${id}/resume`);
  assert.deepEqual([resumed.status, resumed.json.type], [409, 'wrong_state']);
  assert.match(String(resumed.json.detail), /its ledger was deleted at/);
  assert.equal((await api.call('GET', `/crawls/${id}/stats`)).status, 200);
  // Then the items' time comes.
  await applyRetention(api.sql, { items: DAY, ledger: DAY });
  await finishDeletions(api.sql);
  assert.deepEqual([...(await api.sql`select from items where crawl_id = ${id}`)], []);
});

test('a crawl waits for its exports and webhooks, and says so; its ledger does not', async () => {
  const id = await endedCrawl(100);
  await api.sql`insert into exports (crawl_id, n, name, kind, definition) values (${id}, 0, 'file', 'file', '{}')`;
  for (let i = 0; i < 2; i++) await applyRetention(api.sql, { items: DAY, ledger: DAY });
  assert.equal(await stateOf(id), 'without ledger');
  const { json } = await api.call('GET', `/crawls/${id}`);
  assert.equal((json.warnings as string[]).filter((one) => /kept longer.*an export/.test(one)).length, 1);
  await api.sql`update exports set state = 'done' where crawl_id = ${id}`;
  await applyRetention(api.sql, { items: DAY, ledger: DAY });
  assert.equal(await stateOf(id), 'gone');
});

test('two nodes delete each crawl once, and more than are looked at in one go', async () => {
  const one = await endedCrawl(9);
  await api.sql`
    insert into crawls (id, definition, settings, start_urls, scope_hosts, state, ended_at)
    select gen_random_uuid(), definition, settings, start_urls, scope_hosts, state, ended_at
    from crawls, generate_series(1, 149) where id = ${one}`;
  let [crawls, rounds] = [0, 0];
  for (let last = -1; last !== crawls; rounds++) {
    last = crawls;
    const both = await Promise.all([1, 2].map(() => applyRetention(api.sql, { items: DAY, ledger: null })));
    for (const done of both) crawls += done.crawls;
  }
  assert.equal(crawls, 150);
  assert.ok(rounds > 2);
  await finishDeletions(api.sql);
  assert.deepEqual(await countDeletions(api.sql), { crawls: 0, rows: 0 });
});
