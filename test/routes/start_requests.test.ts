import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { loadCrawls } from '../../dist/db/crawl_runs.js';
import type { RequestExtra } from '../../dist/model/request.js';
import { countRows, type TestApi, testApi } from './api.ts';

let api: TestApi;
before(async () => {
  api = await testApi();
});
after(() => api.stop());

const START = 'https://shop.example/';

interface Row {
  url: string;
  extra: RequestExtra | null;
  priority: number;
  reason: string | null;
}

/** Starts a crawl; its requests in the order of fetching. */
async function requestsOf(body: object): Promise<Row[]> {
  const id = await api.start(body);
  const rows = await api.sql<Row[]>`
    select url, extra, priority, reason from requests where crawl_id = ${id} order by rank`;
  return [...rows];
}

/** Pointers and codes of a refused crawl, which stores nothing. */
async function problemsOf(body: object): Promise<string[]> {
  const before = await countRows(api.sql);
  const answer = await api.call('POST', '/crawls', body);
  assert.equal(answer.status, 422, answer.text);
  assert.deepEqual(await countRows(api.sql), before);
  return (answer.json.errors as { pointer: string; code: string }[]).map(({ pointer, code }) => `${pointer} ${code}`);
}

describe('start requests', () => {
  it('are plain GETs, or carry method, headers, body, page and passed values', async () => {
    const startUrls = [
      START,
      { url: START, form: { q: 'a b' }, headers: { 'X-Key': 'k' }, priority: -5 },
      { url: START, json: { q: 1 }, method: 'PUT', page: 'list', pass: { from: ['start'] } },
      { url: `${START}x`, method: 'HEAD', priority: 5 },
      { url: `${START}y`, page: 'list' },
    ];
    const rows = await requestsOf({ startUrls, spider: { pages: [{ name: 'list' }] } });
    assert.deepEqual(
      rows.map(({ url, extra, priority }) => [url.slice(START.length - 1), extra, priority]),
      [
        ['/x', { method: 'HEAD' }, 5],
        ['/', null, 0],
        [
          '/',
          {
            method: 'PUT',
            headers: { 'content-type': 'application/json' },
            body: '{"q":1}',
            page: 'list',
            pass: { from: ['start'] },
          },
          0,
        ],
        ['/y', { page: 'list' }, 0],
        [
          '/',
          {
            method: 'POST',
            headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-key': 'k' },
            body: 'q=a+b',
          },
          -5,
        ],
      ],
    );
  });

  it('are one for one method, URL and body', async () => {
    const post = (body: string) => ({ url: START, body });
    const rows = await requestsOf({ startUrls: [post('a'), START, post('b'), `${START}#top`, post('a')] });
    assert.deepEqual(
      rows.map(({ extra }) => extra?.body ?? null),
      ['a', null, 'b'],
    );
  });

  it('are shown by their URLs; the crawl keeps them as they were given', async () => {
    const startUrls = [START, { url: `${START}login`, form: { password: 'secret' } }];
    const answer = await api.call('POST', '/crawls', { startUrls });
    assert.deepEqual(answer.json.startUrls, [START, `${START}login`]);
    assert.ok(!answer.text.includes('secret'));
    const [row] = await api.sql`select start_urls from crawls where id = ${String(answer.json.id)}`;
    assert.deepEqual(row?.start_urls, startUrls);
    const ledger = await api.call('GET', `/crawls/${answer.json.id}/requests`);
    assert.deepEqual(
      (ledger.json.requests as { url: string; method?: string }[]).map(({ url, method }) => [url, method]),
      [
        [START, undefined],
        [`${START}login`, 'POST'],
      ],
    );
  });

  it('are found by URL, whatever their method; why prefers the GET', async () => {
    const posts = ['a', 'b'].map((body) => ({ url: `${START}?b=1&a=2`, body }));
    const id = await api.start({ startUrls: [...posts, `${START}?a=2&b=1`, { url: `${START}only`, body: 'x' }] });
    const query = (path: string) => `/crawls/${id}/requests${path}url=${encodeURIComponent(`${START}?b=1&a=2`)}`;
    const list = await api.call('GET', query('?'));
    assert.equal((list.json.requests as object[]).length, 3);
    const why = await api.call('GET', query('/why?'));
    assert.equal((why.json.request as { method?: string }).method, undefined);
    const post = await api.call('GET', `/crawls/${id}/requests/why?url=${START}only`);
    assert.equal((post.json.request as { method?: string }).method, 'POST');
    assert.equal((await api.call('GET', `/crawls/${id}/requests/why?url=${START}none`)).status, 404);
  });

  it('are refused with a pointer for each mistake', async () => {
    const startUrls = [
      { url: START, form: {}, json: {} },
      { url: START, method: 'GET', body: 'x' },
      { url: 'nowhere', headers: { Host: 'a' } },
      { url: START, page: 'lst' },
      { url: START, pass: { x: 'x'.repeat(262_144) } },
    ];
    assert.deepEqual(await problemsOf({ startUrls, spider: { pages: [{ name: 'list' }] } }), [
      '/startUrls/0/json conflict',
      '/startUrls/1/method conflict',
      '/startUrls/2/url bad_url',
      '/startUrls/2/headers/Host bad_header',
      '/startUrls/3/page unknown_name',
      '/startUrls/4 too_long',
    ]);
    assert.deepEqual(await problemsOf({ spider: { startUrls: [{ url: START, method: 'HEAD', json: 1 }] } }), [
      '/spider/startUrls/0/method conflict',
    ]);
  });
});

