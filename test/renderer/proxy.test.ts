import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { EgressGuard } from '../../dist/downloader/egress.js';
import { RenderProxy } from '../../dist/renderer/proxy.js';
import { type Site, startSite } from '../support/site.ts';

const SECRET = 'f'.repeat(32);
const MIB = 1024 * 1024;

let site: Site;
let proxy: RenderProxy;
let port: number;
before(async () => {
  site = await startSite((req, res) => {
    if (req.url !== '/endless') return void res.end('page');
    const more = () => {
      while (res.write(Buffer.alloc(MIB)));
    };
    res.on('drain', more);
    more();
  });
  const guard = new EgressGuard({ allow: ['127.0.0.1/32'] });
  proxy = new RenderProxy((url, _proxy, signal) => guard.dial(url, signal));
  port = await proxy.start();
});
after(async () => {
  proxy.stop();
  await site.close();
});

/** @returns status, or the bytes that came until the connection was cut */
function ask(url: string, secret: string): Promise<{ status: number; bytes: number }> {
  const headers = { 'proxy-authorization': `Basic ${Buffer.from(`${secret}:`).toString('base64')}` };
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path: url, headers, agent: false }, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.on('error', () => {});
      response.on('close', () => resolve({ status: response.statusCode ?? 0, bytes }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

/** @returns the first line of the answer */
async function tunnel(target: string, secret: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const credentials = Buffer.from(`${secret}:`).toString('base64');
  socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\nproxy-authorization: Basic ${credentials}\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString().split('\r\n')[0]!;
}

test('the proxy lets nobody through but a context with a page under way', async () => {
  assert.equal((await ask(`${site.url}/`, SECRET)).status, 407);
  proxy.admit(SECRET, null);
  assert.equal((await ask(`${site.url}/`, SECRET)).status, 200);
  assert.equal((await ask(`${site.url}/`, 'e'.repeat(32))).status, 407);
  assert.match(await tunnel(`127.0.0.1:${site.port}`, 'x'), / 407 /);
  assert.match(await tunnel(`127.0.0.1:${site.port}`, SECRET), / 200 /);
  assert.equal(site.hits.length, 1);
  assert.equal(site.hits[0]?.headers['proxy-authorization'], undefined);
  proxy.close(SECRET);
  assert.equal((await ask(`${site.url}/`, SECRET)).status, 407);
});

test('what the egress guard refuses is refused and counted, whatever it is called', async () => {
  proxy.admit(SECRET, null);
  const targets = ['127.0.0.2:80', '[::1]:80', '10.0.0.1:443', '169.254.169.254:80', '2130706434:80', '127.0.0.1:25'];
  for (const target of targets) assert.match(await tunnel(target, SECRET), / 502 /, target);
  for (const target of targets) assert.equal((await ask(`http://${target}/`, SECRET)).status, 502, target);
  assert.equal((await ask('ftp://127.0.0.1/', SECRET)).status, 400);
  assert.equal((await ask('/', SECRET)).status, 400);
  assert.equal(proxy.close(SECRET).refused, 2 * targets.length);
});

test('more than 50 MiB, or 500 requests, are not let through', async () => {
  proxy.admit(SECRET, null);
  const { bytes } = await ask(`${site.url}/endless`, SECRET);
  assert.ok(bytes > 40 * MIB && bytes < 52 * MIB, `${bytes}`);
  assert.equal((await ask(`${site.url}/`, SECRET)).status, 403);
  proxy.admit(SECRET, null);
  const before = site.hits.length;
  let refused = 0;
  for (let i = 0; i < 51; i++) {
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(`${site.url}/`, SECRET)));
    refused += answers.filter(({ status }) => status === 403).length;
  }
  assert.equal(refused, 10);
  assert.equal(site.hits.length - before, 500);
  proxy.close(SECRET);
});
