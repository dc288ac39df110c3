import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { claimRequests, commitItems, type TestApi, testApi } from './api.ts';

let api: TestApi;
before(async () => {
  api = await testApi();
});
after(() => api.stop());

const startUrls = Array.from({ length: 4 }, (_, i) => `https://h${i % 2}.example/${i}`);

/** A crawl brought into a state as the engine would. */
async function crawlIn(state: string): Promise<string> {
  const id = await api.start({ startUrls, settings: { maxDurationSeconds: 100 } });
  if (state === 'queued') return id;
  await claimRequests(api.sql, id, state === 'pausing' ? 2 : 0);
  const stop = { finished: 'finished', limited: 'max_pages', failed: 'start_urls_failed', cancelled: 'cancelled' }[
    state
  ];
  if (state === 'pausing' || state === 'paused') await api.call('POST', `/crawls/${id}/pause`);
  else if (stop !== undefined)
    await api.sql`update crawls set state = ${state === 'limited' ? 'finished' : state}, stop_reason = ${stop}, ended_at = now() where id = ${id}`;
  return id;
}

describe('the table of states', () => {
  const table: [string, Record<'pause' | 'resume' | 'cancel', string | number>, number][] = [
    ['queued', { pause: 'paused', resume: 'queued', cancel: 'cancelled' }, 409],
    ['running', { pause: 'paused', resume: 'running', cancel: 'cancelled' }, 409],
    ['pausing', { pause: 'pausing', resume: 'running', cancel: 'cancelled' }, 409],
    ['paused', { pause: 'paused', resume: 'running', cancel: 'cancelled' }, 409],
    ['limited', { pause: 409, resume: 'running', cancel: 409 }, 204],
    ['finished', { pause: 409, resume: 409, cancel: 409 }, 204],
    ['failed', { pause: 409, resume: 409, cancel: 409 }, 204],
    ['cancelled', { pause: 409, resume: 409, cancel: 'cancelled' }, 204],
  ];
  for (const [state, actions, deleted] of table) {
    for (const [action, expected] of Object.entries(actions))
      it(`${state}: ${action} gives ${expected}, and gives it again`, async () => {
        const id = await crawlIn(state);
        for (let i = 0; i < 2; i++) {
          const answer = await api.call('POST', `/crawls/${id}/${action}`);
          assert.equal(answer.status === 200 ? answer.json.state : answer.status, expected, answer.text);
          if (answer.status === 409) assert.equal(answer.json.type, 'wrong_state');
        }
      });
    it(`${state}: DELETE gives ${deleted}`, async () => {
      const id = await crawlIn(state);
      assert.equal((await api.call('DELETE', `/crawls/${id}`)).status, deleted);
      assert.equal((await api.call('GET', `/crawls/${id}`)).status, deleted === 204 ? 404 : 200);
    });
  }

  it('a crawl that is not there is 404 for every call', async () => {
    for (const id of ['01890000-0000-7000-8000-000000000000', 'nonsense', '%00'])
      for (const [method, path] of [
        ['GET', ''],
        ['PATCH', ''],
        ['DELETE', ''],
        ['POST', '/pause'],
        ['POST', '/resume'],
        ['POST', '/cancel'],
        ['GET', '/items'],
        ['GET', '/requests'],
        ['GET', '/requests/why?url=https://a.example/'],
        ['GET', '/stats'],
        ['GET', '/events'],
      ] as const) {
        const answer = await api.call(method, `/crawls/${id}${path}`, method === 'PATCH' ? { labels: {} } : undefined);
        assert.deepEqual([answer.status, answer.json.type], [404, 'crawl_not_found'], `${method} ${path}`);
      }
  });
});

it('cancel gives what is in flight back to its queues, and the books still balance', async () => {
  const id = await crawlIn('queued');
  await claimRequests(api.sql, id, 3);
  await commitItems(api.sql, id, 2);
  const answer = await api.call('POST', `/crawls/${id}/cancel`);
  assert.deepEqual(answer.json.stats, {
    ...(answer.json.stats as object),
    discovered: 4,
    queued: 4,
    inProgress: 0,
    items: 2,
  });
  const queues = await api.sql`select queued, in_progress from host_queues where crawl_id = ${id}`;
  assert.deepEqual(
    queues.map((row) => ({ ...row })),
    [
      { queued: 2, in_progress: 0 },
      { queued: 2, in_progress: 0 },
    ],
  );
  const states = await api.sql`select distinct state from requests where crawl_id = ${id}`;
  assert.deepEqual(
    states.map((row) => row.state),
    [0],
  );
  const items = await api.call('GET', `/crawls/${id}/items?format=json`);
  assert.equal((items.json.items as object[]).length, 2);
});

