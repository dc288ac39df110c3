/** 6: whatever a declarative spider is and whatever a page is, reading it without a tree gives what the tree gives. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsTree } from '../support/both_ways.ts';
import fc, { SEED } from '../support/property.ts';
import { asTest, type Counts, cases, differenceOf, PAGES_EACH } from './differential_case.ts';

/** Pages, each with a spider. `FUZZ_CASES=1000000` is the long form; `FUZZ_SEED` runs one again. */
const CASES = Number(process.env.FUZZ_CASES ?? 1000);

/** A long run says how far it is each so many pages. */
const PROGRESS_PAGES = 50_000;

const ignored = (): Counts => ({ refused: 0, empty: 0, found: 0 });

/** Says on stderr how far a long run is, and at once that it found something: simplifying that takes minutes more. */
function progress(): (counts: Counts, isSame: boolean) => void {
  let next = PROGRESS_PAGES;
  let isClean = true;
  return (counts, isSame) => {
    const pages = counts.refused + counts.empty + counts.found;
    if (isClean && !isSame) console.error(`a difference within the first ${pages} pages; simplifying it`);
    isClean &&= isSame;
    if (!isClean || pages < next) return;
    next += PROGRESS_PAGES;
    console.error(`${pages} of ${CASES} pages`);
  };
}

test(`6: ${CASES} pages give the same without a tree`, (context) => {
  context.diagnostic(`seed ${SEED}`);
  const counts = ignored();
  const report = progress();
  const result = fc.check(
    fc.property(cases(), (one) => {
      const isSame = differenceOf(one, counts) === null;
      report(counts, isSame);
      return isSame;
    }),
    { numRuns: Math.ceil(CASES / PAGES_EACH), seed: SEED },
  );
  context.diagnostic(JSON.stringify(counts));
  const [one] = result.counterexample ?? [];
  if (one !== undefined) {
    const how = `FUZZ_SEED=${SEED}, case ${result.numRuns}, ${result.numShrinks} times simplified`;
    assert.fail(`${how}: ${differenceOf(one, ignored())}\n\n${asTest(one)}`);
  }
  assert.ok(!result.failed, String(result.errorInstance));
  // What never finds anything proves nothing.
  const { found, refused, empty } = counts;
  assert.ok(found > refused + empty && refused < empty, JSON.stringify(counts));
});

test('6: most of the spiders that are tried need no tree', () => {
  const made = fc.sample(cases(), { numRuns: 200, seed: SEED });
  const free = made.filter(({ definition }) => {
    try {
      return needsTree(definition)?.length === 0;
    } catch {
      return false;
    }
  });
  assert.ok(free.length > 0.7 * made.length, `${free.length} of ${made.length}`);
});
