import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CrawlGone, ItemReader } from '../../dist/stream/reader.js';
import { commitItems, type TestApi, testApi } from '../routes/api.ts';

let api: TestApi;
let base: string;
before(async () => {
  api = await testApi();
  base = await api.app.listen({ port: 0, host: '127.0.0.1' });
});
after(() => api.stop());

interface Item {
  offset: number;
  type: string;
  url: string;
  data: Record<string, unknown>;
}
const parse = (text: string) =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Item);
const offsets = (items: Item[]) => items.map((item) => item.offset);
const upTo = (n: number, from = 0) => Array.from({ length: n - from }, (_, i) => from + i);

async function end(id: string, state = 'finished', reason = 'finished'): Promise<void> {
  await api.sql`update crawls set state = ${state}, stop_reason = ${reason}, ended_at = now() where id = ${id}`;
  api.wakeups.publish([id]);
}

async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 3000 && !(await check()); i++) await sleep(20);
  assert.ok(await check());
}

describe('NDJSON', () => {
  it('sends its headers at once, items as they are committed, and ends when the crawl has ended', async () => {
    const id = await api.start();
    const response = await fetch(`${base}/crawls/${id}/items`);
    assert.equal(response.headers.get('content-type'), 'application/x-ndjson; charset=utf-8');
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    await commitItems(api.sql, id, 2);
    api.wakeups.publish([id]);
    let text = '';
    while (parse(text).length < 2) text += (await reader.read()).value ?? '';
    await commitItems(api.sql, id, 1);
    await end(id);
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) text += piece.value;
    assert.deepEqual(offsets(parse(text)), [0, 1, 2]);
    await until(() => api.delivered.length > 0);
  });

  it('gives data back exactly as it was produced, one item a line', async () => {
    const id = await api.start();
    const data = '{"b": -0,\n "a": 1.0, "a": "\\u0000\\ud800", "__proto__": {"x": 1e999}}';
    await commitItems(api.sql, id, 1, () => data);
    const text = await (await fetch(`${base}/crawls/${id}/items?follow=false`)).text();
    assert.ok(text.includes(data.replace('\n', ' ')), text);
    assert.equal(text.split('\n').length, 2);
  });

  it('takes after, limit, type and fields', async () => {
    const id = await api.start();
    await commitItems(api.sql, id, 1200, (i) => `{"n":${i},"m":[1],"k.x":null}`);
    await end(id);
    const get = async (query: string) => parse(await (await fetch(`${base}/crawls/${id}/items?${query}`)).text());
    assert.deepEqual(offsets(await get('')), upTo(1200));
    assert.deepEqual(offsets(await get('after=1197')), [1198, 1199]);
    assert.deepEqual(offsets(await get('after=5000')), []);
    assert.deepEqual(offsets(await get('after=9&limit=3')), [10, 11, 12]);
    assert.deepEqual(offsets(await get('limit=700')), upTo(700));
    assert.deepEqual(offsets(await get('type=odd&limit=2&after=0')), [1, 3]);
    assert.equal((await get('type=odd')).length, 600);
    assert.equal((await get('type=none')).length, 0);
    assert.deepEqual((await get('fields=n,k.x&limit=1'))[0]?.data, { n: 0, 'k.x': null });
  });

  it('pages by bytes: items of a megabyte come one at a time', async () => {
    const id = await api.start();
    await commitItems(api.sql, id, 5, (i) => `"${String(i).repeat(1_500_000)}"`);
    const reader = new ItemReader(api.sql, api.wakeups);
    const page = await reader.page(id, { after: -1, limit: 500 }, 5);
    assert.deepEqual([page.items.length, page.through], [1, 0]);
    const items = parse(await (await fetch(`${base}/crawls/${id}/items?follow=false`)).text());
    assert.deepEqual(offsets(items), upTo(5));
  });

  it('stays open while the crawl is paused', async () => {
    const id = await api.start();
    await api.call('POST', `/crawls/${id}/pause`);
    const answer = fetch(`${base}/crawls/${id}/items`).then((response) => response.text());
    await until(() => api.wakeups.size === 1);
    api.wakeups.publish([id]);
    await commitItems(api.sql, id, 1);
    await end(id, 'cancelled', 'cancelled');
    assert.equal(parse(await answer).length, 1);
  });

  it('is cut, so that it shows as incomplete, when the crawl is deleted under it', async () => {
    const id = await api.start();
    await commitItems(api.sql, id, 1);
    const answer = fetch(`${base}/crawls/${id}/items`).then((response) => response.text());
    await until(() => api.wakeups.size === 1);
    await api.sql`delete from crawls where id = ${id}`;
    api.wakeups.publish([id]);
    await assert.rejects(answer);
    await assert.rejects(new ItemReader(api.sql, api.wakeups).head(id), CrawlGone);
  });
});

