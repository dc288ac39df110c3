import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claim, recoverHosts } from '../../dist/db/claims.js';
import { inTransaction, type Sql } from '../../dist/db/client.js';
import { numberFailures } from '../../dist/db/failures.js';
import { cancelCrawl, pauseCrawl, resumeCrawl } from '../../dist/engine/lifecycle.js';
import type { Outcome } from '../../dist/model/outcome.js';
import type { ClaimedRequest } from '../../dist/model/request.js';
import { commitOutcomes } from '../../dist/pipeline/commit.js';
import { type EventPlace, EventReader, parsePlace } from '../../dist/stream/events.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { holdHost, seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
let sql: Sql;
before(async () => {
  database = await testDatabase();
  sql = database.sql;
});
after(() => database.drop());

interface Event {
  event: string;
  place: EventPlace;
  data: Record<string, unknown>;
}

function parse(text: string): Event[] {
  return [...text.matchAll(/^event: (\w+)\nid: ([\d.]+)\ndata: (.*)\n\n/gm)].map(([, event, id, data]) => ({
    event: event!,
    place: parsePlace(id!)!,
    data: JSON.parse(data!) as Record<string, unknown>,
  }));
}

const START: EventPlace = { changes: 0, failures: 0, logs: 0 };
/** As a node that has never been asked. */
const read = (id: string, place: EventPlace) => new EventReader(sql, () => ({})).next(id, place);

/** A crawl on a host that this node holds, with `n` requests that it fetches. */
async function fetching(n: number) {
  const { id, hostId } = await seedCrawl(sql, { queued: n });
  const node = randomUUID();
  const fence = await holdHost(sql, node, hostId);
  const take = async (some: number) => (await claim(sql, node, [{ crawlId: id, hostId, fence, n: some }])).requests;
  const commit = (outcomes: Outcome[]) => commitOutcomes(sql, node, outcomes, new Map(), false);
  return { id, take, commit, crash: () => recoverHosts(sql, node, [{ id: hostId, fence }], true) };
}

function failed(request: ClaimedRequest, fetchedAt: number): Outcome {
  const { crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url } = request;
  return {
    ...{ crawlId, fp, seq, hostId, fence, attempts, depth, redirects, url, fetchedAt, page: null },
    ...{ state: 'failed', reason: 'http_4xx', detail: null, readyAt: null, status: 404, bodyBytes: 1, wireBytes: 1 },
    ...{ fetchMs: 5, logs: [{ level: 'warn', message: `no ${url}` }] },
  };
}

test('45: events are read once each over many cuts, from any node, while commits come out of the order of their times', async () => {
  const { id, take, commit, crash } = await fetching(90);
  const writer = (async () => {
    for (let i = 0; i < 8; i++) {
      const some = await take(10);
      const outcomes = some.map((request, k) => failed(request, Date.now() - ((i * 7 + k * 13) % 60) * 1000));
      await Promise.all([commit(outcomes.slice(0, 5)), commit(outcomes.slice(5))]);
      if (i % 3 === 0) await pauseCrawl(sql, id);
      if (i % 3 === 0) await resumeCrawl(sql, id);
    }
    await take(10);
    await sql`update requests set crashes = 10 where crawl_id = ${id} and state = 2 and seq % 2 = 0`;
    await crash();
    await cancelCrawl(sql, id);
  })();
  const seen: Event[] = [];
  let place = START;
  for (let cuts = 0; seen.at(-1)?.event !== 'end'; cuts++) {
    const piece = await read(id, place);
    const some = parse(piece!.text).filter(({ event }) => event !== 'progress');
    seen.push(...some.slice(0, cuts % 5));
    place = seen.at(-1)?.place ?? START;
    assert.ok(cuts < 2000, JSON.stringify(seen.at(-1)));
  }
  await writer;
  const of = (kind: string) => seen.filter(({ event }) => event === kind).map(({ data }) => data);
  const failures = await sql`select url from requests where crawl_id = ${id} and state = 4`;
  assert.equal(failures.length, 85);
  assert.deepEqual(
    of('error')
      .map(({ url }) => url)
      .sort(),
    failures.map(({ url }) => url as string).sort(),
  );
  assert.deepEqual(
    of('log').map(({ n }) => n),
    Array.from({ length: 80 }, (_, n) => n),
  );
  const states = ['running', ...Array.from({ length: 3 }, () => ['paused', 'running']).flat(), 'cancelled'];
  assert.deepEqual(
    of('state').map(({ state }) => state),
    states,
  );
});

test('an error whose commit is slow is not passed by the ones that are committed while it lasts', async () => {
  const { id, take, commit } = await fetching(3);
  const [slow, quick] = await take(2);
  const started = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const slowly = inTransaction(sql, async (tx) => {
    const [crawl] = await tx<{ id: string; failed: number }[]>`
      update crawls set failed = failed + 1, in_progress = in_progress - 1 where id = ${id} returning id, failed`;
    await tx`
      update requests set state = 4, finished_at = now() - interval '1 hour' where crawl_id = ${id} and seq = ${slow!.seq}`;
    await numberFailures(tx, [{ crawlId: id, fp: slow!.fp }], [crawl!]);
    started.resolve();
    await goOn.promise;
  });
  await started.promise;
  const quickly = commit([failed(quick!, Date.now())]);
  const urls = async (place: EventPlace) => {
    const events = parse((await read(id, place))!.text).filter(({ event }) => event === 'error');
    return { urls: events.map(({ data }) => data.url), place: events.at(-1)?.place ?? place };
  };
  const first = await urls(START);
  assert.deepEqual(first.urls, [], 'the quick one waits for the lock under which they are numbered');
  goOn.resolve();
  await Promise.all([slowly, quickly]);
  assert.deepEqual((await urls(first.place)).urls, [slow!.url, quick!.url]);
});

test('thousands of events come in pieces, and all listeners of a crawl share the queries of a second', async () => {
  const { id } = await seedCrawl(sql, { queued: 1 });
  await sql`
    insert into crawl_logs (crawl_id, n, at, level, url, message)
    select ${id}, i, now(), 'info', 'https://a.example/', 'line' from generate_series(0, 1199) as i`;
  await sql`update crawls set log_lines = 1500 where id = ${id}`;
  let queries = 0;
  const counting = new Proxy(sql, {
    apply: (target, self, args) => {
      queries++;
      return Reflect.apply(target, self, args) as unknown;
    },
  });
  const reader = new EventReader(counting, () => ({}));
  const readAll = async () => {
    const lines: unknown[] = [];
    for (let place = START, pieces = 1; ; pieces++) {
      const piece = (await reader.next(id, place))!;
      lines.push(...parse(piece.text).map(({ data }) => data.n));
      place = piece.place;
      if (piece.go === 'later') return { lines, pieces, place };
    }
  };
  const answers = await Promise.all(Array.from({ length: 100 }, readAll));
  for (const { lines, pieces, place } of answers)
    assert.deepEqual([lines.length, new Set(lines).size, pieces, place.logs], [1200, 1200, 3, 1500]);
  assert.ok(queries <= 50, `${queries} queries for a hundred listeners`);
});
