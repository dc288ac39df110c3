import assert from 'node:assert/strict';
import { after, before, describe, it, test } from 'node:test';
import type { ScheduleRun } from '../../dist/model/schedule.js';
import { type Answer, type TestApi, testApi } from './api.ts';

let api: TestApi;
let woken = 0;
before(async () => {
  api = await testApi({ onScheduled: () => woken++ });
});
after(() => api.stop());

const startUrls = ['https://books.example/'];
const good = { cron: '0 3 * * *', timeZone: 'Europe/Berlin', crawl: { startUrls } };
const post = (body: object) => api.call('POST', '/schedules', body);
const pointers = ({ json }: Answer) =>
  (json.errors as { pointer: string; code: string }[]).map(({ pointer, code }) => `${pointer} ${code}`).sort();

async function create(fields: object = {}): Promise<string> {
  const answer = await post({ ...good, ...fields });
  assert.equal(answer.status, 201, answer.text);
  assert.equal(answer.headers.location, `/schedules/${answer.json.id}`);
  return String(answer.json.id);
}

test('a schedule is stored with its defaults, shown with its next runs, changed and deleted', async () => {
  const before = woken;
  const id = await create({ name: 'nightly' });
  const { json } = await api.call('GET', `/schedules/${id}`);
  const { nextRuns, createdAt, updatedAt, ...rest } = json;
  assert.deepEqual(rest, {
    id,
    name: 'nightly',
    ...good,
    startAt: null,
    endAt: null,
    overlap: 'skip',
    catchUp: 'last',
    enabled: true,
    warnings: [],
    lastRun: null,
  });
  assert.equal(typeof createdAt, typeof updatedAt);
  const runs = nextRuns as string[];
  assert.equal(runs.length, 5);
  for (const run of runs) assert.match(run, /T03:00:00\+0[12]:00$/);
  const changed = await api.call('PATCH', `/schedules/${id}`, { cron: '*/20 * * * * *', timeZone: 'UTC', name: null });
  assert.equal(changed.status, 200, changed.text);
  assert.deepEqual(changed.json.warnings, ['it fires every 20 s; with five fields it would fire on whole minutes']);
  assert.match((changed.json.nextRuns as string[])[0]!, /:[024]0Z$/);
  assert.deepEqual((await api.call('PATCH', `/schedules/${id}`, { enabled: false })).json.nextRuns, []);
  assert.equal((await api.call('DELETE', `/schedules/${id}`)).status, 204);
  assert.equal(woken, before + 3);
});

test('names are unique, and may be left away', async () => {
  await create({ name: 'one' });
  const other = await create();
  await create();
  const taken = await post({ ...good, name: 'one' });
  assert.deepEqual([taken.status, taken.json.type], [409, 'schedule_exists']);
  assert.equal((await api.call('PATCH', `/schedules/${other}`, { name: 'one' })).status, 409);
  assert.equal((await api.call('PATCH', `/schedules/${other}`, { name: 'two' })).json.name, 'two');
});

test('POST /schedules/preview says when it would run, and stores nothing', async () => {
  const answer = await api.call('POST', '/schedules/preview', { cron: '30 2 * * *', timeZone: 'Asia/Kolkata' });
  assert.equal(answer.status, 200);
  for (const run of answer.json.nextRuns as string[]) assert.match(run, /T02:30:00\+05:30$/);
  const refused = await api.call('POST', '/schedules/preview', { cron: '0 0 30 2 *' });
  assert.deepEqual([refused.status, pointers(refused)], [422, ['/cron bad_cron']]);
});

