import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTransaction, openPool } from '../../dist/db/client.js';
import { type ClaimedExport, type ExportRow, insertExports, listExports, retryExport } from '../../dist/db/exports.js';
import { cancelCrawl, deleteCrawl, pauseCrawl, resumeCrawl } from '../../dist/engine/lifecycle.js';
import { ByteBudget } from '../../dist/exports/budget.js';
import { Runner, type RunnerOptions } from '../../dist/exports/runner.js';
import { type Batch, type BatchLimits, type Cursor, ExportError, type Target } from '../../dist/exports/target.js';
import type { Export } from '../../dist/model/export.js';
import { commitItems, type TestApi, testApi } from '../routes/api.ts';

let api: TestApi;
before(async () => {
  api = await testApi();
});
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await api.stop();
});

/** A place in memory that does what the test says; by crawl and number of the export. */
class Place {
  offsets: number[] = [];
  opened = 0;
  closed = 0;
  finished = 0;
  /** Thrown by the next calls, one each. */
  errors: Error[] = [];
  /** Calls wait until it is resolved. */
  gate: Promise<void> = Promise.resolve();

  async pass(): Promise<void> {
    await this.gate;
    const error = this.errors.shift();
    if (error !== undefined) throw error;
  }
}

class PlaceTarget implements Target {
  readonly limits: BatchLimits = { items: 3, bytes: 1e6, lingerMs: 0 };
  readonly #place: Place;
  #next = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  async open(stored: Cursor): Promise<Cursor> {
    this.#place.opened++;
    await this.#place.pass();
    this.#next = stored.next;
    return stored;
  }

  async write({ items, next }: Batch): Promise<Cursor> {
    await this.#place.pass();
    this.#place.offsets.push(...items.map(({ offset }) => offset));
    this.#next = next;
    return { next, position: { at: next } };
  }

  async flush(): Promise<null> {
    return null;
  }

  async finish(): Promise<Cursor> {
    this.#place.finished++;
    return { next: this.#next, position: null };
  }

  async close(): Promise<void> {
    this.#place.closed++;
  }
}

const places = new Map<string, Place>();
const placeOf = (row: Pick<ClaimedExport, 'crawl_id' | 'n'>) => {
  const key = `${row.crawl_id} ${row.n}`;
  const place = places.get(key) ?? new Place();
  places.set(key, place);
  return place;
};

interface Node {
  id: string;
  runner: Runner;
  stop(): Promise<void>;
}

const nodes: Node[] = [];

/** A runner with a row of a living node. */
async function startRunner(options: Partial<RunnerOptions> = {}): Promise<Node> {
  const id = randomUUID();
  await api.sql`insert into nodes (id, role, alive_until) values (${id}, 'all', now() + interval '1 hour')`;
  const runner = new Runner({
    sql: api.sql,
    nodeId: id,
    makeTarget: async (row) => new PlaceTarget(placeOf(row)),
    onWatch: () => {},
    onIdle: () => {},
    backOffMs: 100,
    claimMs: 100,
    warn: () => {},
    ...options,
  });
  runner.start();
  const node = { id, runner, stop: () => runner.stop(1000) };
  nodes.push(node);
  return node;
}

/** A crawl that runs, with so many exports. */
async function startCrawl(definitions: Export[]): Promise<{ id: string; places: Place[] }> {
  const id = await api.start();
  const exports = definitions.map((definition, i) => ({ name: `file-${i}`, kind: 'file', definition }));
  await inTransaction(api.sql, (tx) => insertExports(tx, id, exports));
  await api.sql`update crawls set state = 'running', started_at = now() where id = ${id}`;
  return { id, places: definitions.map((_, n) => placeOf({ crawl_id: id, n })) };
}

const FILE: Export = { file: { format: 'ndjson' } };
const end = (id: string) =>
  api.sql`update crawls set state = 'finished', stop_reason = 'max_items', ended_at = now() where id = ${id}`;
/** Its back-off is over. */
const due = (id: string) => api.sql`update exports set due_at = now() where crawl_id = ${id} and state = 'active'`;
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 5000 && !(await check()); i++) await sleep(20);
  assert.ok(await check(), what);
}

async function waitFor(id: string, n: number, is: (row: ExportRow) => boolean): Promise<ExportRow> {
  const row = async () => (await listExports(api.sql, id))[n]!;
  await until(`export ${n}`, async () => is(await row()));
  return row();
}

