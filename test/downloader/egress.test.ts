import assert from 'node:assert/strict';
import { createServer as createTlsServer, type Server } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setDefaultCACertificates } from 'node:tls';
import { isGlobal } from '../../dist/downloader/address.js';
import type { Resolver } from '../../dist/downloader/dns.js';
import { Downloader } from '../../dist/downloader/downloader.js';
import { type Dial, EgressGuard } from '../../dist/downloader/egress.js';
import type { FetchFailure, FetchResult } from '../../dist/model/response.js';
import { startSite } from '../support/site.ts';
import { ELSEWHERE, EXPIRED, LOCALHOST } from './certificates.ts';

const OPTIONS = { headers: {}, timeoutMs: 60_000, maxBodyBytes: 100_000, verifyTls: true };

const GLOBAL =
  `1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.215.14 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
  168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.88.98.1
  192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.1 198.51.101.1 203.0.112.255 203.0.114.0
  223.255.255.255 2000::1 2001:200::1 2001:db7::1 2001:db9::1 2003::1 2606:4700:4700::1111 2620:4f:7fff::1 2620:4f:8001::1
  2a00:1450:4001::8a 3ffe::1 3fff:1000::1 ::ffff:8.8.8.8 ::ffff:808:808 64:ff9b::8.8.8.8`.split(/\s+/);

const REFUSED = `0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.1.2.3 127.255.255.255
  168.63.129.16 169.254.0.0 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.31.196.1
  192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9
  224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::2 ::a9fe:a9fe ::7f00:1 ::127.0.0.1 ::ffff:127.0.0.1
  ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 ::ffff:0:0a00:1 64:ff9b::127.0.0.1
  64:ff9b::a00:1 64:ff9b:1::1 64:ff9b:1::8.8.8.8 64:ff9b:1:ffff::a9fe:a9fe 100::1 100:0:0:1::1 1fff::1 2001::1
  2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:1ff:ffff::1 2001:db8::1 2001:db8:ffff::1 2002:7f00:1::
  2002:808:808::1 3fff::1 3fff:fff:ffff::1 2620:4f:8000::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0
  2606:4700:4700::1111%1 feb0::1 fec0::1 ff02::1 ffff::1 2130706433 0x7f.1 127.1 0177.0.0.1 1.1.1 1.1.1.1. localhost example.com
  [::1] 8.8.8.8:80 08.8.8.8`.split(/\s+/);

function resolverOf(names: Record<string, string[]>, asked: string[] = []): Resolver {
  const answer = async (name: string, isV6: boolean) => {
    asked.push(`${isV6 ? 'AAAA' : 'A'} ${name}`);
    const found = names[name];
    if (found === undefined) throw Object.assign(new Error(`query ${name}`), { code: 'ENOTFOUND' });
    const addresses = found.filter((address) => address.includes(':') === isV6);
    if (addresses.length === 0) throw Object.assign(new Error(`query ${name}`), { code: 'ENODATA' });
    return addresses.map((address) => ({ address, ttl: 30 }));
  };
  return { resolve4: (name) => answer(name, false), resolve6: (name) => answer(name, true) };
}

/** Records what would be dialled, and connects to nothing. */
function recorder(): { dialled: string[]; dial: Dial } {
  const dialled: string[] = [];
  const dial: Dial = (address, port) => {
    dialled.push(`${address} ${port}`);
    return Promise.reject(Object.assign(new Error('recorded'), { code: 'ECONNREFUSED' }));
  };
  return { dialled, dial };
}

async function tryFetch(guard: EgressGuard, url: string): Promise<FetchResult> {
  const downloader = new Downloader({ egress: guard });
  const result = await downloader.fetch({ ...OPTIONS, url });
  await downloader.close();
  return result;
}

function reasonOf(result: FetchResult): string {
  return result.kind === 'failure' ? result.reason : 'response';
}

describe('isGlobal', () => {
  for (const address of GLOBAL) it(`allows ${address}`, () => assert.equal(isGlobal(address), true));
  for (const address of REFUSED) it(`refuses ${address}`, () => assert.equal(isGlobal(address), false));
});

