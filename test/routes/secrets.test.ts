import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parsePlanOf } from '../../dist/frontier/crawl_run.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { Spider } from '../../dist/model/spider.js';
import { type TestApi, testApi } from './api.ts';

let api: TestApi;
before(async () => {
  api = await testApi({ proxies: new Set(['office']) });
});
after(() => api.stop());

/** A word that may be in no answer. */
const SECRET = 'h0ney';
const settings = {
  auth: [
    { origin: 'http://one.test', username: 'ann', password: `${SECRET}1` },
    { origin: 'http://two.test', bearer: `${SECRET}2` },
  ],
  proxy: [`http://ann:${SECRET}3@10.0.0.5:3128`, 'office'],
  initialCookies: [{ name: 'sid', value: `${SECRET}4`, domain: 'one.test' }],
  headers: { Authorization: `${SECRET}5`, 'X-API-Key': `${SECRET}6`, accept: 'text/html' },
};
const spider = {
  name: 'shop',
  params: {
    type: 'object',
    properties: {
      user: { type: 'string' },
      password: { type: 'string', writeOnly: true, default: `${SECRET}7` },
      login: { type: 'object', properties: { pin: { type: 'string', format: 'password' } } },
    },
  },
  startUrls: ['http://one.test/', { url: 'http://one.test/in', headers: { cookie: `${SECRET}8`, accept: 'a/b' } }],
  pages: [
    { items: [{ fields: { title: 'h1' } }] },
    { follow: [{ selector: 'a', request: { headers: { 'proxy-authorization': `${SECRET}9` } } }] },
  ],
  pipeline: [{ enrich: { url: 'http://one.test/', headers: { authorization: `${SECRET}10` }, set: { a: 'b' } } }],
  samples: [{ url: 'http://one.test/', params: { password: `${SECRET}11` } }],
  settings,
};
const params = { user: 'ann', password: `${SECRET}12`, login: { pin: `${SECRET}13` } };

const read = async (url: string) => (await api.call('GET', url)).json;
const pointers = ({ json }: { json: Record<string, unknown> }) =>
  (json.errors as { pointer: string; code: string }[]).map(({ pointer, code }) => `${code} ${pointer}`);

