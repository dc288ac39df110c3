import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LeasedHost } from '../../dist/db/hosts.js';
import type { CrawlRun } from '../../dist/frontier/crawl_run.js';
import { delayOf, type HostSlot } from '../../dist/frontier/host.js';
import { Scheduler } from '../../dist/frontier/scheduler.js';
import { TimeHeap } from '../../dist/frontier/time_heap.js';
import type { ClaimedRequest } from '../../dist/model/request.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dist/model/settings.js';

function run(id: string, settings: Partial<Settings> = {}): CrawlRun {
  return {
    id,
    state: 'running',
    settingsVersion: 1,
    settings: { ...DEFAULT_SETTINGS, randomizeDelay: false, ...settings },
    definition: {},
    params: {},
    spiderName: null,
    scopeHosts: [],
    inFlight: 0,
    parsing: 0,
    parsingBytes: 0,
    waiting: 0,
    waitingBytes: 0,
  };
}

let seq = 0;
function requests(crawl: CrawlRun, host: HostSlot, n: number): ClaimedRequest[] {
  return [...Array(n).keys()].map((i) => ({
    crawlId: crawl.id,
    fp: String(seq++),
    seq: i,
    hostId: host.id,
    fence: host.fence,
    url: `${host.origin}/${i}`,
    depth: 0,
    priority: 0,
    attempts: 1,
    crashes: 0,
    redirects: 0,
    extra: null,
  }));
}

function leaseOf(id: number): LeasedHost {
  const learned = { backoffLevel: 0, crawlDelayMs: 0, throttleMs: 0, isOrphaned: false, address: null };
  return { id, origin: `http://h${id}`, fence: 1, waitMs: 0, ...learned };
}

function addHost(scheduler: Scheduler, id: number): HostSlot {
  return scheduler.addHost(leaseOf(id), 0);
}

/** Takes all that may start now. */
function drain(scheduler: Scheduler, now: number) {
  const taken = [];
  for (let next = scheduler.next(now); next !== null; next = scheduler.next(now)) taken.push(next);
  return taken;
}

test('17: a host is never above its concurrency, over two crawls; the strictest counts', () => {
  const scheduler = new Scheduler();
  const host = addHost(scheduler, 1);
  const [a, b] = [run('a', { concurrencyPerHost: 4 }), run('b', { concurrencyPerHost: 3 })];
  const [qa, qb] = [scheduler.queueOf(a, host), scheduler.queueOf(b, host)];
  scheduler.push(qa, requests(a, host, 10));
  scheduler.push(qb, requests(b, host, 10));
  const first = drain(scheduler, 0);
  assert.equal(first.length, 3);
  for (const { queue } of first) scheduler.ended(queue, 1);
  assert.equal(drain(scheduler, 1).length, 3);
});

test('43: crawls take turns, however many requests one has', () => {
  const scheduler = new Scheduler();
  const [big, small] = [run('big', { concurrency: 100, concurrencyPerHost: 100 }), run('small')];
  const [h1, h2] = [addHost(scheduler, 1), addHost(scheduler, 2)];
  scheduler.push(scheduler.queueOf(big, h1), requests(big, h1, 50));
  scheduler.push(scheduler.queueOf(small, h2), requests(small, h2, 3));
  const order = drain(scheduler, 0).map(({ request }) => request.crawlId);
  assert.deepEqual(order.slice(0, 6), ['big', 'small', 'big', 'small', 'big', 'small']);
});

test('6: a host that waits for its delay holds nothing and keeps nobody from being fetched', () => {
  const scheduler = new Scheduler();
  const crawl = run('a', { delayMs: 1000, concurrency: 1000 });
  const hosts = [...Array(100).keys()].map((i) => addHost(scheduler, i));
  for (const host of hosts) scheduler.push(scheduler.queueOf(crawl, host), requests(crawl, host, 3));
  const first = drain(scheduler, 0);
  assert.equal(first.length, 100, 'one of each host');
  for (const { queue } of first) scheduler.ended(queue, 10);
  assert.equal(drain(scheduler, 999).length, 0);
  assert.equal(scheduler.inFlight, 0);
  assert.equal(scheduler.nextAt, 1000);
  assert.equal(drain(scheduler, 1000).length, 100);
});