it('the clock of maxDurationSeconds stands still during a pause', async () => {
  const id = await crawlIn('running');
  await api.call('POST', `/crawls/${id}/pause`);
  const [paused] = await api.sql`select deadline_at, remaining_ms from crawls where id = ${id}`;
  assert.equal(paused?.deadline_at, null);
  assert.ok(paused?.remaining_ms > 90_000 && paused?.remaining_ms <= 100_000);
  await api.call('POST', `/crawls/${id}/resume`);
  const [row] = await api.sql`select deadline_at > now() as ahead, remaining_ms from crawls where id = ${id}`;
  assert.deepEqual({ ...row }, { ahead: true, remaining_ms: null });
});

describe('PATCH', () => {
  it('changes limits and labels and tells the engine', async () => {
    const id = await crawlIn('running');
    const answer = await api.call('PATCH', `/crawls/${id}`, {
      settings: { maxPages: 7, delayMs: 3 },
      labels: { a: 'b' },
    });
    assert.equal((answer.json.settings as { maxPages: number }).maxPages, 7);
    assert.deepEqual(answer.json.labels, { a: 'b' });
    const [row] = await api.sql`select max_pages, settings_version from crawls where id = ${id}`;
    assert.deepEqual({ ...row }, { max_pages: 7, settings_version: 2 });
    assert.equal(api.changed.at(-1), id);
  });

  it('refuses settings that cannot change, with their pointers', async () => {
    const id = await crawlIn('running');
    const answer = await api.call('PATCH', `/crawls/${id}`, { settings: { parser: 'html5', maxPages: 0 } });
    const errors = answer.json.errors as { pointer: string }[];
    assert.deepEqual(
      errors.map((error) => error.pointer),
      ['/settings/parser', '/settings/maxPages'],
    );
    assert.equal((await api.call('PATCH', `/crawls/${id}`, {})).status, 422);
  });

  it('moves the deadline by the difference', async () => {
    const id = await crawlIn('running');
    const before = await api.sql`select deadline_at from crawls where id = ${id}`;
    await api.call('PATCH', `/crawls/${id}`, { settings: { maxDurationSeconds: 150 } });
    const after = await api.sql`select deadline_at from crawls where id = ${id}`;
    assert.equal(after[0]?.deadline_at.getTime() - before[0]?.deadline_at.getTime(), 50_000);
    await api.call('PATCH', `/crawls/${id}`, { settings: { maxDurationSeconds: null } });
    const [none] = await api.sql`select deadline_at, remaining_ms from crawls where id = ${id}`;
    assert.deepEqual({ ...none }, { deadline_at: null, remaining_ms: null });
  });
});

describe('resume at a limit', () => {
  it('names the limit that is still reached, and goes on when it is raised', async () => {
    const id = await api.start({ startUrls, settings: { maxPages: 1 } });
    await api.sql`update crawls set started_at = now(), state = 'finished', stop_reason = 'max_pages', queued = 3, done = 1 where id = ${id}`;
    const refused = await api.call('POST', `/crawls/${id}/resume`);
    assert.equal(refused.status, 409);
    assert.match(String(refused.json.detail), /raise settings\.maxPages by PATCH/);
    await api.call('PATCH', `/crawls/${id}`, { settings: { maxPages: 2 } });
    const answer = await api.call('POST', `/crawls/${id}/resume`);
    assert.deepEqual([answer.json.state, answer.json.stopReason, answer.json.endedAt], ['running', null, null]);
  });

  it('goes on after max_duration when that is raised', async () => {
    const id = await crawlIn('running');
    await api.sql`update crawls set state = 'finished', stop_reason = 'max_duration', deadline_at = null, remaining_ms = 0 where id = ${id}`;
    assert.equal((await api.call('POST', `/crawls/${id}/resume`)).status, 409);
    await api.call('PATCH', `/crawls/${id}`, { settings: { maxDurationSeconds: 130 } });
    assert.equal((await api.call('POST', `/crawls/${id}/resume`)).status, 200);
    const [row] = await api.sql`select extract(epoch from deadline_at - now()) as left from crawls where id = ${id}`;
    assert.ok(Number(row?.left) > 25 && Number(row?.left) <= 30);
  });

  it('refuses when nothing is queued', async () => {
    const id = await crawlIn('limited');
    await api.sql`update crawls set queued = 0, done = 4 where id = ${id}`;
    assert.match(String((await api.call('POST', `/crawls/${id}/resume`)).json.detail), /nothing to go on with/);
  });
});

it('transitions at once leave one state, and the counters whole', async () => {
  const id = await crawlIn('running');
  await Promise.all(
    ['pause', 'resume', 'cancel', 'pause', 'resume'].map((action) => api.call('POST', `/crawls/${id}/${action}`)),
  );
  assert.equal((await api.call('GET', `/crawls/${id}`)).json.state, 'cancelled');
});