it('writes all items to each export, only those of a type where that is asked for, and ends as done', async () => {
  const { id, places: at } = await startCrawl([FILE, { ...FILE, type: 'nothing of the kind' }]);
  await commitItems(api.sql, id, 7);
  const node = await startRunner();
  await until('the first seven', () => at[0]!.offsets.length === 7);
  await commitItems(api.sql, id, 4);
  node.runner.tell([id]);
  await end(id);
  const first = await waitFor(id, 0, ({ state }) => state === 'done');
  const second = await waitFor(id, 1, ({ state }) => state === 'done');
  await node.stop();
  assert.deepEqual(at[0]!.offsets, upTo(11));
  assert.deepEqual([first.next_offset, first.written, first.node_id], [11, 11, null]);
  assert.deepEqual([second.written, at[1]!.offsets], [0, []]);
  assert.deepEqual(
    at.map(({ opened, closed, finished }) => [opened, closed, finished]),
    [
      [1, 1, 1],
      [1, 1, 1],
    ],
  );
});

it('reads no items for a target that wants none, and holds of the memory of all no more than a target has', async () => {
  const { id, places: at } = await startCrawl([FILE, FILE]);
  await commitItems(api.sql, id, 9);
  class Mute extends PlaceTarget {
    override readonly limits = { items: 0, bytes: 1e6, lingerMs: 0 };
  }
  const node = await startRunner({
    makeTarget: async (row) => (row.n === 0 ? new Mute(placeOf(row)) : new PlaceTarget(placeOf(row))),
  });
  await end(id);
  const mute = await waitFor(id, 0, ({ state }) => state === 'done');
  const other = await waitFor(id, 1, ({ state }) => state === 'done');
  await node.stop();
  assert.deepEqual([mute.next_offset, mute.written, at[0]!.offsets, at[0]!.finished], [9, 0, [], 1]);
  assert.deepEqual([other.written, at[1]!.offsets], [9, upTo(9)]);

  const budget = new ByteBudget(100);
  const slow = await budget.take(100);
  let isThere = false;
  const next = budget.take(90).then((held) => {
    isThere = true;
    return held;
  });
  slow.shrinkTo(20);
  await sleep(1);
  assert.equal(isThere, false);
  slow.shrinkTo(10);
  slow.shrinkTo(50);
  (await next).end();
  slow.end();
  (await budget.take(1000)).end();
});

it('lets a target that fails wait, and the others go on; a failure is told, and forgotten when it is over', async () => {
  const { id, places: at } = await startCrawl([FILE, FILE]);
  await commitItems(api.sql, id, 3);
  at[0]!.errors = [new ExportError('connect', 'nobody answers there'), new Error('secret://user:password')];
  const node = await startRunner({ backOffMs: 60_000 });
  const failing = await waitFor(id, 0, ({ failures }) => failures === 1);
  assert.equal(failing.last_error, 'nobody answers there');
  assert.deepEqual([failing.state, failing.node_id], ['active', null]);
  assert.ok(failing.due_at > failing.last_error_at!);
  await due(id);
  node.runner.look();
  const again = await waitFor(id, 0, ({ failures }) => failures === 2);
  assert.doesNotMatch(again.last_error!, /password/, 'what is not known to be for clients is not told');
  assert.deepEqual(again.failing_since, failing.failing_since);
  await until('the other', () => at[1]!.offsets.length === 3);
  await end(id);
  await due(id);
  node.runner.look();
  const done = await waitFor(id, 0, ({ state }) => state === 'done');
  await node.stop();
  assert.deepEqual([done.failures, done.failing_since, done.written], [0, null, 3]);
  assert.deepEqual(at[0]!.offsets, upTo(3));
});

it('waits its back-off also where the target asks to be tried again at once', async () => {
  const { id, places: at } = await startCrawl([FILE]);
  at[0]!.errors = [new ExportError('other', 'Retry-After: 0', { retryAt: Date.now() })];
  const node = await startRunner({ backOffMs: 60_000 });
  const { due_at, last_error_at } = await waitFor(id, 0, ({ failures }) => failures === 1);
  await node.stop();
  assert.ok(due_at.getTime() - last_error_at!.getTime() >= 30_000);
  await api.sql`update exports set state = 'done'`;
});

it('ends as failed where it can never work, keeps its cursor, and goes on when it is resumed', async () => {
  const { id, places: at } = await startCrawl([FILE]);
  await commitItems(api.sql, id, 5);
  const [place] = at as [Place];
  const node = await startRunner();
  await until('five', () => place.offsets.length === 5);
  place.errors = [new ExportError('schema', 'the column is a number', { permanent: true })];
  await commitItems(api.sql, id, 2);
  const failed = await waitFor(id, 0, ({ state }) => state === 'failed');
  assert.deepEqual([failed.next_offset, failed.last_error], [5, 'the column is a number']);
  await end(id);
  assert.equal(await retryExport(api.sql, id, 'no such'), null);
  await retryExport(api.sql, id, 'file-0');
  await retryExport(api.sql, id, 'file-0');
  node.runner.look();
  await waitFor(id, 0, ({ state }) => state === 'done');
  await node.stop();
  assert.deepEqual(place.offsets, upTo(7));
});

