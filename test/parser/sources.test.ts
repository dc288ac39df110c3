import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { extract, type RunOptions } from './helpers.ts';

const PAGE = `<html lang="en"><head><meta property="og:title" content="OG &amp; title"><meta property="og:image" content="a.png">
<meta property="og:image" content="b.png"><script type="application/ld+json">{"@type":"Product","name":"Lamp","brand":{"name":"Oak"},
"offers":[{"price":"10.50"},{"price":12}],"image":["i.png"]}</script>
<script id="__NEXT_DATA__">{"props":{"title":"Next","n":5,"list":[{"a":1},{"a":2}]}}</script></head><body>
<dl><dt>Seller</dt><dd>Ada <b>Ltd</b></dd><dt>Weight</dt><dd>1.234,5 kg</dd></dl>
<ul><li data-json='{"sku":"A\\&quot;1"}'>one</li><li data-json='{"sku":"B"}'>two</li><li data-json='broken'>three</li></ul>
<div itemscope itemtype="https://schema.org/Person"><span itemprop="name">Grace</span></div>
<script>var state = {"x": 7};</script></body></html>`;
const one = (field: unknown, rule: object = {}, options: RunOptions = {}) =>
  (extract({ f: field }, PAGE, rule, options)[0] as { f: unknown }).f;
const all = (field: unknown, rule: object = {}, options: RunOptions = {}) =>
  extract({ f: field }, PAGE, rule, options).map((item) => (item as { f: unknown }).f);

describe('XPath', () => {
  const CASES: [field: unknown, value: unknown][] = [
    [{ xpath: '//dt[.="Seller"]/following-sibling::dd[1]' }, 'Ada Ltd'],
    [{ xpath: '//dt[.="Seller"]/following-sibling::dd[1]', as: 'html' }, 'Ada <b>Ltd</b>'],
    [{ xpath: '//dt[.="Weight"]/following-sibling::dd[1]', as: 'number', locale: 'de' }, 1234.5],
    [[{ xpath: '//li/text()' }], ['one', 'two', 'three']],
    [[{ xpath: '//li' }], ['one', 'two', 'three']],
    [{ xpath: '//li[2]', value: 'data-json' }, '{"sku":"B"}'],
    [{ xpath: '//html/@lang' }, 'en'],
    [{ xpath: 'count(//li)' }, '3'],
    [{ xpath: 'count(//li)', as: 'integer' }, 3],
    [{ xpath: '//nope', default: 0 }, 0],
    [
      { xpath: '//dl', value: { first: 'dt', last: { xpath: './dt[last()]' } } },
      { first: 'Seller', last: 'Weight' },
    ],
    [{ xpath: '//li/text()', value: { a: 'b' } }, null],
    [{ xpath: '//dd[1]/text()', as: 'text' }, 'Ada '],
    [{ xpath: '//dd[1]', match: '(\\w+)$' }, 'Ltd'],
  ];
  it('reads elements, attributes, texts and numbers', () => {
    for (const [field, value] of CASES) assert.deepEqual(one(field), value, JSON.stringify(field));
  });
  it('is asked of the element in each, and of the root where it begins with //', () => {
    assert.deepEqual(all({ xpath: '.' }, { each: 'li' }), ['one', 'two', 'three']);
    assert.deepEqual(all({ xpath: 'count(//li)' }, { each: 'li' }), ['3', '3', '3']);
    assert.deepEqual(all({ xpath: '@data-json', match: 'sku":"(.)' }, { each: { xpath: '//li[position() < 3]' } }), [
      'A',
      'B',
    ]);
    assert.deepEqual(all({ as: 'trim' }, { each: { xpath: '//li/text()' } }), []);
  });
});

