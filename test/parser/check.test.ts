import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Spider } from '../../dist/model/spider.js';
import { checkSpider } from '../../dist/parser/check.js';

const problems = (fields: unknown, rest: object = {}) =>
  checkSpider({ pages: [{ items: [{ fields, ...rest }] }] } as unknown as Spider).map(({ pointer, code }) => [
    pointer.replace('/pages/0/items/0', ''),
    code,
  ]);

describe('the check of a spider', () => {
  it('finds nothing wrong with a good one', () => {
    const fields = {
      a: 'h1',
      b: { selector: 'img', value: 'src', as: 'url' },
      c: ['.tag'],
      d: [{ selector: 'tr', value: { k: 'th', v: ['td::text'] } }],
      e: { selector: 'p', match: 'x([0-9]+)', default: null },
      f: { meta: 'url' },
      g: 'a::attr(href)',
      h: { selector: '> p:has(b)' },
    };
    assert.deepEqual(problems(fields, { each: 'div', required: ['a'], key: ['b'] }), []);
    assert.deepEqual(checkSpider({}), []);
  });
  it('finds every mistake at once, with its pointer', () => {
    const fields = {
      'a/b~': 'p:foo(',
      b: [1, 2],
      c: { selector: 'p', match: '(?=x)', as: 'money' },
      d: { selector: '', nope: 1 },
      e: 5,
      f: { selector: 'tr', value: { x: '[', y: {} } },
      g: { meta: 'header' },
      h: { meta: 'url', selector: 'p' },
      i: [['p']],
      j: 'p::before',
      k: 'p >',
      l: { selector: 'p', value: {} },
      m: {},
      n: '+ p',
      o: 'a::text, b',
      p: 'p:unknown',
    };
    assert.deepEqual(problems(fields, { each: ']', required: ['z'], key: ['y'] }), [
      ['/each', 'bad_selector'],
      ['/fields/a~1b~0', 'bad_selector'],
      ['/fields/b', 'bad_list'],
      ['/fields/c/as', 'unknown_word'],
      ['/fields/c/match', 'bad_regex'],
      ['/fields/d/nope', 'unknown_field'],
      ['/fields/d/selector', 'bad_selector'],
      ['/fields/e', 'wrong_type'],
      ['/fields/f/value/x', 'bad_selector'],
      ['/fields/f/value/y', 'empty_field'],
      ['/fields/g/meta', 'unknown_word'],
      ['/fields/h/selector', 'conflict'],
      ['/fields/i/0', 'bad_list'],
      ['/fields/j', 'bad_selector'],
      ['/fields/k', 'bad_selector'],
      ['/fields/l/value', 'empty_fields'],
      ['/fields/m', 'empty_field'],
      ['/fields/n', 'bad_selector'],
      ['/fields/o', 'bad_selector'],
      ['/fields/p', 'bad_selector'],
      ['/required/0', 'unknown_name'],
      ['/key/0', 'unknown_name'],
    ]);
  });
  it('limits selectors and nesting', () => {
    assert.deepEqual(problems({ a: `${'p,'.repeat(600)}p` }), [['/fields/a', 'bad_selector']]);
    assert.deepEqual(problems({ a: `${':not('.repeat(5000)}p${')'.repeat(5000)}` }), [['/fields/a', 'bad_selector']]);
    let deep: unknown = 'p';
    for (let i = 0; i < 10; i++) deep = { selector: 'p', value: { x: deep } };
    assert.equal(problems({ a: deep })[0]![1], 'too_deep');
  });
  it('reads patterns, follow rules and types', () => {
    const spider = {
      scope: { allow: ['/a', { regex: '(' }], deny: [{ regex: '\\1' }] },
      pages: [
        {
          match: [{ regex: '[' }],
          items: [{ fields: { a: 'p' } }, { fields: { a: 'p' } }],
          follow: [{ selector: 'a[', allow: [{ regex: '*' }] }, { selector: 'a::text' }],
        },
        { name: 'x', items: [{ fields: { a: 'p' } }] },
      ],
    };
    assert.deepEqual(
      checkSpider(spider as Spider).map(({ pointer }) => pointer),
      [
        '/scope/allow/1/regex',
        '/scope/deny/0/regex',
        '/pages/0/match/0/regex',
        '/pages/0/items/1/type',
        '/pages/0/follow/0/selector',
        '/pages/0/follow/0/allow/0/regex',
        '/pages/0/follow/1/selector',
      ],
    );
  });
  it('says what was found and what was expected', () => {
    const [problem] = checkSpider({ pages: [{ items: [{ fields: { c: { selector: 'p', as: 'money' } as never } }] }] });
    assert.match(problem!.message, /found "money"; expected one of text, trim, number/);
  });
});
