import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp_proxy.ts';

const PAGES = 300;

let database: TestDatabase;
let proxy: TcpProxy;
let sites: Site[];
/** The nodes that are up, as a client that knows of them asks one after the other. */
const nodes: Service[] = [];

const startNode = async () => {
  const node = await startService({ DATABASE_URL: proxy.url });
  nodes.push(node);
  return node;
};
const lose = (node: Service) => nodes.splice(nodes.indexOf(node), 1);

before(async () => {
  database = await testDatabase();
  proxy = await startTcpProxy(database.url);
  const tree = treeSite(PAGES);
  const handler: typeof tree = (req, res) => (/7\d$/.test(req.url ?? '') ? res.writeHead(404).end() : tree(req, res));
  sites = await Promise.all(['127.0.0.1', '127.0.0.2'].map((host) => startSite(handler, { host })));
});
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await Promise.all(sites.map((site) => site.close()));
  await proxy.close();
  await database.drop();
});

/** What a client has read: whole lines or events, over all its connections. */
interface Read {
  parts: string[];
  cuts: number;
}

/**
 * Reads a stream as a client does that connects again wherever it is cut, to whichever node is next.
 *
 * @param path where it goes on after the parts that it has
 * @param separator what ends a part: what comes after the last one is thrown away
 * @param isEnd tells by the last part that the stream is complete; null: it is when the body ends properly
 */
async function readOn(
  path: (parts: readonly string[]) => string,
  separator: string,
  isEnd: ((part: string) => boolean) | null,
): Promise<Read> {
  const parts: string[] = [];
  for (let cuts = 0; cuts < 500; cuts++) {
    let rest = '';
    try {
      const response = await fetch(nodes[cuts % nodes.length]!.url + path(parts));
      if (response.status !== 200) throw new Error(await response.text());
      for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
        const split = (rest + piece).split(separator);
        rest = split.pop()!;
        parts.push(...split.filter((part) => isEnd === null || part.startsWith('event: ')));
      }
      if (isEnd === null || isEnd(parts.at(-1) ?? '')) return { parts, cuts };
    } catch {
      // Cut, refused, or there is no database at the moment.
    }
    await sleep(20);
  }
  throw new Error(`cut 500 times; ${parts.length} parts`);
}

const idOf = (part: string | undefined) => /^id: (.*)$/m.exec(part ?? '')?.[1];
const dataOf = (part: string) => JSON.parse(/^data: (.*)$/m.exec(part)![1]!) as Record<string, unknown>;

const followLines = (id: string) =>
  readOn(
    (lines) => `/crawls/${id}/items?after=${lines.length === 0 ? -1 : JSON.parse(lines.at(-1)!).offset}`,
    '\n',
    null,
  );
const followEvents = (id: string) =>
  readOn(
    (events) => `/crawls/${id}/items?format=sse&after=${idOf(events.at(-1)) ?? -1}`,
    '\n\n',
    (event) => event.startsWith('event: end'),
  );
const listen = (id: string) =>
  readOn(
    (events) => `/crawls/${id}/events?after=${idOf(events.at(-1)) ?? '0.0.0'}`,
    '\n\n',
    (event) => event.startsWith('event: end'),
  );

async function untilDone(id: string, done: number): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await sleep(10)) {
    const [row] = await database.sql<
      { done: number; state: string }[]
    >`select done, state from crawls where id = ${id}`;
    if (row!.done >= done || ENDED.includes(row!.state)) return;
    assert.ok(Date.now() < deadline, `${row!.done} of ${done} pages are done`);
  }
}

test('45, 38, 34, 35: followers read every item and event once, while nodes are killed and stopped and the database goes', async () => {
  const [first, second] = await Promise.all([startNode(), startNode()]);
  const { id } = await postCrawl(first.url, {
    spider: TITLE_SPIDER,
    startUrls: sites.map((site) => `${site.url}/`),
    settings: { ...FAST, delayMs: 6, randomizeDelay: false },
  });
  const reading = Promise.all([followLines(id), followEvents(id), listen(id), followLines(id)]);
  await untilDone(id, 90);
  lose(first);
  await first.signal('SIGKILL');
  const third = await startNode();
  await untilDone(id, 210);
  await proxy.cut();
  await sleep(300);
  await proxy.restore();
  await untilDone(id, 330);
  lose(second);
  await second.stop();
  const [lines, sse, events, alsoLines] = await reading;
  await waitFor(third.url, id, ENDED);
  const { items, ledger, crawl } = await checkBooks(third.url, id);
  assert.deepEqual(
    lines.parts.map((line) => JSON.parse(line) as object),
    items,
  );
  assert.deepEqual(alsoLines.parts, lines.parts);
  assert.deepEqual(sse.parts.slice(0, -1).map(dataOf), items);
  for (const { cuts } of [lines, sse, events]) assert.ok(cuts > 0, 'it was cut');
  const told = (kind: string) => events.parts.filter((part) => part.startsWith(`event: ${kind}\n`)).map(dataOf);
  const failed = ledger.filter((row) => row.state === 'failed').map(({ url }) => url);
  assert.ok(failed.length > 20);
  assert.deepEqual(
    told('error')
      .map(({ url }) => url as string)
      .sort(),
    failed.sort(),
  );
  assert.deepEqual(
    told('state').map(({ state }) => state),
    ['running', crawl.state],
  );
});