describe('server-sent events', () => {
  it('sends items with their offsets as ids, and an end with the state', async () => {
    const id = await api.start();
    await commitItems(api.sql, id, 3);
    await end(id, 'finished', 'max_items');
    const headers = { accept: 'text/event-stream' };
    const text = await (await fetch(`${base}/crawls/${id}/items`, { headers })).text();
    assert.match(text, /^retry: \d+\n\n/);
    assert.deepEqual(
      [...text.matchAll(/^event: item\nid: (\d+)\ndata: \{/gm)].map((match) => match[1]),
      ['0', '1', '2'],
    );
    assert.ok(text.endsWith('event: end\ndata: {"state":"finished","stopReason":"max_items"}\n\n'));
    const resumed = await (
      await fetch(`${base}/crawls/${id}/items`, { headers: { ...headers, 'last-event-id': '1' } })
    ).text();
    assert.deepEqual(
      [...resumed.matchAll(/^id: (\d+)$/gm)].map((match) => match[1]),
      ['2'],
    );
  });
});

describe('JSON', () => {
  it('gives pages with `next` until all of an ended crawl was read', async () => {
    const id = await api.start();
    const get = async (query = '') => (await api.call('GET', `/crawls/${id}/items?format=json${query}`)).json;
    assert.deepEqual(await get(), { items: [], next: -1, state: 'queued' });
    await commitItems(api.sql, id, 5);
    const first = await get('&after=-1&limit=3');
    assert.deepEqual([offsets(first.items as Item[]), first.next], [[0, 1, 2], 2]);
    const second = await get('&after=2');
    assert.deepEqual([offsets(second.items as Item[]), second.next], [[3, 4], 4]);
    await end(id);
    assert.deepEqual(await get('&after=4'), { items: [], next: null, state: 'finished' });
  });

  it('chooses the format by Accept, and refuses what it does not have', async () => {
    const id = await api.start();
    const type = async (accept: string) =>
      (await api.call('GET', `/crawls/${id}/items?follow=false`, undefined, { accept })).headers['content-type'];
    assert.match(String(await type('application/json')), /^application\/json/);
    assert.match(String(await type('text/html,*/*;q=0.8')), /^application\/x-ndjson/);
    assert.match(String(await type('application/json;q=0.1, text/event-stream;q=0.9')), /^text\/event-stream/);
    const refused = await api.call('GET', `/crawls/${id}/items`, undefined, { accept: 'image/png' });
    assert.deepEqual([refused.status, refused.json.type], [406, 'not_acceptable']);
  });
});

describe('readers', () => {
  it('45: a follower with `after` reads every offset once over many reconnects, while items are added', async () => {
    const id = await api.start();
    const writer = (async () => {
      for (let i = 0; i < 60; i++) {
        await commitItems(api.sql, id, 1 + (i % 7));
        api.wakeups.publish([id]);
      }
      await end(id);
    })();
    const seen: number[] = [];
    for (let connects = 0; connects < 500; connects++) {
      const { items, whole } = await readSome(id, seen.at(-1) ?? -1, 1 + (connects % 9));
      seen.push(...offsets(items));
      if (whole) break;
    }
    await writer;
    const [crawl] = await api.sql`select items from crawls where id = ${id}`;
    assert.deepEqual(seen, upTo(crawl?.items));
  });

  it('39: hundreds of readers that hardly read, or leave at any moment, share what they hold, and a quick one gets all', async () => {
    const id = await api.start();
    const held = new Set<Socket>();
    api.app.server.on('connection', (socket: Socket) => held.add(socket));
    const slow = Array.from({ length: 200 }, () => openStream(id));
    const quick = fetch(`${base}/crawls/${id}/items`).then((response) => response.text());
    await until(() => api.wakeups.size === 201);
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    let left = 0;
    for (let i = 0; i < 12; i++) {
      await commitItems(api.sql, id, 2, () => `"${'x'.repeat(500_000)}"`);
      api.wakeups.publish([id]);
      for (const socket of slow.slice(0, 20)) socket.read(1);
      for (const leaving of slow.splice(i * 5, 5)) left += Number(leaving.destroy() !== null);
      slow.push(...Array.from({ length: 5 }, () => openStream(id)));
      most = Math.max(most, ...[...held].map((socket) => socket.writableLength));
    }
    await end(id);
    assert.deepEqual(offsets(parse(await quick)), upTo(24), 'nobody waits for the others');
    most = Math.max(most, ...[...held].map((socket) => socket.writableLength));
    assert.equal(left, 60);
    assert.ok(most > 0 && most < 2_500_000, `one piece each: ${most} bytes`);
    const grown = process.memoryUsage().arrayBuffers - before;
    assert.ok(grown < 100_000_000, `200 readers wait for 12 MB each, and hold ${grown} bytes together`);
    await until(async () => {
      const [row] = await api.sql`
        select count(*)::int as n from pg_stat_activity
        where datname = current_database() and state = 'active' and pid <> pg_backend_pid()`;
      return row?.n === 0; // no connection is held for them
    });
    for (const socket of slow) socket.destroy();
    await until(() => api.wakeups.size === 0);
  });

  it('39: a thousand readers get every item, and what they held is given back when they leave', async () => {
    const id = await api.start();
    const reader = new ItemReader(api.sql, api.wakeups);
    const signal = new AbortController();
    let encoded = 0;
    const encode = (items: readonly object[]) => {
      encoded++;
      return Buffer.alloc(items.length);
    };
    const format = { key: 'test', encode };
    const counts = Promise.all(
      Array.from({ length: 1000 }, async () => {
        let n = 0;
        for await (const batch of reader.follow(id, { after: -1, limit: 1000 }, format, true, signal.signal))
          n += batch.count;
        return n;
      }),
    );
    await until(() => api.wakeups.size === 1000);
    await commitItems(api.sql, id, 50);
    await end(id);
    assert.deepEqual([...new Set(await counts)], [50]);
    assert.ok(encoded < 20, `encoded ${encoded} times for a thousand readers`);
    assert.deepEqual([api.wakeups.size, reader.keptBytes], [0, 0]);
  });

  it('a reader that leaves releases everything', async () => {
    const id = await api.start();
    const sockets = Array.from({ length: 10 }, () => openStream(id));
    await until(() => api.wakeups.size === 10);
    for (const socket of sockets) socket.destroy();
    await until(() => api.wakeups.size === 0);
  });
});

describe('when the service stops', () => {
  it('38: NDJSON is cut after the last item, SSE ends without `end`', async () => {
    const other = await testApi();
    try {
      const url = await other.app.listen({ port: 0, host: '127.0.0.1' });
      const id = await other.start();
      await commitItems(other.sql, id, 3);
      const ndjson = await fetch(`${url}/crawls/${id}/items`);
      const sse = await fetch(`${url}/crawls/${id}/items?format=sse`, { headers: { 'accept-encoding': 'identity' } });
      await until(() => other.wakeups.size === 2);
      const events = sse.text();
      const lines = collect(ndjson, (text) => {
        if (text.split('\n').length > 3) setImmediate(() => other.closing.abort());
      });
      const { text, whole } = await lines;
      assert.deepEqual([offsets(parse(text)), whole], [[0, 1, 2], false]);
      assert.doesNotMatch(await events, /event: end/);
      assert.equal(other.wakeups.size, 0);
    } finally {
      await other.stop();
    }
  });
});

async function collect(response: Response, onText: (text: string) => void): Promise<{ text: string; whole: boolean }> {
  let text = '';
  try {
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      onText(text);
    }
    return { text, whole: true };
  } catch {
    return { text, whole: false };
  }
}

/** Reads at least `n` items after an offset, then leaves; `whole` where the stream ended by itself. */
async function readSome(id: string, after: number, n: number): Promise<{ items: Item[]; whole: boolean }> {
  const leave = new AbortController();
  const response = await fetch(`${base}/crawls/${id}/items?after=${after}`, { signal: leave.signal });
  let text = '';
  try {
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.split('\n').length > n) leave.abort();
    }
    return { items: parse(text), whole: true };
  } catch {
    return { items: parse(text.slice(0, text.lastIndexOf('\n') + 1)), whole: false };
  }
}

/** A client that asks for the items and never reads. */
function openStream(id: string): Socket {
  const { hostname, port } = new URL(base);
  const socket = connect(Number(port), hostname);
  socket.pause();
  void once(socket, 'connect').then(() => socket.write(`GET /crawls/${id}/items HTTP/1.1\r\nhost: test\r\n\r\n`));
  socket.on('error', () => {});
  return socket;
}
