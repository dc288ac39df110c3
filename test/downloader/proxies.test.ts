import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, afterEach, describe, it } from 'node:test';
import { Downloader, type FetchOptions } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import type { FetchFailure } from '../../dist/model/response.js';
import { type ConnectProxy, startConnectProxy } from '../support/connect_proxy.ts';
import { type Site, startSite } from '../support/site.ts';
import { LOCALHOST } from './certificates.ts';

const OPTIONS = { headers: {}, timeoutMs: 60_000, maxBodyBytes: 1_000_000, verifyTls: true };
const GUARD = new EgressGuard({ allow: ['127.0.0.0/8'] });

describe('Downloader by a proxy', () => {
  const closers: (() => Promise<unknown>)[] = [];
  const downloader = new Downloader({ egress: GUARD });
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });
  after(() => downloader.close());

  const closing = <T extends { close(): Promise<void> }>(what: T): T => {
    closers.push(() => what.close());
    return what;
  };
  const proxyOf = async (options: Parameters<typeof startConnectProxy>[0] = {}) =>
    closing(await startConnectProxy(options));
  const siteOf = async (): Promise<Site> =>
    closing(await startSite((req, res) => res.end(`page of ${req.headers.host}`)));
  const fetch = (url: string, proxy: FetchOptions['proxy'], more: Partial<FetchOptions> = {}) =>
    downloader.fetch({ ...OPTIONS, url, proxy: proxy ?? null, ...more });
  const urlOf = ({ address }: ConnectProxy) => `http://${address}`;

  function failed(result: Awaited<ReturnType<typeof fetch>>, reason = 'proxy'): FetchFailure {
    assert.equal(result.kind === 'failure' && result.reason, reason, JSON.stringify(result));
    return result as FetchFailure;
  }

  it('http goes through a tunnel to the address that was judged, with the name as Host; connections are reused', async () => {
    const [proxy, site] = [await proxyOf(), await siteOf()];
    for (let i = 0; i < 4; i++) {
      const result = await fetch(`http://localhost:${site.port}/${i}`, urlOf(proxy));
      assert.equal(
        result.kind === 'response' && Buffer.from(result.body, 0, result.bodyBytes).toString(),
        `page of localhost:${site.port}`,
      );
    }
    assert.deepEqual(proxy.asked, [{ authority: `127.0.0.1:${site.port}`, authorization: null }]);
    assert.equal(site.connections, 1);
    await fetch(site.url, null);
    assert.equal(site.connections, 2, 'without a proxy it is another pool');
    assert.equal(proxy.asked.length, 1);
  });

  it('https: the certificate is that of the name, and verified through the tunnel', async () => {
    const server = createServer(LOCALHOST, (_req, res) => res.end('secure'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const proxy = await proxyOf();
    const url = `https://localhost:${port}/`;
    failed(await fetch(url, urlOf(proxy)), 'tls');
    const result = await fetch(url, urlOf(proxy), { verifyTls: false });
    assert.equal(result.kind, 'response');
    assert.ok(proxy.asked.every(({ authority }) => authority === `127.0.0.1:${port}`));
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('credentials are sent as Basic, and other credentials mean other connections', async () => {
    const [proxy, site] = [await proxyOf(), await siteOf()];
    await fetch(site.url, `http://us%3Aer:p%40ss@${proxy.address}`);
    await fetch(site.url, `http://second:@${proxy.address}`);
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    assert.deepEqual(
      proxy.asked.map(({ authorization }) => authorization),
      [basic('us:er:p@ss'), basic('second:')],
    );
  });

  it('each failure of the proxy is `proxy`, tells the status, and no password', async () => {
    const site = await siteOf();
    const cases: [answer: string, detail: RegExp][] = [
      ['HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n', /status 407/],
      ['HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!', /status 502/],
      ['HTTP/1.0 403 Filtered\r\n\r\n', /status 403: it has to allow CONNECT to this address and port/],
      ['SSH-2.0-OpenSSH_9\r\n\r\n', /something else than HTTP/],
      [`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(5000)}`, /do not end/],
      ['HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\nforged', /before it was asked/],
      ['HTTP/1.1 200 OK\r\n', /closed the connection/],
      ['drop', /closed the connection/],
    ];
    for (const [answer, detail] of cases) {
      const proxy = await proxyOf({ answer });
      const failure = failed(await fetch(site.url, `http://user:hunter2@${proxy.address}`));
      assert.match(failure.detail, detail);
      assert.ok(failure.detail.startsWith(`the proxy ${proxy.address}`), failure.detail);
      assert.doesNotMatch(failure.detail, /hunter2/);
    }
    assert.equal(site.hits.length, 0);
    const gone = await startConnectProxy();
    await gone.close();
    assert.match(failed(await fetch(site.url, urlOf(gone))).detail, /no connection \(ECONNREFUSED\)/);
  });

  it('a proxy that never answers ends at connectTimeoutMs, and its connection with it', async () => {
    const [proxy, site] = [await proxyOf({ answer: 'hang' }), await siteOf()];
    const failure = failed(await fetch(site.url, urlOf(proxy), { connectTimeoutMs: 150 }));
    assert.match(
      failure.detail,
      /^the proxy 127\.0\.0\.1:\d+ (did not answer CONNECT|gave no connection) within 150 ms/,
    );
    while (proxy.open > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  it('a list is used in turn; one that failed rests while there are others, and does not when there are none', async () => {
    const [good, bad, other, site] = [
      await proxyOf(),
      await proxyOf({ answer: 'drop' }),
      await proxyOf(),
      await siteOf(),
    ];
    const list = [urlOf(good), urlOf(bad), urlOf(other)];
    const results = [];
    for (let i = 0; i < 9; i++) results.push(await fetch(`http://127.0.0.1:${site.port}/${i}`, list));
    assert.deepEqual(
      results.map(({ kind }) => kind),
      ['response', 'failure', ...Array(7).fill('response')],
    );
    assert.deepEqual([good.connections, bad.connections, other.connections], [1, 1, 1]);
    const all = [urlOf(bad), `http://u:p@${bad.address}`];
    for (let i = 0; i < 4; i++) failed(await fetch(site.url, all));
    assert.equal(bad.connections, 5);
    bad.answer = null;
    assert.equal((await fetch(site.url, all)).kind, 'response');
  });

  it('10: the target is judged before any proxy is asked, and the address is what the proxy is told', async () => {
    const dialled: string[] = [];
    const names: Record<string, string[]> = {
      'inside.example': ['10.0.0.7'],
      'rebind.example': ['93.184.215.14', '127.0.0.1'],
      'outside.example': ['93.184.215.14'],
      'proxy.example': ['93.184.215.20'],
      'proxy-inside.example': ['10.0.0.8'],
    };
    const resolver = {
      resolve4: async (name: string) => (names[name] ?? []).map((address) => ({ address, ttl: 60 })),
      resolve6: async () => [],
    };
    const guard = new EgressGuard({
      allow: [],
      resolver,
      dial: async (address, port) => {
        dialled.push(`${address} ${port}`);
        throw Object.assign(new Error('recorded'), { code: 'ECONNREFUSED' });
      },
    });
    const own = new Downloader({ egress: guard, proxies: new Map([['office', 'http://squid.internal:3128']]) });
    const fetchBy = (url: string, proxy: string) => own.fetch({ ...OPTIONS, url, proxy });
    for (const url of [
      'http://inside.example/',
      'http://rebind.example/',
      'http://169.254.169.254/',
      'http://localhost/',
    ])
      failed(await fetchBy(url, 'office'), 'egress');
    assert.deepEqual(dialled, [], 'nobody was asked');
    for (const proxy of [
      'http://10.0.0.8:3128',
      'http://proxy-inside.example:3128',
      'http://localhost:3128',
      'http://8.8.8.8:25',
    ]) {
      const { detail } = failed(await fetchBy('http://outside.example/', proxy));
      assert.match(detail, /neither public nor|never fetched from/, proxy);
    }
    assert.deepEqual(dialled, [], 'a stranger’s proxy is judged as a target is');
    failed(await fetchBy('http://outside.example/', 'http://proxy.example:3128'));
    const { detail } = failed(await fetchBy('http://outside.example/', 'office'));
    assert.equal(detail, 'the proxy office: no connection (ECONNREFUSED)');
    assert.deepEqual(
      dialled,
      ['93.184.215.20 3128', 'squid.internal 3128'],
      'the operator’s is dialled as it is named',
    );
    assert.match(failed(await fetchBy('http://outside.example/', 'nobody')).detail, /PROXIES/);
    await own.close();
  });

  it('a connection for another’s use goes the same way', async () => {
    const [proxy, site] = [await proxyOf(), await siteOf()];
    const socket = await downloader.dial(new URL(site.url), urlOf(proxy), new AbortController().signal);
    socket.write('GET /dialled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    const answer = Buffer.concat(await socket.toArray()).toString();
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[\s\S]*page of a$/);
    assert.deepEqual(
      proxy.asked.map(({ authority }) => authority),
      [`127.0.0.1:${site.port}`],
    );
    const signal = new AbortController().signal;
    await assert.rejects(downloader.dial(new URL('http://10.0.0.1/'), urlOf(proxy), signal), { reason: 'egress' });
    assert.equal(proxy.asked.length, 1);
  });

  it('what breaks behind the proxy is not the proxy’s fault', async () => {
    const proxy = await proxyOf();
    const site = closing(
      await startSite((req, res) => (req.url === '/drop' ? req.socket.resetAndDestroy() : res.end('ok'))),
    );
    const list = [urlOf(proxy), `http://a:b@${proxy.address}`];
    failed(await fetch(`${site.url}/drop`, list), 'reset');
    for (let i = 0; i < 4; i++) assert.equal((await fetch(`${site.url}/${i}`, list)).kind, 'response');
    assert.equal(proxy.asked.filter(({ authorization }) => authorization === null).length, 2, 'the first one goes on');
  });

  it('no more ways are kept than there is room for; closing ends all of them', async () => {
    const [proxy, site] = [await proxyOf(), await siteOf()];
    const own = new Downloader({ egress: GUARD });
    for (let i = 0; i < 520; i += 20)
      await Promise.all(
        Array.from({ length: 20 }, (_, k) =>
          own.fetch({ ...OPTIONS, url: site.url, proxy: `http://u${i + k}:p@${proxy.address}` }),
        ),
      );
    assert.equal(proxy.asked.length, 520);
    assert.ok(proxy.open <= 500, `${proxy.open} are open`);
    await own.close();
    while (proxy.open > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  });
});
