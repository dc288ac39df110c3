import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, getCrawl, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { html, TITLE_SPIDER } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Hit, type Site, startSite } from '../support/site.ts';

const HOSTS = 200;
const PAGES = 3;
const DELAY_MS = 250;
/** It never answers for a page. */
const HANGING = 7;
/** It answers 429 to everything but its robots.txt. */
const REFUSING = 8;

let database: TestDatabase;
let service: Service;
let site: Site;
const hanging: ServerResponse[] = [];
/** Connections that are open. */
const sockets = new Set<Socket>();
before(async () => {
  database = await testDatabase();
  service = await startService({ DATABASE_URL: database.url });
  site = await startSite(answer, { host: '0.0.0.0' });
});
after(async () => {
  await service.stop();
  await site.close();
  await database.drop();
});

/** Each host has a robots.txt, and a first page that links to two more than may be fetched. */
function answer(req: IncomingMessage, res: ServerResponse): void {
  const host = hostOf(req.headers.host);
  if (!sockets.has(req.socket)) sockets.add(req.socket.once('close', () => sockets.delete(req.socket)));
  if (req.url === '/robots.txt') res.end(`User-agent: *\nDisallow: /private/${host}\n`);
  else if (host === HANGING) hanging.push(res);
  else if (host === REFUSING) res.writeHead(429, { 'retry-after': '1' }).end();
  else html(res, `Page ${req.url} of ${host}`, req.url === '/0' ? ['/1', '/2', '/3', '/4'] : ['/0']);
}

/** 127.5.0.1, 127.5.0.2 … */
function hostOf(header: string | undefined): number {
  return Number(/^127\.5\.0\.(\d+):/.exec(header ?? '')?.[1]);
}

function byHost(hits: readonly Hit[]): Map<number, Hit[]> {
  return Map.groupBy(hits, (hit) => hostOf(hit.headers.host));
}

test('42: two hundred hosts with a delay each are fetched at once, each no sooner than it may; 20: whatever one of them does', async () => {
  const { id } = await postCrawl(service.url, {
    spider: TITLE_SPIDER,
    startUrls: Array.from({ length: HOSTS }, (_, i) => `http://127.5.0.${i + 1}:${site.port}/0`),
    settings: {
      delayMs: DELAY_MS,
      randomizeDelay: false,
      concurrencyPerHost: 1,
      concurrency: 64,
      maxPagesPerHost: PAGES,
      retries: 1,
      timeoutMs: 600_000,
      headersTimeoutMs: 600_000,
    },
  });
  const answered = HOSTS - 2;
  while ((await getCrawl(service.url, id)).stats.done < answered * PAGES) await sleep(50);
  assert.equal((await getCrawl(service.url, id)).state, 'running', 'one of them still hangs');
  for (const res of hanging) res.end();
  const { stopReason } = await waitFor(service.url, id, ENDED);
  assert.equal(stopReason, 'finished');
  const { crawl, ledger } = await checkBooks(service.url, id);
  assert.equal(crawl.stats.done, answered * PAGES + 1);
  const failed = ledger.filter((row) => row.state === 'failed');
  assert.deepEqual(
    failed.map((row) => [new URL(row.url).hostname, row.status, row.attempts]),
    [[`127.5.0.${REFUSING}`, 429, 2]],
  );
  checkManners(site.hits);
  assert.ok(sockets.size <= HOSTS, `${sockets.size} connections are left: no more than one of each host`);
});

function checkManners(hits: readonly Hit[]): void {
  const robots = byHost(hits.filter((hit) => hit.url === '/robots.txt'));
  assert.equal(robots.size, HOSTS);
  assert.ok(
    robots.values().every((list) => list.length === 1),
    'robots.txt is asked for once',
  );
  const pages = hits.filter((hit) => hit.url !== '/robots.txt');
  for (const [host, list] of byHost(hits)) {
    const gaps = list.slice(1).map((hit, i) => hit.at - list[i]!.at);
    assert.ok(Math.min(...gaps) >= DELAY_MS, `host ${host}: ${gaps.join(' ')} ms`);
  }
  for (const list of byHost(pages).values()) {
    // Fair: between two pages of a host no other has more than its own two, so nobody is passed over.
    const places = list.map((hit) => pages.indexOf(hit));
    for (const [i, place] of places.slice(1).entries()) {
      const between = byHost(pages.slice(places[i]! + 1, place));
      assert.ok(Math.max(0, ...[...between.values()].map((others) => others.length)) <= PAGES);
    }
  }
}
