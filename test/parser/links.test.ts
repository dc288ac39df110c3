import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { crawlKey, KnownFingerprints } from '../../dist/model/known.js';
import type { Spider } from '../../dist/model/spider.js';
import { CRAWL, type RunOptions, run } from './helpers.ts';

const FOLLOW: Spider = { pages: [{ follow: [{ selector: 'a' }] }] };
const links = (html: string, spider: Spider = FOLLOW, options: RunOptions = {}) => run(spider, html, options).links;
const brief = (html: string, spider: Spider = FOLLOW, options: RunOptions = {}) =>
  links(html, spider, options).map(({ url, reason, detail }) => [url, reason, detail]);
const anchors = (...hrefs: string[]) => hrefs.map((href) => `<a href="${href}">x</a>`).join('');

describe('links', () => {
  it('are canonical, fingerprinted, each once', () => {
    const found = links(
      anchors('a?b=2&amp;a=1#f', '../dir/a?a=1&b=2', 'http://SITE.test:80/dir/./a?a=1&b=2&utm_source=x', '/%7Ea'),
    );
    assert.deepEqual(
      found.map(({ url }) => url),
      ['http://site.test/dir/a?a=1&b=2', 'http://site.test/~a'],
    );
    assert.match(found[0]!.fp, /^[0-9a-f]{32}$/);
    assert.deepEqual(found[0], { ...found[0], origin: 'http://site.test', priority: 0, reason: null, detail: null });
  });
  it('survive bad ones among them', () => {
    const html = `${anchors('http://[', 'http://a b/', ' \n/ok\t ', 'http://u:p@site.test/user', '/%', 'x\\y')}<a>none</a><a href>empty</a>`;
    const urls = links(html).map(({ url }) => url);
    assert.deepEqual(urls, [
      'http://site.test/ok',
      'http://site.test/user',
      'http://site.test/%',
      'http://site.test/dir/x/y',
    ]);
  });
  it('23: one that is odd or no URL leaves the others as they are', () => {
    const ODD: [string, string | null][] = [
      ['http://[', null],
      ['http://[::1', null],
      ['http://a b/', null],
      ['http://a%00b/', null],
      ['http://1.2.3.4.5.256/', null],
      ['http://site.test:99999/', null],
      ['http://site.test:x/', null],
      ['http:///', null],
      ['//', null],
      ['http://', null],
      [' \n/ok\t ', '/ok'],
      ['/a\tb\nc', '/abc'],
      ['x\\y', '/dir/x/y'],
      ['\\\\site.test\\z', '/z'],
      ['/%', '/%'],
      ['/%zz', '/%zz'],
      ['/%e9', '/%E9'],
      ['/%%32e', '/%%32e'],
      ['/a/%2e%2E/b', '/b'],
      ['?', '/dir/page.html'],
      ['?q=%&r', '/dir/page.html?q=%&r'],
      ['/\ud800', '/%EF%BF%BD'],
      ['http:relative', '/dir/relative'],
      ['/é?é=é', '/%C3%A9?%C3%A9=%C3%A9'],
      ['http://SITE.TEST.:80/dot', '/dot'],
      ['http://user:pw@site.test/user', '/user'],
      ['/a;b=1', '/a;b=1'],
    ];
    for (const [href, path] of ODD) {
      const urls = links(`<a href="/before">x</a><a href="${href}">x</a><a href="/after">x</a>`).map(({ url }) =>
        url.slice(16),
      );
      assert.deepEqual(urls, ['/before', ...(path === null ? [] : [path]), '/after'], JSON.stringify(href));
    }
    const foreign = links(anchors('http://bücher.test/', 'http://[0::1]/x', 'http://0x7f.1/')).map(({ url }) => url);
    assert.deepEqual(foreign, ['http://xn--bcher-kva.test/', 'http://[::1]/x', 'http://127.0.0.1/']);
  });
  it('25: that look like traps are skipped for good, with the rule', () => {
    const found = links(anchors('/a/b/a/b/a/b', '/a/x/x/x', `/${'s/'.repeat(4)}`, 'http://other.test/x/x/x/x'));
    assert.deepEqual(
      found.map(({ reason, detail, origin }) => [reason, detail, origin]),
      [
        ['trap', 'maxRepeatedSegments 3: "a/b" stands 3 times in a row', null],
        [null, null, 'http://site.test'],
        ['trap', 'maxRepeatedSegments 3: "s" is there more than 3 times', null],
        ['offsite', 'scope.hosts', null],
      ],
    );
  });
  it('22: count with their fragments where the crawl says so', () => {
    const html = anchors('#', '#!/a', '#!/b', 'page.html#!/a', '');
    assert.deepEqual(
      links(html).map(({ url }) => url),
      ['http://site.test/dir/page.html'],
    );
    const found = links(html, FOLLOW, { settings: { keepFragment: true } }).map(({ url }) => url.slice(20));
    assert.deepEqual(found, ['/page.html#!/a', '/page.html#!/b']);
  });
  it('of other schemes are told, except those that are no links', () => {
    const found = brief(
      anchors(
        'mailto:a@b.test',
        'tel:1',
        'javascript:go()',
        'data:text/html,x',
        'javascript:void(0)',
        'javascript:;',
        '#top',
        '',
      ),
    );
    assert.deepEqual(
      found.map(([, reason, detail]) => [reason, detail]),
      [
        ['scheme', 'mailto'],
        ['scheme', 'tel'],
        ['scheme', 'javascript'],
        ['scheme', 'data'],
      ],
    );
  });
  it('that are too long are cut', () => {
    const [link] = links(anchors(`/${'x'.repeat(200)}`), FOLLOW, { settings: { maxUrlLength: 100 } });
    assert.equal(link!.reason, 'url_too_long');
    assert.equal(link!.url.length, 100);
  });
  it('outside the scope are offsite', () => {
    const html = anchors('http://other.test/', 'http://sub.site.test/', 'http://notsite.test/');
    assert.deepEqual(
      links(html).map(({ reason }) => reason),
      ['offsite', 'offsite', 'offsite'],
    );
    const spider = { ...FOLLOW, scope: { subdomains: true } };
    assert.deepEqual(
      links(html, spider).map(({ reason }) => reason),
      ['offsite', null, 'offsite'],
    );
  });
  it('are denied by the scope, with the rule', () => {
    const spider = { ...FOLLOW, scope: { allow: ['/dir/'], deny: ['?sort=', '/dir/private/*'] } };
    assert.deepEqual(brief(anchors('a', 'b?sort=1', 'private/c', '/d'), spider), [
      ['http://site.test/dir/a', null, null],
      ['http://site.test/dir/b?sort=1', 'denied', 'scope.deny[0] ?sort='],
      ['http://site.test/dir/private/c', 'denied', 'scope.deny[1] /dir/private/*'],
      ['http://site.test/d', 'denied', 'scope.allow'],
    ]);
  });
  it('are denied by a follow rule unless another takes them', () => {
    const spider: Spider = {
      pages: [
        {
          follow: [
            { selector: 'a', deny: ['/b'], allow: ['/a', '/b', '/c'] },
            { selector: 'b a', priority: 7 },
          ],
        },
      ],
    };
    const found = links(`${anchors('/a', '/b', '/d')}<b>${anchors('/b')}</b>`, spider);
    assert.deepEqual(
      found.map(({ url, reason, detail, priority }) => [url.slice(16), reason, detail, priority]),
      [
        ['/a', null, null, 0],
        ['/b', null, null, 7],
        ['/d', 'denied', 'pages[0].follow[0].allow', 0],
      ],
    );
  });
  it('beyond the depth are told', () => {
    const settings = { maxDepth: 2 };
    assert.deepEqual(brief(anchors('/a'), FOLLOW, { depth: 1, settings }), [['http://site.test/a', null, null]]);
    assert.deepEqual(brief(anchors('/a'), FOLLOW, { depth: 2, settings }), [
      ['http://site.test/a', 'depth', 'maxDepth 2'],
    ]);
    const spider: Spider = { pages: [{ follow: [{ selector: 'a', maxDepth: 1 }] }] };
    assert.deepEqual(brief(anchors('/a'), spider, { depth: 1 }), [
      ['http://site.test/a', 'depth', 'pages[0].follow[0].maxDepth 1'],
    ]);
  });
  it('with nofollow are not followed', () => {
    const html = '<a rel="external NOFOLLOW" href="/a">x</a><a href="/b">x</a>';
    assert.deepEqual(
      brief(html).map(([, reason, detail]) => [reason, detail]),
      [
        ['denied', 'nofollow'],
        [null, null],
      ],
    );
    const meta = '<meta name="ROBOTS" content="noindex, NoFollow">';
    assert.deepEqual(
      brief(meta + anchors('/b')).map(([, reason, detail]) => [reason, detail]),
      [['denied', 'nofollow']],
    );
    assert.equal(links(`<a rel="nofollow" href="/a">x</a>${anchors('/a')}`)[0]!.reason, null);
  });
  it('are resolved against base href', () => {
    assert.deepEqual(
      links(`<base href="/other/">${anchors('a', '#x', '?q=1')}`).map(({ url }) => url),
      ['http://site.test/other/a', 'http://site.test/other/', 'http://site.test/other/?q=1'],
    );
    assert.equal(links(`<base href="javascript:x">${anchors('a')}`)[0]!.url, 'http://site.test/dir/a');
  });
  it('that the ledger surely has are left out', () => {
    const [a] = links(anchors('/a'));
    const known = new KnownFingerprints(1024);
    known.add(crawlKey(CRAWL), a!.fp, 3);
    const urls = (options: RunOptions) =>
      links(anchors('/a', '/b'), FOLLOW, { ...options, known }).map(({ url }) => url.slice(-1));
    assert.deepEqual(urls({ depth: 0 }), ['b']);
    assert.deepEqual(urls({ depth: 2, settings: { maxDepth: 9 } }), ['b']);
    assert.deepEqual(urls({ depth: 1, settings: { maxDepth: 9 } }), ['a', 'b'], 'found nearer than the ledger has it');
    const page = run(FOLLOW, anchors('/a', '/b', 'http://x.test/'), { known, depth: 5, settings: { maxDepth: 9 } });
    assert.equal(page.linkedFps.length, 2);
    assert.deepEqual(run(FOLLOW, anchors('/a'), { known }).linkedFps, []);
  });
  it('are at most 10,000 a page', () => {
    const page = run(FOLLOW, anchors(...Array.from({ length: 12_000 }, (_, i) => `/${i}`)));
    assert.equal(page.links.length, 10_000);
    assert.deepEqual(page.flags, ['links']);
  });
  it('of a million cost a bounded tree', () => {
    const page = run(FOLLOW, '<a href="/x">y</a>'.repeat(1_000_000));
    assert.equal(page.links.length, 1);
    assert.deepEqual(page.flags, ['nodes']);
  });
});

describe('items that PostgreSQL could not hold', () => {
  const items = (fields: object, html: string) =>
    run({ pages: [{ items: [{ fields: fields as Record<string, string> }] }] }, html).items;
  it('are made storable', () => {
    const [item] = items(
      { 'a\0': 'p', ['__proto__']: 'b', n: { selector: 'i', value: { ['__proto__']: 'b' } } },
      '<p>x\0\ud800y</p><b>z</b><i><b>n</b></i>',
    );
    assert.equal(item!.data, '{"a\ufffd":"x\ufffd\ufffdy","__proto__":"z","n":{"__proto__":"n"}}');
  });
  it('are dropped when too large, and the page is cut at 8 MiB', () => {
    const page = run({ pages: [{ items: [{ fields: { p: 'p' } }] }] }, `<p>${'x'.repeat(1_200_000)}</p>`);
    assert.deepEqual({ ...page.dropped }, { too_large: 1 });
    const many = run(
      { pages: [{ items: [{ each: 'i', fields: { p: { value: 'x' }, q: { value: 'x' } } }] }] },
      `<i x="${'x'.repeat(400_000)}"></i>`.repeat(50),
    );
    assert.equal(many.items.length, 10);
    assert.deepEqual(many.flags, ['items']);
  });
});
