import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { markdownOf } from '../../dist/parser/markdown.js';
import { parseFast } from '../../dist/parser/tree.js';
import fc from '../support/property.ts';

const markdown = (html: string, limit = 1_000_000, main = false) => {
  const document = parseFast(html);
  return markdownOf(document.root, document, { base: 'https://a.test/dir/', limit, main });
};

type Rows = [html: string, expected: string][];
const TABLES: Record<string, Rows> = {
  'paragraphs and breaks': [
    ['<p>Lorem ipsum</p>', 'Lorem ipsum'],
    ['<p>Lorem</p>\n<p>ipsum</p> <p>sit</p>', 'Lorem\n\nipsum\n\nsit'],
    ['Foo<div>Bar</div>Baz', 'Foo\n\nBar\n\nBaz'],
    ['<div><div>A</div></div>\n<div>B</div>', 'A\n\nB'],
    ['Foo <span>Bar</span>', 'Foo Bar'],
    ['  a \n\t b&nbsp;c  ', 'a b c'],
    ['More<br>after the break', 'More  \nafter the break'],
    ['a<br><br>b<br>', 'a\n\nb'],
    ['<br>a', 'a'],
    ['<h7>Seven?</h7>', 'Seven?'],
    ['', ''],
    ['<!-- c -->', ''],
    ['a &amp; b &lt;c> &copy;', 'a & b \\<c> ©'],
    ['<hr>', '---'],
    ['a<hr>b', 'a\n\n---\n\nb'],
  ],
  headings: [
    ['<h1>One</h1>', '# One'],
    ['<h3>\n  Three <code>x</code></h3>text', '### Three `x`\n\ntext'],
    ['<h2>a<br>b</h2>', '## a b'],
    ['<h2></h2>', ''],
    ['<h2><a href="/x"> T </a></h2>', '## [T](https://a.test/x)'],
    ['<h2><div>a</div><div>b</div></h2>', '## a b'],
    ['<h2>C#</h2>', '## C\\#'],
    ['<h2># x</h2>', '## # x'],
  ],
  emphasis: [
    ['<em>em</em> <i>i</i>', '*em* *i*'],
    ['<strong>s</strong> <b>b</b>', '**s** **b**'],
    ['<del>d</del><s>s</s>', '~~ds~~'],
    ['period.<em> Text </em><strong>strong </strong>', 'period. *Text* **strong**'],
    ['a <strong><a href="/x">link </a></strong>b', 'a **[link](https://a.test/x)** b'],
    ['Hello <em></em>world', 'Hello world'],
    ['<strong><br></strong>', ''],
    ['<b>a</b><b>b</b>', '**ab**'],
    ['<b>a</b> <b>b</b>', '**a** **b**'],
    ['<b><i>x</i></b>', '***x***'],
    ['<b>a <strong>b</strong> c</b>', '**a b c**'],
    ['foo<b>bar</b>baz', 'foo**bar**baz'],
    ['<b>a<p>b</p></b>', '**a**\n\n**b**'],
    ['<b>a<br></b>b', '**a**  \nb'],
    ['<q>x</q>', '“x”'],
  ],
  'links and images': [
    ['<a href="http://e.test">An anchor</a>', '[An anchor](http://e.test/)'],
    ['<a href="b.html">b</a>', '[b](https://a.test/dir/b.html)'],
    ['<a href="#top">t</a>', '[t](https://a.test/dir/#top)'],
    ['<a id="x">no href</a>', 'no href'],
    ['<a href="javascript:alert(1)">j</a>', 'j'],
    ['<a href="/x"></a>', ''],
    ['<a href="/a b(c)">x</a>', '[x](https://a.test/a%20b%28c%29)'],
    ['<a href="/x">c[iao</a>', '[c\\[iao](https://a.test/x)'],
    ['<a href="/x">Some <code>code</code></a>', '[Some `code`](https://a.test/x)'],
    [
      'I <a href="/n">need</a> <a href="/m">more</a> spaces!',
      'I [need](https://a.test/n) [more](https://a.test/m) spaces!',
    ],
    ['wow!<a href="/x">x</a>', 'wow\\![x](https://a.test/x)'],
    ['<a href="/x"><h3>T</h3><p>text</p></a>', '### [T](https://a.test/x)\n\ntext'],
    ['<a href="/x"><img src="i.png" alt="A [1]"></a>', '[![A \\[1\\]](https://a.test/dir/i.png)](https://a.test/x)'],
    ['<img src="logo.png">', '![](https://a.test/dir/logo.png)'],
    ['<img>', ''],
    ['<img src="data:image/png;base64,AAAA" data-src="real.png" alt="r">', '![r](https://a.test/dir/real.png)'],
    ['<a href="mailto:a@b.test">m</a>', '[m](mailto:a@b.test)'],
  ],
  code: [
    ['<code>x = 1</code>', '`x = 1`'],
    ['<code>a ` b</code>', '``a ` b``'],
    ['<code>three ``` four ```` end</code>', '`````three ``` four ```` end`````'],
    ['<code>`x</code>', '`` `x ``'],
    ['<code><span>_e_</span> &lt;b&gt;</code>', '`_e_ <b>`'],
    ['<code> </code>', ''],
    ['<pre><code>def x\n  # 42 &lt; 9001\n\n\nend\n</code></pre>', '```\ndef x\n  # 42 < 9001\n\n\nend\n```'],
    ['<pre class="lang-js">\nx</pre>', '```js\nx\n```'],
    ['<pre><code class="language-c++ hl">x</code></pre>', '```c++\nx\n```'],
    ['<div class="highlight-source-ruby"><pre>x</pre></div>', '```ruby\nx\n```'],
    ['<pre>a\n```\nb</pre>', '````\na\n```\nb\n````'],
    ['<pre>a<br>b<b>c</b></pre>', '```\na\nbc\n```'],
    ['<pre></pre>', ''],
    ['text<pre>x</pre>text', 'text\n\n```\nx\n```\n\ntext'],
  ],
  lists: [
    ['<ul><li>a</li><li>b</li></ul>', '- a\n- b'],
    ['<ol><li>a<li>b</ol>', '1. a\n2. b'],
    ['<ol start=42><li>a</li><li>b</li></ol>', '42. a\n43. b'],
    ['<ol><li value=5>a</li><li>b</li></ol>', '5. a\n6. b'],
    ['<p>x</p><ul><li>a</li></ul><p>y</p>', 'x\n\n- a\n\ny'],
    ['<ul><li><p>a</p></li><li>b</li></ul>', '- a\n- b'],
    ['<ol><li><p>a</p><p>b</p></li><li><p>c</p></li></ol>', '1. a\n\n   b\n2. c'],
    ['<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>', '- a\n  - b\n    - c\n- d'],
    ['<ul><li><ul><li>n</li><li>m</li></ul></li><li>r</li></ul>', '- - n\n  - m\n- r'],
    ['<ul><li>a<ol><li>b</li></ol></li></ul>', '- a\n  1. b'],
    ['<ul><li>a<ol start=3><li>b</li></ol></li></ul>', '- a\n\n  3. b'],
    ['<ul><li>a</li><ul><li>b</li></ul><li>c</li></ul>', '- a\n  - b\n- c'],
    ['<ul><li>a<blockquote>q</blockquote></li></ul>', '- a\n\n  > q'],
    ['<ul><li>a</li></ul><ul><li>b</li></ul>', '- a\n\n* b'],
    ['<ul><li></li><li>a</li><li> </li></ul>', '- a'],
    ['<li>lost</li>', '- lost'],
    ['<ul><li>a<pre>x\n\ny</pre></li></ul>', '- a\n\n  ```\n  x\n\n  y\n  ```'],
    [
      '<ul><li><input type=checkbox checked> done</li><li><input type=checkbox> open</li></ul>',
      '- [x] done\n- [ ] open',
    ],
    ['<dl><dt>Seller<dd>Ann<dd>Bob<dt>Price<dd>5</dl>', '**Seller**\n- Ann\n- Bob\n\n**Price**\n- 5'],
    ['<ul><li>a<br>b</li></ul>', '- a  \n  b'],
  ],
  quotes: [
    ['<blockquote><p>a</p><p>b</p></blockquote>', '> a\n>\n> b'],
    ['<blockquote>a<blockquote>b</blockquote>c</blockquote>', '> a\n>\n> > b\n>\n> c'],
    ['<blockquote>a</blockquote><blockquote>b</blockquote>', '> a\n\n> b'],
    [
      '<blockquote><h2>H</h2><ol><li>x</li></ol><pre>y\n\nz</pre></blockquote>',
      '> ## H\n>\n> 1. x\n>\n> ```\n> y\n>\n> z\n> ```',
    ],
    ['<blockquote></blockquote>', ''],
    ['<details><summary>More</summary>text</details>', '**More**\n\ntext'],
  ],
  tables: [
    [
      '<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>',
      '| a | b |\n| --- | --- |\n| 1 | 2 |',
    ],
    ['<table><tr><td>1</td><td>2</td></tr></table>', '|  |  |\n| --- | --- |\n| 1 | 2 |'],
    [
      '<table><thead><tr><th>a</th><th>b</th></tr></thead><tr><td>x|y<td><code>p|q</code></table>',
      '| a | b |\n| --- | --- |\n| x\\|y | `p\\|q` |',
    ],
    ['<table><caption>Cap</caption><tr><th>a<th>b<tr><td>1</table>', 'Cap\n\n| a | b |\n| --- | --- |\n| 1 |  |'],
    [
      '<table><tr><th>a<th>b<tr><td><p>x</p><p>y</p><td><ul><li>1<li>2</ul></table>',
      '| a | b |\n| --- | --- |\n| x y | 1 2 |',
    ],
    ['<table><tr><th>a<th>b<tr><td>x<br>y<td><b>z</b></table>', '| a | b |\n| --- | --- |\n| x y | **z** |'],
    ['<table><tr><td>only</td></tr><tr><td>one</td></tr></table>', 'only\n\none'],
    ['<table><tr><td><table><tr><td>1<td>2</table><td><h1>T</h1></table>', '|  |  |\n| --- | --- |\n| 1 | 2 |\n\n# T'],
    ['<table><tr><th>k<td>v</table>', '|  |  |\n| --- | --- |\n| k | v |'],
    ['<ul><li>x<table><tr><th>a<th>b</table></ul>', '- x\n\n  | a | b |\n  | --- | --- |'],
  ],
  'what would be misread': [
    ['backslash \\', 'backslash \\\\'],
    ['### no heading', '\\### no heading'],
    ['#hashtag', '#hashtag'],
    ['with *stars* and **more**', 'with \\*stars\\* and \\*\\*more\\*\\*'],
    ['_x_ snake_case __init__', '\\_x\\_ snake_case \\_\\_init\\_\\_'],
    ['- item', '\\- item'],
    ['+ item', '\\+ item'],
    ['* item', '\\* item'],
    ['a - b + c', 'a - b + c'],
    ['1984. by Orwell', '1984\\. by Orwell'],
    ['wrote 1984.', 'wrote 1984.'],
    ['1) x', '1\\) x'],
    ['> quote', '\\> quote'],
    ['42 > 1', '42 > 1'],
    ['a < b', 'a < b'],
    ['&lt;div&gt;', '\\<div>'],
    ['`code`', '\\`code\\`'],
    ['[x](y)', '\\[x\\](y)'],
    ['---', '\\---'],
    ['a<br>---', 'a  \n\\---'],
    ['a<br>===', 'a  \n\\==='],
    ['- - -', '\\- - -'],
    ['* * *', '\\* \\* \\*'],
    ['a ~~b~~ ~c', 'a \\~\\~b\\~\\~ ~c'],
    ['&amp;amp; &amp; co', '\\&amp; & co'],
    ['| a | b |', '\\| a | b |'],
    ['-5 °C', '-5 °C'],
    ['<em>test_it</em>', '*test_it*'],
  ],
  'what is left out': [
    ['a<script>x</script><style>y</style><noscript>z</noscript><template>t</template>b', 'ab'],
    ['a<svg><text>s</text></svg><iframe>f</iframe><button>Buy</button>', 'a'],
    ['<p hidden>h</p><p style="display: none">d</p><p aria-hidden=true>i</p><p>v</p>', 'v'],
    ['<head><title>T</title></head><body>b</body>', 'b'],
  ],
};

