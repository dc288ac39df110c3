import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { readdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EgressGuard } from '../../dist/downloader/egress.js';
import type { RenderPlan } from '../../dist/model/render.js';
import type { Rendered, RenderJob } from '../../dist/renderer/protocol.js';
import { Renderer } from '../../dist/renderer/renderer.js';
import { CHROMIUM, needsChromium } from '../support/chromium.ts';
import { descendants } from '../support/processes.ts';
import { type Site, startSite } from '../support/site.ts';

let site: Site;
/** Plays an address that may not be reached. */
let inside: Site;
let renderer: Renderer;
before(async () => {
  site = await startSite(answer);
  inside = await startSite((_req, res) => res.end('secret'), { host: '127.0.0.9' });
});
after(async () => {
  await site.close();
  await inside.close();
});

function newRenderer(options: { pages?: number; memoryMb?: number; idleMs?: number } = {}): Renderer {
  const guard = new EgressGuard({ allow: ['127.0.0.1/32'] });
  const open = (url: URL, _proxy: unknown, signal: AbortSignal) => guard.dial(url, signal);
  return new Renderer({ executable: CHROMIUM!, pages: 4, memoryMb: 2048, open, log: () => {}, ...options });
}

/** One page in a browser: `html` is what was fetched for it. */
function render(html: string, job: Partial<RenderJob> = {}): Promise<Rendered> {
  const bytes = Buffer.from(html);
  const body = new SharedArrayBuffer(bytes.length);
  new Uint8Array(body).set(bytes);
  return renderer.render({
    crawlId: 'a',
    url: `${site.url}/page`,
    status: 200,
    responseHeaders: { 'content-type': 'text/html; charset=utf-8' },
    body,
    bodyBytes: bytes.length,
    plan: PLAN,
    userAgent: 'Orbweaver/0.1',
    acceptLanguage: 'de, en;q=0.5',
    ownHeaders: {},
    cookies: [],
    verifyTls: true,
    maxBytes: 1_000_000,
    followsRefresh: true,
    ...job,
  });
}
/** Long, for a machine that has much to do. */
const PLAN: RenderPlan = { waitFor: null, timeoutMs: 60_000, load: ['stylesheet'] };

function answer(req: IncomingMessage, res: ServerResponse): void {
  if (req.url === '/data.json') res.setHeader('content-type', 'application/json').end('{"price":7}');
  else if (req.url === '/app.js') res.setHeader('cache-control', 'max-age=600').end('document.body.append("app")');
  else if (req.url === '/inside') res.writeHead(302, { location: `${inside.url}/by-redirect` }).end();
  else if (req.url?.startsWith('/away?')) res.writeHead(302, { location: req.url.slice(6) }).end();
  else res.end('');
}

function htmlOf(rendered: Rendered): string {
  assert.equal(rendered.kind, 'page', JSON.stringify(rendered));
  return rendered.kind === 'page' ? Buffer.from(rendered.html).toString() : '';
}
const reasonOf = (rendered: Rendered) => (rendered.kind === 'failure' ? rendered.reason : rendered.kind);
const seen = (path: string) => site.hits.filter(({ url }) => url === path);

