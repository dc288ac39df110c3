import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let nodes: Service[];
before(async () => {
  database = await testDatabase();
  nodes = await Promise.all([1, 2].map(() => startService({ DATABASE_URL: database.url })));
});
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await database.drop();
});

/** Sites of so many pages, one on each of the addresses; `most`: fetches at once over those of the first address. */
async function withSites(
  addresses: readonly string[],
  pages: number,
  work: (sites: Site[], most: () => number) => Promise<void>,
): Promise<void> {
  const sites: Site[] = [];
  let inFlight = 0;
  let most = 0;
  const tree = treeSite(pages);
  try {
    for (const host of addresses)
      sites.push(
        await startSite(
          (req, res) => {
            if (host !== addresses[0]) return tree(req, res);
            most = Math.max(most, ++inFlight);
            setTimeout(() => {
              inFlight--;
              tree(req, res);
            }, 30);
          },
          { host },
        ),
      );
    await work(sites, () => most);
  } finally {
    await Promise.all(sites.map((site) => site.close()));
  }
}

const timesOf = (sites: readonly Site[]) =>
  sites.flatMap((site) => site.hits.map((hit) => hit.at)).sort((a, b) => a - b);

async function crawl(sites: readonly Site[], settings: object): Promise<string> {
  const startUrls = sites.map((site) => `${site.url}/`);
  const { id } = await postCrawl(nodes[0]!.url, {
    spider: TITLE_SPIDER,
    startUrls,
    settings: { ...FAST, hostGroup: 'address', randomizeDelay: false, ...settings },
  });
  return id;
}

test('17: with hostGroup address, origins at one address share delay and concurrency, over two nodes; others are not slowed', async () => {
  await withSites(['127.0.0.2', '127.0.0.2', '127.0.0.2', '127.0.0.3'], 8, async (sites, most) => {
    const id = await crawl(sites, { delayMs: 150, concurrencyPerHost: 4 });
    await waitFor(nodes[1]!.url, id, ENDED);
    assert.equal((await checkBooks(nodes[1]!.url, id)).items.length, 32);
    const together = timesOf(sites.slice(0, 3));
    assert.equal(together.length, 24);
    const span = together.at(-1)! - together[0]!;
    // Only how late one arrives may make two fetches look closer than they were sent.
    assert.ok(span >= 23 * 150 - 40, `24 fetches in ${span} ms`);
    assert.ok(most() <= 4, `${most()} at once`);
    const alone = timesOf(sites.slice(3));
    assert.ok(alone.at(-1)! < together[16]!, 'the other address has a delay of its own');
    const holders = await database.sql`
      select distinct node_id from hosts where address = '127.0.0.2' and node_id is not null`;
    assert.ok(holders.length <= 1, 'one node has the hosts of an address');
  });
});

test('17: without a delay, they share the concurrency', async () => {
  await withSites(['127.0.0.4', '127.0.0.4', '127.0.0.4', '127.0.0.4'], 12, async (sites, most) => {
    const id = await crawl(sites, { concurrencyPerHost: 2, robots: true });
    await waitFor(nodes[0]!.url, id, ENDED);
    assert.equal((await checkBooks(nodes[0]!.url, id)).items.length, 48);
    assert.equal(most(), 2);
  });
});

test('17: the hosts of an address go to the other node when theirs is killed, and wait one delay first', async () => {
  await withSites(['127.0.0.5', '127.0.0.5'], 10, async (sites) => {
    const id = await crawl(sites, { delayMs: 400, concurrencyPerHost: 4 });
    const hits = () => timesOf(sites).length;
    for (const deadline = Date.now() + 60_000; hits() < 4; await sleep(20)) assert.ok(Date.now() < deadline);
    const [row] = await database.sql<{ pid: number }[]>`
      select n.pid from hosts h join nodes n on n.id = h.node_id where h.address = '127.0.0.5' limit 1`;
    const doomed = nodes.find((node) => node.pid === row!.pid)!;
    await doomed.signal('SIGKILL');
    nodes = nodes.filter((node) => node !== doomed);
    const before = timesOf(sites);
    await waitFor(nodes[0]!.url, id, ENDED);
    assert.equal((await checkBooks(nodes[0]!.url, id)).items.length, 20);
    const after = timesOf(sites).slice(before.length);
    assert.ok(after[0]! - before.at(-1)! >= 360, `${after[0]! - before.at(-1)!} ms after the last fetch`);
    const span = after.at(-1)! - after[0]!;
    assert.ok(span >= (after.length - 1) * 400 - 40, `${after.length} fetches in ${span} ms`);
  });
});