describe('JSON inside of HTML', () => {
  const CASES: [field: unknown, value: unknown][] = [
    [{ selector: 'script#__NEXT_DATA__', json: 'props.title' }, 'Next'],
    [{ selector: '#__NEXT_DATA__', json: 'props.n' }, 5],
    [[{ selector: '#__NEXT_DATA__', json: 'props.list[].a' }], [1, 2]],
    [[{ selector: '#__NEXT_DATA__', json: 'props.list', value: { x: 'a' } }], [{ x: 1 }, { x: 2 }]],
    [{ selector: 'li', value: 'data-json', json: 'sku' }, 'A"1'],
    [[{ selector: 'li::attr(data-json)', json: 'sku' }], ['A"1', 'B']],
    [{ selector: 'li:last-child', value: 'data-json', json: 'sku' }, null],
    [{ selector: '.none', json: 'a' }, null],
    [{ selector: 'body > script', match: '"x": ([0-9]+)', as: 'integer' }, 7],
    [{ json: 'props' }, null],
  ];
  it('is read from an element or an attribute; what is no JSON has no value', () => {
    for (const [field, value] of CASES) assert.deepEqual(one(field), value, JSON.stringify(field));
  });
});

describe('structured data', () => {
  const CASES: [field: unknown, value: unknown][] = [
    [{ jsonld: 'Product.brand.name' }, 'Oak'],
    [{ jsonld: 'Product.offers.price', as: 'number' }, 10.5],
    [[{ jsonld: 'Product.offers.price', as: 'number' }], [10.5, 12]],
    [
      { jsonld: 'Product', value: { n: 'name', b: { json: 'brand.name', as: 'uppercase' } } },
      { n: 'Lamp', b: 'OAK' },
    ],
    [[{ jsonld: 'Product.offers', value: { p: { json: 'price', as: 'number' } } }], [{ p: 10.5 }, { p: 12 }]],
    [{ jsonld: 'Book.name', default: 'none' }, 'none'],
    [{ microdata: 'Person.name' }, 'Grace'],
    [{ microdata: 'Person.name', match: '^G(.*)' }, 'race'],
    [{ opengraph: 'title' }, 'OG & title'],
    [[{ opengraph: 'image', as: 'url' }], ['http://site.test/dir/a.png', 'http://site.test/dir/b.png']],
    [{ opengraph: 'nope' }, null],
  ];
  it('is read by type and path', () => {
    for (const [field, value] of CASES) assert.deepEqual(one(field), value, JSON.stringify(field));
  });
});

describe('meta', () => {
  const options: RunOptions = {
    headers: { 'content-language': 'de', 'set-cookie': ['a=1', 'b=2'] },
    params: { category: 'lamps', n: 5, list: ['a', 'b'] },
    extra: { pass: { title: 'From the list', price: 3 } },
  };
  const CASES: [field: unknown, value: unknown][] = [
    [{ meta: 'url' }, 'http://site.test/dir/page.html'],
    [{ meta: 'url', match: '/([^/]+)$' }, 'page.html'],
    [{ meta: 'status', as: 'text' }, '200'],
    [{ meta: 'header:Content-Language', as: 'uppercase' }, 'DE'],
    [{ meta: 'header:set-cookie' }, 'a=1'],
    [[{ meta: 'header:set-cookie', match: '^[^=]+' }], ['a', 'b']],
    [{ meta: 'header:nope', default: '-' }, '-'],
    [{ meta: 'param:category' }, 'lamps'],
    [{ meta: 'param:n' }, 5],
    [{ meta: 'param:list' }, ['a', 'b']],
    [{ meta: 'param:toString' }, null],
    [{ meta: 'passed:title' }, 'From the list'],
    [{ meta: 'passed:price', as: 'number' }, 3],
    [{ meta: 'passed:nope' }, null],
  ];
  it('reads facts of the response, params and what was passed on', () => {
    for (const [field, value] of CASES) assert.deepEqual(one(field, {}, options), value, JSON.stringify(field));
  });
  it('is null where nothing is known', () => {
    assert.equal(one({ meta: 'header:x' }), null);
    assert.equal(one({ meta: 'passed:x' }), null);
    assert.equal(one({ meta: 'param:x' }), null);
  });
});
