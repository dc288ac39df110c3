import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { RequestExtra } from '../../dist/model/request.js';
import type { Spider } from '../../dist/model/spider.js';
import { Plan } from '../../dist/parser/plan.js';
import { readPage } from '../../dist/parser/read_page.js';
import { TargetCache } from '../../dist/parser/targets.js';
import { CRAWL, planInput, shared } from './helpers.ts';

function read(
  body: string | Uint8Array,
  extra: RequestExtra = { kind: 'sitemap' },
  spider: Spider = {},
  type: string | null = 'text/xml',
) {
  const plan = new Plan(planInput(spider), new KnownFingerprints(1024), new TargetCache(), null);
  const job = { crawlId: CRAWL, url: 'http://site.test/map/sitemap.xml', depth: 0, status: 200, fetchedAt: 0 };
  return readPage(plan, { ...job, contentType: type, extra, ...shared(body) });
}
const brief = (...args: Parameters<typeof read>) =>
  read(...args).links.map(({ url, reason, extra }) => [
    url.replace('http://site.test', ''),
    reason,
    extra?.sitemapDepth ?? null,
  ]);
const urlset = (...urls: string[]) =>
  `<?xml version="1.0"?><urlset xmlns="x">${urls.map((url) => `<url><loc>${url}</loc><lastmod>bad date</lastmod></url>`).join('')}</urlset>`;

describe('a sitemap', () => {
  it('brings its pages as links, judged by the scope, and no items', () => {
    const spider: Spider = {
      scope: { deny: ['/private/'] },
      pages: [{ match: ['/x'], items: [{ fields: { a: 'loc' } }] }],
    };
    const page = read(
      urlset(
        'http://site.test/a?b=1&amp;a=2',
        ' /rel ',
        'http://other.test/',
        'http://site.test/private/x',
        'http://[',
        '',
      ),
      undefined,
      spider,
    );
    assert.deepEqual(page.items, []);
    assert.deepEqual(
      page.links.map(({ url, reason }) => [url, reason]),
      [
        ['http://site.test/a?a=2&b=1', null],
        ['http://site.test/rel', null],
        ['http://other.test/', 'offsite'],
        ['http://site.test/private/x', 'denied'],
      ],
    );
    assert.equal(page.links[0]!.extra, undefined);
  });
  const FORMS: [name: string, body: string | Uint8Array, type: string | null, urls: string[]][] = [
    ['a prefix', '<s:urlset xmlns:s="x"><s:url><s:loc>/a</s:loc></s:url></s:urlset>', 'text/xml', ['/a']],
    [
      'images and alternates',
      '<urlset><url><loc>/a</loc><image:image><image:loc>/i.png</image:loc></image:image><xhtml:link href="/de"/></url></urlset>',
      'text/xml',
      ['/a'],
    ],
    [
      'CDATA and entities',
      '<urlset><url><loc><![CDATA[/a?x=1]]></loc></url><url><loc>/b&#x3F;y</loc></url></urlset>',
      'text/xml',
      ['/a?x=1', '/b?y'],
    ],
    ['no declaration, as HTML', '<urlset><url><loc>/a</loc></url></urlset>', 'text/html', ['/a']],
    ['a list of URLs', 'http://site.test/a\r\n\n  http://site.test/b\nnot a url\n', 'text/plain', ['/a', '/b']],
    ['a byte order mark', '\ufeffhttp://site.test/a', 'text/plain', ['/a']],
    [
      'RSS',
      '<rss><channel><link>/home</link><item><link>/a</link><guid>x</guid></item><item><atom:link href="/no"/></item></channel></rss>',
      null,
      ['/a'],
    ],
    ['RDF', '<rdf:RDF><channel><link>/home</link></channel><item><link>/a</link></item></rdf:RDF>', null, ['/a']],
    [
      'Atom',
      '<feed><link href="/home"/><entry><link href="/a"/><link rel="edit" href="/e"/><link rel="alternate" href="/b">x</link></entry></feed>',
      null,
      ['/a', '/b'],
    ],
    ['gzip', gzipSync(urlset('/a')), 'application/x-gzip', ['/a']],
    ['gzip as XML', gzipSync(urlset('/a')), 'text/xml; charset=utf-16', ['/a']],
    ['a gzipped list', gzipSync('http://site.test/a'), 'application/gzip', ['/a']],
    ['nothing', '', 'text/plain', []],
    [
      'bad dates, other languages, images, comments and entries without a place',
      '<urlset><url><lastmod>yesterday</lastmod><loc>/a</loc></url><url><lastmod/><priority>x</priority></url><!-- <url><loc>/no</loc></url> --><url><loc> </loc></url><url><loc><![CDATA[/b]]></loc><lastmod>2026-13-45</lastmod><xhtml:link rel="alternate" hreflang="de" href="/de/b"/><image:image><image:loc>/b.png</image:loc></image:image></url></urlset>',
      null,
      ['/a', '/b'],
    ],
    ['an empty set', '<urlset/>', 'text/xml', []],
    ['a file that ends too soon', '<urlset><url><loc>/a</loc></url><url><loc>/b', 'text/xml', ['/a']],
  ];
  for (const [name, body, type, urls] of FORMS)
    it(`is read with ${name}`, () => {
      assert.deepEqual(
        brief(body, { kind: 'sitemap' }, {}, type).map(([url]) => url),
        urls,
      );
    });
  const REFUSED: [name: string, body: string | Uint8Array, message: RegExp][] = [
    ['an HTML page', '<!doctype html><html><body>not found</body></html>', /an HTML page/],
    ['prose', 'Not Found', /neither XML nor a list of URLs/],
    ['other XML', '<?xml version="1.0"?><opml/>', /root <opml>/],
    ['a damaged gzip file', gzipSync(urlset('/a')).subarray(0, 20), /damaged gzip/],
  ];
  it('is not a bomb: too_large', () => {
    assert.throws(() => read(gzipSync(Buffer.alloc(60 * 1024 * 1024))), {
      reason: 'too_large',
      message: /more than 50 MiB/,
    });
  });
  for (const [name, body, message] of REFUSED)
    it(`is not ${name}: content_type`, () => {
      assert.throws(
        () => read(body),
        (error: Error & { reason?: string }) => {
          assert.equal(error.reason, 'content_type');
          assert.match(error.message, message);
          return true;
        },
      );
    });
  it('has 50,000 URLs at most', () => {
    const many = Array.from({ length: 50_010 }, (_, i) => `/p${i}`);
    const page = read(urlset(...many));
    assert.equal(page.links.length, 50_000);
    assert.deepEqual(page.flags, ['links']);
    assert.equal(read(many.map((path) => `http://site.test${path}`).join('\n')).links.length, 50_000);
  });
});