for (const [name, rows] of Object.entries(TABLES))
  describe(`Markdown: ${name}`, () => {
    for (const [html, expected] of rows)
      it(html || 'nothing', () => {
        assert.equal(markdown(html), expected);
      });
  });

describe('the main content', () => {
  const main = (html: string) => markdown(html, 1000, true);
  const frame = (inside: string) =>
    `<header>top</header><nav>menu</nav><div role=navigation>crumbs</div>${inside}<aside>ads</aside><footer>end</footer>`;
  it('is main, or what has that role', () => {
    assert.equal(main(frame('<main><header>H</header>text<nav>toc</nav></main>')), 'H\n\ntext');
    assert.equal(main(frame('<div role="main">text</div>other')), 'text');
  });
  it('is the one article', () => {
    assert.equal(
      main(frame('intro<article><header><h1>T</h1></header>text<footer>by Ann</footer></article>')),
      '# T\n\ntext\n\nby Ann',
    );
    assert.equal(main(frame('<article>a</article><article>b</article>')), 'a\n\nb');
  });
  it('is all but navigation, header, footer and asides otherwise', () => {
    assert.equal(main(frame('<p>text</p>')), 'text');
    assert.equal(main(frame('<main></main><p>text</p>')), 'text');
  });
  it('is looked for below the scope only', () => {
    const document = parseFast('<main>page</main><div><nav>n</nav>in</div>');
    const options = { base: 'https://a.test/', limit: 1000, main: true };
    assert.equal(markdownOf(document.byTag('div')[0]!, document, options), 'in');
    assert.equal(markdownOf(document.byTag('nav')[0]!, document, options), 'n');
  });
});