describe('sitemaps', () => {
  it('are start requests of their own kind, after the start URLs; auto asks each robots.txt once', async () => {
    const spider = {
      sitemaps: ['auto', 'https://shop.example/map.xml'],
      scope: { hosts: ['shop.example', 'b.example'] },
    };
    const startUrls = [START, `${START}other`, 'https://b.example/', 'https://off.example/'];
    const rows = await requestsOf({ startUrls, spider });
    assert.deepEqual(
      rows.map(({ url, extra, reason }) => [url, extra?.kind, reason]),
      [
        [START, undefined, null],
        [`${START}other`, undefined, null],
        ['https://b.example/', undefined, null],
        ['https://off.example/', undefined, 'offsite'],
        ['https://shop.example/map.xml', 'sitemap', null],
        ['https://shop.example/robots.txt', 'robots', null],
        ['https://b.example/robots.txt', 'robots', null],
        ['https://off.example/robots.txt', 'robots', 'offsite'],
      ],
    );
  });

  it('need no start URLs and are the scope then; auto needs some', async () => {
    const id = await api.start({ spider: { sitemaps: ['https://www.shop.example/map.xml'] } });
    assert.deepEqual((await loadCrawls(api.sql, [id]))[0]?.scopeHosts, ['www.shop.example', 'shop.example']);
    assert.deepEqual(await problemsOf({ spider: { sitemaps: ['auto'] } }), ['/startUrls required']);
    assert.deepEqual(await problemsOf({ spider: { sitemaps: ['map.xml'] } }), ['/spider/sitemaps/0 bad_url']);
  });
});

