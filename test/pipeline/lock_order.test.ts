import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ClaimWant, claim } from '../../dist/db/claims.js';
import { inTransaction, type Tx } from '../../dist/db/client.js';
import { storeHosts } from '../../dist/db/hosts.js';
import { forgetAll } from '../../dist/db/spider_pages.js';
import { emptyPage, type Outcome, type PageNote } from '../../dist/model/outcome.js';
import { commitOutcomes } from '../../dist/pipeline/commit.js';
import { spaceOf } from '../../dist/pipeline/dedupe.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { holdHost, seedCrawl } from '../support/rows.ts';

// Transactions that share rows take them in one order. Each test has the last row locked by somebody else, and looks whether
// the one before it is held by who waits.

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

/** @param last locks the row for which `work` must wait. @param first asks for the row that it must have by then */
async function takesFirst(
  last: (tx: Tx) => Promise<unknown>,
  work: () => Promise<unknown>,
  first: (tx: Tx) => unknown,
) {
  const { sql } = database;
  let working: Promise<unknown> = Promise.resolve();
  await inTransaction(sql, async (tx) => {
    await last(tx);
    working = work();
    const waiting = () => sql`
      select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    for (const deadline = Date.now() + 10_000; (await waiting()).length === 0; await sleep(10))
      assert.ok(Date.now() < deadline, 'it does not wait');
    await assert.rejects(
      inTransaction(sql, async (other) => first(other)),
      { code: '55P03' },
      'it waits for the last row without the first',
    );
  });
  await working;
}

test('claims take the rows of crawls in the order in which commits take them', async () => {
  const { sql } = database;
  const node = randomUUID();
  let wants = [];
  do {
    wants = [await seedCrawl(sql, { queued: 1 }), await seedCrawl(sql, { queued: 1 })];
    // Until the later one has the smaller id.
  } while (wants[0]!.id < wants[1]!.id);
  const [last, first] = wants.map(({ id }) => id);
  const claimed: ClaimWant[] = [];
  for (const { id, hostId } of wants)
    claimed.push({ crawlId: id, hostId, fence: await holdHost(sql, node, hostId), n: 1 });
  await takesFirst(
    (tx) => tx`select 1 from crawls where id = ${last!} for update`,
    () => claim(sql, node, claimed),
    (tx) => tx`select 1 from crawls where id = ${first!} for update nowait`,
  );
});

test('what was learned of hosts is stored in the order in which commits check their leases', async () => {
  const { sql } = database;
  const node = randomUUID();
  // On disk the last one comes first.
  const hosts = await sql<{ id: number; fence: number }[]>`
    insert into hosts (id, origin, node_id, fence) overriding system value
    select 1000000 - n, ${node} || n, ${node}, 1 from generate_series(1, 2000) n returning id, fence`;
  await sql`analyze hosts`;
  const learned = hosts
    .filter((_, i) => i % 5 === 0)
    .map((host) => ({
      ...host,
      ...{ waitMs: 1000, backoffLevel: 1, crawlDelayMs: 0, throttleMs: 0, address: null },
    }));
  await takesFirst(
    (tx) => tx`select 1 from hosts where id = ${hosts[0]!.id} for share`,
    () => storeHosts(sql, node, learned),
    (tx) => tx`select 1 from hosts where id = ${learned.at(-1)!.id} for share nowait`,
  );
  const [row] = await sql`select count(*)::int as n from hosts where node_id = ${node} and backoff_level = 1`;
  assert.equal(row!.n, 400);
});

const FIRST = '0'.repeat(32);
const LAST = 'f'.repeat(32);

/** A crawl of a spider that remembers a first and a last page, and a first and a last item. */
async function seedRemembered() {
  const { sql } = database;
  const name = randomUUID();
  const space = spaceOf({ id: '', spiderName: name });
  const { id, hostId } = await seedCrawl(sql, { queued: 2 });
  await sql`update crawls set spider_name = ${name}, start_hash = ${randomUUID()}, gone_pending = false where id = ${id}`;
  for (const key of [LAST, FIRST]) {
    await sql`
      insert into spider_items (space, key, page_fp, seen_at, hash, size, start, type, url, fields, data)
      values (${space}, ${key}, ${key}, now(), ${key}, 2, ${randomUUID()}, 'x', 'http://a.example/', '{}', '{}')`;
    await sql`
      insert into spider_pages (space, fp, definition, crawl_id, scraped_at, items)
      values (${space}, ${key}, ${key}, ${randomUUID()}, now(), 1)`;
  }
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const { requests } = await claim(sql, node, [{ crawlId: id, hostId, fence, n: 2 }]);
  const outcomes = requests.map(
    (request): Outcome => ({
      ...{
        ...request,
        state: 'done',
        reason: null,
        detail: null,
        readyAt: null,
        status: 200,
        bodyBytes: 10,
        wireBytes: 10,
      },
      ...{ fetchMs: 5, fetchedAt: Date.now(), page: emptyPage() },
    }),
  );
  return { space, outcomes, commit: () => commitOutcomes(sql, node, outcomes, new Map(), false) };
}

test('26: items that are stored and items that are dropped are remembered in one order', async () => {
  const { space, outcomes, commit } = await seedRemembered();
  const item = (key: string, dedupe: string) => ({
    ...{ type: 'x', data: '{}', size: 2, keys: [{ scope: 'crawl' as const, key: dedupe }] },
    state: { key, hash: key, fields: '{}' },
  });
  // Of two items with one key of the pipeline, that of the last key is stored, and that of the first dropped.
  outcomes[0]!.page!.items = [item(LAST, FIRST), item(FIRST, FIRST)];
  await takesFirst(
    (tx) => tx`select 1 from spider_items where space = ${space} and key = ${LAST} for update`,
    commit,
    (tx) => tx`select 1 from spider_items where space = ${space} and key = ${FIRST} for update nowait`,
  );
});

test('26: pages that were read and pages that are unchanged are remembered in one order', async () => {
  const { space, outcomes, commit } = await seedRemembered();
  const scraped: PageNote = { kind: 'scraped', definition: FIRST, etag: null, lastModified: null };
  const fps = [LAST, FIRST];
  for (const [i, outcome] of outcomes.entries()) {
    await database.sql`update requests set fp = ${fps[i]!} where crawl_id = ${outcome.crawlId} and fp = ${outcome.fp}`;
    Object.assign(outcome, { fp: fps[i], note: i === 0 ? scraped : { kind: 'unchanged' } });
  }
  await takesFirst(
    (tx) => tx`select 1 from spider_pages where space = ${space} and fp = ${LAST} for update`,
    commit,
    (tx) => tx`select 1 from spider_pages where space = ${space} and fp = ${FIRST} for update nowait`,
  );
});

test('26: what a spider remembers is forgotten in the order in which commits remember it', async () => {
  const { space } = await seedRemembered();
  await database.sql`
    insert into spider_pages (space, fp, definition, crawl_id, scraped_at, items)
    select ${space}, gen_random_uuid(), ${FIRST}, ${randomUUID()}, now(), 1 from generate_series(1, 3000)`;
  await takesFirst(
    (tx) => tx`select 1 from spider_pages where space = ${space} and fp = ${LAST} for update`,
    () => forgetAll(database.sql, space),
    (tx) => tx`select 1 from spider_pages where space = ${space} and fp = ${FIRST} for update nowait`,
  );
});
