import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import { DEFAULT_SETTINGS, type SettingsInput } from '../../dist/model/settings.js';
import type { Scope, Spider, StartUrl } from '../../dist/model/spider.js';
import { ParserPool } from '../../dist/parser/pool.js';
import type { StartInput } from '../../dist/parser/start_requests.js';

let pool: ParserPool;
before(async () => {
  pool = new ParserPool({ threads: 1, memoryMb: 128, known: new KnownFingerprints(1024).buffer });
  await pool.start();
});
after(() => pool.stop());

const start = (startUrls: StartUrl[], params: StartInput['params'] = {}, definition: Spider = {}) =>
  pool.planStart({ definition, startUrls, params, isGiven: true, settings: DEFAULT_SETTINGS, hosts: null });

test('first requests are worked out in a thread', async () => {
  const plan = await start(['https://a.example/{n}', { url: 'https://b.example/', form: { n: '{n}' } }], { n: [1, 2] });
  assert.deepEqual(
    plan.requests.map(({ url, extra }) => [url, extra === null ? null : JSON.parse(extra).body]),
    [
      ['https://a.example/1', null],
      ['https://a.example/2', null],
      ['https://b.example/', 'n=1'],
      ['https://b.example/', 'n=2'],
    ],
  );
  assert.deepEqual([plan.problems, plan.scopeHosts.length], [[], 4]);
});

test('a schema whose pattern never comes to an end refuses the params, and holds nobody', async () => {
  const params = { type: 'object', properties: { word: { pattern: '^(a+)+$' } } };
  const [evil, innocent] = await Promise.all([
    start(['https://a.example/'], { word: `${'a'.repeat(50)}!` }, { params }),
    start(['https://a.example/']),
  ]);
  assert.deepEqual(
    evil.problems.map(({ code }) => code),
    ['too_complex'],
  );
  assert.equal(innocent.requests.length, 1);
});

test('cookies and credentials for a host that the crawl does not come to are told at the start', async () => {
  const url = 'https://www.shop.example/';
  const warnings = async (settings: SettingsInput, scope?: Scope, urls: string[] = [url]) => {
    const input = { definition: scope === undefined ? {} : { scope }, startUrls: urls, params: {}, isGiven: true };
    const plan = await pool.planStart({
      ...input,
      settings: { ...DEFAULT_SETTINGS, ...settings },
      hosts: scope?.hosts ?? null,
    });
    return plan.warnings;
  };
  const cookie = (domain: string) => ({ initialCookies: [{ name: 'sid', value: 'hunter2', domain }] });
  const auth = (origin: string) => ({ auth: [{ origin, bearer: 'hunter2' }] });
  const sent: [SettingsInput, Scope?][] = [
    [{}],
    [cookie('www.shop.example')],
    [cookie('.shop.example')],
    [auth('https://www.shop.example')],
    [cookie('api.shop.example'), { hosts: ['shop.example'], subdomains: true }],
    [auth('https://api.example'), { hosts: ['www.shop.example'], calls: ['api.example'] }],
    [cookie('login.example'), { hosts: ['www.shop.example'], redirects: 'any' }],
  ];
  for (const [settings, scope] of sent)
    assert.deepEqual(await warnings(settings, scope), [], JSON.stringify([settings, scope]));
  const bare = await warnings(cookie('shop.example'));
  assert.match(
    bare.join(),
    /the cookie sid .* shop\.example, .* with the domain \.shop\.example it is sent to www\.shop/,
  );
  const other = await warnings({ ...cookie('.books.example'), ...auth('https://books.example') });
  assert.match(
    other.join('\n'),
    /cookie sid .*books\.example, which is no host.*\nthe credentials of auth for https:\/\/books/s,
  );
  assert.doesNotMatch([...bare, ...other].join(), /hunter2/);
});

test('a user name in a start URL is refused without being shown, and where it belongs is said', async () => {
  const { problems } = await start(['https://ada:hunter2@shop.example/a']);
  assert.match(problems[0]?.message ?? '', /"https:\/\/…@shop\.example\/a"; .* `settings\.auth`/);
});
