import assert from 'node:assert/strict';
import { text as textOf } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { Downloader, type FetchOptions } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import type { FetchedResponse } from '../../dist/model/response.js';
import { type Site, startSite } from '../support/site.ts';

let downloader: Downloader;
let site: Site;
before(async () => {
  downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8'] }) });
  site = await startSite(async (req, res) => {
    const body = await textOf(req);
    if (req.url === '/big') res.writeHead(200, { 'content-length': '999999999999' }).end();
    else if (req.url === '/gzip') res.writeHead(200, { 'content-encoding': 'gzip', 'content-length': '500' }).end();
    else if (req.url === '/drop') req.socket.destroy();
    else if (req.url === '/silent') return;
    else res.end(JSON.stringify({ method: req.method, body, headers: req.headers }));
  });
});
after(async () => {
  await downloader.close();
  await site.close();
});

function send(path: string, options: Partial<FetchOptions>) {
  const common = { headers: {}, timeoutMs: 60_000, maxBodyBytes: 1_000_000, verifyTls: true };
  return downloader.fetch({ ...common, url: site.url + path, ...options });
}

async function echo(options: Partial<FetchOptions>) {
  const result = (await send('/', options)) as FetchedResponse;
  assert.equal(result.kind, 'response');
  return JSON.parse(Buffer.from(result.body, 0, result.bodyBytes).toString());
}

test('method, headers and body arrive as they were given, the length in bytes', async () => {
  const seen = await echo({ method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"é":1}' });
  assert.deepEqual([seen.method, seen.body], ['POST', '{"é":1}']);
  assert.equal(seen.headers['content-type'], 'application/json');
  assert.equal(seen.headers['content-length'], '8');
});

test('each method of a request can be sent, with and without a body', async () => {
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) assert.equal((await echo({ method })).method, method);
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
    assert.equal((await echo({ method, body: 'x' })).body, 'x', method);
  assert.equal((await echo({ method: 'POST' })).headers['content-length'], '0');
});

test('an answer to HEAD has no body, whatever length and coding it declares', async () => {
  for (const path of ['/big', '/gzip']) {
    const result = (await send(path, { method: 'HEAD' })) as FetchedResponse;
    assert.deepEqual([result.kind, result.status, result.bodyBytes], ['response', 200, 0], path);
  }
});

test('a POST that was sent and not answered fails as a GET does', async () => {
  for (const [path, reason] of [
    ['/drop', 'reset'],
    ['/silent', 'timeout'],
  ]) {
    const failure = await send(path!, { method: 'POST', body: 'x', timeoutMs: 600 });
    assert.partialDeepStrictEqual(failure, { kind: 'failure', reason });
  }
});
