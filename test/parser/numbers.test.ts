import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { numberOf } from '../../dist/parser/numbers.js';
import fc from '../support/property.ts';

describe('a number in a locale', () => {
  const cases: [string, string, number | null][] = [
    ['1.234', 'de', 1234],
    ['1.234', 'en', 1.234],
    ['1,234', 'en', 1234],
    ['1,234', 'de', 1.234],
    ['1.234,50 €', 'de-DE', 1234.5],
    ['1,234.50', 'en-US', 1234.5],
    ['12.5', 'de', 12.5],
    ['1,5', 'en', 1.5],
    ['1.234.567', 'de', 1234567],
    ['1.2345', 'de', 1.2345],
    ['0,99', 'fr', 0.99],
    ['1 234,5', 'fr', 1234.5],
    ['1\u202f234,5', 'fr-FR', 1234.5],
    ['1’234.50', 'de-CH', 1234.5],
    ["1'234.50", 'de-CH', 1234.5],
    ['1.234,50', 'es', 1234.5],
    ['1234,5', 'es', 1234.5],
    ['1,23,456', 'en-IN', 123456],
    ['₹1,23,45,678.90', 'hi', 12345678.9],
    ['١٬٢٣٤٫٥٦', 'ar-EG', 1234.56],
    ['۱۲۳', 'fa', 123],
    ['१,२३,४५६', 'mr', 123456],
    ['１２３', 'ja', 123],
    ['\u200f-٥', 'ar-EG', -5],
    ['−5,5', 'sv', -5.5],
    ['-£5.00', 'en-GB', -5],
    ['10-20', 'en', 10],
    [',5', 'de', 0.5],
    ['(1,234)', 'en', 1234],
    ['23.11.2026', 'de', null],
    ['1,2,3', 'en', null],
    ['EUR 12 (inkl. 19 %)', 'de', 12],
    ['none', 'de', null],
    ['', 'en', null],
    ['9'.repeat(400), 'en', null],
  ];
  for (const [text, locale, value] of cases)
    it(`${JSON.stringify(text).slice(0, 40)} is ${value} in ${locale}`, () => {
      assert.equal(numberOf(text, locale), value);
    });
  it('comes back from what Intl writes, whatever the locale', () => {
    const locales = [
      'en',
      'de',
      'fr',
      'es',
      'pt-BR',
      'pt-PT',
      'it',
      'nl',
      'pl',
      'ru',
      'sv',
      'de-CH',
      'en-IN',
      'hi',
      'ar-EG',
      'fa',
      'ja',
      'tr',
      'he',
      'bn',
    ];
    const cents = fc.integer({ min: -1_000_000_000, max: 1_000_000_000 });
    fc.assert(
      fc.property(fc.constantFrom(...locales), cents, (locale, n) => {
        const written = new Intl.NumberFormat(locale, { minimumFractionDigits: 2 }).format(n / 100);
        assert.equal(numberOf(written, locale), n / 100 + 0, `${locale} ${written}`);
      }),
      { numRuns: 300 },
    );
  });
  it('is null or finite for any text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 50 }),
        fc.constantFrom('en', 'de', 'ar-EG', null),
        (text, locale) => {
          const n = numberOf(text, locale);
          assert.ok(n === null || Number.isFinite(n));
        },
      ),
      { numRuns: 300 },
    );
  });
});
