import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { numberOf } from '../../dist/parser/numbers.js';
import { extract, run } from './helpers.ts';

const SHOP = `<html><head><title> The
  Shop </title></head><body><h1>Books</h1>
  <article class="product"><h3><a href="../a.html" title="A &amp; B">A &lt;1&gt;</a></h3><p class="price">£51.77</p>
    <img src="/img/a.png"><span class="tag">x</span><span class="tag">y</span>
    <table><tr><th>k1</th><td>v1</td></tr><tr><th>k2</th><td>v2</td></tr></table></article>
  <article class="product"><h3><a href="b.html">B</a></h3><p class="price">1,234.50 USD</p><p class="info">ISBN 978-1</p></article>
  </body></html>`;
const each = { each: 'article.product' };
const one = (field: unknown, html = SHOP, rule = {}) => (extract({ f: field }, html, rule)[0] as { f: unknown }).f;

describe('the extraction dialect', () => {
  it('reads the text of the first match, trimmed and collapsed', () => {
    assert.equal(one('title'), 'The Shop');
    assert.equal(one('h3'), 'A <1>');
    assert.equal(one({ selector: 'title', as: 'text' }), ' The\n  Shop ');
  });
  it('makes one item for each match of each, and reads below it only', () => {
    const items = extract({ title: 'h3 a', price: { selector: '.price', as: 'number' }, tags: ['.tag'] }, SHOP, each);
    assert.deepEqual(items, [
      { title: 'A <1>', price: 51.77, tags: ['x', 'y'] },
      { title: 'B', price: 1234.5, tags: [] },
    ]);
  });
  it('reads attributes and makes URLs absolute', () => {
    assert.equal(one({ selector: 'h3 a', value: 'title' }), 'A & B');
    assert.equal(one({ selector: 'img', value: 'src', as: 'url' }), 'http://site.test/img/a.png');
    assert.equal(one({ selector: 'h3 a', value: 'href', as: 'url' }), 'http://site.test/a.html');
    assert.equal(one('h3 a::attr(href)'), '../a.html');
    assert.equal(one('h1::text'), 'Books');
    assert.deepEqual(one(['h3 a::attr(href)']), ['../a.html', 'b.html']);
  });
  it('reads the element itself where there is no selector', () => {
    assert.deepEqual(extract({ href: { value: 'href' }, name: { as: 'trim' } }, SHOP, { each: 'h3 a' }), [
      { href: '../a.html', name: 'A <1>' },
      { href: 'b.html', name: 'B' },
    ]);
  });
  it('nests', () => {
    const specs = [{ selector: 'table tr', value: { key: 'th', value: 'td' } }];
    assert.deepEqual(one(specs), [
      { key: 'k1', value: 'v1' },
      { key: 'k2', value: 'v2' },
    ]);
    assert.equal(one({ selector: 'nav', value: { a: 'a' } }), null);
  });
  it('takes the first group of match, or the whole match', () => {
    assert.equal(one({ selector: '.info', match: 'ISBN ([0-9-]+)' }), '978-1');
    assert.equal(one({ selector: '.info', match: '[0-9-]+' }), '978-1');
    assert.equal(one({ selector: '.info', match: 'EAN' }), null);
  });
  it('gives null or the default for what is missing', () => {
    assert.equal(one('.nothing'), null);
    assert.equal(one({ selector: '.nothing', default: 0 }), 0);
    assert.equal(one({ selector: 'img', default: 'n/a' }), 'n/a');
  });
  it('knows the transforms', () => {
    const html = '<p> Yes <b>a&amp;b</b></p><i checked="">no</i><u>12 of 30</u>';
    assert.equal(one({ selector: 'p', as: 'html' }, html), ' Yes <b>a&amp;b</b>');
    assert.equal(one({ selector: 'p', as: 'lowercase' }, html), 'yes a&b');
    assert.equal(one({ selector: 'p', as: 'uppercase' }, html), 'YES A&B');
    assert.equal(one({ selector: 'i', as: 'boolean' }, html), false);
    assert.equal(one({ selector: 'i', value: 'checked', as: 'boolean' }, html), true);
    assert.equal(one({ selector: 'u', as: 'integer' }, html), 12);
    assert.equal(one({ selector: 'p', value: 'outerHTML' }, html), '<p> Yes <b>a&amp;b</b></p>');
  });
  it('reads numbers in any notation', () => {
    const cases: [string, number | null][] = [
      ['1,234.50', 1234.5],
      ['£51.77', 51.77],
      ['1 234', 1234],
      ['1.234,50 €', 1234.5],
      ['1,5', 1.5],
      ['1,234', 1234],
      ['-5', -5],
      ['−5', -5],
      ['-£5.00', -5],
      ['10-20', 10],
      ['ISBN-13', 13],
      ['5 10', 5],
      ['.5', 0.5],
      ['1.234.567', 1234567],
      ["1'234.5", 1234.5],
      ['none', null],
      ['', null],
      ['9'.repeat(400), null],
    ];
    for (const [text, value] of cases) assert.equal(numberOf(text), value, text);
  });
  it('knows the page', () => {
    const fields = { u: { meta: 'url' }, s: { meta: 'status' }, d: { meta: 'depth' }, t: { meta: 'fetchedAt' } };
    const [item] = extract(fields, SHOP);
    assert.deepEqual(item, { u: 'http://site.test/dir/page.html', s: 200, d: 0, t: '2026-01-02T00:00:00.000Z' });
  });
  it('drops items without a required field, and counts why', () => {
    const fields = { t: 'h3', isbn: '.info', e: 'img' };
    const page = run({ pages: [{ name: 'book', items: [{ ...each, fields, required: ['isbn'] }] }] }, SHOP);
    assert.deepEqual({ ...page.dropped }, { 'required: isbn': 1 });
    assert.deepEqual(
      page.items.map(({ type }) => type),
      ['book'],
    );
    assert.deepEqual({ ...page.fills }, { book: 1, 'book.t': 1, 'book.isbn': 1 });
    const empty = run({ pages: [{ items: [{ fields, required: ['e'] }] }] }, SHOP);
    assert.deepEqual({ ...empty.dropped }, { 'required: e': 1 });
  });
  it('counts bytes, keeps the order of keys, and the type defaults to item', () => {
    const [item] = run({ pages: [{ items: [{ fields: { z: 'h1', a: 'title' } }] }] }, '<h1>é</h1>').items;
    assert.deepEqual(item, { type: 'item', data: '{"z":"é","a":null}', size: 19 });
  });
  it('applies every page entry that fits', () => {
    const pages = [
      { match: ['/dir/*'], items: [{ type: 'a', fields: { t: 'h1' } }] },
      { match: ['/other/'], items: [{ type: 'b', fields: { t: 'h1' } }] },
      { items: [{ type: 'c', fields: { t: 'h1' } }] },
    ];
    assert.deepEqual(
      run({ pages }, SHOP).items.map(({ type }) => type),
      ['a', 'c'],
    );
  });
  it('makes a page item for a spider without pages', () => {
    const html = `<html lang="en"><head><title>T</title><meta name="Description" content="D"><style>s{}</style>
      <link rel="canonical" href="/canonical"><meta property="og:type" content="article">
      <meta property="article:published_time" content="2026-01-01T10:00:00Z">
      <script type="application/ld+json">{"@type":"Article","dateModified":"January 2, 2026"}</script></head>
      <body><nav><a href="x">X</a></nav><main><h1>H</h1><p>one</p><p>two <b>b</b>old<script>x()</script></p>
      <a href="http://other.test/">O</a></main></body></html>`;
    const page = run({}, html);
    assert.deepEqual(JSON.parse(page.items[0]!.data), {
      title: 'T',
      description: 'D',
      lang: 'en',
      markdown: '# H\n\none\n\ntwo **b**old\n\n[O](http://other.test/)',
      links: ['http://site.test/dir/x'],
      metadata: {
        canonical: 'http://site.test/canonical',
        published: '2026-01-01T10:00:00Z',
        modified: '2026-01-02',
        og: { type: 'article', 'article:published_time': '2026-01-01T10:00:00Z' },
        status: 200,
        contentType: 'text/html',
      },
    });
    assert.equal(page.items[0]!.type, 'page');
    assert.deepEqual(
      page.links.map(({ reason }) => reason),
      [null, 'offsite'],
    );
  });
});

