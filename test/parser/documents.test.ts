import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { PageKind } from '../../dist/parser/content.js';
import { kindOf } from '../../dist/parser/content.js';
import { Plan } from '../../dist/parser/plan.js';
import { readPage } from '../../dist/parser/read_page.js';
import { readableKinds } from '../../dist/parser/readable.js';
import { TargetCache } from '../../dist/parser/targets.js';
import { parseXml } from '../../dist/parser/xml_tree.js';
import fc from '../support/property.ts';
import { CRAWL, extract, planInput, type RunOptions, run, shared } from './helpers.ts';

const kind = (text: string, type: string | null) => {
  const { body, bodyBytes } = shared(text);
  return kindOf(body, bodyBytes, type);
};
const one = (field: unknown, text: string, options: RunOptions = {}, rule = {}) =>
  (extract({ f: field, some: { selector: ':not(*)', default: 1 } }, text, rule, options)[0] as { f: unknown }).f;
const xml: RunOptions = { kind: 'xml' };
const json: RunOptions = { kind: 'json' };

const FEED = `<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY big "lol"> <!ENTITY x SYSTEM "file:///etc/passwd">]>
<rss xmlns:media="m"><channel><title>News &amp; more</title>
<item><title><![CDATA[A <b>bold</b> & co]]></title><link>http://site.test/a?x=1&amp;y=2</link><media:content url="i.png"/><pubDate/></item>
<item><Title>wrong case</Title><title>B &big; &copy; &#65;&#x42;</title><link> /b </link></item></channel></rss>`;

describe('the kind of a response', () => {
  const KINDS: [text: string, type: string | null, kind: PageKind | null][] = [
    ['<p>', 'text/html; charset=utf-8', 'html'],
    ['x', 'application/xhtml+xml', 'html'],
    ['<a/>', 'application/xml', 'xml'],
    ['<a/>', 'text/xml', 'xml'],
    ['<a/>', 'application/rss+xml; charset=x', 'xml'],
    ['<a/>', 'image/svg+xml', 'xml'],
    ['{}', 'application/json', 'json'],
    ['{}', 'text/json', 'json'],
    ['{}', 'application/ld+json', 'json'],
    ['a', 'text/plain', 'text'],
    ['a,b', 'text/csv', 'text'],
    ['alert(1)', 'text/javascript', null],
    ['a', 'text/css', null],
    ['%PDF', 'application/pdf', null],
    ['<?xml version="1.0"?><rss/>', 'text/html', 'xml'],
    [' <rss version="2.0">', 'text/html', 'xml'],
    ['<feed xmlns="http://www.w3.org/2005/Atom">', null, 'xml'],
    ['<?xml version="1.0"?><!-- <html> --><catalog>', null, 'xml'],
    ['<?xml version="1.0"?><!DOCTYPE html PUBLIC "x" "y"><html>', 'text/html', 'html'],
    ['<?xml version="1.0"?><html>', null, 'html'],
    ['<!doctype html><rss>', 'text/html', 'html'],
    ['<html>', null, 'html'],
    ['', null, 'html'],
    ['{}', null, null],
    ['hello', null, null],
    ['\u0089PNG', null, null],
  ];
  it('is told by its Content-Type, or by how it begins', () => {
    for (const [text, type, expected] of KINDS) assert.equal(kind(text, type), expected, `${text} as ${type}`);
  });
  it('is read only where something in the spider could read it', () => {
    const kinds = (pages?: object[]) => [...readableKinds(pages === undefined ? {} : { pages: pages as never })].sort();
    assert.deepEqual(kinds(), ['html']);
    assert.deepEqual(kinds([{ items: [{ fields: { a: 'h1' } }] }]), ['html', 'xml']);
    assert.deepEqual(kinds([{ items: [{ fields: { a: { json: 'a' } } }] }]), ['html', 'json', 'xml']);
    assert.deepEqual(kinds([{ items: [{ each: { json: 'a' }, fields: { a: 'b' } }] }]), ['html', 'json', 'xml']);
    assert.deepEqual(kinds([{ follow: [{ json: 'a' }] }]), ['html', 'json', 'xml']);
    assert.deepEqual(kinds([{ items: [{ fields: { a: { selector: 'script', json: 'a' } } }] }]), ['html', 'xml']);
    assert.deepEqual(kinds([{ items: [{ fields: { a: { match: 'x' } } }] }]), ['html', 'text', 'xml']);
    assert.deepEqual(kinds([{ items: [{ fields: { a: { meta: 'url' } } }] }]), ['html', 'json', 'text', 'xml']);
  });
});

