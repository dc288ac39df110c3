import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Downloader } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import type { FetchResult } from '../../dist/model/response.js';
import { freePort } from '../support/free_port.ts';
import { type Site, startSite } from '../support/site.ts';
import { LOCALHOST } from './certificates.ts';

const isHere = spawnSync('tinyproxy', ['-v']).error === undefined;
// Where the servers are meant to be there, their absence is a failure and not a reason to skip.
const skip = isHere || process.env.CI_SERVERS === '1' ? false : 'tinyproxy is not installed';

async function waitForPort(port: number): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(20)) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
  }
  assert.fail('tinyproxy does not listen');
}

/** Starts tinyproxy with user `crawler`, password `secret`. */
async function startTinyproxy() {
  const folder = await mkdtemp(join(tmpdir(), 'orbweaver-tinyproxy-'));
  const port = await freePort();
  const lines = [
    `Port ${port}`,
    'Listen 127.0.0.1',
    'Allow 127.0.0.1',
    'BasicAuth crawler secret',
    'Timeout 30',
    'LogLevel Critical',
  ];
  await writeFile(join(folder, 'tinyproxy.conf'), `${lines.join('\n')}\n`);
  const child = spawn('tinyproxy', ['-d', '-c', join(folder, 'tinyproxy.conf')], { stdio: 'ignore' });
  const gone = once(child, 'exit');
  await waitForPort(port);
  const stop = async () => {
    child.kill('SIGKILL');
    await gone;
    await rm(folder, { recursive: true, force: true });
  };
  return { port, stop };
}

describe('tinyproxy', { skip }, () => {
  let proxy: Awaited<ReturnType<typeof startTinyproxy>>;
  let site: Site;
  let downloader: Downloader;
  before(async () => {
    proxy = await startTinyproxy();
    site = await startSite((req, res) => res.end(`${req.headers.host} ${req.url} ${req.headers.via ?? 'untouched'}`));
    const named = new Map([['tiny', `http://crawler:secret@localhost:${proxy.port}`]]);
    downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8'] }), proxies: named });
  });
  after(async () => {
    await downloader.close();
    await site.close();
    await proxy.stop();
  });

  const fetch = (url: string, setting: string, verifyTls = true) =>
    downloader.fetch({ url, proxy: setting, verifyTls, headers: {}, timeoutMs: 10_000, maxBodyBytes: 1_000_000 });
  const textOf = (result: FetchResult) =>
    result.kind === 'response' ? Buffer.from(result.body, 0, result.bodyBytes).toString() : JSON.stringify(result);

  it('http by name and by URL, over one tunnel each', async () => {
    for (const setting of ['tiny', `http://crawler:secret@127.0.0.1:${proxy.port}`])
      for (const path of ['/a', '/b', '/c'])
        assert.equal(
          textOf(await fetch(`http://localhost:${site.port}${path}`, setting)),
          `localhost:${site.port} ${path} untouched`,
        );
    assert.equal(site.connections, 2);
  });

  it('https', async () => {
    const server = createTlsServer(LOCALHOST, (_req, res) => res.end('secure'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    assert.equal(textOf(await fetch(`https://localhost:${port}/`, 'tiny', false)), 'secure');
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('wrong credentials, and a target that is not there, are the proxy’s word', async () => {
    const wrong = await fetch(site.url, `http://crawler:wrong@127.0.0.1:${proxy.port}`);
    assert.partialDeepStrictEqual(wrong, { kind: 'failure', reason: 'proxy' });
    assert.match(wrong.kind === 'failure' ? wrong.detail : '', /status 40[17]/);
    const nowhere = await fetch(`http://127.0.0.1:${await freePort()}/`, 'tiny');
    assert.partialDeepStrictEqual(nowhere, { kind: 'failure', reason: 'proxy' });
    assert.match(nowhere.kind === 'failure' ? nowhere.detail : '', /the proxy tiny answered CONNECT with status 50\d/);
  });
});
