import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CLASS, Names, nextKey } from '../../dist/parser/names.js';
import { sourceOf } from '../../dist/parser/source_text.js';

const NAMES =
  'a A i b h1 H6 div DIV dIv diw Div\u0130 href HREF hreg class CLASS clas classs data-toggle data-Toggle data-toggl\u00c9 \u212abd kbd k@d x-own ' +
  'bab c/b b=b ba/ ab \u00e9a a\u00e9 a\u00e8 /a =a a= abcde abcdef fabcde bcdefa aaaaa aaaaaa -_:.@ ' +
  '@ ` [ { {iv http-equiv HTTP-EQUIV http\requiv \u0130 \u00df \ud800 \ud83d\ude00 0 = " lineargradient linearGradient aria-describedby aria-DESCRIBEDBY';

/** The number of a name that stands between others in a page. */
function read(names: Names, name: string): number {
  let key = 0;
  for (let i = 0; i < name.length; i++) key = nextKey(key, CLASS[name.charCodeAt(i)]!);
  return names.read(sourceOf(`<${name}>`), 1, 1 + name.length, key);
}

describe('names', () => {
  it('are the same number where they are the same in lower case, and else another', () => {
    const names = new Names(['div', 'a']);
    const numbers = new Map<string, number>();
    for (const name of [...NAMES.split(' '), ...NAMES.split(' ').reverse()]) {
      const lower = name.toLowerCase();
      const number = read(names, name);
      assert.equal(names.list[number], lower);
      assert.equal(number, numbers.get(lower) ?? number, name);
      assert.equal(names.of(lower), number);
      numbers.set(lower, number);
    }
    assert.equal(new Set(numbers.values()).size, numbers.size);
    assert.deepEqual([numbers.get('div'), numbers.get('a')], [0, 1]);
  });

  it('that pages brought are forgotten when they are many, and no others', () => {
    const names = new Names(['div']);
    names.of('own');
    names.keep();
    for (let page = 0; page < 3; page++) {
      for (let n = 0; n < 5000; n++) assert.equal(names.list[read(names, `X${n}`)], `x${n}`);
      assert.ok(names.list.length > 5000);
      names.settle();
      assert.deepEqual(names.list, ['div', 'own']);
    }
    read(names, 'few');
    names.settle();
    assert.deepEqual([read(names, 'Own'), read(names, 'FEW')], [1, 2]);
  });
  it('that pages brought are forgotten when they are long', () => {
    const names = new Names(['div']);
    for (const letter of 'abc') read(names, letter.repeat(100_000));
    assert.equal(names.list.length, 4);
    names.settle();
    assert.deepEqual(names.list, ['div']);
    for (const letter of 'ab') read(names, letter.repeat(100_000));
    names.settle();
    assert.equal(names.list.length, 3, 'they are counted anew');
  });
});