describe('a response that nothing in the spider reads', () => {
  it('is refused with its type and why', () => {
    const plan = new Plan(planInput({}), new KnownFingerprints(1024), new TargetCache(), null);
    const job = { crawlId: CRAWL, url: 'http://site.test/', depth: 0, status: 200, fetchedAt: 0, extra: null };
    const refusal = (contentType: string) => {
      try {
        return readPage(plan, { ...job, contentType, ...shared('{}') });
      } catch (error) {
        return [(error as { reason?: string }).reason, (error as Error).message];
      }
    };
    assert.deepEqual(refusal('image/png'), ['content_type', 'image/png']);
    assert.deepEqual(refusal('application/json'), [
      'content_type',
      'application/json: nothing in the spider reads json',
    ]);
  });
});

describe('XML', () => {
  it('is selected from as it is written: case, prefixes, CDATA, and links with a text', () => {
    assert.equal(one('channel > title', FEED, xml), 'News & more');
    assert.deepEqual(one(['item > title'], FEED, xml), ['A <b>bold</b> & co', 'B &big; &copy; AB']);
    assert.deepEqual(one(['Title'], FEED, xml), ['wrong case']);
    assert.deepEqual(one(['TITLE'], FEED, xml), []);
    assert.deepEqual(one(['item > link'], FEED, xml), ['http://site.test/a?x=1&y=2', '/b']);
    assert.equal(one('media\\:content::attr(url)', FEED, xml), 'i.png');
    assert.equal(
      one({ selector: 'media\\:content', value: 'url', as: 'url' }, FEED, xml),
      'http://site.test/dir/i.png',
    );
    assert.equal(one({ xpath: '//*[local-name()="content"]/@url' }, FEED, xml), 'i.png');
    assert.equal(one({ xpath: 'count(//item)', as: 'integer' }, FEED, xml), 2);
    assert.equal(one('pubDate', FEED, xml), '');
  });
  it('keeps attributes as they are written', () => {
    const page = '<a viewBox="1" Href="x"><b ID="2">t</b></a>';
    assert.equal(one({ selector: 'a', value: 'viewBox' }, page, xml), '1');
    assert.equal(one({ selector: 'a', value: 'viewbox' }, page, xml), null);
    assert.equal(one('b[ID="2"]', page, xml), 't');
    assert.equal(one('b[id="2"]', page, xml), null);
  });
  it('makes items and follows its links', () => {
    const spider = {
      pages: [{ items: [{ each: 'item', fields: { t: 'title' } }], follow: [{ selector: 'item > link' }] }],
    };
    const page = run(spider, FEED, xml);
    assert.equal(page.items.length, 2);
    assert.deepEqual(
      page.links.map(({ url }) => url),
      ['http://site.test/a?x=1&y=2', 'http://site.test/b'],
    );
  });
  it('never expands what a DTD declares', () => {
    const lol = `<!DOCTYPE a [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>`;
    assert.equal(one('a', lol, xml), '&b;');
  });
  it('that is not well formed is read as far as it makes sense', () => {
    assert.equal(one('a > b', '<a><b>x</c></b><d></a></nope><a>', xml), 'x');
    assert.equal(one('a', '<a>one', xml), 'one');
    assert.equal(one('style', '<a><style>R&amp;B</style></a>', xml), 'R&B');
  });
  it('is bounded: nesting, nodes, attributes', () => {
    const deep = parseXml(`${'<d>'.repeat(100_000)}x${'</d>'.repeat(100_000)}<e/>`);
    assert.ok(deep.flags.has('depth'));
    assert.equal(deep.elements.length, 100_001);
    assert.equal(deep.root.children.length, 2);
    assert.ok(parseXml(`<r>${'<i/>'.repeat(400_000)}</r>`).flags.has('nodes'));
    const many = Array.from({ length: 5000 }, (_, i) => `a${i}="1"`).join(' ');
    assert.ok(parseXml(`<p ${many}/>`).flags.has('attributes'));
    const stray = parseXml(`<r>${'<a>'.repeat(100_000)}${'</b>'.repeat(200_000)}</r>`);
    assert.equal(stray.elements.length, 100_001);
  });
});

