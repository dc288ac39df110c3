import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkTypedPath, jsonLd, microdata, openGraph, typedPath } from '../../dist/parser/structured.js';
import { parseFast } from '../../dist/parser/tree.js';

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const script = (json: string, type = 'application/ld+json') => `<script type="${type}">${json}</script>`;
const ld = (html: string) => plain(jsonLd(parseFast(html)));
const micro = (html: string) => plain(microdata(parseFast(html)));

describe('JSON-LD', () => {
  it('is read in linear time, whatever is around it', () => {
    const blanks = ' '.repeat(1_000_000);
    const script = (text: string) => `<script type="application/ld+json">${text}</script>`;
    assert.deepEqual(ld(script(`{"@type":"A"}${blanks};${blanks}`)), [{ '@type': 'A' }]);
    assert.deepEqual(ld(script(`{"@type":"A"}${blanks}x${blanks}`)), []);
  });
  it('is read from every script, lists and graphs flattened', () => {
    const html =
      script('{"@type":"Product","name":"A"}') +
      script('[{"@type":"B"},{"@type":"C"}]', 'application/ld+json; charset=utf-8') +
      script(
        '{"@context":"https://schema.org","@graph":[{"@type":"D"},{"@graph":[{"@type":"E"}]}]}',
        'APPLICATION/LD+JSON',
      ) +
      script('{"@type":"no"}', 'application/json');
    assert.deepEqual(ld(html), [
      { '@type': 'Product', name: 'A' },
      { '@type': 'B' },
      { '@type': 'C' },
      { '@type': 'D' },
      { '@type': 'E' },
    ]);
  });
  it('overlooks what it is wrapped in', () => {
    for (const text of [
      '<!-- {"@type":"A"} -->',
      '//<![CDATA[\n{"@type":"A"}\n//]]>',
      '/*<![CDATA[*/{"@type":"A"}/*]]>*/',
      '<![CDATA[{"@type":"A"}]]>',
      '{"@type":"A"};',
      '\ufeff {"@type":"A"} ; ',
    ])
      assert.deepEqual(ld(script(text)), [{ '@type': 'A' }], text);
    assert.deepEqual(ld(script('{"@type":"A","x":"line\nbreak\tand tab"}')), [
      { '@type': 'A', x: 'line break and tab' },
    ]);
    assert.deepEqual(ld(script('{"a":"&amp; <b>x</b> &quot;"}')), [{ a: '&amp; <b>x</b> &quot;' }]);
  });
  it('leaves broken scripts out and keeps the others', () => {
    assert.deepEqual(ld(`${script('{"@type":')}${script('')}${script('5')}${script('{"@type":"A"}')}`), [
      { '@type': 'A' },
    ]);
    assert.deepEqual(ld(script('['.repeat(100_000))), []);
  });
  it('is read once a document', () => {
    const document = parseFast(script('{"@type":"A"}'));
    assert.equal(jsonLd(document), jsonLd(document));
  });
});

describe('a typed path', () => {
  const nodes = jsonLd(
    parseFast(
      script(`{"@graph":[
    {"@type":["Product","Thing"],"@id":"#p","name":"Chair","brand":{"@type":"Brand","name":"Oak"},
     "offers":[{"@type":"https://schema.org/Offer","price":5},{"@type":"schema:Offer","price":"7","seller":{"@id":"#s"}}],
     "image":["a.png","b.png"],"description":{"@value":"d","@language":"en"},"gone":null,"isRelatedTo":{"@type":"Product","name":"Desk"}},
    {"@type":"Organization","@id":"#s","name":"Shop","constructor":"c"},
    {"@type":"BreadcrumbList","itemListElement":[[{"name":"x"}],{"name":"y"}]}]}`),
    ),
  );
  const cases: [string, unknown[]][] = [
    ['Product.name', ['Chair', 'Desk']],
    ['Thing.name', ['Chair']],
    ['Product.brand.name', ['Oak']],
    ['Brand.name', ['Oak']],
    ['Product.offers.price', [5, '7']],
    ['Offer.price', [5, '7']],
    ['Product.image', ['a.png', 'b.png']],
    ['Product.description', ['d']],
    ['Product.offers.seller.name', ['Shop']],
    ['Product.@id', ['#p']],
    ['Product.gone', []],
    ['Product.nothing.deeper', []],
    ['Product.constructor', []],
    ['Organization.constructor', ['c']],
    ['Organization.__proto__', []],
    ['BreadcrumbList.itemListElement.name', ['x', 'y']],
    ['Brand', [{ '@type': 'Brand', name: 'Oak' }]],
    ['product.name', []],
    ['Nothing', []],
  ];
  for (const [path, expected] of cases)
    it(path, () => {
      assert.equal(checkTypedPath(path), null);
      assert.deepEqual(typedPath(nodes, path), expected);
    });
  it('that is wrong is said to be', () => {
    const wrong: [string, RegExp][] = [
      ['', /empty; expected a type/],
      ['Product.', /missing beside a dot/],
      ['.name', /missing beside a dot/],
      ['Product..name', /missing beside a dot/],
      ['Product[0].name', /"Product\[0\]" is no name; expected a type and properties, as Product.brand.name/],
      ['Product.brand name', /"brand name" is no name/],
      ['$.Product', /"\$" is no name/],
      ['a'.repeat(1001), /at most 1000/],
    ];
    for (const [path, message] of wrong) assert.match(checkTypedPath(path) ?? '', message);
  });
  it('ends where references would multiply without end', () => {
    const refs = (to: string) => Array.from({ length: 300 }, () => ({ '@id': to }));
    const list = [
      { '@type': 'A', x: refs('#b') },
      { '@id': '#b', x: refs('#c') },
      { '@id': '#c', x: refs('#b') },
    ];
    assert.equal(typedPath(list, 'A.x.x.x.x').length, 10_000);
  });
});