describe('EgressGuard.refuses', () => {
  const guard = new EgressGuard({ allow: [] });

  it('judges literals in every spelling that a URL can hold', () => {
    const hosts = [
      '2130706433',
      '0x7f.1',
      '127.1',
      '0177.0.0.1',
      '017700000001',
      '127.0.0.1.',
      '[::ffff:7f00:1]',
      '[::1]',
      '１２７.0.0.1',
    ];
    for (const host of hosts) assert.match(guard.refuses(new URL(`http://${host}/`)) ?? '', /neither public/, host);
    assert.equal(guard.refuses(new URL('http://8.8.8.8/')), null);
    assert.equal(guard.refuses(new URL('http://[2606:4700:4700::1111]/')), null);
  });

  it('refuses names of the inside', () => {
    const names = [
      'localhost',
      'LOCALHOST.',
      'a.localhost',
      'db.internal',
      'metadata.google.internal',
      'printer.local',
      'x.home.arpa',
      'postgres',
      'db.',
    ];
    for (const name of names) assert.notEqual(guard.refuses(new URL(`http://${name}/`)), null, name);
    for (const name of ['example.com', 'example.com.', 'localhost.example.com', 'internal.example'])
      assert.equal(guard.refuses(new URL(`https://${name}/`)), null, name);
  });

  it('refuses other schemes and the ports of other protocols', () => {
    assert.notEqual(guard.refuses(new URL('ftp://example.com/')), null);
    assert.notEqual(guard.refuses(new URL('file:///etc/passwd')), null);
    for (const port of [1, 22, 25, 6000, 10080])
      assert.match(guard.refuses(new URL(`http://example.com:${port}/`)) ?? '', /port/, String(port));
    assert.notEqual(guard.refuses(new URL('http://example.com:0/')), null);
    assert.equal(guard.refuses(new URL('https://example.com:8443/')), null);
  });

  it('lets pass what the operator allows, mapped too, and no more', () => {
    const open = new EgressGuard({ allow: ['127.0.0.0/8', 'fd00::/8'] });
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '[fd00::1]'])
      assert.equal(open.refuses(new URL(`http://${host}/`)), null, host);
    for (const host of ['10.0.0.1', '[::1]', '[fe80::1]'])
      assert.notEqual(open.refuses(new URL(`http://${host}/`)), null, host);
    assert.throws(() => new EgressGuard({ allow: ['nonsense'] }));
  });
});

