import assert from 'node:assert/strict';
import { after, before, describe, it, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPool, type Sql } from '../../dist/db/client.js';
import { chooseTicks, LATE_MS, ScheduleTicks } from '../../dist/engine/schedule_ticks.js';
import type { Schedule, ScheduleRun } from '../../dist/model/schedule.js';
import { planStart } from '../../dist/parser/start_requests.js';
import { type TestApi, testApi } from '../routes/api.ts';
import { getJson } from '../support/client.ts';
import { html } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { startSite } from '../support/site.ts';

interface Told {
  crawl: string;
  what: string;
}

let api: TestApi;
let url: string;
before(async () => {
  api = await testApi();
  const [row] = await api.sql<{ name: string }[]>`select current_database() as name`;
  const { host, port, user, pass } = api.sql.options as unknown as Record<string, unknown>;
  url = `postgres://${user}${pass ? `:${pass}` : ''}@${[host].flat()[0]}:${[port].flat()[0]}/${row!.name}`;
});
after(() => api.stop());

const crawl = { startUrls: ['https://books.example/'] };

async function schedule(fields: object = {}): Promise<string> {
  const answer = await api.call('POST', '/schedules', { cron: '0 0 1 1 *', crawl, ...fields });
  assert.equal(answer.status, 201, answer.text);
  return String(answer.json.id);
}

/** A node's schedules, on a pool of its own. */
function startTicks(sql: Sql, told: Told[] = [], complaints: object[] = []): ScheduleTicks {
  const complain = (detail: object, message: string) => complaints.push({ ...detail, message });
  const ticks = new ScheduleTicks({
    sql,
    checks: { checkSpider: async () => [], planStart: async (input) => planStart(input) },
    onCrawlChanged: (id, what) => told.push({ crawl: id, what }),
    log: { info: () => {}, warn: () => {}, error: complain },
  });
  ticks.start();
  return ticks;
}

/** The schedule is due since so many seconds, at a whole one. */
async function dueSince(id: string, seconds: number): Promise<void> {
  await api.sql`
    update schedules set next_at = date_trunc('second', clock_timestamp()) - ${seconds} * interval '1 s' where id = ${id}`;
}

async function runsOf(id: string): Promise<ScheduleRun[]> {
  const { json } = await api.call('GET', `/schedules/${id}/runs?limit=100`);
  return json.runs as ScheduleRun[];
}

/** Waits until what is due has been dealt with. */
async function untilDone(id: string, ...nodes: ScheduleTicks[]): Promise<void> {
  for (const node of nodes) node.wake();
  for (let tries = 0; tries < 2000; tries++) {
    const [row] = await api.sql`select next_at > clock_timestamp() as done from schedules where id = ${id}`;
    if (row?.done !== false) return;
    await sleep(5);
  }
  assert.fail('the tick was not dealt with');
}

const endCrawls = () => api.sql`update crawls set state = 'finished', stop_reason = 'finished', ended_at = now()`;

async function withNodes(n: number, work: (nodes: ScheduleTicks[], told: Told[]) => Promise<void>): Promise<void> {
  const told: Told[] = [];
  const pools = Array.from({ length: n }, () => openPool(url, 2, 'test'));
  const complaints: object[] = [];
  const nodes = pools.map((pool) => startTicks(pool, told, complaints));
  try {
    await work(nodes, told);
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
    await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })));
  }
  assert.deepEqual(complaints, []);
}

test('one start per tick, with two nodes that come to each at once', async () => {
  const id = await schedule();
  await withNodes(2, async (nodes, told) => {
    const ROUNDS = 25;
    for (let round = 0; round < ROUNDS; round++) {
      await dueSince(id, ROUNDS - round);
      await untilDone(id, ...nodes);
      await endCrawls();
    }
    const runs = await runsOf(id);
    const started = runs.filter(({ state }) => state === 'started');
    assert.equal(started.length, runs.length, JSON.stringify(runs.filter(({ state }) => state !== 'started')));
    const crawls = await api.sql<{ id: string }[]>`select id from crawls where labels->>'schedule' = ${id}`;
    assert.deepEqual(crawls.map((one) => one.id).sort(), started.map((run) => run.crawl!.id).sort());
    assert.equal(new Set(runs.map(({ tick }) => tick)).size, runs.length);
    const mine = new Set(crawls.map((one) => one.id));
    const toldOf = told.map((one) => one.crawl).filter((crawl) => mine.has(crawl)); // other tests' schedules may be due, too
    assert.deepEqual(toldOf.sort(), [...mine].sort());
    assert.ok(runs.length > ROUNDS / 2, 'rounds within one second are one tick');
  });
});

