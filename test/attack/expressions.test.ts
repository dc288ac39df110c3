/**
 * Expressions that make much of little. Where a thread's heap cannot take one allocation of tens of megabytes, V8 ends the
 * whole process: each of these did, or would. Here each comes to an end, and the pool goes on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { Spider } from '../../dist/model/spider.js';
import { outgrows } from '../../dist/parser/json_path.js';
import { ParseFailure, ParserPool } from '../../dist/parser/pool.js';
import { planInput, shared } from '../parser/helpers.ts';

const LONG = "string-join((1 to 100000) ! 'aaaaaaaaaa')";
const MANY = Array(40).fill('@').join(',');
const BIG = JSON.stringify({ a: 'x'.repeat(1e5), b: Array(3000).fill('y'), c: 'x'.repeat(3e6) });

const JSON_QUERIES = [
  "pad_right('a', `400000000`, 'b')",
  "length(split(pad_right('a', `100000000`, 'b'), ''))",
  "upper(pad_left('a', `500000000`, 'b'))",
  "replace(pad_right('a', `50000000`, 'b'), 'b', 'cccccccccc')",
  "replace('a', 'a', 'b', `1000000000`)",
  'upper(join(a, b))',
  `to_string([${MANY}])`,
  `[${MANY}]`,
  `[@,@,@,@][]${'|[@,@,@,@,@,@,@,@][]'.repeat(12)}`,
];
const XPATHS = [
  `upper-case(string-join((1 to 400) ! ${LONG}))`,
  `let $a := ${LONG} return upper-case(concat(${Array(20).fill('$a').join(', ')}))`,
  `let $a := ${LONG} return upper-case(fold-left(1 to 400, '', function($x, $y) { concat($x, $a) }))`,
  `let $a := ${LONG} return array{(1 to 300) ! $a}`,
  `replace(${LONG}, 'a', 'bbbbbbbbbb')`,
  `count(string-to-codepoints(concat(${LONG}, 'a')))`,
  'count(reverse(1 to 300000000))',
];
const REFUSED = [
  "'a' || 'b'",
  "Q{http://www.w3.org/2005/xpath-functions}string-join((1 to 9) ! 'a')",
  `concat(${Array(30).fill("'a'").join(', ')})`,
];

const field = (source: object): Spider => ({
  pages: [{ items: [{ fields: { a: source as { selector: string }, h: 'h1' } }] }],
});

describe('expressions that make much of little', () => {
  let pool: ParserPool;
  let opened = 0;
  before(async () => {
    pool = new ParserPool({ threads: 1, memoryMb: 64, known: new KnownFingerprints(1024).buffer });
    await pool.start();
  });
  after(() => pool?.stop());

  async function run(definition: Spider, text: string, contentType: string): Promise<string | undefined> {
    const crawlId = `0190a1b2-c3d4-7e5f-8a9b-${String(++opened).padStart(12, '0')}`;
    pool.openCrawl(planInput(definition, { parseTimeoutMs: 1000 }, crawlId));
    const job = { crawlId, url: 'http://site.test/', status: 200, depth: 0, contentType, extra: null, fetchedAt: 0 };
    const { items } = await pool.parse({ ...job, ...shared(text) }).finally(() => pool.closeCrawl(crawlId));
    return items[0]?.data;
  }

  async function endure(source: object, text: string, contentType: string): Promise<void> {
    const ended = await run(field(source), text, contentType).catch((error: unknown) => error);
    if (ended instanceof ParseFailure) assert.match(ended.reason, /^parse_(timeout|memory)$/);
    else assert.ok(ended === undefined || String(ended).length < 1000, String(ended).slice(0, 200));
    assert.equal(await run(field({ selector: 'b' }), '<h1>H</h1><b>x</b>', 'text/html'), '{"a":"x","h":"H"}');
  }

  for (const json of JSON_QUERIES) it(json.slice(0, 80), () => endure({ json }, BIG, 'application/json'));
  for (const xpath of XPATHS) it(xpath.slice(0, 80), () => endure({ xpath }, '<p>', 'text/html'));
  for (const xpath of REFUSED)
    it(`is refused: ${xpath.slice(0, 60)}`, async () => {
      const [problem] = await pool.check(field({ xpath }));
      assert.equal(problem?.code, 'bad_xpath');
    });
  it('a value that is in another many times is counted as often, and no longer than is needed', () => {
    let value: unknown = 'xx';
    for (let i = 0; i < 200; i++) value = [value, { value }];
    assert.equal(outgrows(value, 1e6), true);
    assert.equal(outgrows({ a: ['xx', 1] }, 100), false);
  });
});
