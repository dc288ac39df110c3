import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Element } from '../../dist/parser/dom.js';
import { Selector } from '../../dist/parser/selector.js';
import { parseFast } from '../../dist/parser/tree.js';
import { XPath } from '../../dist/parser/xpath.js';

const PAGE = `<html><head><title>Shop &amp; more</title><script>var a = "&amp;" < 1;</script></head><body>
<h1 class="big">One <b>two</b></h1><h1>Three</h1>
<dl><dt>Seller</dt><dd>Ann</dd><dd>Bob</dd><dt>Price</dt><dd>5</dd></dl>
<ul id="list"><li><a href="/a?x=1&amp;y=2">A</a></li><li class="on off"><a href="/b">B &lt; C</a> tail</li><li>none</li></ul>
<p data-n="7" xml:lang="en">x<!-- c -->y</p></body></html>`;

const show = (node: Element | string) => (typeof node === 'string' ? node : `<${node.name}>`);
function select(expression: string, html = PAGE, at: string | null = null): string[] {
  const document = parseFast(html);
  const scope = at === null ? document.root : new Selector(at, false).first(document, document.root)!;
  const xpath = new XPath(expression);
  const nodes = xpath.nodes(document, scope).map(show);
  return xpath.fault === null ? nodes : [`fault ${xpath.fault}`];
}

describe('an XPath', () => {
  const cases: [string, string[]][] = [
    ['//title', ['<title>']],
    ['//title/text()', ['Shop & more']],
    ['//script/text()', ['var a = "&amp;" < 1;']],
    ["//dt[.='Seller']/following-sibling::dd[1]", ['<dd>']],
    ["//dt[.='Seller']/following-sibling::dd[1]/text()", ['Ann']],
    ["//dt[.='Price']/preceding-sibling::dd/text()", ['Ann', 'Bob']],
    ["string(//dt[.='Price']/following-sibling::dd)", ['5']],
    ['//a/@href', ['/a?x=1&y=2', '/b']],
    ['//li[2]/a/text()', ['B < C']],
    ['//li[last()]/text()', ['none']],
    ['//li[position() < 3]/a/@href', ['/a?x=1&y=2', '/b']],
    ['//li[not(a)]/text()', ['none']],
    ["//li[contains(concat(' ', normalize-space(@class), ' '), ' off ')]/a/text()", ['B < C']],
    ['//h1 | //title', ['<title>', '<h1>', '<h1>']],
    ['//ul/li/a | //li[3]/text()', ['<a>', '<a>', 'none']],
    ['(//h1)[2]/text()', ['Three']],
    ['normalize-space(//h1[1])', ['One two']],
    ['count(//li)', ['3']],
    ['count(//li) > 2', ['true']],
    ['1 div 4', ['0.25']],
    ["number('x')", []],
    ['//a/ancestor::ul/@id', ['list']],
    ['//b/parent::*', ['<h1>']],
    ['//b/..', ['<h1>']],
    ['//p/@*', ['7', 'en']],
    ['//p/@xml:lang', ['en']],
    ["string-join(//li/a, ', ')", ['A, B < C']],
    ["tokenize(//li[2]/@class, ' ')", ['on', 'off']],
    ["replace(string(//p/@data-n), '7', '8')", ['8']],
    ['for $a in //a return string-length($a)', ['1', '5']],
    ["xs:date('2026-11-23')", ['2026-11-23T00:00:00.000Z']],
    ["map { 'a': 1 }", ['{"a":1}']],
    ['//nothing', []],
    ['()', []],
    ['/html/body/ul/li[1]/a', ['<a>']],
    ["id('list')/li[3]/text()", ['none']],
    ['//DIV', []],
    ['/', ['<>']],
  ];
  for (const [expression, expected] of cases)
    it(expression, () => {
      assert.deepEqual(select(expression), expected);
    });

  it('is asked of its scope where it is relative, and of the whole page where it begins with /', () => {
    assert.deepEqual(select('.//a/text()', PAGE, 'li.on'), ['B < C']);
    assert.deepEqual(select('a/text()', PAGE, 'li.on'), ['B < C']);
    assert.deepEqual(select('.', PAGE, 'li.on'), ['<li>']);
    assert.deepEqual(select('@class', PAGE, 'li.on'), ['on off']);
    assert.deepEqual(select('//a/text()', PAGE, 'li.on'), ['A', 'B < C']);
    assert.deepEqual(select('preceding-sibling::li/a/@href', PAGE, 'li.on'), ['/a?x=1&y=2']);
  });
  it('takes the first of several nodes where XPath 1.0 does', () => {
    const html = '<p>a<b>-</b>b</p><p>b</p><i class="x y">1</i><i>2</i>';
    assert.deepEqual(select("//p[contains(text(), 'a')]/b/text()", html), ['-']);
    assert.deepEqual(select('normalize-space(//p)', html), ['a-b']);
    assert.deepEqual(select('number(//i) + 1', html), ['2']);
    assert.deepEqual(select("substring-before(//i/@class, ' ')", html), ['x']);
    assert.deepEqual(select('substring(//p, 2, 2)', html), ['-b']);
    assert.deepEqual(select("contains(//nothing, 'x')", html), ['false']);
    assert.deepEqual(select("translate(//i/@class, 'xy', 'z')", html), ['z ']);
  });
  it('matches names with their prefix as it is written', () => {
    const html = '<content:encoded>e</content:encoded><media:thumbnail url="u" xlink:href="h">';
    assert.deepEqual(select('//content:encoded/text()', html), ['e']);
    assert.deepEqual(select("//*[local-name()='encoded']/text()", html), ['e']);
    assert.deepEqual(select('//media:thumbnail/@url', html), ['u']);
    assert.deepEqual(select('//@xlink:href', html), ['h']);
    assert.deepEqual(select('name(//content:*)', html), ['content:encoded']);
  });
  it('keeps the first of two attributes of one name', () => {
    assert.deepEqual(select('//p/@a', '<p a=1 a=2>'), ['1']);
  });
  it('finds nothing and says why where it fails on a page', () => {
    assert.deepEqual(select('xs:date(string(//title))'), [
      'fault FORG0001: Cannot cast Shop & more to xs:date, pattern validation failed.',
    ]);
  });
});