test('every mistake comes at once, those of the crawl with pointers below /crawl, and nothing is stored', async () => {
  const count = async () => (await api.sql`select from schedules`).length;
  const before = await count();
  const settings = { headers: { 'bad header': 'x' }, maxPges: 3 };
  const wrong = {
    cron: '99 * * * *',
    timeZone: 'Europe/Berlim',
    catchUp: 'all',
    crawl: { startUrls: ['nonsense'], settings, webhooks: [{ url: 'https://hook.example/' }] },
  };
  const answer = await post(wrong);
  assert.equal(answer.status, 422);
  assert.deepEqual(pointers(answer), [
    '/catchUp conflict',
    '/crawl/settings/headers/bad header bad_header',
    '/crawl/settings/maxPges unknown_field',
    '/crawl/startUrls/0 bad_url',
    '/crawl/webhooks/0/secret required',
    '/cron bad_cron',
    '/timeZone bad_time_zone',
  ]);
  assert.deepEqual(pointers(await post({ ...good, crawl: { spider: 'nobody' } })), ['/crawl/spider unknown_spider']);
  api.spiderProblems = [{ pointer: '/pages/0', code: 'bad_selector', message: 'no' }];
  const spider = await post({
    ...good,
    crawl: { spider: { pages: [{ follow: [{ selector: '!' }] }] }, startUrls, settings: { maxPges: 1 } },
  });
  api.spiderProblems = [];
  assert.deepEqual(pointers(spider), ['/crawl/settings/maxPges unknown_field', '/crawl/spider/pages/0 bad_selector']);
  assert.deepEqual(pointers(await post({ crawl: { startUrls } })), ['/cron required']);
  const id = await create();
  const change = (body: object) => api.call('PATCH', `/schedules/${id}`, body);
  assert.deepEqual(pointers(await change({ cron: 'x' })), ['/cron bad_cron']);
  assert.deepEqual(pointers(await change({ catchUp: 'all' })), ['/catchUp conflict']);
  assert.deepEqual(pointers(await change({ crawl: { startUrls: ['no'] } })), ['/crawl/startUrls/0 bad_url']);
  assert.deepEqual(pointers(await change({ crom: 'x' })), ['/crom unknown_field']);
  assert.equal(await count(), before + 1);
});

test('POST …/run starts the crawl now, whatever runs, with a label that leads back', async () => {
  const id = await create({ name: 'by-hand', enabled: false });
  for (let i = 0; i < 2; i++) {
    const answer = await api.call('POST', `/schedules/${id}/run`);
    const run = answer.json as unknown as ScheduleRun;
    assert.deepEqual([answer.status, run.state, run.manual, run.crawl?.state], [201, 'started', true, 'queued']);
    assert.equal(answer.headers.location, `/crawls/${run.crawl!.id}`);
    assert.ok(api.changed.includes(run.crawl!.id));
  }
  const labelled = await api.call('GET', '/crawls?label=schedule:by-hand');
  assert.equal((labelled.json.crawls as object[]).length, 2);
  const page = await api.call('GET', `/schedules/${id}/runs?limit=1`);
  assert.equal((page.json.runs as object[]).length, 1);
  const rest = await api.call('GET', `/schedules/${id}/runs?cursor=${encodeURIComponent(String(page.json.next))}`);
  assert.deepEqual([(rest.json.runs as object[]).length, rest.json.next], [1, null]);
  // Its crawls stay, and the runs of a deleted crawl say that it is gone.
  const crawlId = (rest.json.runs as ScheduleRun[])[0]!.crawl!.id;
  await api.call('POST', `/crawls/${crawlId}/cancel`);
  await api.call('DELETE', `/crawls/${crawlId}`);
  const [, first] = (await api.call('GET', `/schedules/${id}/runs`)).json.runs as ScheduleRun[];
  assert.deepEqual(first!.crawl, { id: crawlId, state: null });
  await api.call('DELETE', `/schedules/${id}`);
  assert.equal((await api.call('GET', '/crawls?label=schedule:by-hand')).text.includes(crawlId), false);
});

test('a list in pages, oldest first, each with its last run', async () => {
  await api.sql`truncate schedules, schedule_runs`;
  const ids = [await create(), await create(), await create()];
  await api.call('POST', `/schedules/${ids[1]}/run`);
  const first = await api.call('GET', '/schedules?limit=2');
  const list = first.json.schedules as { id: string; lastRun: ScheduleRun | null }[];
  assert.deepEqual(
    list.map((one) => [one.id, one.lastRun?.state]),
    [
      [ids[0], undefined],
      [ids[1], 'started'],
    ],
  );
  const second = await api.call('GET', `/schedules?cursor=${first.json.next}`);
  assert.deepEqual([(second.json.schedules as object[]).length, second.json.next], [1, null]);
  for (const query of ['cursor=x', 'limit=0', 'before=1'])
    assert.equal((await api.call('GET', `/schedules?${query}`)).status, 422, query);
});

