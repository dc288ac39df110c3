import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dateOf } from '../../dist/parser/dates.js';
import fc from '../support/property.ts';

const BASE = Date.UTC(2026, 10, 23, 12, 30, 15);
type Row = [text: string, locale: string | null, expected: string | null];

const ROWS: Record<string, Row[]> = {
  'ISO 8601': [
    ['2026-11-23', null, '2026-11-23'],
    ['2026-11-23T10:00', null, '2026-11-23T10:00:00'],
    ['2026-11-23T10:00:05', null, '2026-11-23T10:00:05'],
    ['2026-11-23 10:00:05', null, '2026-11-23T10:00:05'],
    ['2026-11-23T10:00:00Z', null, '2026-11-23T10:00:00Z'],
    ['2026-11-23T10:00:00.5Z', null, '2026-11-23T10:00:00.500Z'],
    ['2026-11-23T10:00:00.123456+02:00', null, '2026-11-23T10:00:00.123+02:00'],
    ['2026-11-23T10:00:00-0530', null, '2026-11-23T10:00:00-05:30'],
    ['2026-11-23T10:00+02', null, '2026-11-23T10:00:00+02:00'],
    ['20261123', null, '2026-11-23'],
    ['20261123T101500Z', null, '2026-11-23T10:15:00Z'],
    ['Updated: 2026-11-23, by Ann', null, '2026-11-23'],
    ['2026/11/23', null, '2026-11-23'],
    ['2026.1.3', null, '2026-01-03'],
    ['2026-02-29', null, null],
    ['2024-02-29', null, '2024-02-29'],
    ['2026-13-01', null, null],
    ['2026-11', null, null],
    ['2026', null, null],
  ],
  'the dates of mail and HTTP': [
    ['Mon, 23 Nov 2026 10:00:00 GMT', null, '2026-11-23T10:00:00Z'],
    ['Mon, 23 Nov 2026 10:00:00 +0200', null, '2026-11-23T10:00:00+02:00'],
    ['23 Nov 2026 10:00 EST', null, '2026-11-23T10:00:00-05:00'],
    ['Monday, 23-Nov-26 10:00:00 GMT', null, '2026-11-23T10:00:00Z'],
    ['Sun Nov  6 08:49:37 1994', null, '1994-11-06T08:49:37'],
    ['Mon Nov 23 10:00:00 UTC 2026', null, '2026-11-23T10:00:00Z'],
  ],
  'seconds and milliseconds since 1970': [
    ['1795428000', null, '2026-11-23T10:00:00Z'],
    ['1795428000123', null, '2026-11-23T10:00:00.123Z'],
    ['179542800', null, null],
  ],
  numbers: [
    ['23.11.2026', null, '2026-11-23'],
    ['3.11.2026', null, '2026-11-03'],
    ['23. 11. 2026', null, '2026-11-23'],
    ['11/23/2026', null, '2026-11-23'],
    ['23/11/2026', null, '2026-11-23'],
    ['3/11/2026', null, null],
    ['3/3/2026', null, '2026-03-03'],
    ['3-11-2026', null, null],
    ['3/11/2026', 'en', '2026-03-11'],
    ['3/11/2026', 'en-US', '2026-03-11'],
    ['3/11/2026', 'en-GB', '2026-11-03'],
    ['3/11/2026', 'fr', '2026-11-03'],
    ['23/11/2026', 'en-US', '2026-11-23'],
    ['11/23/2026', 'en-GB', '2026-11-23'],
    ['03.11.26', 'de', '2026-11-03'],
    ['03.11.99', 'de', '1999-11-03'],
    ['3/11/26', 'en-US', '2026-03-11'],
    ['3/11/26', null, null],
    ['26/11/03', 'ja', '2026-11-03'],
    ['23.11.2026, 10:15 Uhr', 'de', '2026-11-23T10:15:00'],
    ['23.11.2026 10.15 Uhr', 'de', '2026-11-23T10:15:00'],
    ['32.11.2026', null, null],
    ['31.11.2026', null, null],
    ['10.11.12.13', null, null],
    ['1.2.3', null, null],
    ['٢٣/١١/٢٠٢٦', 'ar-EG', '2026-11-23'],
  ],
  names: [
    ['November 23, 2026', null, '2026-11-23'],
    ['Nov. 23, 2026', null, '2026-11-23'],
    ['November 23rd, 2026 at 5:30 p.m.', null, '2026-11-23T17:30:00'],
    ['Nov 23, 2026, 12:05 AM', null, '2026-11-23T00:05:00'],
    ['Nov 23, 2026 5 pm', null, '2026-11-23T17:00:00'],
    ['Sept 3 2026', null, '2026-09-03'],
    ['23rd of November, 2026', null, '2026-11-23'],
    ['23. November 2026', null, '2026-11-23'],
    ['23 nov. 2026', null, '2026-11-23'],
    ['23 novembre 2026 à 10h30', null, '2026-11-23T10:30:00'],
    ['1er février 2026', null, '2026-02-01'],
    ['3. März 2026 um 10:00 Uhr', null, '2026-03-03T10:00:00'],
    ['23 de noviembre de 2026', null, '2026-11-23'],
    ['23 de março de 2026', null, '2026-03-23'],
    ['2026 Nov 23', null, '2026-11-23'],
    ['23-Nov-2026', null, '2026-11-23'],
    ['23 ноября 2026 г.', 'ru', '2026-11-23'],
    ['23 listopada 2026', 'pl', '2026-11-23'],
    ['23 listopada 2026', 'hr', '2026-10-23'],
    ['23 Kasım 2026', 'tr', '2026-11-23'],
    ['2026. november 23.', 'hu', '2026-11-23'],
    ['2026年11月23日', 'ja', '2026-11-23'],
    ['2026年11月23日 10:00', null, '2026-11-23T10:00:00'],
    ['2026년 11월 23일', 'ko', '2026-11-23'],
    ['10:00, 23 November 2026', null, '2026-11-23T10:00:00'],
    ['Published by May Smith on 23 November 2026', null, '2026-11-23'],
    ['5 items, 12 left, 3 Nov 2026', null, '2026-11-03'],
    ['Nov 23', null, null],
    ['23 November', null, null],
    ['November 2026', null, null],
    ['31 November 2026', null, null],
    ['23 November 2026, 17 comments', null, '2026-11-23'],
    ['23 November 2026, 99:99', null, '2026-11-23'],
  ],
  'what counts from now': [
    ['2 days ago', null, '2026-11-21'],
    ['Posted 2 days ago by Ann', null, '2026-11-21'],
    ['yesterday', null, '2026-11-22'],
    ['yesterday at 10:00', null, '2026-11-22T10:00:00'],
    ['today', null, '2026-11-23'],
    ['3 weeks ago', null, '2026-11-02'],
    ['2 hours ago', null, '2026-11-23T10:30:15Z'],
    ['an hour ago', null, '2026-11-23T11:30:15Z'],
    ['just now', null, '2026-11-23T12:30:15Z'],
    ['vor 2 Tagen', 'de', '2026-11-21'],
    ['gestern um 10:00 Uhr', 'de-AT', '2026-11-22T10:00:00'],
    ['il y a 2 jours', 'fr', '2026-11-21'],
    ['2 дня назад', 'ru', '2026-11-21'],
    ['昨日', 'ja', '2026-11-22'],
    ['3 months ago', null, null],
    ['last friday', null, null],
    ['10:00', null, null],
    ['Buy now and save money', null, null],
    ['vor langer Zeit', 'de', null],
    ['no date', null, null],
    ['', null, null],
  ],
};

