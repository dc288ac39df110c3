import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ScriptPool } from '../../../dist/parser/script/pool.js';
import { crawlId, NO_CALLS, type PageOptions, pageJob, scriptPlan, spider, startPool } from './scripts.ts';

const HTML = `<!doctype html><title> A  page </title><h1>Head</h1><h2>One</h2><h2>Two <b>and</b> a half</h2>
<ul><li class=a data-x=1><a href="/a">£1,234.50</a></li><li class=b><a href="b.html">EUR 2</a></li><li>none</li></ul>`;

describe('what a script is given', () => {
  let pool: ScriptPool;
  /** One crawl for all: `EXPRESSIONS[meta.n]` of the response and ctx. */
  const expressions: string[] = [];
  const table = (expression: string): number => expressions.push(expression) - 1;
  before(async () => {
    pool = await startPool();
    const list = expressions.map((expression) => `(r, ctx) => ${expression}`).join(',\n');
    const script = `const EXPRESSIONS = [${list}];\n${spider('parse(r, ctx) { return { value: EXPRESSIONS[r.meta.n](r, ctx) }; }')}`;
    pool.openCrawl(scriptPlan(script, {}, { params: { category: 'x' } }), NO_CALLS);
    pool.openCrawl(scriptPlan(script, { parser: 'html5' }, { crawlId: crawlId(2) }), NO_CALLS);
  });
  after(() => pool.stop());

  /** The value of an expression over `r`, the response, and `ctx`. */
  async function read(n: number, html = HTML, options: PageOptions = {}, crawl = 1): Promise<unknown> {
    const extra = { pass: { n, ...options.extra?.pass } };
    const page = await pool.run(pageJob(html, { ...options, extra }, crawlId(crawl)));
    return (JSON.parse(page.items[0]!.data) as { value: unknown }).value;
  }
  function reads(
    what: string,
    expression: string,
    expected: unknown,
    html = HTML,
    options: PageOptions = {},
    crawl = 1,
  ) {
    const n = table(expression);
    it(`reads ${what}: ${expression.slice(0, 60)}`, async () => {
      assert.deepEqual(await read(n, html, options, crawl), expected);
    });
  }

  const values: [what: string, expression: string, expected: unknown][] = [
    ['text of the first match, blanks collapsed', `r.css('title').text()`, 'A page'],
    ['null where nothing matches', `r.css('h9').text()`, null],
    ['text of all matches', `r.css('h2').texts()`, ['One', 'Two and a half']],
    ['an attribute', `r.css('li').attr('data-x')`, '1'],
    ['null without the attribute', `r.css('h1').attr('id')`, null],
    ['an attribute of all that have it', `r.css('a').attrs('href')`, ['/a', 'b.html']],
    ['a number', `r.css('li.a').number()`, 1234.5],
    ['no number', `r.css('h1').number()`, null],
    ['all numbers', `r.css('li').numbers()`, [1234.5, 2]],
    ['markup inside', `r.css('h2').last().html()`, 'Two <b>and</b> a half'],
    ['markup with the element', `r.css('b').outerHtml()`, '<b>and</b>'],
    ['Markdown', `r.css('h2').last().markdown()`, '## Two **and** a half'],
    ['how many', `r.css('li').length`, 3],
    ['one by place', `r.css('li').at(-1).text()`, 'none'],
    ['nothing by a wrong place', `r.css('li').at(7).text()`, null],
    ['a slice', `r.css('li').slice(1).texts()`, ['EUR 2', 'none']],
    [
      'map',
      `r.css('li').map((li, i) => [i, li.css('a').attr('href')])`,
      [
        [0, '/a'],
        [1, 'b.html'],
        [2, null],
      ],
    ],
    ['filter', `r.css('li').filter((li) => li.css('a').length > 0).length`, 2],
    [
      'for … of',
      `(() => { const all = []; for (const li of r.css('li')) all.push(li.text()); return all; })()`,
      ['£1,234.50', 'EUR 2', 'none'],
    ],
    ['spread', `[...r.css('h2')].map((h) => h.text())`, ['One', 'Two and a half']],
    ['below what was selected', `r.css('ul').css('li.b').css('a').attr('href')`, 'b.html'],
    ['below all that was selected, each once', `r.css('ul, li').css('a').length`, 2],
    ['an ending ::attr', `r.css('a::attr(href)').texts()`, ['/a', 'b.html']],
    ['an ending ::text', `r.css('h1::text').text()`, 'Head'],
    ['XPath elements', `r.xpath('//li[@class="b"]/a').attr('href')`, 'b.html'],
    ['XPath texts', `r.xpath('//a/@href').texts()`, ['/a', 'b.html']],
    ['XPath below an element', `r.css('ul').xpath('./li').length`, 3],
    ['XPath below CSS below XPath', `r.xpath('//ul').css('li').xpath('.//a').length`, 2],
    ['the whole text', `r.text().length`, HTML.length],
    ['url', `r.url`, 'http://site.test/dir/page.html'],
    ['an absolute URL', `r.urljoin('../x?a=1')`, 'http://site.test/x?a=1'],
    ['no URL', `r.urljoin('http://[')`, null],
    ['status', `[r.status, r.ok]`, [200, true]],
    ['depth', `r.depth`, 0],
    ['the crawl', `ctx.crawl.id.length`, 36],
    ['Date and Math', `typeof Date.now() + typeof Math.random()`, 'numbernumber'],
    [
      'no timers',
      `[typeof setTimeout, typeof setInterval, typeof setImmediate]`,
      ['undefined', 'undefined', 'undefined'],
    ],
  ];
  for (const [what, expression, expected] of values) reads(what, expression, expected);
  reads('a number as a locale writes it', `r.css('p').number('de')`, 1234.5, '<p>1.234,5');
  const json = '{"a":[1,{"b":"\\u0000ü"}]}';
  reads('JSON', 'r.json()', { a: [1, { b: '\ufffdü' }] }, json, { contentType: 'application/json' });
  const rss =
    '<?xml version="1.0"?><rss><channel><item><link>http://site.test/1</link><pubDate>x</pubDate></item></channel></rss>';
  const feed = { contentType: 'application/rss+xml' };
  reads(
    'XML by its names as they are written',
    `r.css('item > link, pubDate').texts()`,
    ['http://site.test/1', 'x'],
    rss,
    feed,
  );
  reads('plain text', 'r.text()', 'a,b\n1,2', 'a,b\n1,2', { contentType: 'text/csv' });
  const article = '<nav>menu</nav><main><h1>A</h1><p>b <a href="/c">c</a></main>';
  reads('what the page is about', 'r.markdown()', '# A\n\nb [c](http://site.test/c)', article);
  const ld = '<script type="application/ld+json">{"@type":"Product","name":"P"}</script>';
  reads('JSON-LD', 'r.jsonLd()', [{ '@type': 'Product', name: 'P' }], ld);
  const headers = { 'x-a': '1', 'set-cookie': ['a=1', 'b=2'], gone: undefined };
  reads('headers', 'r.headers', { 'x-a': '1', 'set-cookie': ['a=1', 'b=2'] }, HTML, { headers });
  reads('what was passed on', 'r.meta.from', 'here', HTML, { extra: { pass: { from: 'here' } } });
  reads('params', 'ctx.params', { category: 'x' });
  reads('against <base href>', `r.urljoin('x')`, 'http://site.test/other/x', '<base href="/other/"><p>');
  reads('as parse5 does', `r.css('tbody').length`, 1, '<table><tr><td>1</table>', {}, 2);
  reads(
    'text without NUL and half surrogate pairs',
    `'x\\u0000y\\ud800' + r.css('p').text()`,
    'x\ufffdy\ufffda\ufffdb',
    '<p>a\0b',
  );
  reads(
    'nothing of another page',
    `(() => { try { return r.css('h1').at(0).css('b').length; } catch (e) { return e.message; } })()`,
    0,
  );
});
