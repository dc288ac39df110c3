import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Fields } from '../../dist/model/field.js';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { PageRule, ParsePlanInput } from '../../dist/model/spider.js';
import { BodyText } from '../../dist/parser/charset.js';
import { Plan } from '../../dist/parser/plan.js';
import { TargetCache } from '../../dist/parser/targets.js';
import { planInput, shared } from './helpers.ts';

const PAGE = {
  kind: 'html' as const,
  url: 'http://site.test/page.html',
  depth: 0,
  status: 200,
  fetchedAt: Date.UTC(2026, 0, 2),
  contentType: 'text/html',
  headers: null,
  extra: null,
};

function planOf(pages: PageRule[], settings: Partial<ParsePlanInput['settings']> = {}): Plan {
  return new Plan(planInput({ pages }, settings), new KnownFingerprints(1), new TargetCache(), null);
}

/** What a plan makes of a page that comes in parts of so many characters, and how many of them it asked for. */
function inParts(plan: Plan, text: string, size: number) {
  let asked = 0;
  const parts = function* () {
    for (let from = 0; from < text.length; from += size) {
      asked++;
      yield text.slice(from, from + size);
    }
  };
  const { items, links, refreshes } = plan.run({ ...PAGE, text, parts });
  const data = items.map((item) => JSON.parse(item.data) as Record<string, unknown>);
  return { data, links: links.map(({ url }) => url), refreshes, asked };
}

