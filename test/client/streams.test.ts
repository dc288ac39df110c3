/** The client against a site of the test's own that cuts, lies and refuses. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { createClient, type Item, type Orbweaver, type OrbweaverError } from '../../clients/typescript/src/client.ts';
import { SseParser } from '../../clients/typescript/src/sse.ts';
import { type Site, startSite } from '../support/site.ts';

const ID = '01a20615-0591-7679-ae59-06275bfdbf09';
const ITEMS = ['Emma', 'Überfahrt\u2028', '„𝄞"\\'].map((title, offset) => ({
  offset,
  type: 'book',
  url: `https://books.example/${offset}`,
  data: { title },
  scrapedAt: '2026-11-23T01:46:11.927Z',
}));
const END = 'event: end\ndata: {"state":"finished","stopReason":"finished"}\n\n';

const eventOf = (item: { offset: number }) => `event: item\nid: ${item.offset}\ndata: ${JSON.stringify(item)}\n\n`;
const bodyAfter = (after: number) =>
  Buffer.from(
    `retry: 1000\n\n: \n\n${ITEMS.slice(after + 1)
      .map(eventOf)
      .join('')}${END}`,
  );

type Answer = (res: ServerResponse, query: URLSearchParams) => void;

/** Runs with a client of a site that answers every request with the next of the answers; the last one for good. */
async function withAnswers(answers: Answer[], work: (client: Orbweaver, site: Site) => Promise<void>): Promise<void> {
  let n = 0;
  const site = await startSite((req, res) => {
    const answer = answers[Math.min(n++, answers.length - 1)]!;
    answer(res, new URL(req.url!, 'http://x').searchParams);
  });
  try {
    await work(createClient({ url: `${site.url}/` }), site);
  } finally {
    await site.close();
  }
}

const SSE = { 'content-type': 'text/event-stream; charset=utf-8' };
const whole: Answer = (res, query) => res.writeHead(200, SSE).end(bodyAfter(Number(query.get('after'))));
/** Sends so many bytes of the answer, then cuts, or ends as if it were all. */
const part =
  (bytes: number, how: 'cut' | 'end'): Answer =>
  (res, query) => {
    res.writeHead(200, SSE);
    const piece = bodyAfter(Number(query.get('after'))).subarray(0, bytes);
    if (how === 'end') res.end(piece);
    else res.write(piece, () => res.destroy());
  };
const problem =
  (status: number, type: string): Answer =>
  (res) => {
    const document = { type, title: 'T', status, detail: `because of ${type}`, requestId: 'r1' };
    res.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(document));
  };

async function read(client: Orbweaver, options: object = {}): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of client.streamItems(ID, { retryForMs: 60_000, ...options })) items.push(item);
  return items;
}

test(
  '45: a stream that stops at any byte, cut or neatly ended, gives every item once',
  { concurrency: true },
  async () => {
    const lengths = Array.from({ length: bodyAfter(-1).length }, (_, i) => i);
    const sample = lengths.filter((n) => n % 7 === 0 || n > lengths.length - 3);
    await Promise.all(
      sample.flatMap((bytes) =>
        (['cut', 'end'] as const).map((how) =>
          withAnswers([part(bytes, how), whole], async (client) => assert.deepEqual(await read(client), ITEMS)),
        ),
      ),
    );
  },
);

test('45: what a stream asks for again: after the last offset, only so many, only what was wanted', async () => {
  const first = bodyAfter(-1).indexOf(eventOf(ITEMS[2]!));
  await withAnswers([part(first, 'cut'), whole], async (client, site) => {
    await read(client, { limit: 10, type: 'book', change: ['new', 'gone'], fields: ['title', 'a b'] });
    const common = 'type=book&change=new%2Cgone&fields=title%2Ca+b';
    assert.deepEqual(
      site.hits.map(({ url }) => url),
      [`after=-1&limit=10&${common}`, `after=1&limit=8&${common}`].map((query) => `/crawls/${ID}/items?${query}`),
    );
  });
});

test('45: events that are cut off go on after the id of the last one', async () => {
  const state = 'event: state\nid: 1.0.0\ndata: {"state":"running","stopReason":null}\n\n';
  const cut: Answer = (res) =>
    res.writeHead(200, SSE).write(`${state}event: log\nid: 1.0.1\ndata: {`, () => res.destroy());
  const rest: Answer = (res) => res.writeHead(200, SSE).end(END);
  await withAnswers([cut, rest], async (client, site) => {
    const found: string[] = [];
    for await (const { event } of client.followEvents(ID)) found.push(event);
    assert.deepEqual(found, ['state', 'end']);
    assert.deepEqual(
      site.hits.map(({ headers }) => headers['last-event-id']),
      [undefined, '1.0.0'],
    );
  });
});