describe('an XPath that does not compile', () => {
  const cases: [string, RegExp][] = [
    ['', /empty/],
    ['//a[', /the \[ at character 4 is never closed/],
    ['//a]', /the \] at character 4 closes nothing/],
    ['//a[@x="1]', /the quote " at character 8 is never closed/],
    ['//a[(@x])', /the \] at character 8 closes nothing/],
    ['a b', /from character 3 on: b/],
    ['//div[@id=]', /from character 11 on: \]/],
    ['//a::text', /from character 4 on: ::text/],
    ['//a[foo()]', /no function foo\(\) with 0 parameters/],
    ["lower-cas('a')", /no function lower-cas\(\) with 1 parameter; near it: lower-case/],
    ['$x', /the variable \$x is not known/],
    ["doc('file:///etc/passwd')", /no function doc\(\)/],
    ["fn:doc('x')", /no function doc\(\)/],
    ["Q{http://www.w3.org/2005/xpath-functions}doc('x')", /without their namespaces/],
    ['collection()', /no function collection\(\)/],
    ["unparsed-text('x')", /no function unparsed-text\(\)/],
    ["environment-variable('PATH')", /no function environment-variable\(\)/],
    ['fn:transform(map {})', /no function transform\(\)/],
    ["fontoxpath:evaluate('1', map {})", /no function evaluate\(\)/],
    ["Q{http://fontoxml.com/fontoxpath}evaluate('1', map {})", /only XPath/],
    ['trace(1)', /no function trace\(\)/],
    ['<a/>', /no XPath/],
    ['insert node <a/> into .', /no XPath/],
    ['declare variable $x := 1; $x', /no XPath/],
    ['1) else (2', /closes nothing/],
    [`//${'a'.repeat(1000)}`, /1002 characters; at most 1000/],
  ];
  for (const [expression, message] of cases)
    it(`is refused with a reason: ${expression.slice(0, 40)}`, () => {
      assert.throws(() => new XPath(expression), message);
    });
});

describe('an XPath on a hostile page', () => {
  it('is not confused by depth or by many siblings', () => {
    assert.deepEqual(select('count(//b)', '<b>'.repeat(3000)), ['3000']);
    assert.equal(select('//li/text()', '<li>x'.repeat(2000)).length, 2000);
    assert.deepEqual(select('//p/@n', `<p ${Array.from({ length: 900 }, (_, i) => `a${i}=1`).join(' ')} n=2>`), ['2']);
  });
  it('reads names that a prototype has', () => {
    assert.deepEqual(select('//constructor/@__proto__', '<constructor __proto__=1>'), ['1']);
    assert.deepEqual(select('//tostring:valueof/text()', '<toString:valueOf>1</toString:valueOf>'), ['1']);
  });
});
