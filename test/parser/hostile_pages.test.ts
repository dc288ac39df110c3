/** 6: pages that are made to cost give without a tree what the tree gives, or where that takes too long, what is right. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Fields } from '../../dist/model/field.js';
import { KnownFingerprints } from '../../dist/model/known.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { ItemRule, Spider } from '../../dist/model/spider.js';
import { ParserPool } from '../../dist/parser/pool.js';
import { needsTree, sameBothWays } from '../support/both_ways.ts';
import { shared } from './helpers.ts';

const spider = (item: ItemRule): Spider => ({ pages: [{ items: [item], follow: [{ selector: 'a' }] }] });
const LIST = spider({ fields: { first: 'b', all: ['.x'], links: ['a[href]::attr(href)'] } });
const NESTED = spider({
  each: 'div',
  fields: { id: { value: 'id' }, deep: [{ selector: 'div b', value: { text: { as: 'trim' } } }] },
});

const PAGES: [what: string, definition: Spider, page: string][] = [
  ['deeper than 512', LIST, `${'<i>'.repeat(2000)}<b class=x>deep</b><a href=/x>y</a>`],
  [
    'deeper than 512, with end tags and more behind them',
    LIST,
    `${'<i>'.repeat(600)}<b>1</b>${'</i>'.repeat(600)}<b class=x>2</b>`,
  ],
  ['more than 300,000 nodes', LIST, `${'<i></i>'.repeat(299_998)}<b>in</b><b class=x>out</b>`],
  ['more than 300,000 texts', LIST, `${'a<br>'.repeat(150_010)}<b class=x>out</b>`],
  [
    'an attribute of 10 MB',
    LIST,
    `<b class=x data-a="${'&amp;'.repeat(2_000_000)}">b</b><a href="/${'y'.repeat(1_000_000)}">`,
  ],
  ['a class of 1 MB', LIST, `<b class="${'y '.repeat(500_000)}x">b</b>`],
  [
    '100,000 attributes',
    LIST,
    `<b ${Array.from({ length: 100_000 }, (_, i) => `a${i}`).join(' ')} class=x>b</b><b class=x>c</b>`,
  ],
  [
    '1,000 attributes before the one that is asked for',
    LIST,
    `<a ${'z '.repeat(999)}class=x href=/in>1</a><a ${'z '.repeat(1000)}class=x href=/out>2</a>`,
  ],
  [
    '40 KB of tags that parse5 opens again and again',
    LIST,
    `${Array.from({ length: 2000 }, (_, i) => `<b ${i}>`).join('')}${Array.from({ length: 2000 }, (_, i) => `<i ${i}>x</b>`).join('')}`,
  ],
  ['90,000 end tags of nothing', LIST, `${'</i></p></br>'.repeat(30_000)}<b class=x>b</b>`],
  [
    '50,000 names of elements',
    LIST,
    `${Array.from({ length: 50_000 }, (_, i) => `<n${i}></n${i}>`).join('')}<b class=x>b</b>`,
  ],
  ['a tag that never ends', LIST, `<b class=x>1</b><a href="${'x'.repeat(1_000_000)}`],
  ['a million times the beginning of a tag', LIST, `${'<'.repeat(1_000_000)}<b class=x>1</b>`],
  ['entities without end', LIST, `<b class=x>${'&'.repeat(300_000)}${'&#'.repeat(100_000)}</b>`],
  [
    'parts 500 deep in each other, each with text',
    spider({ each: 'div', fields: { id: { value: 'id' }, text: { as: 'text' } } }),
    Array.from({ length: 500 }, (_, i) => `<div id=${i}>text ${i}`).join(''),
  ],
  [
    'lists in parts 200 deep in each other',
    NESTED,
    Array.from({ length: 200 }, (_, i) => `<div id=${i}><b>${i}</b>`).join(''),
  ],
  [
    '20,000 parts side by side',
    spider({ each: 'i', fields: { n: { value: 'id' }, b: 'b' } }),
    Array.from({ length: 20_000 }, (_, i) => `<i id=${i}><b>${i}</b></i>`).join(''),
  ],
];

describe('a page that is made to cost', () => {
  for (const [what, definition, page] of PAGES)
    it(`6: ${what}: the same without a tree, as a whole and in parts`, () => {
      assert.deepEqual(needsTree(definition), []);
      sameBothWays(definition, page, {}, [1, 1000, page.length >> 1, page.length - 3]);
    });
});

describe('what a tree does not finish', () => {
  const known = new KnownFingerprints(1024);
  const pool = new ParserPool({ threads: 1, memoryMb: 128, known: known.buffer });
  before(() => pool.start());
  after(() => pool.stop());

  async function itemOf(fields: Fields, page: string): Promise<unknown> {
    const definition: Spider = { pages: [{ items: [{ type: 'page', fields }] }] };
    assert.deepEqual(needsTree(definition), []);
    const crawlId = crypto.randomUUID();
    pool.openCrawl({ crawlId, definition, params: {}, scopeHosts: ['site.test'], settings: DEFAULT_SETTINGS });
    const facts = { crawlId, url: 'https://site.test/', depth: 0, status: 200, headers: {}, extra: null, fetchedAt: 0 };
    const { items } = await pool.parse({ ...facts, contentType: 'text/html', ...shared(page) });
    assert.equal(pool.kills, 0);
    return JSON.parse(items[0]!.data);
  }

  it('6: selectors that look at 20,000 siblings are done with them in the time that a page has', async () => {
    const fields: Fields = {
      nth: 'i:nth-child(19999)',
      type: ['i:nth-of-type(5000n)'],
      after: ['i.a ~ i ~ i ~ i:nth-child(20000)'],
      next: ['i + i + i + i + u'],
      first: ['u:first-of-type ~ i'],
      not: 'i:not(:nth-child(-n+19998)):not(.a)',
    };
    const page = `<i class=a>1</i>${Array.from({ length: 19_999 }, (_, i) => `<i>${i + 2}</i>`).join('')}<u>u</u>`;
    assert.deepEqual(await itemOf(fields, page), {
      nth: '19999',
      type: ['5000', '10000', '15000', '20000'],
      after: ['20000'],
      next: ['u'],
      first: [],
      not: '19999',
    });
  });

  // css-select tries each choice of ancestors: 6 of 160 are 2 * 10^10.
  it('6: selectors of many steps are done with elements 500 deep in each other, too', async () => {
    const fields: Fields = {
      none: 'td td td td td td s',
      last: ['td td td td td td b'],
      child: 'td :first-child * * [lang] b',
    };
    const page = `${'<table><tr><td>'.repeat(160)}<b>b</b><s-t>`;
    assert.deepEqual(await itemOf(fields, page), { none: null, last: ['b'], child: null });
  });
});