test('17: the delay begins when the fetch goes out, and until then nobody else is begun there', () => {
  const scheduler = new Scheduler();
  const crawl = run('a', { delayMs: 100, concurrencyPerHost: 2 });
  const host = addHost(scheduler, 1);
  scheduler.push(scheduler.queueOf(crawl, host), requests(crawl, host, 4));
  const [first] = drain(scheduler, 0);
  assert.equal(drain(scheduler, 250).length, 0, 'it still waits for its connection');
  assert.equal(scheduler.sent(host, 300), true);
  assert.equal(drain(scheduler, 400).length, 0);
  assert.equal(scheduler.nextAt, 401);
  assert.equal(drain(scheduler, 401).length, 1, 'the first is still in flight');
  scheduler.sent(host, 401);
  assert.equal(scheduler.sent(host, 450), false, 'it counts once');
  scheduler.ended(first!.queue, 403);
  assert.equal(drain(scheduler, 503).length, 0, 'the server may have been asked as late as at 403');
  const [third] = drain(scheduler, 504);
  scheduler.sent(host, 504);
  scheduler.ended(third!.queue, 600);
  assert.equal(
    drain(scheduler, 609).length,
    0,
    'with another in flight, of a slow answer a twentieth of the delay counts',
  );
  const [last] = drain(scheduler, 610);
  scheduler.sent(host, 610);
  scheduler.ended(last!.queue, 680);
  scheduler.ended(last!.queue, 690);
  assert.equal(host.nextAt, 791, 'with none in flight, all of it');
});

test('18: a blocked host alone stops', () => {
  const scheduler = new Scheduler();
  const crawl = run('a');
  const [h1, h2] = [addHost(scheduler, 1), addHost(scheduler, 2)];
  scheduler.push(scheduler.queueOf(crawl, h1), requests(crawl, h1, 2));
  scheduler.push(scheduler.queueOf(crawl, h2), requests(crawl, h2, 2));
  scheduler.block(h1, 5000);
  assert.deepEqual(
    drain(scheduler, 0).map(({ queue }) => queue.host.id),
    [2, 2],
  );
  assert.deepEqual(
    drain(scheduler, 5000).map(({ queue }) => queue.host.id),
    [1, 1],
  );
});

test('a crawl at its concurrency goes on when one of its fetches ends', () => {
  const scheduler = new Scheduler();
  const crawl = run('a', { concurrency: 2 });
  const hosts = [1, 2, 3].map((id) => addHost(scheduler, id));
  for (const host of hosts) scheduler.push(scheduler.queueOf(crawl, host), requests(crawl, host, 1));
  const [first] = drain(scheduler, 0);
  assert.equal(scheduler.inFlight, 2);
  scheduler.ended(first!.queue, 1);
  assert.equal(drain(scheduler, 1).length, 1);
});

test('40: a crawl whose pages pile up in the parser stops, and stops only itself', () => {
  const scheduler = new Scheduler();
  const [slow, other] = [run('slow'), run('other')];
  const [h1, h2] = [addHost(scheduler, 1), addHost(scheduler, 2)];
  slow.parsing = 32;
  scheduler.push(scheduler.queueOf(slow, h1), requests(slow, h1, 1));
  scheduler.push(scheduler.queueOf(other, h2), requests(other, h2, 1));
  assert.deepEqual(
    drain(scheduler, 0).map(({ request }) => request.crawlId),
    ['other'],
  );
  slow.parsing--;
  scheduler.freed(slow);
  assert.equal(drain(scheduler, 0).length, 1);
});

test('a crawl that is dropped leaves no request, and its requests in flight still free their slots', () => {
  const scheduler = new Scheduler();
  const host = addHost(scheduler, 1);
  const [a, b] = [run('a', { concurrencyPerHost: 1 }), run('b', { concurrencyPerHost: 1 })];
  const queue = scheduler.queueOf(a, host);
  scheduler.push(queue, requests(a, host, 3));
  scheduler.push(scheduler.queueOf(b, host), requests(b, host, 1));
  assert.equal(drain(scheduler, 0)[0]!.request.crawlId, 'a');
  assert.equal(scheduler.removeCrawl('a').length, 2);
  assert.equal(scheduler.windowed, 1);
  scheduler.ended(queue, 1);
  assert.deepEqual(
    drain(scheduler, 1).map(({ request }) => request.crawlId),
    ['b'],
  );
});

test('the heap gives times in order', () => {
  const heap = new TimeHeap<number>();
  const times = [...Array(500)].map(() => Math.floor(Math.random() * 100));
  for (const at of times) heap.push(at, at);
  const out = [];
  for (let value = heap.pop(); value !== undefined; value = heap.pop()) out.push(value);
  assert.deepEqual(
    out,
    times.toSorted((x, y) => x - y),
  );
});

