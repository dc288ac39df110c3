import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { Downloader } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import { ROBOTS_MAX_BYTES, RobotsCache } from '../../dist/downloader/robots.js';
import type { FetchResult } from '../../dist/model/response.js';
import { startSite } from '../support/site.ts';

function response(status: number, text = '', headers: Record<string, string> = {}): FetchResult {
  const bytes = Buffer.from(text);
  const body = new SharedArrayBuffer(bytes.length + 10);
  new Uint8Array(body).set(bytes);
  return { kind: 'response', status, headers, body, bodyBytes: bytes.length, wireBytes: bytes.length, ms: 1 };
}

const FAILURE: FetchResult = {
  kind: 'failure',
  reason: 'connect',
  detail: 'refused',
  status: null,
  wireBytes: 0,
  ms: 1,
};

/** A cache over canned answers by URL; `asked` holds the URLs fetched. */
function cacheOf(answers: (url: string) => FetchResult | null) {
  const asked: string[] = [];
  const robots = new RobotsCache();
  const fetch = async (url: string) => {
    asked.push(url);
    return answers(url);
  };
  const cache = { get: async (origin: string) => (await robots.get(origin, fetch)).verdict };
  return { cache, asked };
}

describe('RobotsCache', () => {
  it('15: asks once however many ask', async () => {
    const { cache, asked } = cacheOf(() => response(200, '\ufeffUser-agent: *\nDisallow: /ö'));
    const verdicts = await Promise.all(Array.from({ length: 50 }, () => cache.get('http://a.example')));
    await cache.get('http://b.example:8080');
    assert.deepEqual(asked, ['http://a.example/robots.txt', 'http://b.example:8080/robots.txt']);
    const text = '\xef\xbb\xbfUser-agent: *\nDisallow: /\xc3\xb6';
    for (const verdict of verdicts) assert.deepEqual(verdict, { kind: 'rules', text }, 'octets');
  });

  it('15: 4xx allows; 5xx and failures are unreachable', async () => {
    const { cache } = cacheOf((url) => (url.includes('dead') ? FAILURE : response(Number(url.slice(8, 11)))));
    for (const status of [400, 401, 403, 404, 410, 304])
      assert.deepEqual(await cache.get(`https://${status}.example`), { kind: 'allow' });
    for (const status of [429, 500, 503]) {
      const verdict = await cache.get(`https://${status}.example`);
      assert.deepEqual(verdict, {
        kind: 'unreachable',
        reason: 'robots_unreachable',
        detail: `robots.txt: status ${status}`,
      });
    }
    assert.deepEqual(await cache.get('https://dead.example'), {
      kind: 'unreachable',
      reason: 'connect',
      detail: 'robots.txt: connect, refused',
    });
    const broken = await new RobotsCache().get('https://a.example', () => Promise.reject(new Error('no')));
    assert.equal(broken.verdict.kind, 'unreachable');
  });

  it('15: follows five redirects, over origins, and no sixth', async () => {
    const hop = (n: number) => response(301, '', { location: `https://h${n}.example/r` });
    const chain = (last: number) => (url: string) => {
      const at = Number(/h(\d)/.exec(url)?.[1] ?? 0);
      return at === last ? response(200, 'rules') : hop(at + 1);
    };
    const five = cacheOf(chain(5));
    assert.deepEqual(await five.cache.get('https://a.example'), { kind: 'rules', text: 'rules' });
    assert.equal(five.asked.length, 6);
    const six = cacheOf(chain(6));
    assert.deepEqual(await six.cache.get('https://a.example'), { kind: 'allow' });
    assert.equal(six.asked.length, 6);
    const odd = cacheOf(() => response(302, '', { location: 'ftp://a.example/' }));
    assert.deepEqual(await odd.cache.get('https://a.example'), { kind: 'allow' });
    const relative = cacheOf((url) =>
      url.endsWith('/x') ? response(200, 'x') : response(308, '', { location: '/x' }),
    );
    assert.deepEqual(await relative.cache.get('https://a.example'), { kind: 'rules', text: 'x' });
  });

  it('15: is cached for a day; an unreachable one is asked again after a second, and ever more rarely, to a minute', async () => {
    mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
    try {
      let answer: FetchResult = response(500);
      const { cache, asked } = cacheOf(() => answer);
      await cache.get('http://a.example');
      for (const [n, seconds] of [1, 2, 4, 8, 16, 32, 60, 60].entries()) {
        mock.timers.tick(seconds * 1000 - 1);
        await cache.get('http://a.example');
        assert.equal(asked.length, n + 1, `not within ${seconds} s`);
        mock.timers.tick(1);
        await cache.get('http://a.example');
        assert.equal(asked.length, n + 2, `after ${seconds} s`);
      }
      answer = response(200, 'rules');
      mock.timers.tick(60_000);
      assert.equal((await cache.get('http://a.example')).kind, 'rules');
      const before = asked.length;
      mock.timers.tick(24 * 3600 * 1000 - 1);
      await cache.get('http://a.example');
      assert.equal(asked.length, before);
      mock.timers.tick(1);
      await cache.get('http://a.example');
      assert.equal(asked.length, before + 1);
    } finally {
      mock.timers.reset();
    }
  });

  it('15: rules that were read hold for 30 days more while the file is unreachable', async () => {
    const day = 24 * 3600 * 1000;
    mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
    try {
      let answer: FetchResult = response(200, 'rules');
      const { cache } = cacheOf(() => answer);
      await cache.get('http://a.example');
      answer = response(503);
      for (const days of [1, 5, 23.9]) {
        mock.timers.tick(days * day);
        assert.deepEqual(await cache.get('http://a.example'), { kind: 'rules', text: 'rules' });
      }
      mock.timers.tick(0.2 * day);
      assert.equal((await cache.get('http://a.example')).kind, 'unreachable');
    } finally {
      mock.timers.reset();
    }
  });

  it('a fetch that was not begun is forgotten, and what was known before is not', async () => {
    mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
    try {
      let answer: FetchResult | null = null;
      const { cache } = cacheOf(() => answer);
      assert.equal((await cache.get('http://a.example')).kind, 'unasked');
      answer = response(200, 'rules');
      assert.equal((await cache.get('http://a.example')).kind, 'rules');
      answer = null;
      mock.timers.tick(25 * 3600 * 1000);
      assert.equal((await cache.get('http://a.example')).kind, 'unasked');
      answer = response(503);
      assert.equal((await cache.get('http://a.example')).kind, 'rules');
    } finally {
      mock.timers.reset();
    }
  });

  it('is bounded: the least recently asked origins go', async () => {
    const { cache, asked } = cacheOf(() => response(200, 'x'.repeat(ROBOTS_MAX_BYTES)));
    await cache.get('http://first.example');
    for (let i = 0; i < 140; i++) {
      await cache.get(`http://${i}.example`);
      await cache.get('http://139.example');
    }
    const before = asked.length;
    await cache.get('http://139.example');
    assert.equal(asked.length, before);
    await cache.get('http://first.example');
    assert.equal(asked.length, before + 1);
  });

  it('is bounded as it is told to be', async () => {
    const robots = new RobotsCache({ origins: 10, length: 1000 });
    let asked = 0;
    const get = (i: number, text: string) =>
      robots.get(`http://${i}.example`, async () => {
        asked++;
        return response(200, text);
      });
    for (let i = 0; i < 20; i++) await get(i, 'x');
    await get(19, 'x');
    await get(0, 'x'.repeat(1000));
    assert.equal(asked, 21);
    await get(19, 'x');
    assert.equal(asked, 22);
  });

  it('15: a long one is cut, not refused', async () => {
    const site = await startSite((_req, res) => res.end('# 23456789\n'.repeat(100_000)));
    const downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8'] }) });
    const options = { headers: {}, timeoutMs: 60_000, maxBodyBytes: ROBOTS_MAX_BYTES, verifyTls: true, cutAtCap: true };
    const { verdict } = await new RobotsCache().get(site.url, (url) => downloader.fetch({ ...options, url }));
    assert.equal(verdict.kind === 'rules' && verdict.text.length, ROBOTS_MAX_BYTES);
    await downloader.close();
    await site.close();
  });
});
