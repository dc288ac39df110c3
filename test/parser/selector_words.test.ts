import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Selector } from '../../dist/parser/selector.js';

describe('a selector that does not compile', () => {
  const cases: [string, RegExp][] = [
    ['div[', /the \[ at character 4 is never closed/],
    ['a[href', /the \[ at character 2 is never closed/],
    ['a:has(b', /the \( at character 6 is never closed/],
    ['a[x="1]', /the quote " at character 5 is never closed/],
    ['p)', /the \) at character 2 closes nothing/],
    ['div:', /a name is expected behind the : at character 4/],
    ['#', /a name is expected behind the # at character 1/],
    ['div . x', /a dot has no name behind it/],
    ['div..x', /a dot has no name behind it/],
    ['.//a/@href', /cannot be read from character 1|name is expected behind the \. at character 1/],
    ['//div', /is missing at its beginning/],
    ['a,', /beside a comma/],
    ['h1 &', /cannot be read from character 4 on: &/],
    ['text()', /cannot be read from character 5 on: \(\)/],
    ['a/b', /"\/b" is no name of an element/],
    ['@href', /"@href" is no name of an element/],
    ['$x', /"\$x" is no name of an element/],
    ['div[class=a b]', /quotes are needed around more than one word/],
    ['a:eq(1)', /jQuery's, not CSS/],
    ['a:first', /jQuery's, not CSS/],
    ['a::after', /::text and ::attr\(name\) are/],
  ];
  for (const [selector, message] of cases)
    it(`says where and what: ${selector}`, () => {
      assert.throws(() => new Selector(selector, false), message);
    });
  it('is not taken for wrong where it is right', () => {
    for (const selector of [
      'a',
      '*',
      'my-card',
      '.a.b',
      '.-x',
      '[data-x="a]b"]',
      "p:contains(it's)",
      'a[href="(("]',
      '.w-1\\/2',
      'media\\:content',
      'größe',
      '[class^=".."]',
      'a:not(.b):nth-child(2n + 1)',
    ])
      assert.doesNotThrow(() => new Selector(selector, false), selector);
  });
});
