import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Parser } from 'htmlparser2';
import { type Element, htmlOf, textOf } from '../../dist/parser/dom.js';
import { decodeAttribute, decodeText } from '../../dist/parser/entities.js';
import { parseFast } from '../../dist/parser/tree.js';

/** What htmlparser2's own Parser makes of it, as open and close events. */
function reference(html: string): string {
  let out = '';
  const parser = new Parser({
    onopentag: (name, attributes) => {
      out += `<${name}${Object.entries(attributes)
        .map(([k, v]) => ` ${k}=${v}`)
        .join('')}>`;
    },
    ontext: (text) => {
      out += text;
    },
    onclosetag: (name) => {
      out += `</${name}>`;
    },
  });
  parser.end(html);
  return out;
}

function ours(element: Element): string {
  return element.children
    .map((child) => {
      if (typeof child === 'string') return ['script', 'style'].includes(element.name) ? child : decodeText(child);
      let attributes = '';
      for (let i = 0; i < (child.attributes?.length ?? 0); i += 2)
        attributes += ` ${child.attributes![i]}=${child.attribute(child.attributes![i]!)}`;
      return `<${child.name}${attributes}>${ours(child)}</${child.name}>`;
    })
    .join('');
}

const PAGES = [
  '<p>a<p>b<div>c</div>',
  '<ul><li>1<li>2<ul><li>x</ul><li>3</ul>',
  '<table><tr><td>1<td>2<tr><th>3</table>',
  "<br></br><img src=a><input disabled value='x\"y'>",
  'a</p>b',
  '<b><i>x</b>y</i>',
  '<svg><path d="1"/><g/>t</svg><div/>x',
  '<script>a<b</script><style>p>a</style><title>a&amp;<b></title>',
  '<!-- c --><!doctype html><?x y?>z',
  '<select><option>1<option>2</select>',
  '<dl><dt>a<dd>b<dt>c</dl>',
  '<A HREF="X&amp;y=1&copy=2&lt">T</A>',
  'a < b && c &lt;d&gt; &eacute;&#233;&#x80;&hellip;&notanentity;',
  '<div a=1 b c="2"d>x</div>',
  '</x><y>1</Y >2',
  '<p>&nbsp;&#0;&#xD800;&#55555555;',
];

describe('the fast tree', () => {
  it('is what htmlparser2 makes of a page', () => {
    for (const html of PAGES) assert.equal(ours(parseFast(html).root), reference(html), html);
  });
  it('knows each subtree as a run of elements', () => {
    const { elements, root } = parseFast('<a><b><c></c></b><d></d></a><e></e>');
    assert.deepEqual(
      elements.map(({ name, at, last }) => `${name}${at}-${last}`),
      ['a0-3', 'b1-2', 'c2-2', 'd3-3', 'e4-4'],
    );
    assert.equal(root.last, 4);
  });
  it('decodes character references', () => {
    assert.equal(decodeText('&amp;&lt;&#65;&#x42;&eacute;&notin;&amp'), '&<ABé∉&');
    assert.equal(decodeText('&#128;&#0;'), '€\ufffd');
    assert.equal(decodeAttribute('?a=1&copy=2&amp;b="&quot;&lt;'), '?a=1&copy=2&b=""<');
  });
  it('cuts depth at 512, and keeps what is deeper at the cap', () => {
    const document = parseFast(`${'<div>'.repeat(100_000)}<p>deep</p>${'</div>'.repeat(100_000)}<p>after</p>`);
    let deepest = 0;
    for (const element of document.elements) {
      let depth = 0;
      for (let at: Element | null = element; at !== null; at = at.parent) depth++;
      deepest = Math.max(deepest, depth - 1);
      if (element.at > 2000 && element.name !== 'p') break;
    }
    assert.equal(deepest, 513);
    assert.deepEqual([...document.flags], ['depth']);
    const texts = document.byTag('p').map((p) => [textOf(p, 100), p.parent!.name]);
    assert.deepEqual(texts, [
      ['deep', 'div'],
      ['after', ''],
    ]);
    assert.equal(textOf(document.root, 1000), 'deepafter');
    assert.ok(htmlOf(document.root, 10_000_000).includes('deep'));
  });
  it('cuts nodes and attributes', () => {
    const nodes = parseFast('<i></i>'.repeat(400_000));
    assert.equal(nodes.elements.length, 300_000);
    assert.ok(nodes.flags.has('nodes'));
    const attributes = parseFast(`<p ${Array.from({ length: 5000 }, (_, i) => `a${i}=1`).join(' ')}>x</p>`);
    assert.equal(attributes.elements[0]!.attributes!.length, 2000);
    assert.ok(attributes.flags.has('attributes'));
  });
});
