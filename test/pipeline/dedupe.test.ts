import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claim } from '../../dist/db/claims.js';
import { inTransaction } from '../../dist/db/client.js';
import { deleteCrawl } from '../../dist/db/crawls.js';
import { hostIds } from '../../dist/db/hosts.js';
import type { DedupeKey, ItemRow, Outcome } from '../../dist/model/outcome.js';
import type { ClaimedRequest } from '../../dist/model/request.js';
import type { Settings } from '../../dist/model/settings.js';
import { commitOutcomes } from '../../dist/pipeline/commit.js';
import { withoutDuplicates } from '../../dist/pipeline/dedupe.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { booksOf, finishDeletions, holdHost, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

const keyText = (word: string) => Buffer.from(word.padEnd(16, '.')).toString('hex').slice(0, 32);

/** An item whose data is its name. */
function item(name: string, ...keys: (string | DedupeKey)[]): ItemRow {
  const data = JSON.stringify(name);
  const full = keys.map((key) => (typeof key === 'string' ? ({ scope: 'crawl', key: keyText(key) } as const) : key));
  return { type: 'thing', data, size: data.length, ...(full.length > 0 && { keys: full }) };
}
const ofSpider = (word: string): DedupeKey => ({ scope: 'spider', key: keyText(word) });

async function setUp(queued: number, options: { settings?: Partial<Settings>; spider?: string } = {}) {
  const { sql } = database;
  const origin = `http://${randomUUID()}.example`;
  const { id, hostId } = await seedCrawl(sql, { queued, settings: options.settings ?? {}, origin });
  if (options.spider !== undefined) await sql`update crawls set spider_name = ${options.spider} where id = ${id}`;
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const take = async (n: number) => (await claim(sql, node, [{ crawlId: id, hostId, fence, n }])).requests;
  return {
    id,
    take,
    commit: async (outcomes: Outcome[]) => commitOutcomes(sql, node, outcomes, await hostIds(sql, [origin]), false),
    /** Claims a request for each list of items. */
    pages: async (...lists: ItemRow[][]) => (await take(lists.length)).map((request, i) => outcome(request, lists[i]!)),
    /** Names of the stored items, in the order of their offsets, which must be gapless. */
    stored: async () => {
      const rows = await sql`select "offset", data from items where crawl_id = ${id} order by "offset"`;
      assert.deepEqual(
        rows.map((row) => row.offset),
        rows.map((_, i) => i),
      );
      const { counters, sums } = await booksOf(sql, id);
      assert.deepEqual(counters, sums);
      return rows.map((row) => row.data as string);
    },
    dropped: async () => {
      const rows = await sql`select key, n from crawl_counts where crawl_id = ${id} and kind = 'drop'`;
      const [crawl] = await sql`select dropped from crawls where id = ${id}`;
      assert.equal(
        crawl!.dropped,
        rows.reduce((sum, row) => sum + row.n, 0),
      );
      return Object.fromEntries(rows.map((row) => [row.key, row.n]));
    },
    keys: async () => (await sql`select count(*) as n from item_keys where space = ${id}`)[0]!.n as number,
  };
}

function outcome(request: ClaimedRequest, items: ItemRow[]): Outcome {
  const { crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url } = request;
  const page = { items, links: [], linkedFps: [], dropped: {}, fills: {}, flags: [], parseMs: 1 };
  return {
    ...{ crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url, page },
    ...{ state: 'done', reason: null, detail: null, readyAt: null, status: 200, bodyBytes: 10, wireBytes: 10 },
    ...{ fetchMs: 5, fetchedAt: Date.now() },
  };
}

test('of items with one key the first in the order of offsets is stored, in one batch and in later ones', async () => {
  const s = await setUp(5);
  const first = await s.pages([item('a', 'x'), item('b', 'x'), item('free')], [item('c', 'y'), item('d', 'x')]);
  await s.commit(first);
  assert.deepEqual(await s.stored(), ['a', 'free', 'c']);
  await s.commit(await s.pages([item('e', 'y')], [item('f', 'z'), item('free')]));
  assert.deepEqual(await s.stored(), ['a', 'free', 'c', 'f', 'free']);
  assert.deepEqual(await s.dropped(), { duplicate: 3 });
  const rows = await database.sql`select items from requests where crawl_id = ${s.id} and state = 3 order by seq`;
  assert.deepEqual(
    rows.map((row) => row.items),
    [2, 1, 0, 2],
  );
});

