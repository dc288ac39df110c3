import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Downloader } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import { senderOf } from '../../dist/downloader/sender.js';
import { attemptOf } from '../../dist/exports/webhook_attempt.js';
import { judge } from '../../dist/exports/webhook_tries.js';
import type { Outgoing, Sent } from '../../dist/model/delivery.js';
import { storedJson } from '../../dist/model/extra.js';

/** Answers byte by byte, as no server should. */
describe('hostile endpoints of webhooks', () => {
  let server: Server;
  let downloader: Downloader;
  let url: string;
  let answer: (socket: Socket) => void = () => {};
  const sockets = new Set<Socket>();
  before(async () => {
    server = createServer((socket) => {
      sockets.add(socket.on('error', () => {}));
      socket.once('data', () => answer(socket));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.1/32'] }) });
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await downloader.close();
  });

  const message = (): Outgoing => ({ url, headers: { 'x-any': 'Bearer t0ken-of-mine' }, body: '{}', timeoutMs: 700 });
  const send = async (given: (socket: Socket) => void): Promise<Sent> => {
    answer = given;
    return senderOf(downloader)(message(), new AbortController().signal);
  };
  const text =
    (head: string, body = '') =>
    (socket: Socket) =>
      void socket.end(`HTTP/1.1 ${head}\r\nconnection: close\r\n\r\n${body}`);
  const flood = (head: string) => (socket: Socket) => {
    socket.write(head);
    const piece = Buffer.alloc(65_536, 97);
    const go = () => {
      while (!socket.destroyed && socket.write(piece));
      if (!socket.destroyed) socket.once('drain', go);
    };
    go();
  };

  const answers: [what: string, answer: (socket: Socket) => void, status: number | null][] = [
    [
      'names that objects have',
      text('200 OK\r\n__proto__: a\r\nconstructor: b\r\ntoString: c\r\nhasOwnProperty: d\r\nconstructor: e'),
      200,
    ],
    ['a body that never ends', flood('HTTP/1.1 200 OK\r\n\r\n'), 200],
    ['headers that never end', flood('HTTP/1.1 200 OK\r\nx: '), null],
    [
      'a thousand headers',
      text(`200 OK\r\n${Array.from({ length: 1000 }, (_, i) => `x-${i}: ${i}`).join('\r\n')}`),
      200,
    ],
    [
      'a drip',
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n');
        setInterval(() => socket.write('a'), 50).unref();
      },
      200,
    ],
    ['nothing', () => {}, null],
    ['half a status line', text('20'), null],
    ['an upgrade', text('101 Switching Protocols\r\nupgrade: websocket'), null],
    [
      'hints for ever',
      (s) => void setInterval(() => s.destroyed || s.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 5).unref(),
      null,
    ],
    ['a redirect', text('307 Temporary Redirect\r\nlocation: http://169.254.169.254/'), 307],
    ['bytes that are no text', text('200 OK\r\nx-a: \xff', '\0\x1b[31m\ud800'), 200],
    ['a body that says it is gzip', text('200 OK\r\ncontent-encoding: gzip', 'no gzip'), 200],
    ['a length that is none', text('200 OK\r\ncontent-length: -5'), null],
  ];
  for (const [what, given, status] of answers)
    it(what, async () => {
      const sent = await send(given);
      assert.equal(sent.response?.status ?? null, status, JSON.stringify(sent).slice(0, 300));
      const attempt = attemptOf(message(), sent, { at: 0, manual: false, own: { 'X-Any': 'Bearer t0ken-of-mine' } });
      const stored = storedJson(attempt);
      assert.ok(stored.length < 200_000 && !stored.includes('\0') && !/\\u0000/.test(stored), `${stored.length}`);
      const verdict = await judge(
        { failures: 0, failing_since: null },
        sent,
        async () => ({ before: true, since: true }),
        { now: Date.now(), random: 0 },
      );
      assert.ok(verdict.change.nextAt! - Date.now() < 5 * 3_600_000);
    });

  it('an answer that sends the webhook’s own headers back does not show them', async () => {
    const sent = await send(
      text('200 OK\r\nx-echo: Bearer t0ken-of-mine', '{"headers":{"X-Any":"Bearer t0ken-of-mine"}}'),
    );
    const attempt = attemptOf(message(), sent, { at: 0, manual: true, own: { 'X-Any': 'Bearer t0ken-of-mine' } });
    assert.ok(!JSON.stringify(attempt).includes('t0ken'), JSON.stringify(attempt));
    assert.match(attempt.response!.body, /\(hidden\)/);
  });

  it('no Retry-After puts a message off for longer than four hours, or brings it sooner', async () => {
    const now = Date.now();
    for (const value of [
      '-5',
      'NaN',
      '1e9',
      '99999999999999999999',
      'Fri, 31 Dec 9999 23:59:59 GMT',
      '0x10',
      ' ',
      'Infinity',
    ]) {
      const sent: Sent = {
        response: { status: 503, headers: { 'retry-after': value }, body: '', cut: false },
        error: null,
        timing: { connectMs: 0, firstByteMs: 0, totalMs: 0 },
      };
      const { change } = await judge(
        { failures: 0, failing_since: null },
        sent,
        async () => ({ before: false, since: false }),
        { now, random: 0.5 },
      );
      assert.ok(change.nextAt! >= now + 4000 && change.nextAt! <= now + 4 * 3_600_000, value);
    }
  });
});