test('calls and pages take turns at a host; calls go on while their crawl has no room for pages', () => {
  const scheduler = new Scheduler();
  const host = addHost(scheduler, 1);
  const crawl = run('a', { concurrencyPerHost: 1 });
  const queue = scheduler.queueOf(crawl, host);
  const caller = { id: 'calls of a', settings: crawl.settings };
  const order: string[] = [];
  let call = false;
  const next = () => {
    call = false;
    const page = scheduler.next(0);
    if (page !== null) order.push('page');
    if (page === null && !call) return false;
    if (page === null) scheduler.callEnded(host, caller, 0);
    else scheduler.ended(queue, 0);
    return true;
  };
  const addCalls = (n: number) => {
    for (let i = 0; i < n; i++)
      scheduler.call(host, caller, () => {
        call = true;
        order.push('call');
      });
  };
  scheduler.push(queue, requests(crawl, host, 3));
  addCalls(3);
  while (next());
  assert.match(order.join(' '), /^(page call page call page call|call page call page call page)$/);
  crawl.parsing = 32;
  scheduler.push(queue, requests(crawl, host, 3));
  addCalls(2);
  order.length = 0;
  while (next());
  assert.deepEqual(order, ['call', 'call']);
});

test('a caller’s limits hold at the host while it has calls there, and no longer', () => {
  const scheduler = new Scheduler();
  const host = addHost(scheduler, 1);
  const crawl = run('a', { concurrencyPerHost: 4 });
  const queue = scheduler.queueOf(crawl, host);
  const caller = {
    id: 'x',
    settings: { ...DEFAULT_SETTINGS, concurrencyPerHost: 1, delayMs: 100, randomizeDelay: false },
  };
  const told: boolean[] = [];
  scheduler.call(host, caller, (begun) => told.push(begun));
  const takeBack = scheduler.call(host, caller, (begun) => told.push(begun));
  scheduler.push(queue, requests(crawl, host, 4));
  assert.equal(drain(scheduler, 0).length, 0);
  assert.deepEqual([told, host.nextAt], [[true], 100]);
  takeBack();
  scheduler.callEnded(host, caller, 50);
  assert.equal(drain(scheduler, 99).length, 0, 'the delay after the call still holds');
  assert.equal(drain(scheduler, 100).length, 4);
  assert.equal(host.calls.size, 0);
});

test('calls that wait at a host are told when it is handed on', () => {
  const scheduler = new Scheduler();
  const host = addHost(scheduler, 1);
  scheduler.block(host, 1000);
  const told: boolean[] = [];
  scheduler.call(host, { id: 'x', settings: { ...DEFAULT_SETTINGS } }, (begun) => told.push(begun));
  drain(scheduler, 0);
  scheduler.removeHost(host);
  assert.deepEqual(told, [false]);
  assert.equal(drain(scheduler, 2000).length, 0);
});

test('what the window holds beside URLs is counted until a request begins or is taken out', () => {
  const scheduler = new Scheduler();
  const [h1, h2] = [addHost(scheduler, 1), addHost(scheduler, 2)];
  const crawl = run('a', { concurrencyPerHost: 1 });
  const [q1, q2] = [scheduler.queueOf(crawl, h1), scheduler.queueOf(crawl, h2)];
  const posts = (host: HostSlot) =>
    requests(crawl, host, 3).map((request, i) =>
      i === 0 ? request : { ...request, extra: { body: 'x'.repeat(1000) } },
    );
  scheduler.push(q1, posts(h1));
  scheduler.push(q2, posts(h2));
  const each = '{"body":""}'.length + 1000;
  assert.deepEqual([scheduler.windowed, scheduler.windowedBytes], [6, 4 * each]);
  for (const { queue } of drain(scheduler, 0)) scheduler.ended(queue, 0);
  drain(scheduler, 0);
  assert.deepEqual([scheduler.windowed, scheduler.windowedBytes], [2, 2 * each]);
  scheduler.removeQueue(q1);
  scheduler.removeHost(h2);
  assert.deepEqual([scheduler.windowed, scheduler.windowedBytes], [0, 0]);
});

test('16: each crawl has the Crawl-delay of its own user agent, to its cap; the longest counts', () => {
  const host = addHost(new Scheduler(), 1);
  const scheduler = new Scheduler();
  scheduler.queueOf(run('a', { maxCrawlDelayMs: 1000 }), host);
  host.crawlDelays.set('Orbweaver/0.1', 5000);
  assert.equal(delayOf(host), 1000);
  scheduler.queueOf(run('b', { maxCrawlDelayMs: 3000 }), host);
  assert.equal(delayOf(host), 3000);
  scheduler.queueOf(run('c', { userAgent: 'Other/1' }), host);
  host.crawlDelays.set('Other/1', 4000);
  assert.equal(delayOf(host), 4000);
  scheduler.queueOf(run('d', { robots: false, delayMs: 10, maxCrawlDelayMs: 60_000 }), host);
  assert.equal(delayOf(host), 4000);
});

test('19: the throttle of a host holds for every crawl that asks for one', () => {
  const scheduler = new Scheduler();
  const host = addHost(scheduler, 1);
  scheduler.queueOf(run('a', { delayMs: 30 }), host);
  host.throttleMs = 700;
  assert.equal(delayOf(host), 30);
  scheduler.queueOf(run('b', { autothrottle: { maxDelayMs: 500 } }), host);
  assert.equal(delayOf(host), 500);
  scheduler.queueOf(run('c', { autothrottle: {} }), host);
  assert.equal(delayOf(host), 700);
});