describe('EgressGuard dials', () => {
  it('only what it has judged: the literal address, each in turn', async () => {
    const { dialled, dial } = recorder();
    const asked: string[] = [];
    const guard = new EgressGuard({
      allow: [],
      dial,
      resolver: resolverOf({ 'good.example': ['2a00:1450::1', '93.184.215.14'] }, asked),
    });
    assert.equal(reasonOf(await tryFetch(guard, 'http://good.example/')), 'connect');
    assert.deepEqual(dialled, ['93.184.215.14 80', '2a00:1450::1 80']);
    await tryFetch(guard, 'https://GOOD.example.:8443/');
    assert.deepEqual(dialled.slice(2), ['93.184.215.14 8443', '2a00:1450::1 8443']);
    assert.deepEqual(asked, ['A good.example', 'AAAA good.example'], 'the name was asked once');
  });

  it('nothing, where any answer is bad', async () => {
    const { dialled, dial } = recorder();
    const bad = {
      'mix.example': ['93.184.215.14', '127.0.0.1'],
      'six.example': ['93.184.215.14', '::ffff:10.0.0.1'],
      'meta.example': ['169.254.169.254'],
    };
    const guard = new EgressGuard({ allow: [], dial, resolver: resolverOf(bad) });
    for (const name of Object.keys(bad)) {
      const failure = (await tryFetch(guard, `http://${name}/`)) as FetchFailure;
      assert.equal(failure.reason, 'egress', name);
      assert.doesNotMatch(failure.detail, /\d/);
    }
    for (const url of [
      'http://127.0.0.1/',
      'http://[::1]/',
      'http://0x7f.1/',
      'http://example.com:25/',
      'http://localhost/',
      'http://db/',
    ])
      assert.equal(reasonOf(await tryFetch(guard, url)), 'egress', url);
    assert.deepEqual(dialled, []);
  });

  it('a name of the inside only where all its addresses are allowed, though they were public', async () => {
    const { dialled, dial } = recorder();
    const names = { 'a.internal': ['10.1.0.1'], 'b.internal': ['10.1.0.1', '93.184.215.14'], db: ['93.184.215.14'] };
    const guard = new EgressGuard({ allow: ['10.1.0.0/16'], dial, resolver: resolverOf(names) });
    assert.equal(reasonOf(await tryFetch(guard, 'http://a.internal/')), 'connect');
    assert.equal(reasonOf(await tryFetch(guard, 'http://b.internal/')), 'egress');
    assert.equal(reasonOf(await tryFetch(guard, 'http://db/')), 'egress');
    assert.deepEqual(dialled, ['10.1.0.1 80']);
  });

  it('no name that does not exist', async () => {
    const { dialled, dial } = recorder();
    const failure = (await tryFetch(
      new EgressGuard({ allow: [], dial, resolver: resolverOf({}) }),
      'http://none.example/',
    )) as FetchFailure;
    assert.equal(failure.reason, 'dns');
    assert.deepEqual(dialled, []);
  });

  it('an answer that has changed to a bad one no more than a bad one', async () => {
    const answers = { 'turn.example': ['93.184.215.14'] };
    let now = 1_000_000;
    const real = Date.now;
    Date.now = () => now;
    try {
      const { dialled, dial } = recorder();
      const guard = new EgressGuard({ allow: [], dial, resolver: resolverOf(answers) });
      assert.equal(reasonOf(await tryFetch(guard, 'http://turn.example/')), 'connect');
      answers['turn.example'] = ['127.0.0.1'];
      assert.equal(reasonOf(await tryFetch(guard, 'http://turn.example/')), 'connect', 'the judged answer is kept');
      now += 31_000;
      assert.equal(reasonOf(await tryFetch(guard, 'http://turn.example/')), 'egress');
      assert.deepEqual(dialled, ['93.184.215.14 80', '93.184.215.14 80']);
    } finally {
      Date.now = real;
    }
  });

  it('and sends nothing when the socket ends up elsewhere', async () => {
    const site = await startSite((_req, res) => res.end('inside'));
    const sockets: Socket[] = [];
    const dial: Dial = (_address, _port) =>
      new Promise((resolve) => {
        const socket = connect(site.port, '127.0.0.1', () => resolve(socket));
        sockets.push(socket);
      });
    const guard = new EgressGuard({ allow: [], dial, resolver: resolverOf({ 'good.example': ['93.184.215.14'] }) });
    assert.equal(reasonOf(await tryFetch(guard, `http://good.example:${site.port}/`)), 'egress');
    assert.equal(site.hits.length, 0);
    assert.ok(sockets.every((socket) => socket.destroyed));
    await site.close();
  });

  it('a name by its judged address, and sends the name', async () => {
    const site = await startSite((req, res) => res.end(req.headers.host));
    const guard = new EgressGuard({
      allow: ['127.0.0.0/8'],
      resolver: resolverOf({ 'shop.example': ['127.0.0.2', '127.0.0.1'] }),
    });
    const result = await tryFetch(guard, `http://shop.example:${site.port}/`);
    assert.equal(reasonOf(result), 'response', 'the second address answers');
    assert.equal(site.hits[0]?.headers.host, `shop.example:${site.port}`);
    await site.close();
  });
});

describe('14: TLS', () => {
  async function startTls(certificate: { cert: string; key: string }): Promise<{ server: Server; url: string }> {
    const server = createTlsServer(certificate, (_req, res) => res.end('secret'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { server, url: `https://localhost:${(server.address() as AddressInfo).port}/` };
  }

  async function tlsFetch(certificate: { cert: string; key: string }, verifyTls: boolean): Promise<FetchResult> {
    const { server, url } = await startTls(certificate);
    const downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8'] }) });
    const result = await downloader.fetch({ ...OPTIONS, url, verifyTls });
    await downloader.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    return result;
  }

  it('self-signed, expired and wrong host fail as tls, and pass with verification off', async () => {
    const selfSigned = (await tlsFetch(LOCALHOST, true)) as FetchFailure;
    assert.equal(selfSigned.reason, 'tls');
    setDefaultCACertificates([LOCALHOST.cert, ELSEWHERE.cert, EXPIRED.cert]);
    assert.equal(reasonOf(await tlsFetch(LOCALHOST, true)), 'response');
    for (const certificate of [ELSEWHERE, EXPIRED]) {
      const failure = (await tlsFetch(certificate, true)) as FetchFailure;
      assert.equal(failure.reason, 'tls', failure.detail);
      assert.equal(reasonOf(await tlsFetch(certificate, false)), 'response');
    }
  });

  it('plain HTTP where TLS was asked for fails as tls', async () => {
    const site = await startSite((_req, res) => res.end());
    const result = await tryFetch(new EgressGuard({ allow: ['127.0.0.0/8'] }), `https://127.0.0.1:${site.port}/`);
    assert.equal(reasonOf(result), 'tls');
    await site.close();
  });
});
