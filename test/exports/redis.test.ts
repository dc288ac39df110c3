import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { createClient } from '@redis/client';
import { redisTarget } from '../../dist/exports/redis.js';
import type { Cursor, ExportJob } from '../../dist/exports/target.js';
import type { RedisTarget } from '../../dist/model/export.js';
import { type ForeignServer, startRedis, withoutRedis } from '../support/foreign_servers.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp_proxy.ts';
import { conform, type Place, someItems } from './conformance.ts';

const signal = new AbortController().signal;
const START: Cursor = { next: 0, position: null };

describe('exports into Redis streams', { skip: withoutRedis }, () => {
  let server: ForeignServer;
  let proxy: TcpProxy;
  let admin: ReturnType<typeof createClient>;
  let made = 0;
  before(async () => {
    server = await startRedis();
    proxy = await startTcpProxy(server.url);
    admin = createClient({ url: server.url, RESP: 2 });
    admin.on('error', () => {});
    await admin.connect();
  });
  after(async () => {
    admin.destroy();
    await proxy.close();
    await server.stop();
  });

  const newJob = (): ExportJob => ({ crawlId: randomUUID(), n: 1, spider: null });
  const newTarget = (): RedisTarget => ({ connection: 'x', stream: `stream ${++made}` });
  const send = <T>(...args: string[]) => admin.sendCommand<T>(args);

  /** The entries of a stream as objects. */
  async function entries(stream: string): Promise<Record<string, string>[]> {
    const found = await send<[string, string[]][]>('XRANGE', stream, '-', '+');
    return found.map(([, list]) =>
      Object.fromEntries(list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1]!]] : []))),
    );
  }

  /** Of exports: all but the one that asks. */
  async function connections(): Promise<number> {
    for (let tries = 0; ; tries++) {
      const n = (await send<string>('CLIENT', 'LIST')).match(/ name=orbweaver /g)?.length ?? 0;
      if (n === 0 || tries === 2000) return n;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  conform('Redis', async (): Promise<Place> => {
    const job = newJob();
    const target = newTarget();
    await send('SET', `${target.stream} taken`, 'a text');
    return {
      target: () => redisTarget(job, target, proxy.url),
      read: async () =>
        (await entries(target.stream)).map(({ offset, data }) => ({ offset: Number(offset), data: JSON.parse(data!) })),
      away: () => proxy.cut(),
      back: () => proxy.restore(),
      hopeless: () => redisTarget(job, { ...target, stream: `${target.stream} taken` }, proxy.url),
      open: connections,
      remove: async () => {
        await send('FLUSHALL');
      },
    };
  });

  test('an entry has its crawl, offset, type, URL, time and data', async () => {
    const [job, target] = [newJob(), newTarget()];
    const one = redisTarget(job, target, server.url);
    await one.open(START, signal);
    const [item] = someItems(1, () => '{"a":1.0,"b":"ü"}');
    assert.deepEqual(await one.write({ items: [item!], next: 9 }, signal), { next: 9, position: null });
    await one.close();
    assert.deepEqual(await entries(target.stream), [
      {
        crawl: job.crawlId,
        offset: '0',
        type: 'page',
        url: item!.url,
        scrapedAt: '2026-01-01T00:00:00.000Z',
        data: '{"a":1.0,"b":"ü"}',
      },
    ]);
    assert.equal(await send('GET', `${target.stream}:orbweaver:${job.crawlId}:1`), '9');
  });

  test('of a stream with maxLength about so many entries are kept', async () => {
    const target = { ...newTarget(), maxLength: 10 };
    const one = redisTarget(newJob(), target, server.url);
    await one.open(START, signal);
    for (let next = 500; next <= 2000; next += 500)
      await one.write({ items: someItems(next).slice(next - 500), next }, signal);
    await one.close();
    const kept = await entries(target.stream);
    assert.ok(kept.length >= 10 && kept.length < 1000, `${kept.length} are kept`);
    assert.equal(kept.at(-1)!.offset, '1999');
  });

  test('35: a Redis that has lost everything is given everything again', async () => {
    const [job, target] = [newJob(), newTarget()];
    const one = redisTarget(job, target, server.url);
    await one.open(START, signal);
    await one.write({ items: someItems(4), next: 4 }, signal);
    await send('FLUSHALL');
    await assert.rejects(one.write({ items: someItems(8).slice(4), next: 8 }, signal), {
      code: 'gone',
      permanent: false,
    });
    await one.close();
    const again = redisTarget(job, target, server.url);
    assert.deepEqual(await again.open({ next: 4, position: null }, signal), START);
    await again.write({ items: someItems(8), next: 8 }, signal);
    await again.close();
    assert.deepEqual(
      (await entries(target.stream)).map(({ offset }) => Number(offset)),
      [0, 1, 2, 3, 4, 5, 6, 7],
    );
  });

  const states: [what: string, on: string[], off: string[], code: string][] = [
    ['memory is used up', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0'], 'full'],
    ['it is a replica', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE'], 'refused'],
  ];
  for (const [what, on, off, code] of states)
    test(`40: an export waits while ${what}`, async () => {
      const [job, target] = [newJob(), newTarget()];
      const one = redisTarget(job, target, server.url);
      await one.open(START, signal);
      await send(...on);
      try {
        await assert.rejects(one.write({ items: someItems(4), next: 4 }, signal), { code, permanent: false });
        await one.close();
      } finally {
        await send(...off);
      }
      const again = redisTarget(job, target, server.url);
      const { next } = await again.open(START, signal);
      await again.write({ items: someItems(4).slice(next), next: 4 }, signal);
      await again.close();
      assert.equal((await entries(target.stream)).length, 4);
    });

  test('no address or password is told where Redis cannot be had', async () => {
    for (const [part, value, code] of [
      ['password', 'wrong-secret', 'refused'],
      ['port', '1', 'connect'],
    ] as const) {
      const url = new URL(server.url);
      url[part] = value;
      const one = redisTarget(newJob(), newTarget(), url.href);
      await assert.rejects(one.open(START, signal), (error: Error & { permanent: boolean; code: string }) => {
        assert.deepEqual([error.code, error.permanent], [code, false]);
        assert.doesNotMatch(error.message, /127\.0\.0\.1|secret/);
        return true;
      });
      await one.close();
    }
  });
});
