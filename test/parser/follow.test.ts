import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { requestFp } from '../../dist/model/extra.js';
import type { FollowRule, PageRule } from '../../dist/model/spider.js';
import { fingerprint } from '../../dist/model/url.js';
import { extract, type RunOptions, run } from './helpers.ts';

const links = (rule: FollowRule | FollowRule[], page: string, options: RunOptions = {}) =>
  run(
    {
      pages: [
        { name: 'list', follow: [rule].flat() },
        { name: 'item', match: ['/never'] },
      ],
    },
    page,
    options,
  ).links;
const urls = (rule: FollowRule, page: string, options: RunOptions = {}) =>
  links(rule, page, options).map(({ url }) => url);
const S = 'http://site.test';

describe('a follow rule', () => {
  const PAGE = `<a href="/a" data-url="/data" data-id="7">Go to 42</a><a href="/b">B</a><base href="http://site.test/base/">
    <button onclick="go('/js/9')">x</button><span data-u="rel">s</span>`;
  const CASES: [rule: FollowRule, urls: string[]][] = [
    [{ selector: 'a' }, [`${S}/a`, `${S}/b`]],
    [{ selector: 'a', value: 'data-url' }, [`${S}/data`]],
    [{ selector: 'a::attr(data-url)' }, [`${S}/data`]],
    [{ selector: 'span', value: 'data-u' }, [`${S}/base/rel`]],
    [{ selector: 'button', value: 'onclick', match: "'([^']+)'" }, [`${S}/js/9`]],
    [{ selector: 'a', match: '^/a' }, [`${S}/a`]],
    [{ selector: 'a::text', match: '[0-9]+', url: '/n/{value}?q={value}' }, [`${S}/n/42?q=42`]],
    [{ selector: 'a', value: 'data-id', url: 'https://other.test/{value}' }, ['https://other.test/7']],
    [{ selector: 'a::text', url: '/find?q={value}' }, [`${S}/find?q=Go%20to%2042`, `${S}/find?q=B`]],
    [{ selector: 'a::text', url: '{value}', match: '/nope' }, []],
    [{ xpath: '//a/@href' }, [`${S}/a`, `${S}/b`]],
    [{ xpath: '//a[contains(., "42")]' }, [`${S}/a`]],
    [{ xpath: '//a', value: 'data-url' }, [`${S}/data`]],
    [{ xpath: '//button/@onclick', match: "'([^']+)'" }, [`${S}/js/9`]],
    [{ selector: 'span' }, []],
  ];
  it('reads where a link leads: attribute, text, match, template, XPath', () => {
    for (const [rule, expected] of CASES) assert.deepEqual(urls(rule, PAGE), expected, JSON.stringify(rule));
  });
  it('reads JSON: texts, numbers for templates, and a part of each member', () => {
    const page = JSON.stringify({
      next: '/p/2',
      ids: [1, 2],
      items: [{ url: 'x', t: 'X' }, { url: null }, { t: 'Y' }],
    });
    const json: RunOptions = { kind: 'json' };
    assert.deepEqual(urls({ json: 'next' }, page, json), [`${S}/p/2`]);
    assert.deepEqual(urls({ json: 'ids', url: '/item/{value}' }, page, json), [`${S}/item/1`, `${S}/item/2`]);
    assert.deepEqual(urls({ json: 'items', value: 'url' }, page, json), [`${S}/dir/x`]);
    assert.deepEqual(urls({ json: 'nothing' }, page, json), []);
    assert.deepEqual(urls({ json: 'items' }, page, json), []);
    const [link] = links({ json: 'items', value: 'url', pass: { title: 't' } }, page, json);
    assert.deepEqual({ ...link!.extra!.pass }, { title: 'X' });
  });
  it('fills params into its template', () => {
    const options = { params: { lang: 'de/x' } };
    assert.deepEqual(urls({ selector: 'a', value: 'data-id', url: '/{lang}/{value}' }, PAGE, options), [
      `${S}/de%2Fx/7`,
    ]);
  });
  it('makes requests of what it reads; method and body count in the fingerprint', () => {
    const rule: FollowRule = {
      selector: 'a::attr(data-id)',
      url: '/api',
      request: { headers: { 'X-Id': '{value}' }, json: { id: '{value}', deep: [{ v: 'n{value}' }] } },
    };
    const [link] = links({ ...rule, url: '/api?{value}' }, PAGE);
    assert.deepEqual(link!.extra, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-id': '7' },
      body: '{"id":"7","deep":[{"v":"n7"}]}',
    });
    assert.equal(link!.fp, fingerprint('POST', link!.url, link!.extra!.body!));
    assert.equal(link!.fp, requestFp(link!.url, link!.extra));
    const forms = links(
      [
        { selector: 'a', request: { form: { q: 'a b', href: '{value}' } } },
        { selector: 'a' },
        { selector: 'a', request: { form: { q: 'a b', href: '{value}' } } },
      ],
      '<a href="/x">x</a>',
    );
    assert.deepEqual(
      forms.map(({ url, extra }) => [url, extra?.method, extra?.body]),
      [
        [`${S}/x`, 'POST', 'q=a+b&href=%2Fx'],
        [`${S}/x`, undefined, undefined],
      ],
    );
  });
  it('lets no value of a page begin a header of its own', () => {
    const [link] = links(
      { selector: 'a', value: 'data-x', url: '/{value}', request: { headers: { x: '{value}' } } },
      '<a data-x="a&#13;&#10;Cookie: b=1é☃">x</a>',
    );
    assert.equal(link!.extra!.headers!.x, 'a Cookie: b=1é ');
  });
  it('gives its target to a page entry, and passes on what it reads of the link', () => {
    const page = '<h1>List</h1><li><a href="/a"><b>Title</b></a><i>5</i></li>';
    const rule: FollowRule = {
      selector: 'a',
      page: 'item',
      pass: {
        title: 'b',
        h: 'h1',
        root: { xpath: '//h1' },
        price: { xpath: '../i', as: 'number' },
        from: { meta: 'url' },
      },
    };
    const [link] = links(rule, page);
    assert.equal(link!.extra!.page, 'item');
    assert.deepEqual(
      { ...link!.extra!.pass },
      { title: 'Title', h: null, root: 'List', price: 5, from: `${S}/dir/page.html` },
    );
    assert.equal(link!.fp, fingerprint('GET', `${S}/a`, ''));
  });
  it('does not follow where it would pass on more than 16 KiB, and says so', () => {
    const [link] = links({ selector: 'a', pass: { t: { as: 'text' } } }, `<a href="/a">${'x'.repeat(20_000)}</a>`);
    assert.equal(link!.reason, 'denied');
    assert.match(link!.detail!, /pages\[0\]\.follow\[0\]\.pass has 20008 bytes; at most 16384/);
    assert.equal(link!.extra, undefined);
  });
  it('is judged as every link: scope, patterns, nofollow, depth', () => {
    const page = '<a data-u="/a" rel="nofollow">1</a><a data-u="/b">2</a><a data-u="http://o.test/">3</a>';
    const rule: FollowRule = { selector: 'a', value: 'data-u', page: 'item', deny: ['/b'] };
    assert.deepEqual(
      links(rule, page).map(({ reason }) => reason),
      ['denied', 'denied', 'offsite'],
    );
    const meta = `<meta name="robots" content="nofollow">${page}`;
    assert.deepEqual(
      links({ xpath: '//a/@data-u' }, meta).map(({ reason, detail }) => reason ?? detail),
      ['denied', 'denied', 'offsite'],
    );
    const deep = links({ xpath: '//a/@data-u' }, page, { depth: 3, settings: { maxDepth: 3 } });
    assert.equal(deep[0]!.reason, 'depth');
  });
});