describe('JSON', () => {
  const PAGE = JSON.stringify({
    meta: { total: 2, next: '/api?page=2' },
    items: [
      { id: 1, name: 'Ada', tags: ['x', 'y'], price: '1.234,50 €', html: '<h1>T</h1>', ok: true },
      { id: 2, name: 'Bob', tags: [], price: null, more: { deep: [1, 2] } },
    ],
  });
  it('is read by JMESPath; numbers, booleans, objects and lists stay what they are', () => {
    assert.equal(one({ json: 'meta.total' }, PAGE, json), 2);
    assert.deepEqual(one([{ json: 'items[].name' }], PAGE, json), ['Ada', 'Bob']);
    assert.deepEqual(one({ json: 'items[0].tags' }, PAGE, json), ['x', 'y']);
    assert.deepEqual(one({ json: 'items[1].more' }, PAGE, json), { deep: [1, 2] });
    assert.equal(one({ json: 'items[0].ok' }, PAGE, json), true);
    assert.equal(one({ json: 'nothing' }, PAGE, json), null);
    assert.equal(one({ json: 'nothing', default: 'n/a' }, PAGE, json), 'n/a');
  });
  it('is transformed and matched', () => {
    assert.equal(one({ json: 'items[0].price', as: 'number', locale: 'de' }, PAGE, json), 1234.5);
    assert.equal(one({ json: 'meta.total', as: 'number' }, PAGE, json), 2);
    assert.equal(one({ json: 'meta.total', as: 'text' }, PAGE, json), '2');
    assert.equal(one({ json: 'items[0].ok', as: 'boolean' }, PAGE, json), true);
    assert.equal(one({ json: 'meta.next', match: 'page=([0-9]+)', as: 'integer' }, PAGE, json), 2);
    assert.equal(one({ json: 'meta.next', as: 'url' }, PAGE, json), 'http://site.test/api?page=2');
    assert.deepEqual(one({ json: 'items[].id', as: 'text' }, PAGE, json), ['1', '2']);
    assert.equal(one({ json: 'meta', as: 'number' }, PAGE, json), null);
  });
  it('makes one item for each member, whose plain fields are JMESPath in it', () => {
    const fields = { n: 'name', first: 'tags[0]', all: ['tags[]'], more: { json: 'more', value: { d: ['deep'] } } };
    assert.deepEqual(extract(fields, PAGE, { each: { json: 'items' } }, json), [
      { n: 'Ada', first: 'x', all: ['x', 'y'], more: null },
      { n: 'Bob', first: null, all: [], more: { d: [1, 2] } },
    ]);
  });
  it('has no elements', () => {
    assert.deepEqual(extract({ a: 'h1' }, PAGE, {}, json), []);
    const fields = { a: 'h1', b: { xpath: '//h1' }, c: { jsonld: 'A.b' }, d: { json: 'meta.total' } };
    assert.deepEqual(extract(fields, PAGE, {}, json), [{ a: null, b: null, c: null, d: 2 }]);
  });
  it('that is broken fails the page', () => {
    assert.throws(() => one({ json: 'a' }, '{"a":', json), /JSON/);
  });
  it('holds nothing against the reader: __proto__, depth, size', () => {
    const page = '{"__proto__": {"polluted": 1}, "constructor": 2, "a": {"__proto__": 3}}';
    assert.equal(one({ json: 'polluted' }, page, json), null);
    assert.equal(({} as { polluted?: number }).polluted, undefined);
    assert.equal(one({ json: 'constructor' }, page, json), 2);
    assert.equal(one({ json: 'a.toString' }, page, json), null);
    assert.throws(() => one({ json: 'a' }, '['.repeat(100_000) + ']'.repeat(100_000), json), /deep|nest/i);
    const links = JSON.stringify({ urls: Array.from({ length: 200_000 }, (_, i) => `/p${i}`) });
    const crawled = run({ pages: [{ follow: [{ json: 'urls' }] }] }, links, json);
    assert.equal(crawled.links.length, 10_000);
    assert.deepEqual(crawled.flags, ['links']);
  });
});