describe('a page without a tree', () => {
  const detail: PageRule[] = [{ items: [{ fields: { title: 'h1', price: { selector: '.price', as: 'number' } } }] }];
  const rest = `${'<p>more</p>'.repeat(1000)}`;

  it('is read no further than its page type wants', () => {
    const page = `<title>x</title><h1>Lamp</h1><p class=price>12.50</p>${rest}<h1>no</h1>`;
    const { data, asked } = inParts(planOf(detail), page, 100);
    assert.deepEqual(data, [{ title: 'Lamp', price: 12.5 }]);
    // What is left was looked through for what the page says of itself, but not as markup.
    assert.equal(asked, Math.ceil(page.length / 100));
    const wanted = inParts(planOf([{ ...detail[0]!, follow: [{ selector: 'a' }] }]), `${page}<a href=b>`, 100);
    assert.deepEqual(wanted.links, ['http://site.test/b']);
  });
  it('waits for the whole text of what it wants', () => {
    const page = `<h1>a${'<i>b</i>'.repeat(100)}</h1><p class=price>1<b>2</b></p>${rest}`;
    assert.deepEqual(inParts(planOf(detail), page, 10).data, [{ title: `a${'b'.repeat(100)}`, price: 12 }]);
  });
  it('is read on where the rest says where it refreshes to, or what its links begin with', () => {
    const page = `<h1>a</h1><p class=price>1</p>${rest}`;
    const refresh = inParts(planOf(detail), `${page}<META HTTP-EQUIV=refresh content="0;url=/b">`, 64);
    assert.deepEqual([refresh.refreshes, refresh.links], [true, ['http://site.test/b']]);
    const cover: PageRule[] = [{ items: [{ fields: { cover: { selector: 'img', value: 'src', as: 'url' } } }] }];
    const base = inParts(planOf(cover), `<img src=c>${rest}<base\nhref=/d/>`, 64);
    assert.deepEqual(base.data, [{ cover: 'http://site.test/d/c' }]);
  });
  it('is the same wherever its parts end, inside of tags, names and texts', () => {
    const list: PageRule[] = [
      {
        items: [{ each: 'li.x > b', fields: { text: { selector: 'i ~ i', as: 'text' }, own: { value: 'title' } } }],
        follow: [{ selector: 'a[href]' }],
      },
    ];
    const page =
      '<ul><li class="y x">1<b title="q&amp;&quot;r"><i>a</i>&am<!-- -->p;<i>b&lt;</i></b><li><b>no</b></ul>' +
      '<script>"<a href=no>"</script><a class=z href="/n?a=1&amp;b=2">n</a><br/>';
    const whole = inParts(planOf(list), page, page.length);
    assert.deepEqual(whole.data, [{ text: 'b<', own: 'q&"r' }]);
    assert.deepEqual(whole.links, ['http://site.test/n?a=1&b=2']);
    for (let size = 1; size < page.length; size++) {
      const { data, links } = inParts(planOf(list), page, size);
      assert.deepEqual({ data, links }, { data: whole.data, links: whole.links }, `parts of ${size}`);
    }
  });
  it('tells places among twenty thousand siblings without looking back at them', () => {
    const page = `<ul>${'<li>x</li><b></b>'.repeat(10_000)}<li>last</li></ul>`;
    const fields: Fields = {
      a: 'li:nth-child(20001)',
      b: 'li:nth-of-type(10001)',
      c: ['b:first-of-type ~ li ~ li:nth-child(2n+20001)'],
    };
    assert.deepEqual(inParts(planOf([{ items: [{ fields }] }]), page, 4096).data, [
      { a: 'last', b: 'last', c: ['last'] },
    ]);
  });
  it('takes elements inside of one another for scopes, each with what is matched at or below it', () => {
    const page = '<div id=1><p><i>a</i></p><div id=2><i>b</i><p><i>c</i></p></div></div>';
    const fields: Fields = {
      id: { value: 'id' },
      all: ['i'],
      deep: ['p i'],
      own: ['div > p > i'],
      text: { as: 'text' },
    };
    assert.deepEqual(inParts(planOf([{ items: [{ each: 'div', fields }] }]), page, 7).data, [
      { id: '1', all: ['a', 'b', 'c'], deep: ['a', 'c'], own: ['a', 'c'], text: 'abc' },
      { id: '2', all: ['b', 'c'], deep: ['c'], own: ['c'], text: 'bc' },
    ]);
  });
  it('finds by siblings inside of siblings what begins at the last of them', () => {
    const page = '<p><i>1</i><b>2</b></p><div><p><i>3</i><i>4</i></p><b>5</b><u>6</u></div><b>7</b><div><b>8</b></div>';
    const fields: Fields = { late: ['i ~ i, b + u, b:empty ~ div b'], before: ['p ~ b, p + div b'] };
    const each = inParts(planOf([{ items: [{ each: 'div', fields }] }]), page, 5).data;
    assert.deepEqual(each, [
      { late: ['4', '6'], before: ['5'] },
      { late: [], before: [] },
    ]);
    const whole = inParts(planOf([{ items: [{ fields }] }]), page, 5).data;
    assert.deepEqual(whole, [{ late: ['4', '6'], before: ['5', '7'] }]);
  });
  it('leaves nothing behind where it could not be read to its end', () => {
    const plan = planOf(detail);
    const parts = function* () {
      yield '<div><h1>half';
      throw new Error('no more');
    };
    assert.throws(() => plan.run({ ...PAGE, text: '', parts }), /no more/);
    const { data } = inParts(plan, '<div><h1>Lamp</h1></div><p class=price>3</p>', 1000);
    assert.deepEqual(data, [{ title: 'Lamp', price: 3 }]);
  });
  it('is made into a tree where its selectors would fill a large table', () => {
    const fields = Object.fromEntries(Array.from({ length: 2100 }, (_, i) => [`f${i}`, `.c${i}`]));
    const page = '<b class=c7>seven</b><b class=c2099>last</b>';
    const { data, asked } = inParts(planOf([{ items: [{ fields }] }]), page, 10);
    assert.deepEqual([data[0]!.f7, data[0]!.f2099, asked], ['seven', 'last', 0]);
  });
  it('has its scopes inside of one another asked for their first match alone', () => {
    const page = `${'<div>'.repeat(500)}${'<b>x</b>'.repeat(50_000)}`;
    const fields: Fields = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`b${n}`, 'b']));
    const { data } = inParts(planOf([{ items: [{ each: 'div', fields }] }]), page, 64 * 1024);
    assert.equal(data.length, 500);
    assert.ok(data.every((item) => Object.values(item).every((value) => value === 'x')));
  });
});

describe('a body in parts', () => {
  const whole = (bytes: Buffer, type: string) => {
    const { body, bodyBytes } = shared(bytes);
    return new BodyText(body, bodyBytes, type, 'html');
  };
  const cases: [Buffer, string][] = [
    [Buffer.from('plain ASCII, long enough for parts'), 'text/html'],
    [Buffer.from('zwölf Boxkämpfer → 🥊🥊🥊, «größer»'), 'text/html; charset=utf-8'],
    [
      Buffer.from([0x61, 0xe2, 0x82, 0x62, 0xf0, 0x9f, 0x80, 0x80, 0x80, 0x80, 0x80, 0xff, 0xc3, 0xa9]),
      'text/html; charset=utf-8',
    ],
    [Buffer.from('\ufeffwith a mark, é'), 'text/html'],
    [Buffer.from('\ufeffUTF-16, é', 'utf16le'), 'text/html'],
    [Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x20, 0x80]), 'text/html'],
  ];
  it('is the text that it is as a whole, whatever its encoding', () => {
    for (const [bytes, type] of cases) {
      const text = whole(bytes, type).whole();
      for (let size = 1; size <= bytes.length + 1; size++)
        assert.equal([...whole(bytes, type).parts(size)].join(''), text, `${type}, parts of ${size}`);
    }
  });
});
