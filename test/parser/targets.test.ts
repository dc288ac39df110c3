import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crawlKey, KnownFingerprints, skippedKey } from '../../dist/model/known.js';
import { Element } from '../../dist/parser/dom.js';
import { compileRule, LinkJudge, PageLinks } from '../../dist/parser/links.js';
import { TargetCache } from '../../dist/parser/targets.js';
import { CRAWL, planInput } from './helpers.ts';

const RULE = compileRule({}, 0, 'pages[0].follow[0]');
const KNOWN = new KnownFingerprints(1024);

/** Counts how often a URL had to be judged. */
class Counting extends LinkJudge {
  judgements = 0;
  override judged(parsed: URL) {
    this.judgements++;
    return super.judged(parsed);
  }
}

function setUp() {
  const judge = new Counting(planInput({}));
  const cache = new TargetCache();
  const read = (hrefs: string[], url = 'http://site.test/a/b/page.html', base = url, plan = 1) => {
    const shared = { nofollow: 'marked' as const, depth: 1, maxDepth: null, max: 10_000, xml: false };
    const links = new PageLinks({ judge, cache, plan, url, base, ...shared });
    for (const [at, href] of hrefs.entries()) links.add(new Element('a', null, at, ['href', href]), RULE);
    return links.fresh(KNOWN, crawlKey(CRAWL), skippedKey(CRAWL)).map((link) => link.url);
  };
  return { judge, cache, read };
}

test('21: a URL is judged once, however it is written and from wherever', () => {
  const { judge, read } = setUp();
  const all = ['http://site.test/a/c/x.html'];
  assert.deepEqual(
    read(['../c/x.html', '../c/x.html#top', '/a/c/x.html#end', 'http://site.test/a/c/x.html', '#top']),
    all,
  );
  assert.deepEqual(read(['x.html#a', ' ./x.html', 'X/../x.html'], 'http://site.test/a/c/y.html'), all);
  assert.equal(judge.judgements, 1);
  assert.deepEqual(read(['x.html'], 'http://site.test/a/c/y.html', undefined, 2), all);
  assert.equal(judge.judgements, 2, 'another plan judges for itself');
});

test('21: what depends on the page is not taken from another page of its directory', () => {
  const { read } = setUp();
  const from = (page: string, base?: string) =>
    read(['?q=1', '\u0001?q=2', 'http:?q=3', '#x', 'http:'], `http://site.test/d/${page}`, base);
  const of = (page: string) => ['?q=1', '?q=2', '?q=3', ''].map((query) => `http://site.test/d/${page}${query}`);
  assert.deepEqual(from('one'), of('one'));
  assert.deepEqual(from('two'), of('two'));
  // With a base of its own, a fragment alone leads to that.
  assert.deepEqual(from('three', 'http://site.test/d/four').toSorted(), of('four').toSorted());
});

test('21: an href is known by what it means, not by how its entities are written', () => {
  const { read } = setUp();
  const hrefs = [
    'x',
    'x&#35;y',
    'x&#36;y',
    'x&amp;y',
    'x&y',
    'x?a&amp;b',
    'x?a&b',
    'x#&amp;',
    'x&num;&dollar;',
    'x&#x2f;y',
  ];
  const urls = ['x', 'x$y', 'x&y', 'x?a&b', 'x/y'].map((path) => `http://site.test/e/${path}`);
  for (const page of ['1', '2', '3?q=/', '4.html?q'])
    assert.deepEqual(read(hrefs, `http://site.test/e/${page}`), urls, page);
  // One directory as it is written, another as it is meant.
  assert.deepEqual(read(['x'], 'http://site.test/e/1', 'http://site.test/e/..'), ['http://site.test/x']);
});

test('21: a page of ever new links leaves those of others in their place', () => {
  const { judge, read } = setUp();
  const menu = Array.from({ length: 100 }, (_, i) => `/menu/${i}`);
  read(menu);
  for (let page = 0; page < 6; page++) {
    read(Array.from({ length: 2000 }, (_, i) => `/${'x'.repeat(500)}/${page}/${i}`));
    judge.judgements = 0;
    read(menu);
    assert.equal(judge.judgements, 0, `after page ${page}`);
  }
});

test('21: what is asked for no more is forgotten', () => {
  const { judge, cache, read } = setUp();
  read(['/first']);
  for (let page = 0; page < 12; page++) read(Array.from({ length: 2000 }, (_, i) => `/${page}/${i}`));
  judge.judgements = 0;
  read(['/first']);
  assert.equal(judge.judgements, 1);
  cache.forget(1);
  read(['/first', '/11/1999']);
  assert.equal(judge.judgements, 3);
});

test('21: a rel counts for its element alone', () => {
  const { judge, cache } = setUp();
  const url = 'http://site.test/';
  const shared = { nofollow: 'marked' as const, depth: 1, maxDepth: null, max: 10_000, xml: false };
  const links = new PageLinks({ judge, cache, plan: 1, url, base: url, ...shared });
  for (const attributes of [
    ['href', '/a', 'rel', 'nofollow'],
    ['href', '/a'],
    ['href', '/a', 'rel', 'nofollow'],
  ])
    links.add(new Element('a', null, 0, attributes), RULE);
  assert.deepEqual(
    [...links.found()].map(({ link }) => link.reason),
    [null],
  );
});
