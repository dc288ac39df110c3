import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extraSize, requestFp } from '../../dist/model/extra.js';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { Link, ParsedPage } from '../../dist/model/outcome.js';
import type { RequestExtra } from '../../dist/model/request.js';
import type { ParsePlanInput } from '../../dist/model/spider.js';
import { boundExtras } from '../../dist/parser/extras.js';
import { TargetCache } from '../../dist/parser/links.js';
import { Plan } from '../../dist/parser/plan.js';
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