// A context is a second of CPU: few crawls, and no more pages at once than tests.
describe('pages in a browser', { ...needsChromium, concurrency: 2 }, () => {
  before(() => {
    renderer = newRenderer({ pages: 2 });
  });
  after(() => renderer.stop());

  test('what scripts make of a page is read; the page itself is never fetched by the browser', async () => {
    const page = await render(
      '<!doctype html><title>t</title><p id=p>?</p><script>fetch("/data.json").then(r => r.json()).then(d => p.textContent = "price " + d.price)</script>',
    );
    assert.match(htmlOf(page), /^<!DOCTYPE html><html>.*<p id="p">price 7<\/p>/);
    assert.equal(page.usage.requests, 1);
    assert.equal(seen('/page').length, 0);
    const [asked] = seen('/data.json');
    assert.equal(asked?.headers['user-agent'], 'Orbweaver/0.1');
    assert.match(asked?.headers['accept-language'] ?? '', /^de/);
    assert.equal(asked?.headers['proxy-authorization'], undefined);
  });

  test('scripts of one crawl are fetched once: its pages share the cache of the browser', async () => {
    const html = '<body><script src=/app.js></script>';
    for (const n of [1, 2]) {
      const page = await render(html, { crawlId: 'cache', url: `${site.url}/page${n}` });
      assert.match(htmlOf(page), /app<\/body>/);
    }
    assert.equal(seen('/app.js').length, 1);
  });

  test('nothing that a page tries reaches an address that the guard refuses', async () => {
    const to = inside.url;
    const udp = createSocket('udp4');
    let packets = 0;
    udp.on('message', () => packets++);
    await new Promise<void>((done) => udp.bind(0, '127.0.0.9', done));
    const stun = `stun:127.0.0.9:${udp.address().port}`;
    const page = await render(
      `<body><img src="${to}/img"><link rel=stylesheet href="${to}/css"><link rel=preload as=fetch href="${to}/preload">
       <link rel=dns-prefetch href="//secret.inside.example"><link rel=preconnect href="${to}"><iframe src="${to}/frame"></iframe>
       <script src="/inside"></script>
       <script>
         const socket = '${to}'.replace('http', 'ws');
         fetch('${to}/fetch', { mode: 'no-cors' }).catch(() => {});
         fetch('${to}/post', { method: 'POST', body: 'x', mode: 'no-cors' }).catch(() => {});
         fetch('/inside', { mode: 'no-cors' }).catch(() => {});
         fetch('http://localhost:${inside.port}/name', { mode: 'no-cors' }).catch(() => {});
         navigator.sendBeacon('${to}/beacon');
         try { new WebSocket(socket) } catch {}
         try { new EventSource('${to}/events') } catch {}
         try { window.open('${to}/popup') } catch {}
         new Worker(URL.createObjectURL(new Blob(["fetch('${to}/worker', { mode: 'no-cors' }).catch(() => {}); try { importScripts('${to}/import') } catch {}"])));
         navigator.serviceWorker?.register('/sw.js').catch(() => {});
         document.title = typeof RTCPeerConnection + typeof WebTransport;
         // in a frame that no script was run in before
         const frame = document.body.appendChild(document.createElement('iframe')).contentWindow;
         const Peer = frame.RTCPeerConnection ?? frame.webkitRTCPeerConnection;
         if (Peer) { const peer = new Peer({ iceServers: [{ urls: '${stun}' }] });
           peer.createDataChannel('x'); peer.createOffer().then((offer) => peer.setLocalDescription(offer)); }
         document.body.append('peer ' + Boolean(Peer));
       </script>`,
      { plan: { ...PLAN, load: ['image', 'stylesheet', 'font', 'media'] } },
    );
    assert.match(htmlOf(page), /<title>undefinedundefined<\/title>/);
    assert.deepEqual(inside.hits, []);
    assert.equal(inside.connections, 0, 'not even a connection');
    assert.equal(packets, 0);
    udp.close();
    assert.ok(page.usage.refused > 5, `refused: ${page.usage.refused}`);
    assert.equal(seen('/sw.js').length, 0);
  });

  test('images, fonts and media are not loaded unless they are asked for', async () => {
    const html = '<link rel=stylesheet href=/a.css><img src=/a.png><video src=/a.mp4></video>';
    await render(html, { crawlId: 'kinds' });
    assert.deepEqual([seen('/a.css').length, seen('/a.png').length, seen('/a.mp4').length], [1, 0, 0]);
    await render(html, { crawlId: 'kinds', plan: { ...PLAN, load: ['image'] } });
    assert.deepEqual([seen('/a.css').length, seen('/a.png').length, seen('/a.mp4').length], [1, 1, 0]);
  });

  test('a page that its script leaves is a redirect, and the browser does not go there', async () => {
    for (const script of [
      'setTimeout(() => location.replace("/next"), 50)',
      'document.write("<meta http-equiv=refresh content=\'0;url=/next\'>")',
    ]) {
      const left = await render(`<script>${script}</script>`);
      assert.ok(left.kind === 'redirect', JSON.stringify(left));
      assert.equal(left.url, `${site.url}/next`);
    }
    const refresh = '<meta http-equiv=refresh content="0;url=/next"><p>stays';
    assert.match(htmlOf(await render(refresh, { followsRefresh: false })), /stays/);
    assert.equal(seen('/next').length, 0);
    const pushed = await render('<script>history.pushState(1, "", "/pushed")</script>here');
    assert.match(htmlOf(pushed), /here/);
    for (const script of [
      'location.reload()',
      'if (!document.cookie) { document.cookie = "a=1"; location.reload() }',
    ]) {
      const again = await render(`<p>first<script>${script}</script><p>last`);
      assert.match(htmlOf(again), script.startsWith('if') ? /last/ : /first/);
      assert.ok(again.kind === 'page' && again.flags.includes('render_reload'));
    }
    const posted = await render(
      '<p>form<form method=post action=/next></form><script>document.forms[0].submit()</script>',
    );
    assert.match(htmlOf(posted), /form/);
    assert.equal(seen('/next').length, 0);
  });

  test('`waitFor` reads the page when the element is there, and fails with render_timeout where it never is', async () => {
    const html = '<script>setTimeout(() => { document.body.innerHTML = "<b class=ready>late</b>" }, 900)</script>';
    const plan = { ...PLAN, waitFor: '.ready' };
    assert.match(htmlOf(await render(html, { plan })), /late/);
    const never = await render('<p>', { plan: { ...plan, timeoutMs: 400 } });
    assert.deepEqual(
      { ...never, usage: null },
      { kind: 'failure', reason: 'render_timeout', detail: 'nothing fitted .ready within 400 ms', usage: null },
    );
  });

  test('dialogs, beforeunload and popups hold nobody up', async () => {
    const page = await render(
      '<body onbeforeunload="return 1"><script>alert(1); confirm(2); prompt(3); print(); open("/popup"); document.body.append("past")</script>',
    );
    assert.match(htmlOf(page), /past/);
    assert.equal(seen('/popup').length, 0);
  });

  test('a page that calls another program is read whole', async () => {
    for (const to of ['mailto:a@b', 'intent://shop', 'ftp://127.0.0.9/']) {
      const page = await render(`<script>location.href = '${to}'</script>${'<p>x'.repeat(5000)}<p>end`);
      assert.match(htmlOf(page), /<p>end/, to);
    }
  });

  test('a page that loops for ever fails alone; another crawl goes on meanwhile', async () => {
    const plan = { ...PLAN, timeoutMs: 2000 };
    const looping = render('<script>while (true) {}</script>', { crawlId: 'loop', plan });
    assert.match(htmlOf(await render('<p>fine')), /fine/);
    assert.equal(reasonOf(await looping), 'render_timeout');
    assert.match(htmlOf(await render('<p>next', { crawlId: 'loop' })), /next/);
    assert.equal(renderer.restarts, 0);
  });

  test('a page that asks without end is cut off at 500 requests, and read', async () => {
    const flood = `<body><script>let n = 0; (async () => {
      try { for (;;) await Promise.all([...Array(50)].map(() => fetch('/f' + n++))) }
      catch { document.body.className = 'done' }
    })()</script>`;
    const page = await render(flood, { plan: { ...PLAN, waitFor: '.done' } });
    assert.match(htmlOf(page), /done/);
    assert.ok(page.kind === 'page' && page.flags.includes('render_limit'));
    assert.ok(site.hits.filter(({ url }) => /^\/f\d/.test(url)).length <= 500);
  });

  test('a page that grows beyond `maxBodyBytes` is too_large', async () => {
    const page = await render('<body><script>document.body.append("x".repeat(2e6))</script>');
    assert.equal(reasonOf(page), 'too_large');
  });

  test('cookies go to the browser and come back; headers of the crawl go to its own origin alone', async () => {
    const other = await startSite((_req, res) => res.setHeader('access-control-allow-origin', '*').end(''));
    try {
      const cookie = { name: 'given', value: '1', domain: '127.0.0.1', path: '/', expires: -1 };
      const page = await render(
        `<script>document.cookie = "made=2"; fetch("/own"); fetch("${other.url}/other").catch(() => {});
           fetch("/away?${other.url}/redirected").catch(() => {})</script>`,
        {
          cookies: [{ ...cookie, httpOnly: true, secure: false, sameSite: 'Lax' }],
          ownHeaders: { 'x-key': 'secret' },
        },
      );
      const [own] = seen('/own');
      assert.equal(own?.headers.cookie, 'given=1; made=2');
      assert.equal(own?.headers['x-key'], 'secret');
      assert.equal(seen(`/away?${other.url}/redirected`)[0]?.headers['x-key'], 'secret');
      assert.deepEqual(other.hits.map(({ url }) => url).sort(), ['/other', '/redirected']);
      for (const { headers } of other.hits) assert.equal(headers['x-key'], undefined);
      assert.ok(page.kind === 'page');
      assert.deepEqual(page.cookies.map(({ name, value }) => `${name}=${value}`).sort(), ['given=1', 'made=2']);
    } finally {
      await other.close();
    }
  });
});