describe('a sitemap index', () => {
  const index = (...urls: string[]) =>
    `<sitemapindex>${urls.map((url) => `<sitemap><loc>${url}</loc></sitemap>`).join('')}</sitemapindex>`;
  it('brings sitemaps of its host and of hosts in scope, whatever the patterns of the scope', () => {
    const spider: Spider = { scope: { allow: ['/blog/'] } };
    const links = read(
      index('/s1.xml.gz', 's2.xml', 'http://other.test/s.xml', 'ftp://x/'),
      { kind: 'sitemap' },
      spider,
    ).links;
    assert.deepEqual(
      links.map(({ url, reason, extra }) => [url, reason, extra?.kind, extra?.sitemapDepth]),
      [
        ['http://site.test/s1.xml.gz', null, 'sitemap', 1],
        ['http://site.test/map/s2.xml', null, 'sitemap', 1],
        ['http://other.test/s.xml', 'offsite', 'sitemap', 1],
      ],
    );
  });
  it('is followed three deep', () => {
    assert.deepEqual(brief(index('/s'), { kind: 'sitemap', sitemapDepth: 2 }), [['/s', null, 3]]);
    assert.deepEqual(brief(index('/s'), { kind: 'sitemap', sitemapDepth: 3 }), [['/s', 'depth', 4]]);
  });
});

describe('a robots.txt that is asked for sitemaps', () => {
  it('brings those that it names', () => {
    const text =
      '\ufeffSitemap: /a.xml\nUser-agent: *\nDisallow: /\nsitemap : http://site.test/b.xml # x\nSITEMAP:http://other.test/c.xml\nSitemap:\n';
    assert.deepEqual(brief(text, { kind: 'robots' }, {}, 'text/plain'), [
      ['/a.xml', null, 0],
      ['/b.xml', null, 0],
      ['http://other.test/c.xml', 'offsite', 0],
    ]);
    assert.deepEqual(brief('<html>', { kind: 'robots' }, {}, 'text/html'), []);
  });
});