describe('params', () => {
  const schema = {
    type: 'object',
    properties: {
      category: { type: ['string', 'array'] },
      page: { type: 'integer', default: 1 },
      note: { type: 'string' },
    },
    required: ['category'],
    additionalProperties: false,
  };
  const spider = { params: schema, startUrls: [`${START}{category}?page={page}`] };

  it('are checked by the spider’s schema, each place with its pointer', async () => {
    assert.deepEqual(await problemsOf({ spider, params: { category: 5, page: 'x', extra: 1 } }), [
      '/params/extra unknown_field',
      '/params/category wrong_type',
      '/params/page wrong_type',
    ]);
    assert.deepEqual(await problemsOf({ spider }), ['/params/category required']);
    assert.deepEqual(await problemsOf({ startUrls: [START], params: { x: 'x'.repeat(70_000) } }), ['/params too_long']);
  });

  it('are kept with the defaults, and shown', async () => {
    const answer = await api.call('POST', '/crawls', { spider, params: { category: 'é/ü' } });
    assert.equal(answer.status, 201, answer.text);
    assert.deepEqual(answer.json.params, { category: 'é/ü', page: 1 });
    assert.deepEqual(answer.json.startUrls, spider.startUrls);
    assert.deepEqual((await loadCrawls(api.sql, [String(answer.json.id)]))[0]?.params, answer.json.params);
    const ledger = await api.call('GET', `/crawls/${answer.json.id}/requests`);
    assert.equal((ledger.json.requests as { url: string }[])[0]?.url, `${START}%C3%A9%2F%C3%BC?page=1`);
  });

  it('without a schema are just values', async () => {
    const answer = await api.call('POST', '/crawls', { startUrls: [START], params: { any: { thing: [1] } } });
    assert.deepEqual(answer.json.params, { any: { thing: [1] } });
  });

  it('fill headers, forms, JSON and bodies as they are; a number stays one in JSON', async () => {
    const startUrls = [
      { url: START, form: { q: '{q}', fix: 'x{n}x' }, headers: { 'x-q': '{n}' } },
      { url: START, json: { q: '{q}', n: '{n}', deep: ['{n}!', { b: '{yes}' }] } },
      { url: START, body: '<q>{q}</q>{unset' },
    ];
    const rows = await requestsOf({ startUrls, params: { q: 'a&b "c"', n: 7, yes: true } });
    assert.deepEqual(
      rows.map(({ extra }) => [extra?.body, extra?.headers?.['x-q']]),
      [
        ['q=a%26b+%22c%22&fix=x7x', '7'],
        ['{"q":"a&b \\"c\\"","n":7,"deep":["7!",{"b":true}]}', undefined],
        ['<q>a&b "c"</q>{unset', undefined],
      ],
    );
  });

  it('that are lists make one start request of each value, and of each pair', async () => {
    const urls = async (params: object, startUrls: unknown[]) =>
      (await requestsOf({ startUrls, params })).map(({ url, extra }) => url.slice(START.length) + (extra?.body ?? ''));
    assert.deepEqual(await urls({ c: ['a', 'b c'] }, [`${START}{c}?again={c}`, START]), [
      'a?again=a',
      'b%20c?again=b%20c',
      '',
    ]);
    assert.deepEqual(await urls({ c: ['a', 'b'], n: [1, 2] }, [{ url: `${START}{c}`, body: '{n}' }]), [
      'a1',
      'a2',
      'b1',
      'b2',
    ]);
    assert.deepEqual(await urls({ urls: [`${START}1`, `${START}2?x=1`] }, ['{urls}']), ['1', '2?x=1']);
  });

  it('that are unknown, empty or too many are refused', async () => {
    const refused: [object, string[]][] = [
      [{ startUrls: [`${START}{categry}`], params: { category: 'a' } }, ['/startUrls/0 unknown_param']],
      [{ startUrls: [{ url: START, form: { a: '{b}' } }], params: {} }, ['/startUrls/0/url unknown_param']],
      [{ startUrls: [`${START}{c}`], params: { c: [] } }, ['/params too_short']],
      [{ startUrls: [`${START}{c}`], params: { c: [...Array(10_001).keys()] } }, ['/startUrls/0 too_long']],
      [
        { startUrls: [`${START}{a}{a2}`], params: { a: [...Array(101).keys()], a2: [...Array(100).keys()] } },
        ['/startUrls/0 too_long'],
      ],
      [
        { startUrls: [{ url: `${START}{c}`, body: 'x'.repeat(90_000) }], params: { c: [...Array(9000).keys()] } },
        ['/startUrls/0 too_long'],
      ],
      [
        { startUrls: [{ url: START, headers: { a: '{v}' } }], params: { v: 'a\r\nb: c' } },
        ['/startUrls/0/headers/a bad_header'],
      ],
      [{ startUrls: [`${START}{v}`], params: { v: 'x'.repeat(3000) } }, ['/startUrls/0 bad_url']],
      [
        { startUrls: [{ url: START, body: '{v}'.repeat(30_000) }], params: { v: 'x'.repeat(60_000) } },
        ['/startUrls/0/body too_long'],
      ],
    ];
    for (const [body, expected] of refused)
      assert.deepEqual(await problemsOf(body), expected, JSON.stringify(body).slice(0, 200));
  });

  it('leave braces alone where neither spider nor crawl knows params', async () => {
    assert.deepEqual(
      (await requestsOf({ startUrls: [`${START}{id}?x={y}`] })).map(({ url }) => url),
      [`${START}%7Bid%7D?x={y}`],
    );
  });
});