for (const [name, rows] of Object.entries(ROWS))
  describe(`a date: ${name}`, () => {
    for (const [text, locale, expected] of rows)
      it(`${JSON.stringify(text)} is ${expected}${locale === null ? '' : ` in ${locale}`}`, () => {
        assert.equal(dateOf(text, locale, BASE), expected);
      });
  });

describe('a date', () => {
  it('is null or ISO 8601 for any text', () => {
    const words = [
      'nov',
      '23',
      '2026',
      '11',
      '/',
      '.',
      '-',
      ':',
      ' ',
      'ago',
      '10:00',
      'am',
      'T',
      'Z',
      '+',
      'day',
      'at',
      'mon',
      ',',
    ];
    const text = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ unit: 'binary', maxLength: 3 })), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(text, fc.constantFrom(null, 'en', 'de', 'ja', 'ar-EG'), (parts, locale) => {
        const date = dateOf(parts.join(''), locale, BASE);
        if (date === null) return;
        assert.match(date, /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d{3})?(Z|[+-]\d{2}:\d{2})?)?$/);
        assert.ok(!Number.isNaN(Date.parse(date)), date);
      }),
      { numRuns: 200 },
    );
  });
  it('is read from the first 200 characters only', () => {
    assert.equal(dateOf(`${' '.repeat(300)}2026-11-23`, null, BASE), null);
    assert.equal(dateOf(`2026-11-23${'x '.repeat(1_000_000)}`, null, BASE), '2026-11-23');
  });
});