test('a node that dies between its claim and the start leaves the tick, and nothing else, to the next', async () => {
  const id = await schedule();
  await api.sql.unsafe(`
    create function die() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
    create trigger die after insert on schedule_runs for each row execute function die();`);
  await withNodes(1, async ([node]) => {
    await dueSince(id, 1);
    node!.wake();
    await sleep(300);
    const [before] = await api.sql`select count(*)::int as n from crawls where labels->>'schedule' = ${id}`;
    assert.deepEqual([before!.n, (await runsOf(id)).length], [0, 0]);
    await api.sql.unsafe('drop trigger die on schedule_runs; drop function die');
    await untilDone(id, node!);
  });
  const [stored] = await api.sql`select count(*)::int as n from crawls where labels->>'schedule' = ${id}`;
  assert.deepEqual([stored!.n, (await runsOf(id)).map(({ state }) => state)], [1, ['started']]);
});

describe('overlap', () => {
  /** Two ticks, the second while the crawl of the first has not ended, and a third. */
  const threeTicks = (overlap: string, work: (id: string, node: ScheduleTicks, told: Told[]) => Promise<void>) =>
    withNodes(1, async ([node], told) => {
      const id = await schedule({ overlap });
      for (const seconds of [3, 2, 1]) {
        await dueSince(id, seconds + 10 * seconds);
        await untilDone(id, node!);
      }
      await work(id, node!, told);
    });

  it('skip leaves out the runs that come while the last crawl runs, and says why', () =>
    threeTicks('skip', async (id) => {
      const [third, second, first] = await runsOf(id);
      assert.deepEqual([first!.state, second!.state, third!.state], ['started', 'skipped', 'skipped']);
      assert.equal(second!.detail, `the crawl ${first!.crawl!.id} had not ended`);
    }));

  it('queue lets one wait, and starts it when the crawl has ended', () =>
    threeTicks('queue', async (id, node) => {
      const [third, second, first] = await runsOf(id);
      assert.deepEqual([first!.state, second!.state, third!.state], ['started', 'queued', 'skipped']);
      assert.equal(third!.detail, 'another one waits already');
      await endCrawls();
      for (let run = second!; run.state === 'queued'; run = (await runsOf(id))[1]!) node.wake();
      const [, now] = await runsOf(id);
      assert.deepEqual([now!.state, now!.crawl?.state, now!.detail], ['started', 'queued', null]);
      assert.equal((await api.call('PATCH', `/schedules/${id}`, { overlap: 'skip' })).status, 200);
    }));

  it('a run that waits is given up when the schedule is disabled', () =>
    threeTicks('queue', async (id, node) => {
      await api.call('PATCH', `/schedules/${id}`, { enabled: false });
      await endCrawls();
      let [, second] = await runsOf(id);
      for (; second!.state === 'queued'; [, second] = await runsOf(id)) node.wake();
      assert.deepEqual([second!.state, second!.detail], ['skipped', 'the schedule was disabled']);
    }));

  it('cancel ends the last crawl for the next', () =>
    threeTicks('cancel', async (id, _node, told) => {
      const runs = await runsOf(id);
      assert.deepEqual(
        runs.map(({ state, crawl: one }) => [state, one?.state]),
        [
          ['started', 'queued'],
          ['started', 'cancelled'],
          ['started', 'cancelled'],
        ],
      );
      assert.deepEqual(
        told.map(({ what }) => what),
        ['started', 'cancelled', 'started', 'cancelled', 'started'],
      );
      const { json } = await api.call('GET', `/crawls/${runs[1]!.crawl!.id}`);
      assert.equal(json.stopDetail, 'the next run of its schedule began');
    }));

  it('cancel keeps the last crawl where the next cannot be started', () =>
    withNodes(1, async ([node]) => {
      await api.call('POST', '/spiders', { name: 'brief', startUrls: ['https://b.example/'] });
      const id = await schedule({ overlap: 'cancel', crawl: { spider: 'brief' } });
      await dueSince(id, 30);
      await untilDone(id, node!);
      await api.call('DELETE', '/spiders/brief');
      await dueSince(id, 10);
      await untilDone(id, node!);
      const [second, first] = await runsOf(id);
      assert.deepEqual([first!.state, first!.crawl?.state], ['started', 'queued']);
      assert.equal(second!.state, 'failed');
      assert.deepEqual(
        second!.errors.map(({ pointer, code }) => `${pointer} ${code}`),
        ['/crawl/spider unknown_spider'],
      );
      assert.match(second!.detail!, /there is no spider brief/);
      // The schedule goes on: the spider is there again, in its newest version.
      await api.call('PUT', '/spiders/brief', { startUrls: ['https://b.example/'] });
      await api.call('PUT', '/spiders/brief', { startUrls: ['https://b.example/new'] });
      await dueSince(id, 5);
      await untilDone(id, node!);
      const { json } = await api.call('GET', `/crawls/${(await runsOf(id))[0]!.crawl!.id}`);
      assert.deepEqual(json.startUrls, ['https://b.example/new']);
    }));
});