describe('Markdown of a hostile page', () => {
  // With a regex that tries each beginning anew, each of these is minutes.
  it('takes long rows of one mark in linear time', () => {
    for (const mark of ['#', '-', '=', '|', '`', '*', ':-']) {
      const row = mark.repeat(400_000);
      for (const html of [`<h1>${row}x</h1>`, `<p>${row}x</p>`, `<td>${row}x`, `<code>${row}x</code>`]) {
        const document = parseFast(html);
        assert.ok(markdownOf(document.root, document, { base: 'https://a.example/', limit: 1_000_000 }).length > 0);
      }
    }
  });
  it('is cut at the limit, in well formed text', () => {
    assert.equal(markdown('<p>abcdef</p><p>ghi</p>', 8), 'abcdef');
    assert.ok(markdown('😀'.repeat(100), 51).isWellFormed());
    assert.ok(markdown('<blockquote><ul><li>'.repeat(300) + 'x<br>'.repeat(5000), 10_000).length <= 10_000);
    assert.ok(
      markdown(`<table>${'<td>x'.repeat(1000)}${'<tr><td>y'.repeat(20_000)}</table>`, 100_000).length <= 100_000,
    );
  });
  it('takes no harm from depth or number', () => {
    for (const tag of [
      'div',
      'b',
      'i',
      'ul',
      'li',
      'ul><li',
      'blockquote',
      'a href=/x',
      'table><tr><td',
      'h1',
      'dl><dd',
      'code',
      'pre',
      'q',
      'table',
    ])
      assert.equal(typeof markdown(`<${tag}>x`.repeat(20_000)), 'string', tag);
    for (const part of [
      '<b>x</b>',
      '<a href=/x>y</a>',
      '<br>',
      '<li>x',
      '<td>x',
      '*_`[<&',
      '<hr>',
      '<img src=x>',
      '<b>',
      '</b>',
      '#',
      '`',
      '<b> </b>',
    ])
      assert.equal(typeof markdown(part.repeat(30_000)), 'string', part);
  });
  it('keeps every word, and its length in bounds, whatever the markup', () => {
    const tags = [
      'b',
      'i',
      'a href="/x"',
      'p',
      'div',
      'ul',
      'ol',
      'li',
      'blockquote',
      'h1',
      'h2',
      'table',
      'tr',
      'td',
      'th',
      'code',
      'pre',
      'br',
      'hr',
      'dl',
      'dt',
      'dd',
      's',
      'q',
    ];
    const piece = fc.oneof(
      fc.constantFrom(...tags).map((tag) => `<${tag}>`),
      fc.constantFrom(...tags).map((tag) => `</${tag.split(' ')[0]}>`),
      fc.integer({ min: 0, max: 999 }).map((n) => `w${n}w`),
      fc.constantFrom(' ', '\n', '*', '_', '`', '# ', '- ', '1. ', '|', '[', ']', '&lt;', '!'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const html = pieces.join('');
        const text = markdown(html);
        assert.deepEqual(text.match(/w\d+w/g), html.match(/w\d+w/g), html);
        assert.ok(text.length <= 60 * html.length + 100, `${html.length} became ${text.length}`);
        if (!html.includes('<pre>')) assert.doesNotMatch(text, /\n{3}|^\n|\n$/);
      }),
      { numRuns: 400 },
    );
  });
});