describe('microdata', () => {
  it('is read by the value rules of HTML', () => {
    const html = `<div itemscope itemtype="https://schema.org/Product" itemid=" urn:1 ">
      <h1 itemprop="name"> A <b>chair</b> </h1><meta itemprop="sku" content="S&amp;1"><a itemprop="url" href="/c">c</a>
      <img itemprop="image" src="a.png"><img itemprop="image" src="b.png"><link itemprop="availability" href="InStock">
      <time itemprop="date" datetime="2026-11-23">today</time><time itemprop="when">noon</time>
      <data itemprop="stock" value="7">seven</data><meter itemprop="m" value="3">x</meter><object itemprop="o" data="o.swf"></object>
      <span itemprop="price" content="9.99">£10</span><img itemprop="none">
      <div itemprop="brand" itemscope itemtype="Brand"><i itemprop="name">Oak</i></div>
      <p itemprop="a b">both</p></div>`;
    assert.deepEqual(micro(html), [
      {
        '@type': 'https://schema.org/Product',
        '@id': 'urn:1',
        name: 'A chair',
        sku: 'S&1',
        url: '/c',
        image: ['a.png', 'b.png'],
        availability: 'InStock',
        date: '2026-11-23',
        when: 'noon',
        stock: '7',
        m: '3',
        o: 'o.swf',
        price: '9.99',
        none: '',
        brand: { '@type': 'Brand', name: 'Oak' },
        a: 'both',
        b: 'both',
      },
    ]);
  });
  it('has several top-level items, types, and properties of its own nested items only', () => {
    const html = `<p itemscope itemtype="A B"><i itemprop=x>1</i></p>
      <section itemscope><p itemprop=y itemscope><i itemprop=z>2</i></p></section><i itemprop=lost>3</i>`;
    assert.deepEqual(micro(html), [{ '@type': ['A', 'B'], x: '1' }, { y: { z: '2' } }]);
  });
  it('follows itemref, in document order, and not in a circle', () => {
    const html = `<div itemscope id=amanda itemref="b a missing"></div><p id=a>Name: <i itemprop=x>1</i></p><p id=b itemprop=x>2</p>`;
    assert.deepEqual(micro(html), [{ x: ['1', '2'] }]);
    const circle = `<div itemscope itemref=c><i itemprop=n>1</i></div><p id=c itemprop=k itemscope itemref=c><i itemprop=n>2</i></p>`;
    assert.deepEqual(micro(circle), [{ n: '1', k: { n: '2' } }]);
  });
  it('answers typed paths', () => {
    const nodes = microdata(parseFast('<p itemscope itemtype="http://schema.org/Product"><i itemprop=name>A</i></p>'));
    assert.deepEqual(typedPath(nodes, 'Product.name'), ['A']);
  });
  it('stays bounded where references multiply', () => {
    const level = (i: number) =>
      `<p id=a${i} itemprop=x itemscope itemref="a${i + 1} b${i + 1}"></p><p id=b${i} itemprop=y itemscope itemref="a${i + 1} b${i + 1}"></p>`;
    const html = `<p itemscope itemref="a0 b0"></p>${Array.from({ length: 40 }, (_, i) => level(i)).join('')}`;
    assert.ok(JSON.stringify(microdata(parseFast(html))).length < 30_000_000);
    const nested = `<div itemscope>${'<b itemprop=x>'.repeat(500)}${'word '.repeat(20_000)}</div>`;
    assert.ok(JSON.stringify(microdata(parseFast(nested))).length < 10_000_000);
    assert.equal(microdata(parseFast('<p itemscope>'.repeat(5000))).length, 5000);
  });
  it('takes any name for a property', () => {
    assert.deepEqual(micro('<p itemscope><i itemprop=__proto__>1</i><i itemprop=constructor>2</i></p>'), [
      JSON.parse('{"__proto__":"1","constructor":"2"}'),
    ]);
  });
});

describe('Open Graph', () => {
  it('is read from property and name, with all values', () => {
    const html = `<meta property="og:title" content="A &amp; B"><meta property="og:image" content="1.png">
      <meta property="og:image" content="2.png"><meta property="og:image:width" content="5"><meta name="og:type" content=" book ">
      <meta property="article:author" content="Ann"><meta name="twitter:card" content="summary"><meta name="description" content="d">
      <meta property="OG:Locale" content="en"><meta property="og:" content="x"><meta property="og:site_name"><meta content="y">
      <meta property="og:url twitter:url" content="u"><meta property="og:image" content="1.png">`;
    assert.deepEqual(
      [...openGraph(parseFast(html))],
      [
        ['title', ['A & B']],
        ['image', ['1.png', '2.png']],
        ['image:width', ['5']],
        ['type', ['book']],
        ['article:author', ['Ann']],
        ['twitter:card', ['summary']],
        ['locale', ['en']],
        ['url', ['u']],
        ['twitter:url', ['u']],
      ],
    );
  });
});
