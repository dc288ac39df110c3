import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extraSize, requestFp } from '../../dist/model/extra.js';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { Link, ParsedPage } from '../../dist/model/outcome.js';
import type { RequestExtra } from '../../dist/model/request.js';
import type { ParsePlanInput, Scope } from '../../dist/model/spider.js';
import { boundExtras } from '../../dist/parser/extras.js';
import { LinkJudge } from '../../dist/parser/links.js';
import { Plan } from '../../dist/parser/plan.js';
import { TargetCache } from '../../dist/parser/targets.js';
import { planInput } from './helpers.ts';

const FROM = 'http://site.test/from';
const SCOPE = { allow: ['/from', '/to'] };

/** The page that a redirect makes. */
function redirect(
  status: number,
  extra: RequestExtra | null,
  to = '/to',
  settings: Partial<ParsePlanInput['settings']> = {},
): ParsedPage {
  const input = { ...planInput({ scope: SCOPE }, settings), scopeHosts: ['site.test', 'other.test'] };
  return new Plan(input, new KnownFingerprints(1024), new TargetCache(), null).redirect(to, {
    url: FROM,
    status,
    extra,
  });
}

const target = (...args: Parameters<typeof redirect>): Link => redirect(...args).links[0]!;

const POST: RequestExtra = {
  method: 'POST',
  headers: { 'content-type': 'text/plain', 'content-language': 'en', authorization: 'secret' },
  body: 'a=1',
  page: 'answer',
  pass: { from: 1 },
};
const PASSED = { page: 'answer', pass: { from: 1 } };

test('301, 302 and 303 turn POST into GET without its body; 307 and 308 send it again', () => {
  for (const status of [301, 302, 303])
    assert.deepEqual(target(status, POST).extra, { headers: { authorization: 'secret' }, ...PASSED }, `${status}`);
  for (const status of [307, 308]) assert.deepEqual(target(status, POST).extra, POST, `${status}`);
});

test('303 turns PUT into GET, 302 does not; neither turns HEAD', () => {
  const put = { method: 'PUT', body: 'x' };
  assert.equal(target(303, put).extra, undefined);
  assert.deepEqual(target(302, put).extra, put);
  for (const status of [301, 302, 303, 307]) assert.deepEqual(target(status, { method: 'HEAD' }).extra?.method, 'HEAD');
});

test('another origin gets no headers, but the type of a body that it gets', () => {
  for (const to of ['http://other.test/to', 'https://site.test/to', 'http://site.test:8080/to']) {
    assert.deepEqual(target(302, POST, to).extra, PASSED);
    const { headers, body } = target(307, POST, to).extra!;
    assert.deepEqual([headers, body], [{ 'content-type': 'text/plain' }, 'a=1']);
  }
  assert.equal(target(302, { headers: { cookie: 'a' } }, 'http://other.test/to').extra, undefined);
});

test('the target has the fingerprint of what is sent to it', () => {
  const url = 'http://site.test/to';
  assert.equal(target(302, null).fp, requestFp(url, null));
  assert.equal(target(302, POST).fp, requestFp(url, null));
  assert.equal(target(307, POST).fp, requestFp(url, POST));
  assert.deepEqual(redirect(307, POST, '/to', { maxDepth: 3 }).linkedFps, [requestFp(url, POST)]);
});

test('a sitemap that has moved is held to the hosts of the scope, not to its patterns', () => {
  const sitemap = { kind: 'sitemap', sitemapDepth: 1 } as const;
  assert.equal(target(301, null, '/moved.xml').reason, 'denied');
  const moved = target(301, sitemap, '/moved.xml');
  assert.deepEqual([moved.reason, moved.extra], [null, sitemap]);
  assert.equal(target(301, sitemap, 'http://elsewhere.test/to').reason, 'offsite');
});

