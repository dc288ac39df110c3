import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { retryOrFail } from '../../dist/engine/outcomes.js';
import type { ClaimedRequest } from '../../dist/model/request.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import { EXPIRED } from '../downloader/certificates.ts';
import { checkBooks, ENDED, getJson, type LedgerRow, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { type RawSite, startRaw } from '../support/raw_site.ts';
import { type Service, startService } from '../support/service.ts';
import { startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
before(async () => {
  database = await testDatabase();
  service = await startService({ DATABASE_URL: database.url });
});
after(async () => {
  await service.stop();
  await database.drop();
});

const SPIDER = { pages: [{ items: [{ fields: { title: 'title' } }] }] };
const PAGE = '<!doctype html><title>whole</title><p>text</p>';
const LIMIT = 20_000;

/** How one page misbehaves, and what its row says afterwards. */
interface Case {
  name: string;
  answer: (socket: Socket, tries: number) => void;
  state: LedgerRow['state'];
  reason?: string;
  detail?: RegExp;
  status?: number;
  /** Default 1. */
  attempts?: number;
  /** Of the one item. */
  title?: string;
}

const head = (lines: string) => `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n${lines}\r\n`;
const page =
  (body: string | Buffer, lines = '') =>
  (socket: Socket) =>
    socket.write(Buffer.concat([Buffer.from(head(`${lines}Content-Length: ${body.length}\r\n`)), Buffer.from(body)]));
const encoded = (coding: string, body: Buffer) => page(body, `Content-Encoding: ${coding}\r\n`);
const whole = { state: 'done', status: 200, title: 'whole' };
const truncated = { state: 'failed', reason: 'truncated', status: 200, attempts: 2 };
const tooLarge = { state: 'failed', reason: 'too_large', status: 200 };
const damaged = gzipSync(PAGE.repeat(50));
damaged.fill(0xff, 20, 60);

function status(code: number): Case {
  const retried = [408, 500, 502, 504, 522, 524].includes(code);
  return {
    name: `1: status ${code} ${retried ? 'is retried' : 'is not retried'}`,
    answer: (socket) => socket.write(`HTTP/1.1 ${code} No\r\nContent-Length: 0\r\n\r\n`),
    state: 'failed',
    reason: code >= 500 ? 'http_5xx' : 'http_4xx',
    status: code,
    attempts: retried ? 2 : 1,
  };
}

function endless(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.write('x'.repeat(4096))) setImmediate(endless, socket);
  else socket.once('drain', () => endless(socket));
}

function drip(socket: Socket): void {
  const timer = setInterval(() => socket.write('x'), 20);
  socket.once('close', () => clearInterval(timer));
}

const FAILURES: Case[] = [
  ...[400, 401, 403, 404, 408, 410, 418, 451, 500, 501, 502, 504, 505, 522, 524].map(status),
  {
    name: '2: dropped before the headers, cleanly',
    answer: (socket) => socket.end(),
    state: 'failed',
    reason: 'reset',
    attempts: 2,
  },
  {
    name: '2: dropped before the headers by reset',
    answer: (socket) => socket.resetAndDestroy(),
    state: 'failed',
    reason: 'reset',
    attempts: 2,
  },
  {
    name: '2: dropped once, then whole',
    answer: (socket, tries) => (tries === 1 ? socket.resetAndDestroy() : page(PAGE)(socket)),
    ...whole,
    attempts: 2,
  },
  {
    name: '3: a body shorter than Content-Length',
    answer: (socket) => socket.end(`${head('Content-Length: 500\r\n')}${PAGE}`),
    ...truncated,
  },
  {
    name: '3: a body shorter than Content-Length, by reset',
    answer: (socket) => socket.write(`${head('Content-Length: 500\r\n')}${PAGE}`, () => socket.resetAndDestroy()),
    ...truncated,
  },
  {
    name: '3: chunked without its end',
    answer: (socket) => socket.end(`${head('Transfer-Encoding: chunked\r\n')}5\r\n<p>12\r\n`),
    ...truncated,
  },
  {
    name: '3: brotli without its end',
    answer: encoded('br', brotliCompressSync(PAGE.repeat(50)).subarray(0, -4)),
    ...truncated,
    detail: /encoded/,
  },
  {
    name: '4: an endless body',
    answer: (socket) => {
      socket.write(head(''));
      endless(socket);
    },
    ...tooLarge,
    detail: /over 20000 bytes/,
  },
  {
    name: '4: a Content-Length above the limit is refused unread',
    answer: (socket) => socket.write(head(`Content-Length: ${LIMIT + 1}\r\n`)),
    ...tooLarge,
  },
  { name: '5: gzip', answer: encoded('gzip', gzipSync(PAGE)), ...whole },
  { name: '5: deflate', answer: encoded('deflate', deflateSync(PAGE)), ...whole },
  { name: '5: raw deflate', answer: encoded('deflate', deflateRawSync(PAGE)), ...whole },
  { name: '5: br', answer: encoded('br', brotliCompressSync(PAGE)), ...whole },
  { name: '5: zstd', answer: encoded('zstd', zstdCompressSync(PAGE)), ...whole },
  { name: '5: gzip twice', answer: encoded('gzip, gzip', gzipSync(gzipSync(PAGE))), ...whole },
  {
    name: '5: three codings',
    answer: encoded('gzip, gzip, gzip', gzipSync(PAGE)),
    state: 'failed',
    reason: 'bad_encoding',
    status: 200,
  },
  {
    name: '5: a gzip bomb',
    answer: encoded('gzip', gzipSync(Buffer.alloc(1_000_000))),
    ...tooLarge,
    detail: /decoded/,
  },
  { name: '5: a brotli bomb', answer: encoded('br', brotliCompressSync(Buffer.alloc(1_000_000))), ...tooLarge },
  {
    name: '5: a bomb in the inner coding',
    answer: encoded('gzip, gzip', gzipSync(gzipSync(Buffer.alloc(1_000_000)))),
    ...tooLarge,
  },
  { name: '5: damaged gzip', answer: encoded('gzip', damaged), state: 'failed', reason: 'bad_encoding', status: 200 },
  {
    name: '5: an encoding that nobody knows',
    answer: encoded('pack200', Buffer.from(PAGE)),
    state: 'failed',
    reason: 'bad_encoding',
    status: 200,
  },
  {
    name: '7: a redirect without Location is no page',
    answer: (socket) => socket.write('HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n'),
    state: 'failed',
    reason: 'bad_response',
    status: 302,
  },
  {
    name: '12: duplicate and odd headers',
    answer: page(
      PAGE,
      'X-A: 1\r\nX-A: 2\r\n__proto__: p\r\nconstructor: c\r\nX-Bin: \xe9\r\nSet-Cookie: \r\nDate: never\r\nRetry-After: x\r\n',
    ),
    ...whole,
  },
  {
    name: '12: three hundred headers',
    answer: page(PAGE, Array.from({ length: 300 }, (_, i) => `X-${i}: v\r\n`).join('')),
    ...whole,
  },
  {
    name: '12: headers without end',
    answer: (socket) => socket.write(`HTTP/1.1 200 OK\r\n${'X-Long: 0123456789\r\n'.repeat(3000)}\r\n`),
    state: 'failed',
    reason: 'bad_response',
    attempts: 2,
  },
  {
    name: '12: two lengths that differ',
    answer: (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello'),
    state: 'failed',
    reason: 'bad_response',
    attempts: 2,
  },
  {
    name: '12: no HTTP at all',
    answer: (socket) => socket.end('SSH-2.0-OpenSSH_9\r\n'),
    state: 'failed',
    reason: 'bad_response',
    attempts: 2,
  },
  { name: '12: HTTP/1.0 without a length', answer: (socket) => socket.end(`HTTP/1.0 200 OK\r\n\r\n${PAGE}`), ...whole },
];

const SILENCES: Case[] = [
  {
    name: '6: silence instead of headers',
    answer: () => {},
    state: 'failed',
    reason: 'timeout',
    detail: /^no headers within 1000 ms \(headersTimeoutMs\)$/,
  },
  {
    name: '6: headers, and then silence',
    answer: (socket) => socket.write(head('Content-Length: 500\r\n')),
    state: 'failed',
    reason: 'timeout',
    status: 200,
    detail: /^nothing more of the body within 1000 ms \(bodyTimeoutMs\)$/,
  },
  {
    name: '6: a drip does not outlive the total timeout',
    answer: (socket) => {
      socket.write(head('Content-Length: 5000\r\n'));
      drip(socket);
    },
    state: 'failed',
    reason: 'timeout',
    status: 200,
    detail: /^no complete body within 3000 ms \(timeoutMs\)$/,
  },
  {
    name: '6: a body that pauses, for less than the body timeout each time, is whole',
    answer: (socket) => {
      socket.write(head('Content-Length: 46\r\n'));
      let sent = 0;
      const timer = setInterval(() => {
        socket.write(PAGE.slice(sent, sent + 4));
        sent += 4;
      }, 100);
      socket.once('close', () => clearInterval(timer));
      setTimeout(() => clearInterval(timer), 1350);
    },
    ...whole,
  },
];

/** Pages without a kind, or in another encoding than UTF-8. */
const untyped = (body: Buffer | string) => (socket: Socket) =>
  socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), Buffer.from(body)]));