test('17: of a node that died nobody knows when it fetched last: the next holder begins with one delay', () => {
  const scheduler = new Scheduler();
  const host = scheduler.addHost({ ...leaseOf(1), isOrphaned: true, crawlDelayMs: 900 }, 10_000);
  const crawl = run('a', { delayMs: 400, robots: false });
  scheduler.push(scheduler.queueOf(crawl, host), requests(crawl, host, 1));
  assert.equal(host.nextAt, 10_400);
  scheduler.queueOf(run('b'), host);
  assert.equal(host.nextAt, 10_900, 'the Crawl-delay that the dead one knew of');
  assert.equal(drain(scheduler, 10_899).length, 0);
  assert.equal(drain(scheduler, 10_900).length, 1);
});

test('18: the window of a host that waits for long can be emptied', () => {
  const scheduler = new Scheduler();
  const host = addHost(scheduler, 1);
  const crawl = run('a');
  const queue = scheduler.queueOf(crawl, host);
  scheduler.push(queue, requests(crawl, host, 3));
  scheduler.block(host, 5000);
  drain(scheduler, 0);
  assert.equal(scheduler.unload(queue).length, 3);
  assert.equal(scheduler.windowed, 0);
  assert.equal(drain(scheduler, 5000).length, 0);
  scheduler.push(queue, requests(crawl, host, 2));
  assert.equal(drain(scheduler, 5000).length, 2);
});

test('17: a delay is drawn anew for each fetch, from half of it to one and a half; Crawl-delay is kept as it is', () => {
  const scheduler = new Scheduler();
  const host = addHost(scheduler, 1);
  scheduler.queueOf(run('a', { delayMs: 1000, randomizeDelay: true }), host);
  const drawn = [...Array(200)].map(() => delayOf(host));
  assert.ok(Math.min(...drawn) >= 500 && Math.max(...drawn) <= 1500, `${Math.min(...drawn)} to ${Math.max(...drawn)}`);
  assert.ok(Math.max(...drawn) - Math.min(...drawn) > 500);
  host.crawlDelays.set('Orbweaver/0.1', 3000);
  assert.equal(delayOf(host), 3000);
});

test('17: hosts of a group take turns: one delay, one concurrency; Retry-After stays with its host', () => {
  const scheduler = new Scheduler();
  const crawl = run('a', { hostGroup: 'address', delayMs: 100, concurrencyPerHost: 2, concurrency: 100 });
  const hosts = [1, 2, 3].map((id) => addHost(scheduler, id));
  const alone = addHost(scheduler, 4);
  for (const host of [...hosts, alone]) scheduler.push(scheduler.queueOf(crawl, host), requests(crawl, host, 3));
  for (const host of hosts) scheduler.groups.join(host, '192.0.2.1', 0, 0);
  scheduler.groups.join(alone, '192.0.2.2', 0, 70);
  scheduler.block(hosts[1]!, 5000);
  const order: number[] = [];
  for (let now = 0; now < 6000; now++)
    for (const { queue } of drain(scheduler, now)) {
      if (queue.host !== alone) order.push(now);
      else if (alone.queues.get('a')!.rows.length === 2) assert.equal(now, 70, 'what others did there counts');
      scheduler.sent(queue.host, now);
      scheduler.ended(queue, now);
    }
  assert.equal(order.length, 9);
  assert.deepEqual(order.slice(0, 6), [0, 101, 202, 303, 404, 505]);
  assert.equal(order[6], 5000);
});

test('17: a group without a delay shares its concurrency; a host that leaves takes what it has in flight along', () => {
  const scheduler = new Scheduler();
  const crawl = run('a', { hostGroup: 'address', concurrencyPerHost: 3, concurrency: 100 });
  const other = run('b', { concurrencyPerHost: 9, concurrency: 100 });
  const hosts = [1, 2].map((id) => addHost(scheduler, id));
  for (const host of hosts) {
    for (const one of [crawl, other]) scheduler.push(scheduler.queueOf(one, host), requests(one, host, 5));
    scheduler.groups.join(host, '192.0.2.1', 0, 0);
  }
  const first = drain(scheduler, 0);
  assert.equal(first.length, 3, 'for all crawls on these hosts');
  scheduler.ended(first[0]!.queue, 1);
  assert.equal(drain(scheduler, 1).length, 1);
  const [gone, left] = hosts as [HostSlot, HostSlot];
  scheduler.removeHost(gone);
  assert.equal(left.group!.inFlight, left.inFlight);
  drain(scheduler, 2);
  assert.equal(left.inFlight, 3);
});