test('what the links of one page carry together is bounded; plain links stay', () => {
  const link = (extra?: RequestExtra) => ({ url: 'http://site.test/', ...(extra === undefined ? {} : { extra }) });
  const links = [...Array(200)].flatMap((_, n) => [link(), link({ pass: { n, text: 'x'.repeat(20_000) } })]) as Link[];
  const page = { links, flags: [] as string[] } as unknown as ParsedPage;
  boundExtras(page);
  assert.equal(page.links.filter(({ extra }) => extra === undefined).length, 200);
  assert.ok(page.links.reduce((sum, { extra }) => sum + extraSize(extra), 0) <= 2 * 1024 * 1024);
  assert.ok(page.links.length > 300);
  assert.deepEqual(page.flags, ['links']);
});

/** The reason that a redirect from site.test is judged with; null: it is followed. */
function reasonOf(to: string, scope: Scope, settings: Partial<ParsePlanInput['settings']> = {}, url = FROM) {
  const plan = new Plan(planInput({ scope }, settings), new KnownFingerprints(1024), new TargetCache(), null);
  return plan.redirect(to, { url, status: 301, extra: null }).links[0]!.reason;
}

test('7: scope.redirects lets a redirect out of the scope’s hosts: nowhere, to the same site, anywhere', () => {
  const cases: [string, string, (string | null)[]][] = [
    ['http://site.test/a', 'http://site.test/b', [null, null, null]],
    ['http://site.test/a', 'http://www.site.test/', ['offsite', null, null]],
    ['http://a.shop.co.uk/', 'https://b.shop.co.uk/', ['offsite', null, null]],
    ['http://a.co.uk/', 'http://b.co.uk/', ['offsite', 'offsite', null]],
    ['http://a.github.io/', 'http://b.github.io/', ['offsite', 'offsite', null]],
    ['http://127.0.0.1/', 'http://127.0.0.1:8080/', ['offsite', null, null]],
    ['http://127.0.0.1/', 'http://127.0.0.2/', ['offsite', 'offsite', null]],
    ['http://[::1]/', 'http://[::2]/', ['offsite', 'offsite', null]],
    ['http://localhost/', 'http://site.test/', [null, null, null]],
    ['http://site.test/a', 'ftp://site.test/', ['scheme', 'scheme', 'scheme']],
  ];
  for (const [from, to, expected] of cases)
    assert.deepEqual(
      (['scope', 'site', 'any'] as const).map((redirects) => reasonOf(to, { redirects }, {}, from)),
      expected,
      `${from} → ${to}`,
    );
  assert.equal(reasonOf('http://other.test/', {}), 'offsite', 'the default');
});

test('7, 25: patterns and traps hold for a redirect that is let out', () => {
  const scope: Scope = { redirects: 'any', deny: ['/private/'], allow: ['/a', '/x', '/private'] };
  assert.equal(reasonOf('http://other.test/a', scope), null);
  assert.equal(reasonOf('http://other.test/private/a', scope), 'denied');
  assert.equal(reasonOf('http://other.test/b', scope), 'denied');
  assert.equal(reasonOf('http://other.test/x/x/x/x', scope), 'trap');
  assert.equal(reasonOf('/x/x/x/x', {}), 'trap');
});

test('7: where fragments count, a redirect without one goes on with that of the URL', () => {
  const url = (to: string, keepFragment: boolean) => {
    const plan = new Plan(planInput({}, { keepFragment }), new KnownFingerprints(1024), new TargetCache(), null);
    return plan.redirect(to, { url: `${FROM}#!/a`, status: 301, extra: null }).links[0]!.url;
  };
  assert.equal(url('/to', true), 'http://site.test/to#!/a');
  assert.equal(url('/to#b', true), 'http://site.test/to#b');
  assert.equal(url('/to', false), 'http://site.test/to');
});

test('7, 8: a page that refreshes is let out by its own site, not by that of its base', () => {
  const judge = new LinkJudge(planInput({ scope: { redirects: 'site' } }));
  const base = 'http://other.test/';
  assert.equal(judge.redirect('/x', FROM, base)?.reason, 'offsite');
  assert.equal(judge.redirect('http://www.site.test/x', FROM, base)?.reason, null);
});
