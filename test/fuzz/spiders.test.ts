/** Whatever is posted as a spider is answered with its mistakes, and what has none runs. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { Spider } from '../../dist/model/spider.js';
import { ParserPool } from '../../dist/parser/pool.js';
import fc from '../support/property.ts';
import { DEFINITIONS, definitions } from './generators.ts';

const known = new KnownFingerprints(1024);
const pool = new ParserPool({ threads: 2, memoryMb: 128, known: known.buffer });
before(() => pool.start());
after(() => pool.stop());

test(`${DEFINITIONS} definitions are each checked, and end no thread`, async () => {
  await fc.assert(
    fc.asyncProperty(definitions, async (definition) => {
      const problems = await pool.check(definition as Spider);
      for (const { pointer, code, message } of problems) {
        assert.match(pointer, /^(\/|$)/);
        assert.match(code, /^[a-z_0-9]+$/);
        assert.ok(message.length > 0 && message.length < 2000, message);
        assert.notEqual(code, 'too_complex');
      }
    }),
    { numRuns: DEFINITIONS },
  );
  assert.equal(pool.kills, 0);
});
