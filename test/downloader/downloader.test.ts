import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Downloader, type FetchOptions } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import type { FetchedResponse, FetchFailure, FetchResult } from '../../dist/model/response.js';
import { startRaw } from '../support/raw_site.ts';
import { type Site, startSite } from '../support/site.ts';

const OPTIONS = { headers: {}, timeoutMs: 60_000, maxBodyBytes: 1_000_000, verifyTls: true };

function text(result: FetchResult): string {
  return Buffer.from(ok(result).body, 0, ok(result).bodyBytes).toString();
}

function ok(result: FetchResult): FetchedResponse {
  assert.equal(result.kind, 'response', JSON.stringify(result));
  return result as FetchedResponse;
}

function failed(result: FetchResult, reason: string): FetchFailure {
  assert.equal(result.kind, 'failure');
  const failure = result as FetchFailure;
  assert.equal(failure.reason, reason, failure.detail);
  return failure;
}

describe('Downloader', () => {
  let downloader: Downloader;
  before(() => {
    downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8', '::1/128'] }) });
  });
  after(async () => {
    assert.equal(downloader.inFlight, 0);
    assert.equal(downloader.bufferedBytes, 0);
    await downloader.close();
  });

  const fetch = (url: string, options: Partial<FetchOptions> = {}) => downloader.fetch({ ...OPTIONS, ...options, url });

  async function withSite(handler: Parameters<typeof startSite>[0], use: (site: Site) => Promise<void>): Promise<void> {
    const site = await startSite(handler);
    try {
      await use(site);
    } finally {
      await site.close();
    }
  }

  async function raw(answer: (socket: Socket, request: string) => void, options: Partial<FetchOptions> = {}) {
    const server = await startRaw(answer);
    try {
      return await fetch(`${server.url}/`, options);
    } finally {
      await server.close();
    }
  }

  it('brings status, headers and body in shared memory', async () => {
    await withSite(
      (_req, res) => res.writeHead(404, { 'X-Answer': 'yes', 'set-cookie': ['a=1', 'b=2'] }).end('nothing here'),
      async (site) => {
        const result = ok(await fetch(`${site.url}/a/b?c=%20d#e`, { headers: { 'user-agent': 'Test/1' } }));
        assert.equal(result.status, 404);
        assert.equal(text(result), 'nothing here');
        assert.equal(result.wireBytes, 12);
        assert.ok(result.body instanceof SharedArrayBuffer);
        assert.equal(result.headers['x-answer'], 'yes');
        assert.deepEqual(result.headers['set-cookie'], ['a=1', 'b=2']);
        assert.equal(site.hits[0]?.url, '/a/b?c=%20d');
        assert.equal(site.hits[0]?.headers['user-agent'], 'Test/1');
      },
    );
  });

  it('does not follow redirects', async () => {
    await withSite(
      (_req, res) => res.writeHead(302, { location: '/next' }).end(),
      async (site) => {
        const result = ok(await fetch(`${site.url}/`));
        assert.equal(result.headers.location, '/next');
        assert.equal(result.bodyBytes, 0);
        assert.equal(site.hits.length, 1);
      },
    );
  });

  it('2: a connection dropped before the headers is a reset, cleanly or not', async () => {
    const clean = failed(await raw((socket) => socket.end()), 'reset');
    failed(await raw((socket) => socket.resetAndDestroy()), 'reset');
    failed(await raw((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-')), 'reset');
    assert.equal(clean.status, null);
  });

  it('3: a body shorter than Content-Length, or chunked without its end, is truncated', async () => {
    const answers = [
      'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort',
      'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nshort\r\n',
    ];
    for (const answer of answers) {
      const failure = failed(await raw((socket) => socket.end(answer)), 'truncated');
      assert.equal(failure.status, 200);
      failed(await raw((socket) => socket.write(answer, () => socket.resetAndDestroy())), 'truncated');
    }
  });

  it('a page delivered whole is kept however the server closes', async () => {
    const body = 'x'.repeat(300_000);
    const heads = [
      `Content-Length: ${body.length}\r\n`,
      `Content-Length: ${body.length}\r\nConnection: close\r\n`,
      'Connection: close\r\n',
      '',
    ];
    for (const head of heads) {
      const results = await Promise.all(
        Array.from({ length: 10 }, () => raw((socket) => socket.end(`HTTP/1.1 200 OK\r\n${head}\r\n${body}`))),
      );
      for (const result of results) assert.equal(ok(result).bodyBytes, body.length);
    }
  });

  it('4: an endless body stops at maxBodyBytes', async () => {
    let written = 0;
    const flood = (res: ServerResponse) => {
      while (!res.destroyed && res.write('x'.repeat(16_384))) written += 16_384;
      res.once('drain', () => flood(res));
    };
    await withSite(
      (_req, res) => flood(res),
      async (site) => {
        const failure = failed(await fetch(`${site.url}/`, { maxBodyBytes: 200_000 }), 'too_large');
        assert.ok(failure.wireBytes <= 200_000);
        assert.ok(written < 20_000_000, `${written} bytes written`);
      },
    );
  });

  it('4: endless bodies hold no more than their limits together', async () => {
    const flood = (res: ServerResponse) => {
      while (!res.destroyed && res.write('x'.repeat(16_384))) {}
      res.once('drain', () => flood(res));
    };
    await withSite(
      (_req, res) => flood(res),
      async (site) => {
        let most = 0;
        const timer = setInterval(() => {
          most = Math.max(most, downloader.bufferedBytes);
        }, 1);
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, i) => fetch(`${site.url}/${i}`, { maxBodyBytes: 100_000 })),
        );
        clearInterval(timer);
        for (const result of results) failed(result, 'too_large');
        assert.ok(most <= 20 * 100_000, `${most} bytes were held`);
        assert.equal(downloader.bufferedBytes, 0);
      },
    );
  });

  it('4: a Content-Length above the cap is refused unread', async () => {
    const result = await raw((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nstart'));
    assert.equal(failed(result, 'too_large').wireBytes, 0);
  });

  it('a body exactly at the cap is kept; one byte more, closed in the same packet, is not', async () => {
    const answer = (bytes: number) => `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${'x'.repeat(bytes)}`;
    assert.equal(ok(await raw((socket) => socket.end(answer(100)), { maxBodyBytes: 100 })).bodyBytes, 100);
    failed(await raw((socket) => socket.end(answer(101)), { maxBodyBytes: 100 }), 'too_large');
    const chunked =
      'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n5\r\nshort\r\n0\r\n\r\n';
    failed(await raw((socket) => socket.end(chunked), { maxBodyBytes: 8 }), 'too_large');
  });

  it('a body is cut at the cap where asked for', async () => {
    const options = { maxBodyBytes: 8, cutAtCap: true };
    const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n5\r\nSHORT\r\n0\r\n\r\n';
    assert.equal(text(await raw((socket) => socket.end(chunked), options)), 'shortSHO');
    const declared = 'HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n0123456789';
    assert.equal(text(await raw((socket) => socket.write(declared), options)), '01234567');
  });

  it('a body of tiny chunks grows past its first block', async () => {
    const chunks = Array.from({ length: 20_000 }, (_, i) => `2\r\n${String(i % 100).padStart(2, '0')}\r\n`).join('');
    const result = await raw((socket) =>
      socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`),
    );
    assert.equal(ok(result).bodyBytes, 40_000);
    assert.equal(text(result).slice(-6), '979899');
  });

  it('6: silence at any stage ends at the deadline', async () => {
    const never = failed(await raw(() => {}, { timeoutMs: 80 }), 'timeout');
    assert.equal(never.detail, 'no headers within 80 ms (timeoutMs)');
    const begin = (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n');
    const headers = await raw(begin, { timeoutMs: 500 });
    assert.match(failed(headers, 'timeout').detail, /body/);
    assert.equal(failed(headers, 'timeout').status, 200);
  });

  it('6: each stage has its limit, and the detail names it', async () => {
    const silent = await raw(() => {}, { headersTimeoutMs: 100, bodyTimeoutMs: 120 });
    assert.equal(failed(silent, 'timeout').detail, 'no headers within 100 ms (headersTimeoutMs)');
    const begin = (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx');
    const begun = await raw(begin, { headersTimeoutMs: 10_000, bodyTimeoutMs: 120 });
    assert.equal(failed(begun, 'timeout').detail, 'nothing more of the body within 120 ms (bodyTimeoutMs)');
    const guard = new EgressGuard({ allow: ['127.0.0.0/8'], dial: () => new Promise(() => {}) });
    const nowhere = new Downloader({ egress: guard });
    const unconnected = await nowhere.fetch({ ...OPTIONS, url: 'http://127.0.0.1/', connectTimeoutMs: 100 });
    assert.equal(failed(unconnected, 'connect').detail, 'no connection within 100 ms (connectTimeoutMs)');
    await nowhere.close();
  });

  it('6: a drip does not outlive the deadline', async () => {
    let timer: NodeJS.Timeout | undefined;
    const result = await raw(
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        timer = setInterval(() => socket.write('x'), 10);
      },
      { timeoutMs: 500 },
    );
    clearInterval(timer);
    assert.ok(failed(result, 'timeout').wireBytes > 0);
  });

  it('an endless row of 103 ends', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
    failed(await raw((socket) => socket.write(hints.repeat(1000))), 'bad_response');
    const few = await raw((socket) => socket.end(`${hints.repeat(3)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`));
    assert.equal(text(few), 'ok');
  });

  it('malformed HTTP and headers past the cap are bad_response', async () => {
    for (const answer of [
      'SSH-2.0-OpenSSH_9\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
    ])
      failed(await raw((socket) => socket.end(answer)), 'bad_response');
    const many = `HTTP/1.1 200 OK\r\n${'X-Long: 0123456789\r\n'.repeat(3000)}\r\n`;
    failed(await raw((socket) => socket.end(many)), 'bad_response');
    failed(
      await raw((socket) =>
        socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
      ),
      'bad_response',
    );
  });

  it('12: duplicate and odd response headers arrive; a hundred are kept', async () => {
    const odd =
      'HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n__proto__: p\r\nconstructor: c\r\nX-Bin: \xe9\r\nContent-Length: 2\r\n\r\nok';
    const { headers } = ok(await raw((socket) => socket.end(odd, 'latin1')));
    assert.deepEqual(headers['x-a'], ['1', '2']);
    assert.equal(headers['x-bin'], 'é');
    assert.ok(Object.hasOwn(headers, '__proto__'));
    assert.equal(Object.getPrototypeOf({}).p, undefined);
    const lines = Array.from({ length: 300 }, (_, i) => `X-${i}: v\r\n`).join('');
    const many = ok(await raw((socket) => socket.end(`HTTP/1.1 200 OK\r\n${lines}Content-Length: 2\r\n\r\nok`)));
    assert.equal(Object.keys(many.headers).length, 100);
    assert.equal(text(many), 'ok');
  });

  it('12: the Host header has the port, and IPv6 its brackets', async () => {
    const seen: (string | undefined)[] = [];
    await withSite(
      (req, res) => {
        seen.push(req.headers.host);
        res.end();
      },
      async (site) => {
        ok(await fetch(`${site.url}/`));
        ok(await fetch(`http://localhost:${site.port}/`));
        assert.deepEqual(seen, [`127.0.0.1:${site.port}`, `localhost:${site.port}`]);
      },
    );
    const site = await startSite((req, res) => res.end(req.headers.host), { host: '::1' }).catch(() => null);
    if (site === null) return; // a machine without IPv6
    assert.equal(text(await fetch(`${site.url}/`)), `[::1]:${site.port}`);
    await site.close();
  });

  it('13: kept-alive connections are reused', async () => {
    await withSite(
      (_req, res) => res.end('ok'),
      async (site) => {
        for (let i = 0; i < 5; i++) ok(await fetch(`${site.url}/${i}`));
        assert.equal(site.connections, 1);
        await Promise.all(Array.from({ length: 8 }, (_, i) => fetch(`${site.url}/${i}`)));
        assert.ok(site.connections <= 8);
      },
    );
  });

  it('a fetch that ended while it waited leaves the connection to the next one', async () => {
    const single = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8'] }), maxSockets: 1 });
    let release = () => {};
    await withSite(
      (req, res) => {
        if (req.url === '/slow') release = () => res.end('slow');
        else res.end('fast');
      },
      async (site) => {
        const slow = single.fetch({ ...OPTIONS, url: `${site.url}/slow` });
        while (site.hits.length === 0) await new Promise((resolve) => setImmediate(resolve));
        const waiting = single.fetch({ ...OPTIONS, url: `${site.url}/waiting`, timeoutMs: 50 });
        failed(await waiting, 'timeout');
        release();
        assert.equal(text(await slow), 'slow');
        assert.equal(text(await single.fetch({ ...OPTIONS, url: `${site.url}/next` })), 'fast');
        assert.equal(site.connections, 1);
        assert.deepEqual(
          site.hits.map((hit) => hit.url),
          ['/slow', '/next'],
        );
      },
    );
    await single.close();
  });

  it('a signal gives fetches up, before and during', async () => {
    const controller = new AbortController();
    const before = downloader.inFlight;
    await withSite(
      () => controller.abort(),
      async (site) => {
        failed(await downloader.fetch({ ...OPTIONS, url: `${site.url}/` }, controller.signal), 'reset');
        failed(await downloader.fetch({ ...OPTIONS, url: `${site.url}/` }, controller.signal), 'reset');
      },
    );
    assert.equal(downloader.inFlight, before);
  });

  it('counts what is in flight, and close ends it', async () => {
    const own = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8'] }) });
    await withSite(
      (_req, res) => res.write('0123456789'),
      async (site) => {
        const pending = Array.from({ length: 3 }, () => own.fetch({ ...OPTIONS, url: `${site.url}/` }));
        assert.equal(own.inFlight, 3);
        while (own.bufferedBytes < 30) await new Promise((resolve) => setImmediate(resolve));
        await own.close();
        for (const result of await Promise.all(pending)) assert.equal(result.kind, 'failure');
        assert.equal(own.inFlight + own.bufferedBytes, 0);
        failed(await own.fetch({ ...OPTIONS, url: `${site.url}/` }), 'reset');
      },
    );
  });

  it('refused connections, other schemes, bad headers and refused addresses have their reasons', async () => {
    const server = await startRaw(() => {});
    await server.close();
    const refused = failed(await fetch(`${server.url}/`), 'connect');
    assert.doesNotMatch(refused.detail, /127\.0/);
    failed(await fetch('ftp://127.0.0.1/'), 'scheme');
    failed(await fetch('not a url'), 'scheme');
    failed(await fetch(`${server.url}/`, { headers: { 'x-a': 'b\r\nc: d' } }), 'bad_url');
    const inside = failed(await fetch('http://10.0.0.1/'), 'egress');
    assert.doesNotMatch(inside.detail, /10\.|private|inside/);
  });
});