test('runs that are asked for at the same moment have a crawl and a place each', async () => {
  const id = await create();
  const answers = await Promise.all(Array.from({ length: 8 }, () => api.call('POST', `/schedules/${id}/run`)));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [201]);
  const { runs } = (await api.call('GET', `/schedules/${id}/runs?limit=100`)).json as { runs: ScheduleRun[] };
  assert.equal(new Set(runs.map(({ tick }) => tick)).size, 8);
  assert.deepEqual(
    new Set(runs.map(({ crawl }) => crawl?.id)),
    new Set(answers.map(({ json }) => (json.crawl as { id: string }).id)),
  );
});

test('a schedule that is not there is 404 for every call', async () => {
  for (const id of ['01890000-0000-7000-8000-000000000000', 'nonsense', '%00'])
    for (const [method, path] of [
      ['GET', ''],
      ['PATCH', ''],
      ['DELETE', ''],
      ['POST', '/run'],
      ['GET', '/runs'],
    ] as const) {
      const answer = await api.call(method, `/schedules/${id}${path}`, method === 'PATCH' ? { name: 'x' } : undefined);
      assert.deepEqual([answer.status, answer.json.type], [404, 'schedule_not_found'], `${method} ${path}`);
    }
});

describe('secrets of the crawl', () => {
  const SECRET = 'h0ney';
  const secret = `whsec_${Buffer.from(`${SECRET} of twenty-four bytes`).toString('base64')}`;
  const crawl = {
    startUrls: [{ url: 'https://books.example/', headers: { cookie: SECRET } }],
    spider: {
      params: { type: 'object', properties: { pin: { writeOnly: true }, user: {} } },
      pages: [{ items: [{ fields: { title: 'h1' } }] }],
    },
    params: { pin: `${SECRET} 7`, user: 'ann' },
    settings: { auth: [{ origin: 'https://books.example', username: 'ann', password: SECRET }] },
    webhooks: [{ url: 'https://hook.example/', secret, headers: { Authorization: SECRET } }],
  };
  const stored = async (id: string) =>
    (await api.sql<{ crawl: typeof crawl }[]>`select crawl from schedules where id = ${id}`)[0]!.crawl;

  it('are in no answer, and stay when what is shown is given back', async () => {
    const id = await create({ crawl });
    const shown = await api.call('GET', `/schedules/${id}`);
    for (const answer of [
      shown,
      await api.call('GET', '/schedules'),
      await api.call('PATCH', `/schedules/${id}`, { name: 'quiet' }),
    ])
      assert.ok(!answer.text.includes(SECRET) && !answer.text.includes(secret), answer.text);
    assert.deepEqual(await stored(id), crawl);
    const given = shown.json.crawl as typeof crawl;
    const changed = await api.call('PATCH', `/schedules/${id}`, { crawl: { ...given, labels: { a: 'b' } } });
    assert.equal(changed.status, 200, changed.text);
    assert.deepEqual(await stored(id), { ...crawl, labels: { a: 'b' } });
  });

  it('do not pass on to another origin, endpoint or spider', async () => {
    const id = await create({ crawl });
    const given = (await api.call('GET', `/schedules/${id}`)).json.crawl as typeof crawl;
    const table: [object, string][] = [
      [
        { settings: { auth: [{ ...given.settings.auth[0], origin: 'https://evil.example' }] } },
        '/crawl/settings/auth/0/password',
      ],
      [{ spider: { pages: crawl.spider.pages } }, '/crawl/params/pin'],
      [
        { startUrls: [{ url: 'https://evil.example/', headers: given.startUrls[0]!.headers }] },
        '/crawl/startUrls/0/headers/cookie',
      ],
    ];
    for (const [change, pointer] of table) {
      const answer = await api.call('PATCH', `/schedules/${id}`, { crawl: { ...given, ...change } });
      assert.equal(answer.status, 422, answer.text);
      assert.ok(pointers(answer).includes(`${pointer} hidden`), answer.text);
    }
  });
});