describe('a browser that ends', needsChromium, () => {
  after(() => renderer.stop());

  test('it is closed when nothing is rendered, and leaves neither a process nor a file', async () => {
    const directories = () => readdirSync(tmpdir()).filter((name) => name.includes(`-${process.pid}-`));
    renderer = newRenderer({ idleMs: 1 });
    const others = directories();
    assert.match(htmlOf(await render('<p>one')), /one/);
    while (renderer.isRunning || descendants(process.pid).length > 0 || directories().length > others.length)
      await sleep(20);
    await renderer.stop();
  });

  test('one that dies is replaced, and its pages are tried once more', async () => {
    renderer = newRenderer();
    const plan = { ...PLAN, waitFor: '.never' };
    const first = render('<script>fetch("/alive")</script>', { crawlId: 'dies', plan });
    while (seen('/alive').length === 0) await sleep(20);
    for (const pid of descendants(process.pid)) process.kill(pid, 'SIGKILL');
    while (seen('/alive').length === 1) await sleep(20);
    assert.equal(renderer.restarts, 1);
    for (const pid of descendants(process.pid)) process.kill(pid, 'SIGKILL');
    assert.equal(reasonOf(await first), 'render_error');
    assert.equal(seen('/alive').length, 2);
  });

  test('a page of a crawl that is closed is given up, and its place is free', async () => {
    const given = render('<script>for (;;);</script>', { crawlId: 'closed' });
    renderer.closeCrawl('closed');
    await assert.rejects(given, /the crawl was closed/);
    assert.equal(renderer.busy, 0);
    await renderer.stop();
    await assert.rejects(render('<p>'), /the renderer was stopped/);
    assert.deepEqual(descendants(process.pid), []);
  });

  test('a page that takes all memory ends as render_error after a second try, and the next has a browser', async () => {
    renderer = newRenderer({ memoryMb: 700 });
    const hungry = '<script>const held = []; for (;;) held.push(new Uint8Array(1e8).fill(1))</script>';
    const ended = await render(hungry, { crawlId: 'hungry' });
    assert.deepEqual(
      [ended.kind, ended.kind === 'failure' && ended.detail],
      ['failure', 'the browser used more than 700 MB of memory'],
    );
    assert.match(htmlOf(await render('<p>next')), /next/);
    assert.equal(renderer.restarts, 2);
  });
});
