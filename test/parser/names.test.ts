import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Names } from '../../dist/parser/names.js';
import { sourceOf } from '../../dist/parser/source_text.js';

const NAMES =
  'a A i b h1 H6 div DIV dIv diw Div\u0130 href HREF hreg class CLASS clas classs data-toggle data-Toggle data-toggl\u00c9 \u212abd kbd k@d x-own ' +
  '@ ` [ { {iv http-equiv HTTP-EQUIV http\requiv \u0130 \u00df \ud800 \ud83d\ude00 0 = " lineargradient linearGradient aria-describedby aria-DESCRIBEDBY';

describe('names', () => {
  it('are the same number where they are the same in lower case, and else another', () => {
    const names = new Names(['div', 'a']);
    const numbers = new Map<string, number>();
    for (const name of [...NAMES.split(' '), ...NAMES.split(' ').reverse()]) {
      const lower = name.toLowerCase();
      const number = names.read(sourceOf(`<${name}>`), 1, 1 + name.length);
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
      for (let n = 0; n < 5000; n++)
        assert.equal(names.list[names.read(sourceOf(`X${n}`), 0, `X${n}`.length)], `x${n}`);
      assert.ok(names.list.length > 5000);
      names.settle();
      assert.deepEqual(names.list, ['div', 'own']);
    }
    names.read(sourceOf('few'), 0, 3);
    names.settle();
    assert.deepEqual([names.read(sourceOf('Own'), 0, 3), names.read(sourceOf('FEW'), 0, 3)], [1, 2]);
  });
  it('that pages brought are forgotten when they are long', () => {
    const names = new Names(['div']);
    for (const letter of 'abc') names.read(sourceOf(letter.repeat(100_000)), 0, 100_000);
    assert.equal(names.list.length, 4);
    names.settle();
    assert.deepEqual(names.list, ['div']);
    for (const letter of 'ab') names.read(sourceOf(letter.repeat(100_000)), 0, 100_000);
    names.settle();
    assert.equal(names.list.length, 3, 'they are counted anew');
  });
});