describe('the page entry that a link names', () => {
  const pages: PageRule[] = [
    { name: 'list', match: ['/dir/'], items: [{ fields: { list: 'h1' } }] },
    { name: 'item', match: ['/never'], items: [{ fields: { item: 'h1', from: { meta: 'passed:from' } } }] },
  ];
  it('gets the target alone, whatever its URL', () => {
    const data = (extra: RunOptions['extra']) =>
      run({ pages }, '<h1>x</h1>', { extra: extra! }).items.map(({ data: text }) => text);
    assert.deepEqual(data({ page: 'item', pass: { from: 'y' } }), ['{"item":"x","from":"y"}']);
    assert.deepEqual(data(null), ['{"list":"x"}']);
    assert.deepEqual(data({ page: 'gone' }), ['{"list":"x"}']);
  });
  it('is named in the CPU time that its pages took', () => {
    assert.deepEqual(Object.keys(run({ pages }, '<h1>x</h1>').cpu!), ['page list']);
    assert.deepEqual(Object.keys(run({ pages: [{}, {}] }, '').cpu!), ['page 0', 'page 1']);
    assert.deepEqual(extract({ a: 'h1' }, '<h1>x</h1>'), [{ a: 'x' }]);
  });
});

describe('a form that is followed', () => {
  const FORMS: [name: string, html: string, values: Record<string, string>, url: string, body: string | null][] = [
    [
      'sends its text fields',
      '<form action="/s"><input name=q value="a b&amp;c"><input name=n type=hidden></form>',
      {},
      '/s?n=&q=a+b%26c',
      null,
    ],
    [
      'is sent to its own page without an action',
      '<form><input name=q value=1></form>',
      {},
      '/dir/page.html?q=1',
      null,
    ],
    [
      'replaces the query of its action by GET',
      '<form action="/s?old=1#f"><input name=q value=1></form>',
      {},
      '/s?q=1',
      null,
    ],
    [
      'posts, and keeps the query of its action',
      '<form method=POST action="/s?k=1"><input name=q value=1></form>',
      {},
      '/s?k=1',
      'q=1',
    ],
    [
      'takes values for its fields, in their place, and adds others',
      '<form method=post><input name=a value=1><input name=b value=2></form>',
      { a: 'x', c: '{who}' },
      '/dir/page.html',
      'a=x&b=2&c=Ada',
    ],
    [
      'replaces every field of a name by one value',
      '<form method=post><input name=a value=1><input name=a value=2></form>',
      { a: 'x' },
      '/dir/page.html',
      'a=x',
    ],
    [
      'sends checked boxes alone',
      '<form method=post><input type=checkbox name=a checked><input type=checkbox name=b><input type=checkbox name=c value=3 checked></form>',
      {},
      '/dir/page.html',
      'a=on&c=3',
    ],
    [
      'sends the chosen radio',
      '<form method=post><input type=radio name=r value=1><input type=radio name=r value=2 checked></form>',
      {},
      '/dir/page.html',
      'r=2',
    ],
    [
      'sends the selected option, else the first that is not disabled',
      '<form method=post><select name=a><option value=1>x<option selected>two  words</select><select name=b><option disabled>x<option>y</select></form>',
      {},
      '/dir/page.html',
      'a=two+words&b=y',
    ],
    [
      'sends every selected option of many',
      '<form method=post><select name=a multiple><option selected>1<optgroup><option selected>2</optgroup><option>3</select><select name=b multiple><option>1</select></form>',
      {},
      '/dir/page.html',
      'a=1&a=2',
    ],
    [
      'sends nothing of a list without a selection',
      '<form method=post><select name=a size=3><option>1</select></form>',
      {},
      '/dir/page.html',
      '',
    ],
    [
      'sends a text area without its first line break',
      '<form method=post><textarea name=t>\nline 1\nline &lt;2&gt;</textarea></form>',
      {},
      '/dir/page.html',
      't=line+1%0D%0Aline+%3C2%3E',
    ],
    [
      'clicks its first submit button alone',
      '<form method=post><button type=button name=x>x</button><button name=go value=1>go</button><input type=submit name=no value=2></form>',
      {},
      '/dir/page.html',
      'go=1',
    ],
    [
      'sends an image button as a place',
      '<form method=post><input type=image name=i></form>',
      {},
      '/dir/page.html',
      'i.x=0&i.y=0',
    ],
    [
      'obeys its button',
      '<form><input name=q value=1><button formaction="/other" formmethod=post>go</button></form>',
      {},
      '/other',
      'q=1',
    ],
    [
      'leaves out what has no name, is disabled, a file or a reset',
      '<form method=post><input value=1><input name=a disabled value=1><input type=file name=f><input type=reset name=r value=1><fieldset disabled><legend><input name=in value=1></legend><input name=out value=1></fieldset></form>',
      {},
      '/dir/page.html',
      'in=1',
    ],
    [
      'takes controls that name it from outside',
      '<form id=f method=post><input name=a value=1></form><input form=f name=b value=2><form><input form=f name=c value=3></form>',
      {},
      '/dir/page.html',
      'a=1&b=2&c=3',
    ],
    [
      'says which charset it is in',
      '<form method=post><input type=hidden name=_charset_><input name=ü value=é></form>',
      {},
      '/dir/page.html',
      '_charset_=UTF-8&%C3%BC=%C3%A9',
    ],
    [
      'sends a hidden token of the page',
      '<form method=post action="login"><input type=hidden name=csrf value="t&quot;1"><input name=user><input name=pass type=password></form>',
      { user: '{who}', pass: 's' },
      '/dir/login',
      'csrf=t%221&user=Ada&pass=s',
    ],
  ];
  for (const [name, html, values, url, body] of FORMS)
    it(name, () => {
      const [link, ...more] = links({ form: 'form', values }, html, { params: { who: 'Ada' } });
      assert.equal(link!.url, S + url);
      if (body === null) assert.equal(link!.extra, undefined);
      else {
        assert.equal(link!.extra!.method, 'POST');
        assert.equal(link!.extra!.body ?? '', body);
        assert.equal(link!.extra!.headers!['content-type'], 'application/x-www-form-urlencoded');
      }
      assert.ok(more.every((other) => other.url !== link!.url || other.fp !== link!.fp));
    });
  it('is found by what is inside of it, given to a page, and sent nowhere as a dialog', () => {
    const [link] = links(
      { form: '#go', page: 'item', pass: { id: { value: 'id' } } },
      '<form id=f action=/x><b id=go></b></form>',
    );
    assert.deepEqual(
      [link!.url, link!.extra!.page, { ...link!.extra!.pass }],
      [`${S}/x?`.slice(0, -1), 'item', { id: 'f' }],
    );
    assert.deepEqual(links({ form: 'form' }, '<form method=dialog></form>'), []);
    assert.deepEqual(links({ form: 'p' }, '<p></p>'), []);
    assert.equal(links({ form: 'form' }, '<form action="http://other.test/"></form>')[0]!.reason, 'offsite');
  });
});

it('31: what the links of a page carry is bounded together, and the page says so', () => {
  const page = Array.from({ length: 1000 }, (_, i) => `<p>${'x'.repeat(15_000)}<a href="/${i}">${i}</a></p>`).join('');
  const found = run({ pages: [{ follow: [{ selector: 'a', pass: { text: { xpath: '..' } } }] }] }, page);
  const carried = found.links.reduce((sum, { extra }) => sum + JSON.stringify(extra).length, 0);
  assert.ok(found.links.length > 200 && carried < 4.2e6, `${found.links.length} links carry ${carried} characters`);
  assert.deepEqual(found.flags, ['links']);
});
