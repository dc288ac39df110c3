import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import type { Dispatcher } from 'undici';
import { OriginPools } from '../../dist/downloader/origin_pools.js';
import { type Site, startSite } from '../support/site.ts';

const held: ServerResponse[] = [];
let site: Site;
before(async () => {
  site = await startSite(
    (req, res) => {
      if (req.url === '/held') held.push(res);
      else res.writeHead(200, req.url === '/last' ? { connection: 'close' } : {}).end('x');
    },
    { host: '0.0.0.0' },
  );
});
after(() => site.close());

/** GETs from host 127.0.0.`host`; resolves with the status. */
function get(pools: OriginPools, host: number, path = '/'): Promise<number> {
  return new Promise((resolve, reject) => {
    let status = 0;
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: () => {},
      onResponseStart: (_controller, code) => {
        status = code;
      },
      onResponseData: () => {},
      // One immediate later the connection is given back.
      onResponseEnd: () => process.nextTick(setImmediate, resolve, status),
      onResponseError: (_controller, error) => reject(error),
    };
    pools.dispatch({ origin: `http://127.0.0.${host}:${site.port}`, path, method: 'GET' }, handler);
  });
}

test('13: a connection is used again, and an origin without one is forgotten', async () => {
  const pools = new OriginPools({ pipelining: 1 });
  const before = site.connections;
  assert.deepEqual([await get(pools, 1), await get(pools, 1), await get(pools, 2)], [200, 200, 200]);
  assert.deepEqual([site.connections - before, pools.size], [2, 2]);
  await get(pools, 1, '/last');
  while (pools.size > 1) await new Promise(setImmediate);
  await pools.close();
  assert.equal(pools.size, 0);
});

test('42: beyond the bound the idle connections of the least recently used origin are closed, and none in use', async () => {
  const pools = new OriginPools({ pipelining: 1 }, 2);
  const before = site.connections;
  const first = get(pools, 1, '/held');
  await get(pools, 2);
  await get(pools, 3);
  assert.equal(pools.size, 2, 'the second made room: the first is in use');
  await get(pools, 2);
  assert.equal(site.connections - before, 4);
  held.shift()!.end();
  assert.equal(await first, 200);
  await pools.destroy();
});

test('an origin that refuses connections fails, and is forgotten or in the bound', async () => {
  const pools = new OriginPools({ pipelining: 1 }, 2);
  const closed = await startSite(() => {});
  await closed.close();
  const failed = new Promise<Error>((resolve) => {
    const handler = {
      onRequestStart: () => {},
      onResponseStart: () => {},
      onResponseData: () => {},
      onResponseEnd: () => {},
      onResponseError: (_controller: unknown, error: Error) => resolve(error),
    };
    pools.dispatch({ origin: closed.url, path: '/', method: 'GET' }, handler as Dispatcher.DispatchHandler);
  });
  assert.match(String(await failed), /ECONNREFUSED/);
  for (const host of [1, 2, 3]) await get(pools, host);
  assert.equal(pools.size, 2);
  await pools.destroy();
});