describe('after a downtime', () => {
  const now = new Date('2026-11-23T12:00:30Z');
  const at = (hour: number) => new Date(Date.UTC(2026, 10, 23, hour));
  const hours = (ticks: Date[]) => ticks.map((tick) => tick.getUTCHours());
  const table: [string, number[], number[], number[]][] = [
    ['none', [9, 10, 11], [9, 10, 11], []],
    ['none', [10, 11, 12], [10, 11], [12]],
    ['last', [9, 10, 11], [9, 10], [11]],
    ['last', [10, 11, 12], [10, 11], [12]],
    ['all', [10, 11, 12], [], [10, 11, 12]],
  ];
  for (const [catchUp, due, missed, ticks] of table)
    it(`${catchUp}: of ${due} at half a minute past twelve ${ticks.join() || 'none'} is run`, () => {
      const chosen = chooseTicks({ catch_up: catchUp as 'all' }, due.map(at), now);
      assert.deepEqual([hours(chosen.missed), hours(chosen.ticks)], [missed, ticks]);
      assert.equal(LATE_MS, 60_000);
    });

  it('all: runs one after the other; last: the last one; none: none; each is on the list', () =>
    withNodes(1, async ([node]) => {
      const expected: Record<string, [string, string][]> = {
        none: [
          ['queue', 'skipped skipped skipped'],
          ['skip', 'skipped skipped skipped'],
        ],
        last: [
          ['queue', 'skipped skipped started'],
          ['cancel', 'skipped skipped started'],
        ],
        all: [['queue', 'started queued queued']],
      };
      for (const [catchUp, rows] of Object.entries(expected))
        for (const [overlap, states] of rows) {
          // Once an hour, the last time half an hour ago: never within the last minute, whenever the test runs.
          const last = new Date(Math.floor(Date.now() / 60_000 - 30) * 60_000);
          const first = new Date(last.getTime() - 7_200_000);
          const id = await schedule({ catchUp, overlap, cron: `${last.getUTCMinutes()} * * * *` });
          await api.sql`update schedules set next_at = ${first} where id = ${id}`;
          await untilDone(id, node!);
          const runs = (await runsOf(id)).reverse();
          assert.equal(runs.map(({ state }) => state).join(' '), states, `${catchUp} ${overlap}`);
          assert.equal(runs[0]!.tick, first.toISOString());
          if (catchUp === 'none') assert.equal(runs[0]!.detail, 'missed: no node was running then');
        }
    }));

  it('what was missed while it was disabled is not made up for', async () => {
    const id = await schedule({ catchUp: 'all', overlap: 'queue' });
    await api.call('PATCH', `/schedules/${id}`, { enabled: false });
    assert.deepEqual([...(await api.sql`select next_at from schedules where id = ${id}`)], [{ next_at: null }]);
    const { json } = await api.call('PATCH', `/schedules/${id}`, { enabled: true, cron: '* * * * *' });
    assert.ok(Date.parse((json as unknown as Schedule).nextRuns[0]!) > Date.now() - 1000);
  });
});

test('a change of another field between two ticks loses no tick that is due', async () => {
  const id = await schedule();
  await dueSince(id, 2);
  await api.call('PATCH', `/schedules/${id}`, { name: 'renamed' });
  await withNodes(1, async ([node]) => {
    await untilDone(id, node!);
    assert.deepEqual(
      (await runsOf(id)).map(({ state }) => state),
      ['started'],
    );
  });
});

test('two nodes and a tick each second: kill -9 of either loses no tick and doubles none', async () => {
  const site = await startSite((_req, res) => html(res, 'a page', []));
  let nodes: Service[] = [];
  try {
    nodes = await Promise.all(
      [1, 2].map(() => startService({ DATABASE_URL: url, PARSER_THREADS: '1', SCRIPTS: 'off' })),
    );
    const answer = await fetch(`${nodes[0]!.url}/schedules`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        name: 'seconds',
        cron: '* * * * * *',
        catchUp: 'all',
        overlap: 'queue',
        crawl: { startUrls: [`${site.url}/`], settings: { maxPages: 1 } },
      }),
    });
    assert.equal(answer.status, 201);
    const { id } = (await answer.json()) as Schedule;
    await sleep(1700);
    await nodes[0]!.signal('SIGKILL');
    await sleep(1800);
    const read = (path: string) => getJson<{ runs: ScheduleRun[] }>(`${nodes[1]!.url}/schedules/${id}${path}`);
    for (let tries = 0; (await read('/runs')).runs.length < 3 && tries < 100; tries++) await sleep(100);
    const { runs } = await read('/runs?limit=100');
    const seconds = runs.map(({ tick }) => Date.parse(tick) / 1000).reverse();
    assert.deepEqual(
      seconds,
      seconds.map((_, i) => seconds[0]! + i),
      'one run for each second, without a gap',
    );
    const countStarted = () => api.sql<{ n: number }[]>`
      select count(*)::int as n from schedule_runs where schedule_id = ${id} and state = 'started'`;
    for (let tries = 0; (await countStarted())[0]!.n < 2 && tries < 300; tries++) await sleep(100);
    await nodes[1]!.stop();
    const started = await countStarted();
    const crawls = await api.sql<
      { n: number }[]
    >`select count(*)::int as n from crawls where labels->>'schedule' = 'seconds'`;
    assert.equal(crawls[0]!.n, started[0]!.n);
    assert.ok(started[0]!.n > 1);
  } finally {
    await Promise.all(nodes.map((node) => node.signal('SIGKILL')));
    await site.close();
  }
});