test('a stream whose last wanted item has come is not asked for again, and items that come twice are left out', async () => {
  const twice: Answer = (res) => res.writeHead(200, SSE).end([ITEMS[0]!, ITEMS[0]!, ITEMS[1]!].map(eventOf).join(''));
  await withAnswers([twice], async (client, site) => {
    assert.deepEqual(await read(client, { limit: 2 }), ITEMS.slice(0, 2));
    assert.equal(site.hits.length, 1);
  });
});

test('a service that is away, busy or broken is waited for; Retry-After is kept', async () => {
  const gone: Answer = (res) => res.destroy();
  const later: Answer = (res) => res.writeHead(503, { 'retry-after': '1' }).end('not now');
  await withAnswers([gone, problem(500, 'internal'), later, whole], async (client, site) => {
    const codes: string[] = [];
    const items = await read(client, { onRetry: (error: OrbweaverError) => codes.push(error.code) });
    assert.deepEqual(items, ITEMS);
    assert.deepEqual(codes, ['unreachable', 'internal', 'bad_answer']);
    assert.ok(site.hits[3]!.at - site.hits[2]!.at >= 990);
  });
});

const finals: [string, Answer, { code: string; status: number | null }][] = [
  ['a crawl that is not there', problem(404, 'crawl_not_found'), { code: 'crawl_not_found', status: 404 }],
  ['a key that is missing', problem(401, 'unauthorized'), { code: 'unauthorized', status: 401 }],
  [
    'an answer of something else',
    (res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hello</h1>'),
    { code: 'bad_answer', status: null },
  ],
];
for (const [what, answer, expected] of finals)
  test(`${what} is said at once`, () =>
    withAnswers([answer], async (client, site) => {
      await assert.rejects(read(client), expected);
      assert.equal(site.hits.length, 1);
    }));

test('a service that stays away is given up after retryForMs, with the last error', () =>
  withAnswers([(res) => res.destroy()], async (client, site) => {
    await assert.rejects(read(client, { retryForMs: 500 }), { code: 'unreachable', status: null });
    assert.ok(site.hits.length >= 2);
  }));

test('a signal ends a stream at once with its reason, and so does leaving it; the connection goes with it', async () => {
  const endless: Answer = (res) => void res.writeHead(200, SSE).write(eventOf(ITEMS[0]!));
  await withAnswers([endless], async (client) => {
    const stop = new AbortController();
    const stream = client.streamItems(ID, { signal: stop.signal });
    assert.deepEqual((await stream.next()).value, ITEMS[0]);
    setTimeout(() => stop.abort(new Error('enough')), 20);
    await assert.rejects(stream.next(), /enough/);
    for await (const item of client.streamItems(ID)) {
      assert.deepEqual(item, ITEMS[0]);
      break;
    }
  });
});

test('waiting for a crawl outlives failures, and says when the state can never come', async () => {
  const crawl =
    (state: string): Answer =>
    (res) =>
      res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ state }));
  await withAnswers([crawl('running'), (res) => res.destroy(), crawl('finished')], async (client) => {
    assert.equal((await client.waitFor(ID)).state, 'finished');
    await assert.rejects(client.waitFor(ID, { states: ['paused'] }), { code: 'wrong_state' });
  });
});

test('a start whose answer was lost is repeated under one key; one that nobody listens to is not', async () => {
  const created: Answer = (res) => res.writeHead(201, { 'content-type': 'application/json' }).end(`{"id":"${ID}"}`);
  await withAnswers([(res) => res.destroy(), created], async (client, site) => {
    assert.equal((await client.startCrawl({ startUrls: ['https://books.example/'] })).id, ID);
    const keys = site.hits.map(({ headers }) => headers['idempotency-key']);
    assert.equal(keys.length, 2);
    assert.equal(new Set(keys).size, 1);
    await site.close();
    const refused = client.startCrawl({ startUrls: ['https://books.example/'] }, { onRetry: () => assert.fail() });
    await assert.rejects(refused, { code: 'unreachable' });
  });
});

test('server-sent events are read as the HTML Standard says, whatever the pieces', () => {
  const text =
    ': hello\r\nevent: a\r\ndata:1\r\ndata: 2\r\nid: 7\r\n\r\ndata\n\nevent: empty\n\nid: 9\ndata:  x:y\n\ndata: cut';
  const expected = [
    { event: 'a', data: '1\n2', id: '7' },
    { event: 'message', data: '', id: null },
    { event: 'message', data: ' x:y', id: '9' },
  ];
  for (const size of [1, 2, 3, 1000]) {
    const parser = new SseParser();
    const found = [];
    for (let i = 0; i < text.length; i += size) found.push(...parser.feed(text.slice(i, i + size)));
    assert.deepEqual(found, expected);
  }
});
