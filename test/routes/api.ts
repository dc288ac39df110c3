import assert from 'node:assert/strict';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { pino } from 'pino';
import { type AppDeps, buildApp } from '../../dist/app.js';
import type { Sql } from '../../dist/db/client.js';
import type { Problem } from '../../dist/model/spider.js';
import { planStart } from '../../dist/parser/start_requests.js';
import { Wakeups } from '../../dist/stream/wakeups.js';
import { testDatabase } from '../support/database.ts';
import { holdToContract } from './contract.ts';

/** The API over a database of its own, without an engine: the tests play the committer. */
export interface TestApi {
  app: FastifyInstance;
  sql: Sql;
  wakeups: Wakeups;
  /** What `checkSpider` finds in every spider. */
  spiderProblems: Problem[];
  /** Ids that the engine was told of. */
  changed: string[];
  delivered: number[];
  closing: AbortController;
  call(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE' | 'PUT',
    url: string,
    body?: unknown,
    headers?: object,
  ): Promise<Answer>;
  /** Starts a crawl and gives its id. */
  start(body?: object): Promise<string>;
  stop(): Promise<void>;
}

export interface Answer {
  status: number;
  headers: LightMyRequestResponse['headers'];
  text: string;
  // What a test knows to be there is read from it by a cast.
  json: Record<string, unknown>;
}

export async function testApi(overrides: Partial<AppDeps> = {}): Promise<TestApi> {
  const { sql, drop } = await testDatabase();
  const closing = new AbortController();
  const api = { spiderProblems: [] as Problem[], changed: [] as string[], delivered: [] as number[], closing };
  const wakeups = new Wakeups();
  const app = await buildApp({
    sql,
    config: { apiKeys: [] },
    log: pino({ level: 'silent' }),
    wakeups,
    checkSpider: async () => api.spiderProblems,
    planStart: async (input) => planStart(input),
    webhooks: {
      redeliver: () => assert.fail('nothing is sent'),
      test: () => assert.fail('nothing is sent'),
    },
    previews: {
      isFull: false,
      inTurn: (work) => work(),
      preview: () => assert.fail('there is no engine'),
      check: () => assert.fail('there is no engine'),
    },
    onCrawlChanged: (id) => api.changed.push(id),
    onScheduled: () => {},
    onDeleted: () => {},
    metrics: async () => 'up 1\n',
    engineStatus: () => ({
      node: '00000000-0000-7000-8000-000000000000',
      role: 'all',
      version: '0',
      uptimeSeconds: 0,
      crawls: 0,
      hosts: 0,
      fetches: 0,
      parser: { threads: 1, busy: 0, kills: 0 },
      scripts: { enabled: false, boundary: null, processes: 0, busy: 0, kills: 0 },
      renderer: { enabled: false, running: false, version: null, sandbox: null, pages: 0, busy: 0, restarts: 0 },
      eventLoopDelayMs: { p50: 0, p99: 0, max: 0 },
    }),
    ready: async () => ({ ok: true, checks: { database: 'ok' } }),
    closing: closing.signal,
    onDelivered: (ms) => api.delivered.push(ms),
    ...overrides,
  });
  const contract = holdToContract(app);
  const call: TestApi['call'] = async (method, url, body, headers = {}) => {
    const payload = body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) };
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const response = await app.inject({ method, url, ...payload, headers: { ...type, ...headers } });
    const isJson = /[/+]json/.test(String(response.headers['content-type']));
    return {
      status: response.statusCode,
      headers: response.headers,
      text: response.body,
      json: isJson ? response.json() : {},
    };
  };
  const start = async (body: object = { startUrls: ['https://books.example/'] }) => {
    const answer = await call('POST', '/crawls', body);
    assert.equal(answer.status, 201, answer.text);
    return String(answer.json.id);
  };
  const stop = async () => {
    closing.abort();
    await app.close();
    await drop();
    contract.check();
  };
  return Object.assign(api, { app, sql, wakeups, call, start, stop });
}

/** Rows of every table, so that a refused request can be shown to have stored nothing. */
export async function countRows(sql: Sql): Promise<Record<string, number>> {
  const [row] = await sql<Record<string, number>[]>`
    select (select count(*) from crawls) as crawls, (select count(*) from requests) as requests,
      (select count(*) from host_queues) as queues, (select count(*) from idempotency_keys) as keys`;
  return { ...row };
}

/** Plays the committer: `n` more items with the next offsets, under the crawl's row lock. */
export async function commitItems(sql: Sql, id: string, n: number, data = (i: number) => `{"n":${i}}`): Promise<void> {
  await sql.begin(async (tx) => {
    const [crawl] = await tx<{ items: number }[]>`select items from crawls where id = ${id} for update`;
    const from = crawl!.items;
    const rows = Array.from({ length: n }, (_, i) => data(from + i));
    await tx`
      insert into items (crawl_id, "offset", scraped_at, seq, size, type, url, data)
      select ${id}, ${from} + i - 1, now(), 0, octet_length(d), case when (${from} + i - 1) % 2 = 0 then 'even' else 'odd' end,
        'https://books.example/' || (${from} + i - 1), d::json
      from unnest(${rows}::text[]) with ordinality as u (d, i)`;
    await tx`update crawls set items = items + ${n} where id = ${id}`;
  });
}

/** Plays the engine: the crawl runs, and `n` of its queued requests are being fetched. */
export async function claimRequests(sql: Sql, id: string, n: number): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`update crawls set state = 'running', started_at = now(), queued = queued - ${n}, in_progress = in_progress + ${n},
      deadline_at = now() + remaining_ms * interval '1 ms', remaining_ms = null where id = ${id}`;
    await tx`update host_queues q set queued = queued - c.n, in_progress = in_progress + c.n from (
      select host_id, count(*) as n from requests where crawl_id = ${id} and seq < ${n} group by host_id) c
      where q.crawl_id = ${id} and q.host_id = c.host_id`;
    await tx`update requests set state = 2, attempts = attempts + 1 where crawl_id = ${id} and seq < ${n}`;
  });
}