it('rests with a paused crawl, goes on with it, and begins anew when an ended one is resumed', async () => {
  const { id, places: at } = await startCrawl([FILE]);
  const [place] = at as [Place];
  await commitItems(api.sql, id, 2);
  const node = await startRunner();
  await until('two', () => place.offsets.length === 2);
  await pauseCrawl(api.sql, id);
  const resting = await waitFor(id, 0, ({ node_id }) => node_id === null);
  assert.ok(resting.due_at.getTime() > Date.now() + 60_000);
  await resumeCrawl(api.sql, id);
  await commitItems(api.sql, id, 2);
  node.runner.look();
  await until('four', () => place.offsets.length === 4);
  await end(id);
  await waitFor(id, 0, ({ state }) => state === 'done');
  await resumeCrawl(api.sql, id);
  await commitItems(api.sql, id, 1);
  node.runner.look();
  await until('five', () => place.offsets.length === 5);
  await pauseCrawl(api.sql, id);
  await waitFor(id, 0, ({ node_id }) => node_id === null);
  await cancelCrawl(api.sql, id);
  node.runner.look();
  const done = await waitFor(id, 0, ({ state }) => state === 'done');
  await node.stop();
  assert.deepEqual([place.offsets, done.written, place.finished], [upTo(5), 5, 2]);
});

it('rests with a paused crawl only when it has all that was committed, also where its target was away at first', async () => {
  const { id, places: at } = await startCrawl([FILE]);
  const [place] = at as [Place];
  await commitItems(api.sql, id, 7);
  await pauseCrawl(api.sql, id);
  place.errors = [new ExportError('connect', 'nobody answers there')];
  const node = await startRunner();
  const resting = await waitFor(id, 0, ({ due_at }) => due_at.getTime() > Date.now() + 600_000);
  await node.stop();
  assert.deepEqual([place.offsets, resting.next_offset, resting.failures], [upTo(7), 7, 0]);
  await cancelCrawl(api.sql, id);
  await api.sql`update exports set state = 'done' where crawl_id = ${id}`;
});

it('35: a claim that got no answer, or an export that could not be given back, keeps it from nobody', async () => {
  const crawls = await Promise.all([startCrawl([FILE]), startCrawl([FILE])]);
  for (const { id } of crawls) await commitItems(api.sql, id, 2);
  const lost = ['select id, spider_name from crawls', 'update exports set node_id = null, due_at = now() +'];
  const sql = new Proxy(api.sql, {
    apply(query, _this, [text, ...values]: [TemplateStringsArray, ...never[]]) {
      const i = lost.findIndex((start) => text[0]!.trim().startsWith(start));
      if (i < 0) return query(text, ...values);
      lost.splice(i, 1);
      throw Object.assign(new Error('the connection is gone'), { code: 'CONNECTION_CLOSED' });
    },
  });
  const node = await startRunner({ sql, maxOpen: 1 });
  await until('all have their items', () => crawls.every(({ places: [place] }) => place!.offsets.length === 2));
  assert.deepEqual(lost, []);
  for (const { id } of crawls) await end(id);
  for (const { id } of crawls) await waitFor(id, 0, ({ state }) => state === 'done');
  await node.stop();
});

it('36: is taken over when its node is dead, whose cursor is then refused', async () => {
  const { id, places: at } = await startCrawl([FILE]);
  const [place] = at as [Place];
  await commitItems(api.sql, id, 3);
  const frozen = await startRunner();
  await until('three', () => place.offsets.length === 3);
  const gate = Promise.withResolvers<void>();
  place.gate = gate.promise;
  await commitItems(api.sql, id, 3);
  frozen.runner.tell([id]);
  await sleep(50);
  await api.sql`update nodes set alive_until = now() where id = ${frozen.id}`;
  const mine = new Place();
  const other = await startRunner({ makeTarget: async () => new PlaceTarget(mine) });
  await end(id);
  const done = await waitFor(id, 0, ({ state }) => state === 'done');
  gate.resolve();
  await until('it gave up', () => place.closed === 1);
  await Promise.all([frozen.stop(), other.stop()]);
  assert.deepEqual([mine.offsets, done.written, done.next_offset], [[3, 4, 5], 6, 6]);
  assert.deepEqual(await listExports(api.sql, id).then(([row]) => row), done, 'what woke up late changed nothing');
});

