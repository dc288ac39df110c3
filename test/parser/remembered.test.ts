import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { Spider } from '../../dist/model/spider.js';
import { Plan } from '../../dist/parser/plan.js';
import { TargetCache } from '../../dist/parser/targets.js';
import { pageInput, planInput, type RunOptions, run } from './helpers.ts';

const OF_SPIDER = { dedup: { scope: 'spider' } } as const;
const PAGE = { url: 'http://site.test/dir/page.html', depth: 0 };

function planOf(spider: Spider, options: RunOptions = {}): Plan {
  const settings = { ...OF_SPIDER, ...options.settings };
  return new Plan(planInput(spider, settings), options.known ?? new KnownFingerprints(1024), new TargetCache(), null);
}

/** What a crawl remembers of a page, and what a later one follows of it. */
function recall(spider: Spider, html: string, options: RunOptions = {}, at = PAGE) {
  const { remembered } = planOf(spider).run(pageInput(html));
  return planOf(spider, options)
    .recall(remembered ?? '', at)
    .links.map(({ url, reason, ...rest }) => ({ path: new URL(url).pathname, reason, ...rest }));
}

const FOLLOW: Spider = {
  pages: [
    {
      follow: [
        { selector: 'a.near', maxDepth: 1 },
        { selector: 'a', priority: 7, deny: ['/private/*'] },
        { selector: 'i', value: 'data-url', page: 'other', pass: { of: { meta: 'depth' } } },
      ],
    },
    { name: 'other', match: ['/none'] },
  ],
};
const HTML =
  '<a class=near href=/n>n</a><a href=/a>a</a><a href=/private/b>b</a><a href="http://else.test/">e</a><i data-url=/c>C</i>';

test('26: a page’s links are remembered with rule, priority and what they carry; what was refused is not', () => {
  const links = recall(FOLLOW, HTML);
  assert.deepEqual(
    links.map(({ path, priority, reason, extra }) => [path, priority, reason, extra]),
    [
      ['/n', 0, null, undefined],
      ['/a', 7, null, undefined],
      ['/c', 0, null, { page: 'other', pass: { of: 0 } }],
    ],
  );
});

test('26: remembered links are judged anew, at the depth that the page has now', () => {
  const at = (depth: number, maxDepth: number | null) =>
    recall(FOLLOW, HTML, { settings: { maxDepth } }, { ...PAGE, depth }).map(({ path, reason }) => `${path} ${reason}`);
  assert.deepEqual(at(1, null), ['/n depth', '/a null', '/c null'], 'by the rule that took it');
  assert.deepEqual(at(2, 2), ['/n depth', '/a depth', '/c depth']);
});

test('26: a link that was too deep for one crawl is remembered for another', () => {
  const { remembered } = planOf(FOLLOW, { settings: { maxDepth: 0 } }).run(pageInput(HTML));
  assert.equal(planOf(FOLLOW).recall(remembered!, PAGE).links.length, 3);
});

test('26: links that the ledger has are remembered, and not brought again', () => {
  const known = new KnownFingerprints(1024);
  const spider = { pages: [{ follow: [{ selector: 'a' }] }] };
  const first = planOf(spider, { known }).run(pageInput('<a href=/a>a</a>'));
  assert.equal(first.links.length, 1);
  assert.match(first.remembered ?? '', /\/a/);
});

test('26: links that are too many to be remembered are told as such; a crawl of its own remembers none', () => {
  const html = [...Array(6000).keys()].map((n) => `<a href="/products/of/a/long/name/${n}">x</a>`).join('');
  assert.equal(planOf({ pages: [{ follow: [{ selector: 'a' }] }] }).run(pageInput(html)).remembered, null);
  assert.equal('remembered' in run(FOLLOW, HTML), false);
});

test('26: sitemaps of an index, and their pages, are remembered as such', () => {
  const plan = planOf({});
  const index = plan.sitemap({ pages: ['/a'], sitemaps: ['/more.xml'], cut: false }, PAGE.url, 0, 1);
  const links = planOf({}).recall(index.remembered!, PAGE).links;
  assert.deepEqual(
    links.map(({ url, extra }) => [url, extra?.kind, extra?.sitemapDepth]),
    [
      ['http://site.test/a', undefined, undefined],
      ['http://site.test/more.xml', 'sitemap', 1],
    ],
  );
});

const states = (fields: object, html: string, key: string[]) => {
  const spider = { pages: [{ items: [{ type: 'x', fields: fields as Record<string, string>, key }] }] };
  return planOf(spider)
    .run(pageInput(html))
    .items.map(({ state }) => state);
};

test('26: an item with a key has a state: equal data have one, whatever their fetch', () => {
  const fields = {
    id: 'b',
    specs: { selector: 'p', value: { weight: '.w', height: '.h' } },
    tags: ['i'],
    at: { meta: 'fetchedAt' },
  };
  const [one] = states(fields, '<b>1</b><p><u class=w>5</u></p><i>x</i><i>y</i>', ['id']);
  assert.deepEqual(Object.keys(JSON.parse(one!.fields)), ['id', 'specs.height', 'specs.weight', 'tags']);
  assert.match(`${one!.key} ${one!.hash}`, /^[0-9a-f]{32} [0-9a-f]{32}$/);
  const [other] = states(fields, '<b>1</b><p><u class=w>6</u></p><i>x</i><i>y</i>', ['id']);
  assert.equal(other!.key, one!.key);
  assert.notEqual(other!.hash, one!.hash);
  assert.deepEqual(states(fields, '<p></p>', ['id']), [undefined], 'a key without a value is none');
  assert.deepEqual(states(fields, '<b>1</b>', []), [undefined]);
});

test('26: the state of an item is bounded: what is nested deep, or has many members, is compared as a whole', () => {
  const many = Object.fromEntries([...Array(500).keys()].map((n) => [`m${n}`, n]));
  let deep: unknown = 1;
  for (let i = 0; i < 50; i++) deep = { d: deep };
  const json = JSON.stringify({ id: 1, many, deep, ['n'.repeat(2000)]: { a: 1 } });
  const fields = { id: { json: 'id' }, all: { json: '@' } };
  const spider = { pages: [{ items: [{ type: 'x', fields, key: ['id'] }] }] };
  const [item] = planOf(spider).run(pageInput(json, { kind: 'json' })).items;
  const paths = Object.keys(JSON.parse(item!.state!.fields));
  assert.ok(paths.length <= 300 && item!.state!.fields.length < 16_000, `${paths.length} paths`);
});
