import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Fields } from '../../dist/model/field.js';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { Spider } from '../../dist/model/spider.js';
import { type PageJob, ParserPool } from '../../dist/parser/pool.js';
import { CRAWL, planInput, shared } from './helpers.ts';

const pool = new ParserPool({ threads: 1, memoryMb: 128, known: new KnownFingerprints(1024).buffer });
before(() => pool.start());
after(() => pool.stop());

function jobOf(body: string): PageJob {
  return {
    crawlId: CRAWL,
    url: 'http://site.test/shop/page.html',
    depth: 0,
    status: 200,
    contentType: 'text/html',
    extra: null,
    fetchedAt: Date.UTC(2026, 0, 2),
    ...shared(body),
  };
}
const preview = (spider: Spider, body: string, job: Partial<PageJob> = {}) =>
  pool.preview(planInput(spider), { ...jobOf(body), ...job });
const warnings = async (spider: Spider, body: string, job: Partial<PageJob> = {}) =>
  (await preview(spider, body, job)).explanation.warnings;

const SHOP =
  '<h1>Shop</h1><div class="card"><b>A</b><a href="a">a</a></div><div class="card"><b>B</b><a href="/b">b</a></div>';

describe('a preview', () => {
  it('tells the page entries, each selector with its matches, and the links with the rule that decided', async () => {
    const spider: Spider = {
      pages: [
        {
          name: 'list',
          items: [{ each: '.card', fields: { title: 'b', url: { meta: 'url' }, 'a/b': ['i'] } }],
          follow: [{ selector: '.card a', deny: ['/b'], priority: 3 }],
        },
        { name: 'other', match: ['/other/'], items: [{ fields: { x: 'h1' } }] },
      ],
    };
    const { page, explanation } = await preview(spider, SHOP);
    assert.deepEqual(
      page.items.map(({ data }) => JSON.parse(data)),
      [
        { title: 'A', url: 'http://site.test/shop/page.html', 'a/b': [] },
        { title: 'B', url: 'http://site.test/shop/page.html', 'a/b': [] },
      ],
    );
    assert.equal(explanation.content, 'html');
    assert.deepEqual(explanation.pages, ['list']);
    assert.deepEqual(explanation.fields.slice(0, 5), [
      { pointer: '/pages/0/items/0/each', source: 'each', text: '.card', hits: 2 },
      { pointer: '/pages/0/items/0/fields/title', source: 'selector', text: 'b', hits: 2 },
      { pointer: '/pages/0/items/0/fields/url', source: 'meta', text: 'url', hits: 2 },
      { pointer: '/pages/0/items/0/fields/a~1b/0', source: 'selector', text: 'i', hits: 0 },
      { pointer: '/pages/0/follow/0', source: 'follow', text: '.card a', hits: 2 },
    ]);
    assert.deepEqual(explanation.links, {
      kept: [{ url: 'http://site.test/shop/a', method: 'GET', priority: 3, rule: 'pages[0].follow[0]' }],
      dropped: [{ url: 'http://site.test/b', reason: 'denied', rule: 'pages[0].follow[0].deny[0] /b' }],
    });
    assert.deepEqual(Object.keys(explanation.ms).sort(), ['compile', 'decode', 'items', 'links', 'tree']);
    assert.deepEqual(explanation.warnings, [
      '`a/b` (selector i) matched nothing on this page: /pages/0/items/0/fields/a~1b/0',
    ]);
  });
  it('tells what makes a crawl build a tree, and that nothing does', async () => {
    const tree = async (fields: Fields, rest: object = {}) =>
      (await preview({ pages: [{ items: [{ fields, ...rest }] }] }, SHOP)).explanation.tree;
    assert.deepEqual(
      await tree({ a: 'div.card > b:first-child', b: ['a[href^="/"]'], c: { jsonld: 'Product.name' } }),
      [],
    );
    assert.deepEqual(
      await tree(
        {
          a: 'li:last-child',
          b: 'div:has(b)',
          c: { xpath: '//b' },
          d: { selector: 'p', as: 'markdown' },
          e: { selector: 'p', value: 'outerHTML' },
          f: ['i:not(b i)'],
          g: { microdata: 'Product.name' },
        },
        { each: '.card' },
      ),
      [
        ['c', '//b', 'an XPath walks the tree'],
        ['d', 'p', 'markup is what the tree is written as'],
        ['e', 'p', 'markup is what the tree is written as'],
        ['g', 'Product.name', 'microdata is gathered from all over the page'],
        ['a', 'li:last-child', ":last-child is not known before the element's end, or the page's"],
        ['b', 'div:has(b)', ":has is not known before the element's end, or the page's"],
        ['f/0', 'i:not(b i)', 'there is a combinator inside of :not()'],
      ].map(([at, text, why]) => ({ pointer: `/pages/0/items/0/fields/${at}`, text, why })),
    );
    const input = planInput({ pages: [{ items: [{ fields: { a: 'b' } }] }] });
    const settings = { ...input.settings, parser: 'html5' as const };
    const { explanation } = await pool.preview({ ...input, settings }, jobOf(SHOP));
    assert.deepEqual(explanation.tree, [{ pointer: '/settings/parser', text: 'html5', why: 'parse5 builds a tree' }]);
    assert.equal((await preview({ pages: [] }, '{}', { contentType: 'text/csv' })).explanation.tree, null);
  });
  it('warns of what matched nothing, once for a container', async () => {
    const fields = { price: '.price', deep: { selector: 'table', value: { cell: 'td' } } };
    const items = [
      { type: 'a', fields },
      { type: 'b', each: 'article', fields: { t: 'h1' } },
    ];
    assert.deepEqual(await warnings({ pages: [{ items, follow: [{ selector: '.next' }] }] }, SHOP), [
      '`price` (selector .price) matched nothing on this page: /pages/0/items/0/fields/price',
      '`deep` (selector table) matched nothing on this page: /pages/0/items/0/fields/deep',
      '`each` (article) matched nothing on this page, so it makes no item: /pages/0/items/1/each',
      'the follow rule (.next) matched nothing on this page: /pages/0/follow/0',
    ]);
  });
  it('warns where no page entry fits, with the nearest pattern', async () => {
    const spider: Spider = { pages: [{ match: ['/blog/'] }, { match: ['/shop/item-*'] }, { match: [{ regex: 'x' }] }] };
    assert.deepEqual(await warnings(spider, SHOP), [
      'no page entry fits http://site.test/shop/page.html; the nearest pattern is /shop/item-*: the page gives neither items nor links',
    ]);
  });
  it('warns where every link is outside the scope, an item is dropped, or a default stands in everywhere', async () => {
    const html = '<h1>x</h1><p>none</p><p>n/a</p><a href="http://other.test/">o</a>';
    const fields = { title: 'h2', n: { selector: 'p', match: '[0-9]+', default: 0 } };
    const spider: Spider = { pages: [{ items: [{ fields, required: ['title'] }], follow: [{ selector: 'a' }] }] };
    assert.deepEqual(await warnings(spider, html), [
      '`title` (selector h2) matched nothing on this page: /pages/0/items/0/fields/title',
      '`n` has its default in every item: /pages/0/items/0/fields/n',
      'an item was dropped: the required field `title` has no value',
      'all 1 links lead outside the scope: name their hosts in `scope.hosts` to follow them',
    ]);
  });
  it('tells what is not read instead of failing', async () => {
    const { page, explanation } = await preview({}, '%PDF-1.4', { contentType: 'application/pdf' });
    assert.deepEqual(page.items, []);
    assert.match(explanation.warnings[0]!, /application\/pdf is not read/);
    const json = await preview({ pages: [{ items: [{ fields: { a: 'h1' } }] }] }, '{}', {
      contentType: 'application/json',
    });
    assert.equal(json.explanation.content, 'json');
    assert.match(json.explanation.warnings[0]!, /no `json` of the spider reads it/);
  });
  it('shows links that a crawl has already, and leaves nothing behind', async () => {
    const first = await preview({}, SHOP);
    const second = await preview({}, SHOP);
    assert.equal(first.explanation.links.kept.length + first.explanation.links.dropped.length, 2);
    assert.deepEqual(second.explanation.links, first.explanation.links);
    assert.equal(pool.queuedJobs, 0);
  });
  it('tells where a JMESPath failed, and not that it matched nothing as well', async () => {
    const fields = { sum: { json: 'sum(prices)' }, none: { json: 'nothing' } };
    const spider: Spider = { pages: [{ items: [{ fields }], follow: [{ json: 'links', value: 'abs(@)' }] }] };
    const json = '{"prices":["a"],"links":["/b"]}';
    const { explanation } = await preview(spider, json, { contentType: 'application/json' });
    assert.equal(explanation.warnings.length, 4);
    const [first, second, third] = explanation.warnings;
    assert.match(first!, /^a JMESPath failed on this page: .*: \/pages\/0\/follow\/0\/value$/);
    assert.match(second!, /^a JMESPath failed on this page: .*: \/pages\/0\/items\/0\/fields\/sum$/);
    assert.match(third!, /^`none` \(json nothing\) matched nothing/);
  });
  it('tells of a thousand selectors at most', async () => {
    const fields = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`f${i}`, 'h1']));
    const items = Array.from({ length: 10 }, (_, i) => ({ type: `t${i}`, fields }));
    const { explanation, page } = await preview({ pages: [{ items }] }, SHOP);
    assert.deepEqual([explanation.fields.length, page.items.length], [1000, 10]);
  });
  it('tells where an XPath failed', async () => {
    const spider: Spider = { pages: [{ items: [{ fields: { n: { xpath: 'number(//b[1]) + xs:integer(//h1)' } } }] }] };
    const [first] = await warnings(spider, SHOP);
    assert.match(first!, /^an XPath failed on this page: .*: \/pages\/0\/items\/0\/fields\/n$/);
  });
  it('of a spider without pages shows the item and the links, and no selectors', async () => {
    const { page, explanation } = await preview({}, SHOP);
    assert.equal(page.items[0]!.type, 'page');
    assert.deepEqual(explanation.pages, ['page']);
    assert.deepEqual(explanation.fields, []);
    assert.equal(explanation.links.kept.length, 2);
    assert.deepEqual(explanation.warnings, []);
  });
  it('of a sitemap shows where its pages would go', async () => {
    const { explanation } = await preview({}, '<urlset><url><loc>/a</loc></url></urlset>', {
      extra: { kind: 'sitemap' },
    });
    assert.equal(explanation.content, 'sitemap');
    assert.deepEqual(explanation.links.kept, [
      { url: 'http://site.test/a', method: 'GET', priority: 0, rule: 'sitemap' },
    ]);
    const none = await preview({}, '<urlset/>', { extra: { kind: 'sitemap' } });
    assert.deepEqual(none.explanation.warnings, ['the sitemap names no URL']);
  });
  it('of a JSON page and of a form shows method and selectors', async () => {
    const spider: Spider = {
      pages: [
        {
          match: ['/shop/'],
          items: [{ each: { json: 'items' }, fields: { n: 'name', p: 'price' } }],
          follow: [{ form: 'form' }],
        },
      ],
    };
    const json = await preview(spider, '{"items":[{"name":"A"},{"name":"B"}]}', { contentType: 'application/json' });
    assert.deepEqual(json.explanation.fields.slice(0, 3), [
      { pointer: '/pages/0/items/0/each', source: 'each', text: 'items', hits: 2 },
      { pointer: '/pages/0/items/0/fields/n', source: 'json', text: 'name', hits: 2 },
      { pointer: '/pages/0/items/0/fields/p', source: 'json', text: 'price', hits: 0 },
    ]);
    const form = await preview(spider, '<form method=post action=/in><input name=a value="b c"></form>');
    assert.deepEqual(form.explanation.links.kept, [
      { url: 'http://site.test/in', method: 'POST', body: 'a=b+c', priority: 0, rule: 'pages[0].follow[0]' },
    ]);
  });
  it('that burns CPU is ended', async () => {
    const input = planInput(
      { pages: [{ items: [{ fields: { a: ':nth-last-of-type(2n+1):nth-of-type(3)' } }] }] },
      { parseTimeoutMs: 50 },
    );
    const html = '<i></i>'.repeat(100_000);
    const job = {
      crawlId: CRAWL,
      url: 'http://site.test/',
      depth: 0,
      status: 200,
      contentType: null,
      extra: null,
      fetchedAt: 0,
    };
    await assert.rejects(
      pool.preview(input, { ...job, ...shared(html), contentType: 'text/html' }),
      /longer than 50 ms/,
    );
  });
});