it('35: goes on where the connections to our database are killed again and again, and counts each item once', async () => {
  const { id, places: at } = await startCrawl([FILE]);
  const [server] = await api.sql<{ name: string }[]>`select current_database() as name`;
  const { host, port, user, pass } = api.sql.options as unknown as Record<string, unknown>;
  const login = `${user}${pass ? `:${encodeURIComponent(String(pass))}` : ''}`;
  const sql = openPool(`postgres://${login}@${[host].flat()[0]}:${[port].flat()[0]}/${server!.name}`, 2, 'victim');
  const node = await startRunner({ sql });
  for (let round = 1; round <= 10; round++) {
    await commitItems(api.sql, id, 5);
    node.runner.tell([id]);
    await until('it has begun on them', () => at[0]!.offsets.length > 5 * (round - 1));
    await api.sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim' and datname = ${server!.name}`;
  }
  await end(id);
  const done = await waitFor(id, 0, ({ state }) => state === 'done');
  await node.stop();
  await sql.end({ timeout: 1 });
  assert.deepEqual([at[0]!.offsets, done.written, done.next_offset], [upTo(50), 50, 50]);
});

it('38: gives everything back when the node stops, also what does not answer; a deleted crawl leaves nothing', async () => {
  const [calm, stuck, deleted] = await Promise.all([startCrawl([FILE]), startCrawl([FILE]), startCrawl([FILE])]);
  for (const { id } of [calm, stuck, deleted]) await commitItems(api.sql, id, 2);
  stuck.places[0]!.gate = new Promise(() => {});
  const node = await startRunner();
  await until('two', () => [calm, deleted].every(({ places: [place] }) => place!.offsets.length === 2));
  await end(deleted.id);
  await waitFor(deleted.id, 0, ({ state }) => state === 'done');
  await resumeCrawl(api.sql, deleted.id);
  node.runner.look();
  await until('opened again', () => deleted.places[0]!.opened === 2);
  await cancelCrawl(api.sql, deleted.id);
  await deleteCrawl(api.sql, deleted.id);
  await until('closed', () => deleted.places[0]!.closed === 2);
  await node.runner.stop(100);
  for (const { id } of [calm, stuck]) {
    const [row] = await listExports(api.sql, id);
    assert.deepEqual([row!.node_id, row!.failures, row!.state], [null, 0, 'active']);
  }
  assert.equal((await listExports(api.sql, deleted.id)).length, 0);
  assert.equal(calm.places[0]!.closed, 1);
  await cancelCrawl(api.sql, stuck.id);
  await cancelCrawl(api.sql, calm.id);
  await api.sql`update exports set state = 'done'`;
});

it('38: slow targets that hold every place let the others in, and have each item once all the same', async () => {
  let ms = 40;
  class Slow extends PlaceTarget {
    override async write(batch: Batch): Promise<Cursor> {
      await sleep(ms);
      return super.write(batch);
    }
  }
  const slow = await startCrawl([FILE]);
  await commitItems(api.sql, slow.id, 300);
  const node = await startRunner({
    maxOpen: 1,
    turnMs: 50,
    makeTarget: async (row) => (row.crawl_id === slow.id ? new Slow(placeOf(row)) : new PlaceTarget(placeOf(row))),
  });
  await until('the slow one is at it', () => slow.places[0]!.offsets.length > 0);
  const quick = await startCrawl([FILE]);
  await commitItems(api.sql, quick.id, 2);
  await until('the other one has its items', () => quick.places[0]!.offsets.length === 2);
  assert.ok(slow.places[0]!.offsets.length < 300);
  ms = 0;
  for (const { id } of [slow, quick]) await end(id);
  await api.sql`update exports set due_at = now() where crawl_id = ${slow.id}`;
  await waitFor(slow.id, 0, ({ state }) => state === 'done');
  await node.stop();
  assert.deepEqual(slow.places[0]!.offsets, upTo(300));
});

it('takes turns where more are active than may be open', async () => {
  const crawls = await Promise.all(upTo(3).map(() => startCrawl([FILE])));
  for (const { id } of crawls) await commitItems(api.sql, id, 2);
  const node = await startRunner({ maxOpen: 1 });
  await until('all have their items', () => crawls.every(({ places: [place] }) => place!.offsets.length === 2));
  for (const { id } of crawls) await end(id);
  for (const { id } of crawls) await waitFor(id, 0, ({ state }) => state === 'done');
  await node.stop();
});
