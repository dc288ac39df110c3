import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exportWarnings } from '../../dist/exports/export_warnings.js';
import type { Export } from '../../dist/model/export.js';
import type { Spider } from '../../dist/model/spider.js';

const spider: Pick<Spider, 'pages' | 'pipeline'> = {
  pages: [{ items: [{ type: 'product', fields: { sku: '.sku', price: '.price', specs: { selector: 'table' } } }] }],
  pipeline: [{ rename: { price: 'cost' } }, { set: { 'maker.name': 'x' } }],
};
const table = (columns: Record<string, string>): Export => ({ postgres: { connection: 'x', table: 't', columns } });

for (const [what, one, found] of [
  ['all is declared', table({ a: 'sku', b: 'cost', c: 'specs.weight', d: 'maker.name' }), []],
  [
    'a type',
    { type: 'prodct', file: { format: 'csv' } },
    [/^\/exports\/0\/type: .*"prodct"; did you mean "product"\?$/],
  ],
  ['a field of a column', table({ a: 'skuu', b: 'sku' }), [/^\/exports\/0: .*"skuu"; did you mean "sku"\?$/]],
  ['a field that a step renames', table({ a: 'price' }), [/"price"$/]],
  ['a field of files', { fields: ['nothing'], file: { format: 'csv' } }, [/"nothing"$/]],
  ['a key', { mongodb: { connection: 'x', collection: 'c', key: ['id'] } }, [/"id"$/]],
] as [string, Export, RegExp[]][])
  test(`27: what an export names and the spider does not declare is warned of: ${what}`, () => {
    const warnings = exportWarnings(spider, { exports: [one] });
    assert.equal(warnings.length, found.length, warnings.join('\n'));
    for (const [i, pattern] of found.entries()) assert.match(warnings[i]!, pattern);
  });

test('27: of a spider that declares no items nothing is warned, and of many names the first twenty', () => {
  const fields = Array.from({ length: 100 }, (_, i) => `no${i}`);
  const many = { exports: [{ fields, file: { format: 'csv' } }] satisfies Export[] };
  assert.deepEqual(exportWarnings({}, many), []);
  assert.deepEqual(exportWarnings({ pages: [{ follow: [{ selector: 'a' }] }] }, many), []);
  assert.equal(exportWarnings(spider, many).length, 20);
});