test('a commit that is repeated finds no duplicates of itself', async () => {
  const s = await setUp(3);
  const pages = await s.pages([item('a', 'x')], [item('b', 'y')], [item('c', 'y')]);
  await s.commit(pages);
  await s.commit(pages);
  assert.deepEqual(await s.stored(), ['a', 'b']);
  assert.deepEqual(await s.dropped(), { duplicate: 1 });
});

test('a commit that fails takes no keys', async () => {
  const s = await setUp(2);
  const [page] = await s.pages([item('a', 'x')]);
  const broken = { ...page!, page: { ...page!.page!, items: [{ ...item('a', 'x'), data: '{' }] } };
  await assert.rejects(s.commit([broken]));
  assert.equal(await s.keys(), 0);
  await s.commit([page!]);
  assert.deepEqual(await s.stored(), ['a']);
});

test('an item with several keys is a duplicate by any of them, and then holds none of them', async () => {
  const s = await setUp(4);
  await s.commit(await s.pages([item('a', 'x')], [item('b', 'x', 'y'), item('c', 'y')], [item('d', 'y', 'z')]));
  assert.deepEqual(await s.stored(), ['a', 'c']);
  assert.equal(await s.keys(), 2, 'z was given back');
  await s.commit(await s.pages([item('e', 'z', 'z')]));
  assert.deepEqual(await s.stored(), ['a', 'c', 'e']);
});

test('the keys of one spider hold across its crawls; those of a crawl end with it', async () => {
  const spider = `books-${randomBytes(4).toString('hex')}`;
  const one = await setUp(2, { spider });
  const two = await setUp(2, { spider });
  const other = await setUp(2, { spider: `${spider}-2` });
  const none = await setUp(2);
  const items = [item('s', ofSpider('x')), item('c', 'x')];
  for (const s of [one, two, other, none]) await s.commit(await s.pages(items));
  assert.deepEqual(await one.stored(), ['s', 'c']);
  assert.deepEqual(await two.stored(), ['c']);
  assert.deepEqual(await other.stored(), ['s', 'c']);
  assert.deepEqual(await none.stored(), ['s']);
  await inTransaction(database.sql, (tx) => deleteCrawl(tx, { id: one.id, next_seq: 2, items: 2 }));
  await finishDeletions(database.sql);
  assert.equal(await one.keys(), 0);
  await two.commit(await two.pages([item('again', ofSpider('x'))]));
  assert.deepEqual(await two.stored(), ['c'], 'the spider still has it');
});

test('24: maxItems counts what is kept; what was postponed goes on, and pages of duplicates never block', async () => {
  const s = await setUp(12, { settings: { maxItems: 3 } });
  const pages = await s.pages(
    [item('a', 'x'), item('b', 'x')],
    [item('c', 'x')],
    [item('d', 'x')],
    [item('e', 'y')],
    [item('f', 'x')],
    [item('g', 'y'), item('h', 'z'), item('i', 'w')],
  );
  let rounds = 0;
  for (let left = pages; left.length > 0 && rounds < 10; rounds++) left = (await s.commit(left)).postponed;
  assert.deepEqual(await s.stored(), ['a', 'e', 'h']);
  const [crawl] = await database.sql`select state, stop_reason from crawls where id = ${s.id}`;
  assert.deepEqual({ ...crawl }, { state: 'finished', stop_reason: 'max_items' });
  assert.deepEqual(await s.dropped(), { duplicate: 5, max_items: 1 });
  assert.equal(await s.keys(), 3, 'an item that was cut holds no key');
});

test('many commits of crawls of one spider at once: each key once, no deadlock', async () => {
  const spider = `race-${randomBytes(4).toString('hex')}`;
  const setups = await Promise.all([0, 1, 2, 3].map(() => setUp(30, { spider })));
  const words = [...Array(40).keys()].map((i) => `key-${i}`);
  const shuffled = () => words.toSorted(() => Math.random() - 0.5);
  await Promise.all(
    setups.flatMap((s) =>
      [0, 1, 2].map(async () => {
        const pages = await s.pages(...[0, 1].map(() => shuffled().map((word) => item(word, ofSpider(word)))));
        await s.commit(pages);
      }),
    ),
  );
  const all = (await Promise.all(setups.map((s) => s.stored()))).flat();
  assert.deepEqual(all.sort(), words.toSorted());
});

test('without a database, as in a preview: the first of each key', () => {
  const items = [item('a', 'x'), item('b', 'y', 'x'), item('c', 'y'), item('d', ofSpider('x')), item('e')];
  assert.deepEqual(
    withoutDuplicates(items).map(({ data }) => JSON.parse(data)),
    ['a', 'c', 'd', 'e'],
  );
});