const inCharset = (charset: string | null, bytes: number[], before = '', type = 'text/html') => {
  const header = `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: ${type}${charset === null ? '' : `; charset=${charset}`}\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(`${before}<title>`), Buffer.from(bytes), Buffer.from('</title>')]);
  return (socket: Socket) => socket.end(Buffer.concat([Buffer.from(header), body]));
};
const UTF8 = [...Buffer.from('Grüße')];
const CONTENT: Case[] = [
  { name: '10: no Content-Type, HTML', answer: untyped(`\n ${PAGE}`), ...whole },
  {
    name: '10: no Content-Type, a picture',
    answer: untyped(Buffer.from('89504e470d0a1a0a0000000d', 'hex')),
    state: 'skipped',
    reason: 'content_type',
    status: 200,
  },
  {
    name: '10: no Content-Type, bytes with HTML in them',
    answer: untyped(Buffer.concat([Buffer.from('<p>'), Buffer.alloc(9)])),
    state: 'skipped',
    reason: 'content_type',
    status: 200,
  },
  {
    name: '10: a picture that says so',
    answer: inCharset(null, [], '', 'image/png'),
    state: 'skipped',
    reason: 'content_type',
    status: 200,
  },
  { name: '9: gb18030', answer: inCharset('gb18030', [0xc4, 0xe3, 0xba, 0xc3]), state: 'done', title: '你好' },
  {
    name: '9: windows-1252 by the name of iso-8859-1',
    answer: inCharset('iso-8859-1', [0xe9, 0x80]),
    state: 'done',
    title: 'é€',
  },
  { name: '9: shift_jis', answer: inCharset('Shift_JIS', [0x93, 0xfa, 0x96, 0x7b]), state: 'done', title: '日本' },
  {
    name: '9: a byte order mark wins over the header',
    answer: inCharset('windows-1251', UTF8, '\ufeff'),
    state: 'done',
    title: 'Grüße',
  },
  {
    name: '9: the header wins over meta',
    answer: inCharset('utf-8', UTF8, '<meta charset=gb18030>'),
    state: 'done',
    title: 'Grüße',
  },
  {
    name: '9: meta',
    answer: inCharset(null, [0xc4, 0xe3, 0xba, 0xc3], '<meta charset="gb2312">'),
    state: 'done',
    title: '你好',
  },
  {
    name: '9: a declaration that is no encoding: the next one counts',
    answer: inCharset('klingon', [0x93, 0xfa], '<meta charset=sjis>'),
    state: 'done',
    title: '日',
  },
  {
    name: '9: a wrong declaration is believed, and nothing breaks',
    answer: inCharset('utf-8', [0xe9, 0x41]),
    state: 'done',
    title: '\ufffdA',
  },
  { name: '9: none, and not UTF-8: windows-1252', answer: inCharset(null, [0xe9, 0x41]), state: 'done', title: 'éA' },
  { name: '9: none, and UTF-8', answer: inCharset(null, UTF8), state: 'done', title: 'Grüße' },
];

/** Crawls one page for each case, all at once, and gives the rows by URL. */
async function crawlCases(cases: readonly Case[], settings: object) {
  const site = await startRaw((socket, _request, path) => {
    const { answer } = cases[Number(path.slice(1))]!;
    answer(socket, site.hits.get(path)!);
  });
  try {
    return { site, ...(await crawlSite(site, cases.length, settings)) };
  } finally {
    await site.close();
  }
}

async function crawlSite(site: RawSite, pages: number, settings: object) {
  const { id } = await postCrawl(service.url, {
    spider: SPIDER,
    startUrls: Array.from({ length: pages }, (_, i) => `${site.url}/${i}`),
    settings: { robots: false, concurrencyPerHost: 100, concurrency: 100, retries: 1, retryDelayMs: 5, ...settings },
  });
  await waitFor(service.url, id, ENDED);
  return checkBooks(service.url, id);
}

async function checkCases(cases: readonly Case[], settings: object = {}): Promise<void> {
  const { site, ledger, items } = await crawlCases(cases, { maxBodyBytes: LIMIT, ...settings });
  for (const [i, expected] of cases.entries()) {
    const row = ledger.find(({ url }) => url === `${site.url}/${i}`)!;
    const { name, state, reason = null, attempts = 1, detail, title } = expected;
    assert.deepEqual(
      [row.state, row.reason, row.attempts],
      [state, reason, attempts],
      `${name}: ${JSON.stringify(row)}`,
    );
    assert.equal(site.hits.get(`/${i}`), attempts, name);
    if (expected.status !== undefined) assert.equal(row.status, expected.status, name);
    if (detail !== undefined) assert.match(row.detail ?? '', detail, name);
    if (title !== undefined) assert.equal(items.find((item) => item.url === row.url)?.data.title, title, name);
  }
}

test('1–5, 7, 12: each way of failing has its reason, status, detail and number of attempts', () =>
  checkCases(FAILURES));

test('6: silence ends at the timeout of its stage, which the detail names, and a drip at the total one', () =>
  checkCases(SILENCES, { retries: 0, timeoutMs: 3000, headersTimeoutMs: 1000, bodyTimeoutMs: 1000 }));

test('9, 10: pages without a type are sniffed, charsets found as browsers find them', () => checkCases(CONTENT));

test('1: 429 and 503 are retried, and stop their host alone', async () => {
  const refused = async (code: number) => {
    const site = await startRaw((socket) =>
      socket.write(`HTTP/1.1 ${code} Later\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n`),
    );
    try {
      const { ledger } = await crawlSite(site, 1, { retries: 1 });
      return [ledger[0]?.state, ledger[0]?.status, ledger[0]?.attempts, site.hits.get('/0')];
    } finally {
      await site.close();
    }
  };
  assert.deepEqual(await Promise.all([refused(429), refused(503)]), [
    ['failed', 429, 2, 2],
    ['failed', 503, 2, 2],
  ]);
});

test('1: the delays before retries double, jittered between half and whole, up to five minutes', () => {
  const settings = { ...DEFAULT_SETTINGS, retryDelayMs: 100, retries: 20 };
  const failure = { reason: 'reset', detail: 'dropped' } as const;
  const delays = (attempts: number, crashes = 0) =>
    Array.from({ length: 50 }, () => {
      const request = { attempts, crashes } as ClaimedRequest;
      return retryOrFail(request, settings, 1_000_000, failure).readyAt! - 1_000_000;
    });
  for (const [attempts, whole] of [
    [1, 100],
    [2, 200],
    [5, 1600],
    [20, 300_000],
  ] as const) {
    const all = delays(attempts);
    assert.ok(
      all.every((ms) => ms >= whole / 2 && ms <= whole),
      `${attempts}: ${all}`,
    );
    assert.ok(new Set(all).size > 10, 'they differ');
  }
  assert.ok(
    delays(3, 2).every((ms) => ms <= 100),
    'attempts whose node died do not count',
  );
});

test('1: what is tried again is a question of retryReasons and retryStatuses', async () => {
  const cases: Case[] = [
    { name: 'reset', answer: (socket) => socket.resetAndDestroy(), state: 'failed' },
    { name: 'encoding', answer: encoded('gzip', damaged), state: 'failed' },
    { name: 'status 500', answer: status(500).answer, state: 'failed' },
    { name: 'status 404', answer: status(404).answer, state: 'failed' },
  ];
  const { site } = await crawlCases(cases, { retryReasons: ['bad_encoding'], retryStatuses: [404], retries: 2 });
  assert.deepEqual([...site.hits.values()], [1, 3, 1, 3]);
});

test('3: a body that breaks off is read and flagged where the spider says so', async () => {
  const long = `${PAGE}${'<p>more</p>'.repeat(500)}`;
  const cut = gzipSync(
    Buffer.from(Array.from({ length: 3000 }, (_, i) => (i < 30 ? '<title>cut</title>' : `<p>${i * 7919}`)).join('')),
  );
  const cases: Case[] = [
    {
      name: 'short',
      answer: (socket) => socket.end(`${head('Content-Length: 5000\r\n')}${PAGE}`),
      state: 'done',
      title: 'whole',
    },
    {
      name: 'reset',
      answer: (socket) =>
        socket.write(`${head('Content-Length: 9000\r\n')}${long}`, () =>
          setTimeout(() => socket.resetAndDestroy(), 30),
        ),
      state: 'done',
      title: 'whole',
    },
    {
      name: 'chunked',
      answer: (socket) =>
        socket.end(`${head('Transfer-Encoding: chunked\r\n')}${PAGE.length.toString(16)}\r\n${PAGE}\r\n`),
      state: 'done',
      title: 'whole',
    },
    {
      name: 'gzip',
      answer: (socket) =>
        socket.end(
          Buffer.concat([
            Buffer.from(head(`Content-Encoding: gzip\r\nContent-Length: ${cut.length}\r\n`)),
            cut.subarray(0, cut.length / 2),
          ]),
        ),
      state: 'done',
      title: 'cut',
    },
    {
      name: 'brotli, whole on the wire',
      answer: encoded('br', brotliCompressSync(long).subarray(0, -3)),
      state: 'done',
      title: 'whole',
    },
    { name: 'nothing at all', answer: (socket) => socket.end(head('Content-Length: 50\r\n')), state: 'failed' },
    { name: 'whole', answer: page(PAGE), state: 'done', title: 'whole' },
  ];
  const { site, ledger, items, crawl } = await crawlCases(cases, { truncated: 'keep', retries: 0 });
  const stats = await getJson<{ flags: object }>(`${service.url}/crawls/${crawl.id}/stats`);
  for (const [i, { name, state, title }] of cases.entries()) {
    const row = ledger.find(({ url }) => url === `${site.url}/${i}`)!;
    assert.equal(row.state, state, `${name}: ${JSON.stringify(row)}`);
    if (name === 'whole') assert.equal(row.detail, null);
    else if (state === 'done') assert.match(row.detail ?? '', /ended too early/, name);
    if (title !== undefined) assert.equal(items.find(({ url }) => url === row.url)?.data.title, title, name);
  }
  assert.deepEqual(stats.flags, { truncated: 5 });
});

test('14: a certificate that is wrong fails as tls, and is no matter with verifyTls off, robots.txt included', async () => {
  const server = createServer(EXPIRED, (_req, res) => res.setHeader('content-type', 'text/html').end(PAGE));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const crawl = async (settings: object) => {
    const startUrls = [`https://localhost:${port}/`];
    const { id } = await postCrawl(service.url, { spider: SPIDER, startUrls, settings: { retries: 1, ...settings } });
    await waitFor(service.url, id, ENDED);
    const { ledger } = await checkBooks(service.url, id);
    return [ledger[0]?.state, ledger[0]?.reason, ledger[0]?.attempts];
  };
  assert.deepEqual(await crawl({ robots: false }), ['failed', 'tls', 1]);
  assert.deepEqual(await crawl({ verifyTls: false }), ['done', null, 1]);
  const retried = { robots: false, retryReasons: ['tls'], retryDelayMs: 5 };
  assert.deepEqual(await crawl(retried), ['failed', 'tls', 2]);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test('13: a crawl opens no more connections than it may fetch at once', async () => {
  const links = Array.from({ length: 60 }, (_, i) => `<a href="/${i}">${i}</a>`).join('');
  const site = await startSite((_req, res) => res.setHeader('content-type', 'text/html').end(PAGE + links));
  const { id } = await postCrawl(service.url, {
    startUrls: [`${site.url}/`],
    settings: { concurrencyPerHost: 3, robots: false },
  });
  await waitFor(service.url, id, ENDED);
  assert.equal((await checkBooks(service.url, id)).ledger.length, 61);
  assert.equal(site.hits.length, 61);
  assert.ok(site.connections <= 3, `${site.connections} connections`);
  await site.close();
});
