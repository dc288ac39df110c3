/** Against a server of ours that speaks MongoDB's protocol: there is none of MongoDB's own to be had in a package. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { Document } from 'bson';
import { mongoTarget } from '../../dist/exports/mongodb.js';
import type { Cursor, ExportJob, Target } from '../../dist/exports/target.js';
import type { MongoTarget } from '../../dist/model/export.js';
import { type MongoServer, startMongoServer } from '../support/mongo_server.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp_proxy.ts';
import { conform, type Place, someItems } from './conformance.ts';

const signal = new AbortController().signal;
const START: Cursor = { next: 0, position: null };

describe('exports into MongoDB, at the wire level', () => {
  let server: MongoServer;
  let proxy: TcpProxy;
  let made = 0;
  before(async () => {
    server = await startMongoServer();
    proxy = await startTcpProxy(server.url);
  });
  beforeEach(() => {
    server.fault = () => null;
  });
  after(async () => {
    await Promise.all(opened.map((one) => one.close()));
    await proxy.close();
    await server.close();
  });

  const newJob = (): ExportJob => ({ crawlId: randomUUID(), n: 0, spider: null });
  const newTarget = (key?: string[]): MongoTarget => ({
    connection: 'x',
    collection: `items_${++made}`,
    ...(key === undefined ? {} : { key }),
  });
  const items = (data: unknown[]) => someItems(data.length, (i) => JSON.stringify(data[i]));
  const through = async (one: Target, data: unknown[], next = data.length): Promise<Cursor> => {
    const { next: from } = await one.open(START, signal);
    return (await one.write({ items: items(data).slice(from), next }, signal))!;
  };

  /** Closed at the end of the file where its test does not come so far. */
  const opened: Target[] = [];
  function exportTo(job: ExportJob, target: MongoTarget, url: string): Target {
    const one = mongoTarget(job, target, url);
    opened.push(one);
    return one;
  }

  async function connections(): Promise<number> {
    for (let tries = 0; server.connections > 0 && tries < 2000; tries++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    return server.connections;
  }

  conform('MongoDB', async (): Promise<Place> => {
    const job = newJob();
    const target = newTarget();
    server.fault = (command, body) =>
      command === 'update' && body.update === 'forbidden'
        ? { ok: 0, code: 13, codeName: 'Unauthorized', errmsg: 'not authorized on shop' }
        : null;
    return {
      target: () => mongoTarget(job, target, proxy.url),
      read: async () =>
        server
          .documents(target.collection)
          .sort((a, b) => a.offset - b.offset)
          .map(({ _id, offset, data }) => {
            assert.equal(_id, `${job.crawlId}:${offset}`);
            return { offset, data };
          }),
      away: () => proxy.cut(),
      back: () => proxy.restore(),
      hopeless: () => mongoTarget(job, { ...target, collection: 'forbidden' }, proxy.url),
      open: connections,
      remove: async () => {},
    };
  });

  test('a document has the crawl, offset, type, URL, time, change and data of its item', async () => {
    const [job, target] = [newJob(), newTarget()];
    const one = exportTo(job, target, server.url);
    await one.open(START, signal);
    const [item] = items([{ $price: 1.5, 'a.b': [1, 'x', null], n: 2 ** 40, _bsontyp: 'x' }]);
    await one.write({ items: [{ ...item!, change: '{"kind":"new"}' }], next: 1 }, signal);
    await one.close();
    assert.deepEqual(server.documents(target.collection), [
      {
        _id: `${job.crawlId}:0`,
        crawl: job.crawlId,
        offset: 0,
        type: 'page',
        url: item!.url,
        scrapedAt: new Date(Date.UTC(2026, 0, 1)),
        change: { kind: 'new' },
        data: { $price: 1.5, 'a.b': [1, 'x', null], n: 2 ** 40, _bsontyp: 'x' },
      },
    ]);
    const [update] = server.commands.filter((body) => body.update === target.collection);
    assert.equal(update!.writeConcern.w, 'majority');
  });

  test('the last item with a key wins, in a batch and later; a holder that wakes up late changes nothing', async () => {
    const [job, target] = [newJob(), newTarget(['sku', 'in.shop'])];
    const one = exportTo(job, target, server.url);
    await one.open(START, signal);
    const data = [
      { sku: 'a', in: { shop: 1 }, v: 0 },
      { sku: 'a', in: { shop: 2 }, v: 1 },
      { sku: 'a', in: { shop: 1 }, v: 2 },
      { sku: null, v: 3 },
      { sku: 'a', in: { shop: 2 }, v: 4 },
    ];
    const all = items(data);
    await one.write({ items: all.slice(0, 3), next: 3 }, signal);
    await one.write({ items: all.slice(3), next: 5 }, signal);
    await one.close();
    const late = exportTo(job, target, server.url);
    await late.open(START, signal);
    assert.deepEqual(await late.write({ items: all.slice(0, 2), next: 2 }, signal), { next: 2, position: null });
    await late.close();
    // Another crawl's item is newer, whatever its offset is.
    const other = exportTo(newJob(), target, server.url);
    await through(other, [{ sku: 'a', in: { shop: 1 }, v: 'other' }]);
    await other.close();
    const found = server.documents(target.collection).map(({ _id, data: { v } }) => [_id, v]);
    assert.deepEqual(found, [
      ['["a",1]', 'other'],
      ['["a",2]', 4],
      [`${job.crawlId}:3`, 3],
    ]);
  });

  test('of one key the value is the _id, as it is', async () => {
    const target = newTarget(['sku']);
    const one = exportTo(newJob(), target, server.url);
    await through(one, [{ sku: 1 }, { sku: '1' }, { sku: [1] }, { sku: false }]);
    await one.close();
    assert.deepEqual(
      server.documents(target.collection).map(({ _id }) => _id),
      [1, '1', '[[1]]', false],
    );
  });

  test('32: a document that MongoDB does not take is set aside with its reason, and the others are written', async () => {
    const target = newTarget();
    server.unique.set(target.collection, 'sku');
    let deep: unknown = 1;
    for (let i = 0; i < 190; i++) deep = [deep];
    const data: unknown[] = Array.from({ length: 20 }, (_, i) => ({ sku: i }));
    data[2] = { sku: 2, text: 'x'.repeat(3 * 1024 * 1024) };
    data[5] = { sku: 5, deep };
    data[9] = { sku: 8 };
    data[13] = { sku: 13, _bsontype: 'ObjectId' };
    const one = exportTo(newJob(), target, server.url);
    const cursor = await through(one, data);
    await one.close();
    const { count, first } = cursor.position as { count: number; first: { offset: number; reason: string }[] };
    const reasons = new Map(first.map(({ offset, reason }) => [offset, reason]));
    assert.equal(count, 4);
    assert.match(reasons.get(2)!, /larger than the maximum/);
    assert.match(reasons.get(5)!, /nested object depth/);
    assert.match(reasons.get(9)!, /duplicate key/);
    assert.match(reasons.get(13)!, /BSON/);
    assert.equal(server.documents(target.collection).length, 16);
    // What was set aside before counts on.
    const again = exportTo(newJob(), target, server.url);
    await again.open(cursor, signal);
    const later = await again.write({ items: items(data).slice(9, 10), next: 20 }, signal);
    await again.close();
    assert.equal((later!.position as { count: number }).count, 5);
  });

  const refusals: [what: string, answer: Document, code: string][] = [
    [
      'a majority does not have it',
      {
        n: 1,
        writeConcernError: { code: 64, codeName: 'WriteConcernTimeout', errmsg: 'waiting for replication timed out' },
        ok: 1,
      },
      'timeout',
    ],
    [
      'the server is the primary no more',
      { ok: 0, code: 10107, codeName: 'NotWritablePrimary', errmsg: 'not primary' },
      'refused',
    ],
    [
      'the disk is full',
      { n: 0, writeErrors: [{ index: 0, code: 14031, errmsg: 'available disk space is less than required' }], ok: 1 },
      'full',
    ],
  ];
  for (const [what, answer, code] of refusals)
    test(`an export waits where ${what}`, async () => {
      server.fault = (command) => (command === 'update' ? answer : null);
      const one = exportTo(newJob(), newTarget(), server.url);
      await assert.rejects(through(one, [{ a: 1 }]), { code, permanent: false });
      await one.close();
    });

  for (const how of ['close', 'lose'] as const)
    test(`34: the connection is lost ${how === 'close' ? 'before' : 'after'} the command was carried out`, async () => {
      const [job, target] = [newJob(), newTarget()];
      server.fault = (command) => (command === 'update' ? how : null);
      const one = exportTo(job, target, server.url);
      await assert.rejects(through(one, [1, 2, 3]), { code: 'connect', permanent: false });
      await one.close();
      assert.equal(server.documents(target.collection).length, how === 'lose' ? 3 : 0);
      server.fault = () => null;
      const again = exportTo(job, target, server.url);
      assert.deepEqual(await through(again, [1, 2, 3]), { next: 3, position: null });
      await again.close();
      assert.deepEqual(
        server.documents(target.collection).map(({ data }) => data),
        [1, 2, 3],
      );
    });

  test('40: a server that does not answer is left when the caller gives up', async () => {
    const asked = Promise.withResolvers<void>();
    server.fault = (command) => {
      if (command !== 'update') return null;
      asked.resolve();
      return 'hang';
    };
    const one = exportTo(newJob(), newTarget(), server.url);
    await one.open(START, signal);
    const giving = new AbortController();
    const writing = one.write({ items: someItems(1), next: 1 }, giving.signal);
    await asked.promise;
    giving.abort();
    await assert.rejects(writing, { code: 'timeout', permanent: false });
    await one.close();
    assert.equal(await connections(), 0);
  });

  test('a replica set is named by several hosts, separated by %2C', async () => {
    const hosts = [`127.0.0.1:1`, `127.0.0.1:${server.port}`];
    server.hello = { setName: 'rs', hosts, me: hosts[1], primary: hosts[1], setVersion: 1 };
    const url = `mongodb://${hosts.join('%2C')}/shop?replicaSet=rs&serverSelectionTimeoutMS=3000`;
    const target = newTarget();
    const one = exportTo(newJob(), target, url);
    await through(one, [1, 2]);
    await one.close();
    server.hello = {};
    assert.equal(server.documents(target.collection).length, 2);
  });

  test('no address or password is told where MongoDB cannot be had', async () => {
    const url = 'mongodb://orb:a-secret@127.0.0.1:1/shop?serverSelectionTimeoutMS=50';
    const one = exportTo(newJob(), newTarget(), url);
    await assert.rejects(one.open(START, signal), (error: Error & { permanent: boolean }) => {
      assert.equal(error.permanent, false);
      assert.doesNotMatch(error.message, /127\.0\.0\.1|secret|orb/);
      return true;
    });
    await one.close();
  });
});
