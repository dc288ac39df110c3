import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Spider } from '../../dist/model/spider.js';
import { checkSpider } from '../../dist/parser/check.js';
import fc from '../support/property.ts';

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
      ['/fields/h/meta', 'conflict'],
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
  it('ends at a hundred mistakes', () => {
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`selectr${i}`, 1]));
    assert.equal(problems({ a: many, b: 5 }).length, 100);
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
      ],
    );
  });
  it('says what was found and what was expected', () => {
    const [problem] = checkSpider({ pages: [{ items: [{ fields: { c: { selector: 'p', as: 'money' } as never } }] }] });
    assert.match(problem!.message, /found "money"; expected one of text, trim, number/);
  });

  const field = (value: unknown) => ({ pages: [{ items: [{ fields: { f: value } }] }] });
  const follow = (rule: unknown, rest: object = {}) => ({ pages: [{ name: 'p', follow: [rule] }], ...rest });
  const F = '/pages/0/items/0/fields/f';
  const L = '/pages/0/follow/0';
  const params = { type: 'object', properties: { category: { type: 'string' } } };
  /** A spider, the pointer and the code of its one mistake, and what the message says. */
  const MISTAKES: [name: string, spider: unknown, pointer: string, code: string, message: RegExp][] = [
    ['an XPath as selector', field('//h1'), F, 'bad_selector', /write \{ "xpath"/],
    ['an XPath that does not compile', field({ xpath: '//a[' }), `${F}/xpath`, 'bad_xpath', /not an XPath/],
    ['an XPath with an unknown function', field({ xpath: 'nope(.)' }), `${F}/xpath`, 'bad_xpath', /nope/],
    ['an XPath that reaches out', field({ xpath: 'doc("x")' }), `${F}/xpath`, 'bad_xpath', /doc/],
    ['an XPath that is a number', field({ xpath: 5 }), `${F}/xpath`, 'bad_xpath', /found 5; expected an XPath/],
    ['a JMESPath that does not compile', field({ json: 'a[' }), `${F}/json`, 'bad_json', /not a JMESPath/],
    ['an empty JMESPath', field({ json: '' }), `${F}/json`, 'bad_json', /expected a JMESPath/],
    ['a typed path without a type', field({ jsonld: '.x' }), `${F}/jsonld`, 'bad_path', /found/],
    ['a typed path that is a list', field({ microdata: [] }), `${F}/microdata`, 'bad_path', /Product\.brand\.name/],
    ['an empty property', field({ opengraph: ' ' }), `${F}/opengraph`, 'bad_value', /image:width/],
    ['two sources', field({ xpath: '//a', jsonld: 'A.b' }), `${F}/jsonld`, 'conflict', /does not go with "xpath"/],
    ['a selector and meta', field({ selector: 'a', meta: 'url' }), `${F}/meta`, 'conflict', /one source/],
    [
      'an unknown key that is nearly known',
      field({ selctor: 'a', as: 'trim' }),
      `${F}/selctor`,
      'unknown_field',
      /did you mean "selector"/,
    ],
    [
      'an unknown key',
      field({ selector: 'a', zzzzzzzz: 1 }),
      `${F}/zzzzzzzz`,
      'unknown_field',
      /expected one of selector, xpath/,
    ],
    [
      'a transform that is nearly known',
      field({ selector: 'a', as: 'nubmer' }),
      `${F}/as`,
      'unknown_word',
      /did you mean "number"/,
    ],
    ['an unknown meta', field({ meta: 'headers' }), `${F}/meta`, 'unknown_word', /header:NAME/],
    ['a header without a name', field({ meta: 'header:' }), `${F}/meta`, 'unknown_word', /expected a name/],
    ['meta that is no word', field({ meta: {} }), `${F}/meta`, 'unknown_word', /found \{\}/],
    [
      'an unknown param',
      { params, ...field({ meta: 'param:categroy' }) },
      `${F}/meta`,
      'unknown_name',
      /did you mean "category"/,
    ],
    [
      'a value that nothing passes',
      { ...field({ meta: 'passed:tite' }), startUrls: [{ url: 'http://a.test/', pass: { title: 1 } }] },
      `${F}/meta`,
      'unknown_name',
      /did you mean "title"/,
    ],
    ['an attribute of JSON', field({ json: 'a', value: 'href' }), `${F}/value`, 'conflict', /no attributes/],
    ['a value of meta', field({ meta: 'url', value: 'x' }), `${F}/value`, 'conflict', /does not go with "meta"/],
    [
      'nested fields of Open Graph',
      field({ opengraph: 'title', value: { a: 'b' } }),
      `${F}/value`,
      'conflict',
      /"opengraph"/,
    ],
    [
      'a selector inside JSON',
      field({ json: 'a', value: { b: { selector: 'b' } } }),
      `${F}/value/b/selector`,
      'conflict',
      /no elements/,
    ],
    [
      'CSS where JMESPath stands',
      field({ json: 'a', value: { b: 'div > p:first-child' } }),
      `${F}/value/b`,
      'bad_json',
      /not a JMESPath/,
    ],
    [
      'a match of nested fields',
      field({ selector: 'a', match: 'x', value: { a: 'b' } }),
      `${F}/match`,
      'conflict',
      /nested fields/,
    ],
    ['a lookahead', field({ selector: 'a', match: 'a(?=b)' }), `${F}/match`, 'bad_regex', /no lookaround/],
    ['a backreference', field({ selector: 'a', match: '(a)\\1' }), `${F}/match`, 'bad_regex', /no backreferences/],
    ['a regex that is a number', field({ selector: 'a', match: 1 }), `${F}/match`, 'bad_regex', /found 1/],
    [
      'a locale that is none',
      field({ selector: 'a', as: 'number', locale: 'german!' }),
      `${F}/locale`,
      'bad_locale',
      /en-GB/,
    ],
    [
      'a locale of a text',
      field({ selector: 'a', as: 'trim', locale: 'de' }),
      `${F}/locale`,
      'conflict',
      /number, integer, date/,
    ],
    ['an empty list', field([]), F, 'bad_list', /exactly one field/],
    ['a field that is null', field(null), F, 'wrong_type', /found null/],
    [
      'each that is an ending',
      { pages: [{ items: [{ each: 'a::text', fields: { f: 'b' } }] }] },
      '/pages/0/items/0/each',
      'bad_selector',
      /elements/,
    ],
    [
      'each that does not compile',
      { pages: [{ items: [{ each: { json: '[' }, fields: { f: 'b' } }] }] },
      '/pages/0/items/0/each/json',
      'bad_json',
      /JMESPath/,
    ],
    [
      'each with two sources',
      { pages: [{ items: [{ each: { json: 'a', xpath: '//a' }, fields: { f: 'b' } }] }] },
      '/pages/0/items/0/each/json',
      'conflict',
      /one source/,
    ],
    [
      'a required field that is nearly there',
      { pages: [{ items: [{ fields: { title: 'b' }, required: ['titel'] }] }] },
      '/pages/0/items/0/required/0',
      'unknown_name',
      /did you mean "title"/,
    ],
    [
      'two page entries of one name',
      { pages: [{ name: 'a' }, { name: 'a' }] },
      '/pages/1/name',
      'duplicate_name',
      /second page entry/,
    ],
    ['pages beside a script', { script: 'x', pages: [{ name: 'a' }] }, '/pages', 'conflict', /one or the other/],
    [
      'a start URL for an unknown page',
      { startUrls: [{ url: 'http://a.test/', page: 'lst' }], pages: [{ name: 'list' }] },
      '/startUrls/0/page',
      'unknown_name',
      /did you mean "list"/,
    ],
    ['a rule without a source', follow({ allow: ['/x'] }), L, 'required', /selector, xpath, json, form/],
    ['a rule with two sources', follow({ selector: 'a', json: 'b' }), `${L}/json`, 'conflict', /one source/],
    [
      'a rule to an unknown page',
      follow({ selector: 'a', page: 'q' }),
      `${L}/page`,
      'unknown_name',
      /expected one of p$/,
    ],
    ['values without a form', follow({ selector: 'a', values: { q: 'x' } }), `${L}/values`, 'conflict', /"form"/],
    ['a form with a template', follow({ form: 'form', url: '/x{value}' }), `${L}/url`, 'conflict', /"form"/],
    ['a form that is a text', follow({ form: 'form::text' }), `${L}/form`, 'bad_selector', /a form is an element/],
    ['an ending and a value', follow({ selector: 'a::attr(x)', value: 'y' }), `${L}/value`, 'conflict', /already/],
    ['a template without its value', follow({ selector: 'a', url: '/page' }), `${L}/url`, 'bad_url', /\{value\}/],
    [
      'a template with an unknown param',
      follow({ selector: 'a', url: '/{value}?c={categry}' }, { params }),
      `${L}/url`,
      'unknown_name',
      /did you mean "category"/,
    ],
    [
      'a form value with an unknown param',
      follow({ form: 'form', values: { 'a/b': '{nope}' } }, { params }),
      `${L}/values/a~1b`,
      'unknown_name',
      /"nope"/,
    ],
    [
      'a request with two bodies',
      follow({ selector: 'a', request: { form: { a: 'b' }, body: 'c' } }),
      `${L}/request/body`,
      'conflict',
      /form/,
    ],
    [
      'a GET with a body',
      follow({ selector: 'a', request: { method: 'GET', json: {} } }),
      `${L}/request/method`,
      'conflict',
      /no body/,
    ],
    [
      'a header of the fetcher',
      follow({ selector: 'a', request: { headers: { Host: 'x' } } }),
      `${L}/request/headers/Host`,
      'bad_header',
      /Host/,
    ],
    ['a JMESPath of a rule', follow({ json: 'a[' }), `${L}/json`, 'bad_json', /JMESPath/],
    ['a member that does not compile', follow({ json: 'a', value: '[[' }), `${L}/value`, 'bad_json', /JMESPath/],
    ['a regex of a rule', follow({ xpath: '//a', match: '(' }), `${L}/match`, 'bad_regex', /RE2/],
    [
      'what is passed',
      follow({ selector: 'a', pass: { t: { selector: ':x' } } }),
      `${L}/pass/t/selector`,
      'bad_selector',
      /CSS/,
    ],
    ['nothing that is passed', follow({ selector: 'a', pass: {} }), `${L}/pass`, 'empty_fields', /at least one/],
  ];
  for (const [name, spider, pointer, code, message] of MISTAKES)
    it(`says what is wrong with ${name}`, () => {
      const problems = checkSpider(spider);
      assert.deepEqual(
        problems.map((problem) => [problem.pointer, problem.code]),
        [[pointer, code]],
      );
      assert.match(problems[0]!.message, message);
    });

  it('finds nothing wrong with every source, transform and kind of rule', () => {
    const fields = {
      a: { xpath: './/dt[.="x"]/following-sibling::dd[1]', as: 'integer', locale: 'de' },
      b: [{ json: 'items[?price > `1`].name' }],
      c: { selector: 'script#__NEXT_DATA__', json: 'props.title', as: 'date', locale: 'en-GB' },
      d: { jsonld: 'Product.brand.name', match: '(.+)', default: null },
      e: { microdata: 'Product', value: { name: 'name', offers: [{ json: 'offers', value: { price: 'price' } }] } },
      f: { opengraph: 'image:width', as: 'number' },
      g: [{ meta: 'header:set-cookie', match: '^[^;]+' }],
      h: { meta: 'param:category', default: 'x' },
      i: { meta: 'passed:title' },
      j: { match: '[0-9]+', as: 'integer' },
    };
    const rules = [
      { selector: 'a::attr(data-url)', page: 'item', pass: { title: { as: 'trim' } } },
      { xpath: '//a/@href', match: 'id=([0-9]+)', url: '/item/{value}?c={category}' },
      { json: 'items', value: 'url', pass: { title: 'name' }, request: { json: { id: '{value}' } } },
      { form: '#search', values: { q: '{category}' }, page: 'item' },
    ];
    const pages = [
      { name: 'list', items: [{ each: { xpath: '//li' }, fields }], follow: rules },
      { name: 'item', items: [{ each: { json: 'items' }, fields: { n: 'name', m: { json: '@' } } }] },
    ];
    assert.deepEqual(checkSpider({ params, startUrls: [{ url: 'http://a.test/', page: 'item' }], pages }), []);
  });
  it('takes any JSON without failing', () => {
    const words = [
      'pages',
      'items',
      'fields',
      'follow',
      'each',
      'selector',
      'xpath',
      'json',
      'value',
      'match',
      'pass',
      'request',
      'scope',
      'startUrls',
      'params',
      'properties',
      'required',
      'allow',
      'regex',
      '__proto__',
    ];
    const leaf = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.constantFrom('a', '//a', '[', ''),
      fc.string(),
    );
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 9, depthSize: 'large' },
        leaf,
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...words), tie('tree'), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(tree, (spider) => {
        for (const { pointer, code, message } of checkSpider(spider))
          assert.ok(pointer === '' || pointer.startsWith('/'), `${pointer} ${code} ${message}`);
      }),
      { numRuns: 500 },
    );
  });
  it('checks the good parts of a spider whose other parts have wrong types', () => {
    const spider = {
      scope: 5,
      pages: [
        { match: 'x', items: { a: 1 }, follow: [7, { selector: '[' }] },
        'no',
        { items: [null, { fields: { f: '(' } }] },
      ],
      startUrls: { a: 1 },
      params: [],
    };
    assert.deepEqual(
      checkSpider(spider).map(({ pointer }) => pointer),
      ['/pages/0/follow/1/selector', '/pages/2/items/1/fields/f'],
    );
  });
});
