import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { acquireHosts, claimAddress, releaseHosts, storeHosts } from '../../dist/db/hosts.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { seedCrawl } from '../support/rows.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

async function newNode(): Promise<string> {
  const id = randomUUID();
  await database.sql`insert into nodes (id, role, alive_until) values (${id}, 'all', now() + interval '1 hour')`;
  return id;
}

const kill = (node: string) => database.sql`update nodes set alive_until = now() where id = ${node}`;

async function take(node: string, hostId: number, addresses: string[] | null = null) {
  const taken = await acquireHosts(database.sql, node, 1000, addresses);
  return taken.find((host) => host.id === hostId);
}

const NOTHING = { waitMs: 0, backoffLevel: 0, crawlDelayMs: 0, throttleMs: 0, address: null };

test('17, 18: what the holder of a host learned goes to the next one, to the millisecond, given back or not', async () => {
  const { sql } = database;
  const { hostId } = await seedCrawl(sql, { queued: 1 });
  const [a, b, c] = [await newNode(), await newNode(), await newNode()];
  const first = await take(a, hostId);
  assert.partialDeepStrictEqual(first, { isOrphaned: false, crawlDelayMs: 0, throttleMs: 0, backoffLevel: 0 });
  const learned = { waitMs: 40_000.4, backoffLevel: 3, crawlDelayMs: 1500, throttleMs: 321.5, address: null };
  const started = Date.now();
  await releaseHosts(sql, a, [{ id: hostId, fence: first!.fence, ...learned }]);
  const second = await take(b, hostId);
  const expected = { backoffLevel: 3, crawlDelayMs: 1500, throttleMs: 322 };
  assert.partialDeepStrictEqual(second, { ...expected, isOrphaned: false });
  assert.ok(second!.waitMs <= 40_001 && second!.waitMs >= 40_001 - (Date.now() - started) - 1, `${second!.waitMs} ms`);
  await storeHosts(sql, b, [{ id: hostId, fence: second!.fence, ...learned, waitMs: 90_000 }]);
  await storeHosts(sql, b, [{ id: hostId, fence: second!.fence - 1, ...NOTHING }]);
  await storeHosts(sql, a, [{ id: hostId, fence: second!.fence, ...NOTHING }]);
  assert.equal(await take(c, hostId), undefined, 'it is still held');
  await kill(b);
  const third = await take(c, hostId);
  assert.partialDeepStrictEqual(third, { ...expected, isOrphaned: true });
  assert.ok(third!.waitMs > 80_000, 'nobody but the holder has written');
});

test('17: the hosts of an address are left to the node that has one of them', async () => {
  const { sql } = database;
  const [a, b] = [await newNode(), await newNode()];
  const hosts = [];
  for (let i = 0; i < 3; i++) hosts.push((await seedCrawl(sql, { queued: 1 })).hostId);
  const [x, y, z] = hosts as [number, number, number];
  const all = await acquireHosts(sql, a, 1000, null);
  const of = (id: number) => all.find((host) => host.id === id)!;
  await releaseHosts(sql, a, [
    { ...NOTHING, id: y, fence: of(y).fence },
    { ...NOTHING, id: z, fence: of(z).fence },
  ]);
  const mine = await acquireHosts(sql, b, 1000, null);
  const held = (id: number) => mine.find((host) => host.id === id)!;
  assert.equal(await claimAddress(sql, a, of(x), '192.0.2.1'), 0);
  assert.equal(await claimAddress(sql, b, held(y), '192.0.2.1'), null, 'a has a host there');
  assert.equal(await claimAddress(sql, b, held(z), '192.0.2.2'), 0);
  await releaseHosts(sql, b, [{ ...NOTHING, id: y, fence: held(y).fence, waitMs: 5000, address: '192.0.2.1' }]);
  assert.equal(await take(b, y), undefined, 'left to a');
  assert.equal(await take(a, y, ['192.0.2.9']), undefined);
  const back = await take(a, y, ['192.0.2.1']);
  assert.ok(back !== undefined && back.waitMs > 4000);
  assert.equal(await claimAddress(sql, a, back, '192.0.2.1'), 0);
  await kill(a);
  const [limited] = await acquireHosts(sql, b, 1, ['192.0.2.1']);
  assert.partialDeepStrictEqual(limited, { id: x, isOrphaned: true, address: '192.0.2.1' });
  const waitMs = await claimAddress(sql, b, limited!, '192.0.2.1');
  assert.ok(waitMs! > 1_000_000, 'y there is still in the name of one that died: one delay at least');
});

test('17: of two nodes that claim an address at once one gets it', async () => {
  const { sql } = database;
  for (let round = 0; round < 10; round++) {
    const nodes = [await newNode(), await newNode()];
    const address = `192.0.2.${100 + round}`;
    const claims = [];
    for (const node of nodes) {
      const { hostId } = await seedCrawl(sql, { queued: 1 });
      const lease = await take(node, hostId);
      claims.push(() => claimAddress(sql, node, lease!, address));
    }
    const granted = await Promise.all(claims.map((claim) => claim()));
    assert.equal(granted.filter((waitMs) => waitMs !== null).length, 1, `round ${round}`);
  }
});