describe('selectors', () => {
  const html = '<ul id=m><li class="a b">1<li>2<li>3</ul><ol><li>4</ol><div><div><p>in</p></div></div>';
  const texts = (selector: string, rule = {}) =>
    extract({ f: [selector] }, html, rule).flatMap((item) => (item as { f: string[] }).f);
  it('match what CSS matches, in document order', () => {
    assert.deepEqual(texts('li'), ['1', '2', '3', '4']);
    assert.deepEqual(texts('ol li, .a'), ['1', '4']);
    assert.deepEqual(texts('#m > li:nth-child(2)'), ['2']);
    assert.deepEqual(texts('li:not(.a)'), ['2', '3', '4']);
    assert.deepEqual(texts('li + li'), ['2', '3']);
    assert.deepEqual(texts('ul:has(.b) li:last-child'), ['3']);
    assert.deepEqual(texts('*[class~=b]'), ['1']);
    assert.deepEqual(texts('LI:contains("4")'), ['4']);
    assert.deepEqual(texts('*').length, 9);
  });
  it('are relative to each', () => {
    assert.deepEqual(texts('> li', { each: 'ol' }), ['4']);
    assert.deepEqual(texts(':scope > li', { each: 'ul' }), ['1', '2', '3']);
    assert.deepEqual(texts('ol li', { each: 'ol' }), ['4']);
    assert.deepEqual(texts('ul li', { each: 'ol' }), []);
    assert.deepEqual(texts('div p', { each: 'body, div' }), ['in', 'in']);
    assert.deepEqual(texts('li', { each: 'ul' }), ['1', '2', '3']);
  });
  it('are those of the page in an object that names no part of it', () => {
    const fields = { o: { value: { all: ['ul > li'], last: { value: { one: 'ol li' } } } } };
    const expected = { o: { all: ['1', '2', '3'], last: { one: '4' } } };
    for (const parser of ['fast', 'html5'] as const)
      assert.deepEqual(extract(fields, html, {}, { settings: { parser } }), [expected], parser);
  });
});

describe('both parsers', () => {
  it('give the same items for sane pages', () => {
    const fields = {
      t: 'title',
      all: ['h3 a'],
      h: { selector: '.info', as: 'html' },
      specs: [{ selector: 'table tr', value: { k: 'th', v: 'td' } }],
    };
    const fast = extract(fields, SHOP, each);
    assert.deepEqual(extract(fields, SHOP, each, { settings: { parser: 'html5' } }), fast);
    const text = '<body><p>a &amp;amp; b &lt; c<script>if (a < b && c) {}</script>';
    const script = { p: 'p', s: 'script', x: { selector: 'p', as: 'html' } };
    assert.deepEqual(extract(script, text, {}, { settings: { parser: 'html5' } }), [
      { p: 'a &amp; b < c', s: 'if (a < b && c) {}', x: 'a &amp;amp; b &lt; c<script>if (a < b && c) {}</script>' },
    ]);
    assert.deepEqual(extract({ p: 'p', s: 'script' }, text), [{ p: 'a &amp; b < c', s: 'if (a < b && c) {}' }]);
  });
});
