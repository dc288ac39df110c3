/** What a thread keeps of the pages that it has read: their links and names, and not the pages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { PageRule } from '../../dist/model/spider.js';
import { type Extraction, Plan } from '../../dist/parser/plan.js';
import { TargetCache } from '../../dist/parser/targets.js';
import { pageInput, planInput } from './helpers.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const MB = 1024 * 1024;
const SOME: PageRule[] = [{ items: [{ fields: { title: 'h1' } }], follow: [{ selector: 'a[href]' }] }];

const planOf = (extraction: Extraction) =>
  new Plan(planInput({ pages: SOME }), new KnownFingerprints(1), new TargetCache(), null, null, extraction);

/** A page of half a megabyte, one flat string as a decoded body is. */
const page = (html: string) => pageInput(Buffer.from(html.padEnd(MB / 2, 'lorem ipsum ')).toString('latin1'));

function heapAfter(work: () => void): number {
  collect();
  const before = process.memoryUsage().heapUsed;
  work();
  collect();
  return (process.memoryUsage().heapUsed - before) / MB;
}

for (const extraction of ['auto', 'tree'] as const) {
  test(`21: a link that is found again keeps no page in memory (${extraction})`, () => {
    const plan = planOf(extraction);
    const link = (n: number) => `<a href="http://site.test/a/page-${n}.html">x</a>`;
    for (let first = 0; first < 12_000; first += 2400)
      plan.run(pageInput(Array.from({ length: 2400 }, (_, i) => link(first + i)).join('')));
    // By now the first links are those that the cache drops next, unless they are asked for.
    const heap = heapAfter(() => {
      for (let n = 0; n < 100; n++) plan.run(page(link(n)));
    });
    assert.ok(heap < 20, `${heap} MiB of 50`);
  });

  test(`a made-up name is not kept for ever (${extraction})`, () => {
    const plan = planOf(extraction);
    const heap = heapAfter(() => {
      for (let n = 0; n < 100; n++) plan.run(pageInput(`<a x${n}${'y'.repeat(MB / 2)}=1><h1>x</h1>`));
    });
    assert.ok(heap < 20, `${heap} MiB of 50`);
  });

  test(`a plan that waits keeps no page (${extraction})`, () => {
    const plans = Array.from({ length: 60 }, () => planOf(extraction));
    const heap = heapAfter(() => {
      for (const plan of plans) plan.run(page('<h1>a title that is longer than thirteen characters</h1>'));
    });
    assert.ok(heap < 15, `${heap} MiB of 30`);
    assert.equal(plans.length, 60);
  });
}
