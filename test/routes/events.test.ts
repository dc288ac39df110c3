import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { inTransaction, type Sql, type Tx } from '../../dist/db/client.js';
import { endCrawl } from '../../dist/db/crawls.js';
import { type TestApi, testApi } from './api.ts';

let api: TestApi;
before(async () => {
  api = await testApi();
});
after(() => api.stop());

/** Plays the committer: one more failed request. */
async function fail(id: string, url: string, sql: Sql | Tx = api.sql): Promise<void> {
  await sql`
    with crawl as (
      update crawls set failed = failed + 1, discovered = discovered + 1, next_seq = next_seq + 1
      where id = ${id} returning next_seq, failed)
    insert into requests (crawl_id, fp, seq, rank, depth, state, url, reason, finished_at, failed_n)
    select ${id}, ${randomUUID()}, next_seq - 1, 0, 1, 4, ${url}, 'dns', now(), failed - 1 from crawl`;
}

/** And one more line of the log. */
async function log(id: string, message: string, sql: Sql | Tx = api.sql): Promise<void> {
  await sql`
    with crawl as (update crawls set log_lines = log_lines + 1 where id = ${id} returning log_lines)
    insert into crawl_logs (crawl_id, n, at, level, url, message)
    select ${id}, log_lines - 1, '2026-11-23T09:30:00Z', 'warn', 'https://a.example/', ${message} from crawl`;
}

const kinds = (text: string) => [...text.matchAll(/^event: (\w+)$/gm)].map(([, kind]) => kind);

test('a listener is told the state first, then what happens, each with an id, and the end', async () => {
  const id = await api.start();
  await fail(id, 'https://before.example/');
  await log(id, 'before');
  const { headers, body } = await fetch(`${await api.app.listen({ port: 0 })}/crawls/${id}/events`);
  let text = '';
  for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
    const isFirst = !text.includes('queued');
    text += piece;
    if (isFirst && text.includes('queued')) await happen(id);
  }
  assert.equal(headers.get('content-type'), 'text/event-stream; charset=utf-8');
  assert.match(text, /^retry: 1000\n\nevent: state\nid: 0\.1\.1\ndata: \{"state":"queued","stopReason":null\}\n\n/);
  const rest = text.slice(text.indexOf('queued'));
  assert.deepEqual(kinds(rest), ['state', 'error', 'log', 'progress', 'end']);
  assert.match(rest, /event: state\nid: 1\.1\.1\ndata: \{"state":"cancelled","stopReason":"cancelled","at":"20/);
  assert.match(rest, /event: error\nid: 1\.2\.1\ndata: \{"url":"https:\/\/news\.example\/","reason":"dns"/);
  assert.match(
    rest,
    /event: log\nid: 1\.2\.2\ndata: \{"n":1,"level":"warn","url":"https:\/\/a\.example\/","message":"news"/,
  );
  assert.match(rest, /event: progress\nid: 1\.2\.2\ndata: \{"state":"cancelled"/);
  assert.ok(rest.endsWith('event: end\nid: 1.2.2\ndata: {"state":"cancelled","stopReason":"cancelled"}\n\n'));
});

/** All at once: a listener looks once a second, and what it sees at one look it tells in this order. */
async function happen(id: string): Promise<void> {
  await inTransaction(api.sql, async (tx) => {
    await fail(id, 'https://news.example/', tx);
    await log(id, 'news', tx);
    await endCrawl(tx, id, 'cancelled', 'cancelled', null);
  });
}

test('it goes on after Last-Event-ID or `after`, from the beginning where that is asked', async () => {
  const id = await api.start();
  for (const n of [1, 2]) await fail(id, `https://${n}.example/`);
  await api.call('POST', `/crawls/${id}/cancel`);
  const told = async (query: string, headers = {}) =>
    kinds((await api.call('GET', `/crawls/${id}/events${query}`, undefined, headers)).text).join();
  assert.equal(await told('?after=0.0.0'), 'state,error,error,progress,end');
  assert.equal(await told('', { 'last-event-id': '1.1.0' }), 'error,progress,end');
  assert.equal(await told('?after=1.2.0', { 'last-event-id': '0.0.0' }), 'progress,end');
  assert.equal(await told(''), 'state,progress,end', 'from now on');
});

test('an id that is none, or of another crawl, is refused', async () => {
  const id = await api.start();
  for (const [query, headers, pointer, found] of [
    ['?after=7', {}, '?after', 'something else'],
    ['', { 'last-event-id': 'x' }, 'last-event-id:', 'something else'],
    ['?after=0.5.0', {}, '?after', 'found one behind all events of this crawl, 0.0.0'],
  ] as const) {
    const answer = await api.call('GET', `/crawls/${id}/events${query}`, undefined, headers);
    const [error] = answer.json.errors as { pointer: string; message: string }[];
    assert.deepEqual([answer.status, error?.pointer], [422, pointer]);
    assert.ok(error?.message.includes(found), error?.message);
  }
});