describe('plain text', () => {
  it('is one text, read by fields without a source', () => {
    const text: RunOptions = { kind: 'text' };
    assert.equal(one({ match: 'Version: (\\S+)' }, 'a <b> &amp;\nVersion: 1.2&3\n', text), '1.2&3');
    assert.equal(one({ as: 'text' }, 'a <b>\n &amp;', text), 'a <b>\n &amp;');
    assert.deepEqual(extract({ f: { match: 'nothing' } }, 'text', {}, text), []);
  });
});

describe('pages that are no HTML', () => {
  it('make no item of a rule that finds nothing on them, and count it', () => {
    const pages = [{ items: [{ fields: { t: 'h1', u: { meta: 'url' as const } } }] }];
    const page = run({ pages }, '<rss></rss>', xml);
    assert.deepEqual(page.items, []);
    assert.deepEqual({ ...page.dropped }, { empty: 1 });
    assert.equal(run({ pages }, '<p></p>').items.length, 1);
  });
});

describe('any page and any source', () => {
  const FIELDS = [
    'a',
    ['b::attr(x)'],
    { xpath: '//a/@x' },
    [{ xpath: './/text()', as: 'number', locale: 'de' }],
    { json: 'a.b' },
    [{ json: '[]', value: { x: 'y', z: ['@'] } }],
    { selector: 'a', json: 'x' },
    { jsonld: 'Product.name', as: 'date' },
    { microdata: 'Thing', value: { n: 'name' } },
    { opengraph: 'title', as: 'uppercase' },
    { meta: 'header:x', match: '.' },
    { match: '.', as: 'boolean' },
    { as: 'markdown' },
    { selector: 'a', as: 'markdown' },
    { selector: 'p', value: { q: { xpath: '..' }, r: ['a'] } },
  ];
  const FOLLOW = [
    { selector: 'a' },
    { xpath: '//a', value: 'x' },
    { json: '[]', value: 'a' },
    { form: 'form, a', pass: { t: 'b' } },
  ];
  const EACH = [undefined, 'a', { xpath: '//*' }];
  const piece = fc.constantFrom(
    '<a x="1" href="/u">',
    '</a>',
    '<b>',
    '</b>',
    '<p>',
    '<form>',
    '<input name=q>',
    '</form>',
    '<script type="application/ld+json">',
    '</script>',
    '{"@type":"Product","name":["x"]}',
    '{"a":{"b":1}}',
    '[1,{"y":null}]',
    '"',
    '&amp;',
    '&#0;',
    '<![CDATA[',
    ']]>',
    '<!--',
    '-->',
    '<?xml ',
    '?>',
    'text',
    '\0',
    '\ud800',
    '12.5',
    '<div itemscope itemtype="http://x/Thing"><i itemprop=name>',
    '<meta property="og:title" content=t>',
  );
  it('give items and links, and no error but for JSON that is none', () => {
    const kinds = fc.constantFrom<PageKind>('html', 'xml', 'text', 'json');
    fc.assert(
      fc.property(kinds, fc.array(piece, { maxLength: 30 }), fc.constantFrom(...EACH), (kind, pieces, each) => {
        const fields = Object.fromEntries(FIELDS.map((field, i) => [`f${i}`, field]));
        const pages = [{ items: [{ ...(each === undefined ? {} : { each }), fields }], follow: FOLLOW }] as never;
        try {
          for (const { data } of run({ pages }, pieces.join(''), { kind }).items) assert.ok(JSON.parse(data));
        } catch (error) {
          assert.ok(kind === 'json' && /JSON/.test(String(error)), String((error as Error).stack));
        }
      }),
      { numRuns: 300 },
    );
  });
});
