/** Whatever a page is and however it is cut, the scanner tells what htmlparser2's Tokenizer tells of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { referenceTokens, scannedTokens } from '../parser/tokens.ts';
import fc from '../support/property.ts';
import { markup, PAGES, tokens } from './generators.ts';

test(`${PAGES} rows of broken tokens, in one piece and cut at every place`, () => {
  fc.assert(
    fc.property(tokens, (source) => {
      const expected = referenceTokens(source);
      assert.equal(scannedTokens([source]), expected);
      assert.equal(scannedTokens(source.split('')), expected);
      for (let cut = 1; cut < source.length; cut++)
        assert.equal(scannedTokens([source.slice(0, cut), source.slice(cut)]), expected);
    }),
    { numRuns: PAGES },
  );
});

test(`${PAGES} pages, in one piece and in chunks of any length`, () => {
  fc.assert(
    fc.property(markup, fc.array(fc.nat(40), { minLength: 1, maxLength: 10 }), (source, lengths) => {
      const expected = referenceTokens(source);
      assert.equal(scannedTokens([source]), expected);
      const chunks: string[] = [];
      for (let at = 0, n = 0; at < source.length; n++) {
        const end = at + Math.max(lengths[n % lengths.length]!, 1);
        chunks.push(source.slice(at, end));
        at = end;
      }
      assert.equal(scannedTokens(chunks), expected);
    }),
    { numRuns: PAGES },
  );
});