describe('secrets are never shown', () => {
  it('in no answer about a crawl, its start and the replay of that included', async () => {
    const body = { spider, params };
    const key = { 'idempotency-key': 'one' };
    const started = await api.call('POST', '/crawls', body, key);
    assert.equal(started.status, 201, started.text);
    const replayed = await api.call('POST', '/crawls', body, key);
    assert.equal(replayed.headers['idempotent-replayed'], 'true');
    const id = String(started.json.id);
    const changed = await api.call('PATCH', `/crawls/${id}`, { settings: { proxy: `http://u:${SECRET}@p.test:1` } });
    assert.equal((changed.json.settings as { proxy: string }).proxy, 'http://(hidden)@p.test:1');
    const answers = [
      started,
      replayed,
      changed,
      await api.call('GET', `/crawls/${id}`),
      await api.call('GET', '/crawls'),
      await api.call('POST', `/crawls/${id}/cancel`),
    ];
    for (const answer of answers) assert.doesNotMatch(answer.text, new RegExp(SECRET));
    const crawl = answers[0]!.json as { settings: typeof settings; params: typeof params };
    assert.deepEqual(crawl.params, { user: 'ann', password: '(hidden)', login: { pin: '(hidden)' } });
    assert.deepEqual(crawl.settings.headers, {
      Authorization: '(hidden)',
      'X-API-Key': '(hidden)',
      accept: 'text/html',
    });
    assert.deepEqual(crawl.settings.proxy, ['http://(hidden)@10.0.0.5:3128', 'office']);
    const [row] = await api.sql`select settings, params from crawls where id = ${id}`;
    assert.equal(row!.settings.auth[1].bearer, `${SECRET}2`, 'they are stored');
    assert.equal(row!.params.password, `${SECRET}12`);
  });

  it('in no answer about a spider; what was read can be changed and stored again', async () => {
    const posted = await api.call('POST', '/spiders', spider);
    assert.equal(posted.status, 201, posted.text);
    const shown = await api.call('GET', '/spiders/shop');
    for (const answer of [posted, shown, await api.call('GET', '/spiders/shop?version=1')])
      assert.doesNotMatch(answer.text, new RegExp(SECRET));
    const definition = shown.json.definition as typeof spider;
    // Another order of the list, and a change beside the secrets.
    definition.settings.auth.reverse();
    const put = await api.call('PUT', '/spiders/shop', { ...definition, description: 'changed' });
    assert.equal(put.status, 200, put.text);
    assert.doesNotMatch(put.text, new RegExp(SECRET));
    const [row] = await api.sql`select definition from spider_versions where name = 'shop' and version = 2`;
    const stored = row!.definition as typeof spider;
    assert.deepEqual(stored.settings.auth, settings.auth.toReversed());
    assert.deepEqual({ ...stored, description: undefined, settings }, { ...spider, description: undefined });
  });

  it('a secret does not pass on to another origin, host or rule', async () => {
    const { definition } = (await read('/spiders/shop')) as { definition: typeof spider };
    definition.settings.auth[0]!.origin = 'http://evil.test';
    definition.settings.proxy[0] = 'http://(hidden)@evil.test:3128';
    definition.settings.initialCookies[0]!.domain = 'evil.test';
    (definition.startUrls[1] as { url: string }).url = 'http://evil.test/';
    definition.pages[1]!.follow![0]!.selector = 'b';
    const put = await api.call('PUT', '/spiders/shop', definition);
    assert.equal(put.status, 422);
    assert.deepEqual(pointers(put).sort(), [
      'hidden /pages/1/follow/0/request/headers/proxy-authorization',
      'hidden /settings/auth/0/bearer',
      'hidden /settings/initialCookies/0/value',
      'hidden /settings/proxy/0',
      'hidden /startUrls/1/headers/cookie',
    ]);
  });

  it('what the API shows is no secret that can be given', async () => {
    const { definition } = (await read('/spiders/shop')) as { definition: typeof spider };
    const again = await api.call('POST', '/spiders', { ...definition, name: 'other' });
    assert.equal(again.status, 422);
    assert.equal(pointers(again).length, 11);
    const started = await api.call('POST', '/crawls', {
      spider: 'shop',
      params: { password: '(hidden)' },
      startUrls: [{ url: 'http://one.test/', headers: { Cookie: '(hidden)' } }],
      settings: { auth: [{ origin: 'http://one.test', bearer: '(hidden)' }] },
    });
    assert.deepEqual(pointers(started).sort(), [
      'hidden /params/password',
      'hidden /settings/auth/0/bearer',
      'hidden /startUrls/0/headers/Cookie',
    ]);
    const id = await api.start();
    const changed = await api.call('PATCH', `/crawls/${id}`, { settings: { proxy: 'http://(hidden)@p.test:1' } });
    assert.deepEqual(pointers(changed), ['hidden /settings/proxy']);
  });

  it('parser threads and scripts get no setting that is one', () => {
    const plan = parsePlanOf({
      id: 'x',
      definition: spider as unknown as Spider,
      params: {},
      scopeHosts: [],
      settings: { ...DEFAULT_SETTINGS, ...settings },
    });
    assert.doesNotMatch(
      JSON.stringify({ ...plan, definition: { ...plan.definition, params: 0, pages: 0, pipeline: 0 } }),
      new RegExp(SECRET),
    );
  });
});

describe('PATCH', () => {
  it('says of a setting that cannot be changed that it cannot, and which can', async () => {
    const id = await api.start();
    const answer = await api.call('PATCH', `/crawls/${id}`, {
      settings: { parser: 'html5', delayMss: 1, userAgent: 'x' },
    });
    assert.deepEqual(pointers(answer), [
      'unchangeable /settings/parser',
      'unknown_field /settings/delayMss',
      'unchangeable /settings/userAgent',
    ]);
    assert.match(answer.text, /start another; these can: concurrency, /);
    const settings = { autothrottle: { targetConcurrency: 2 }, maxPagesPerHost: 5, retryReasons: ['dns'], proxy: null };
    assert.equal((await api.call('PATCH', `/crawls/${id}`, { settings })).status, 200);
  });
});
