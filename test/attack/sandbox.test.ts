/**
 * Tricks that scripts may try. Each is stopped, said with a reason, and harmless: the page of another crawl is parsed right
 * meanwhile, and the pool goes on. Line 29 of the behaviours.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ParsedPage } from '../../dist/model/outcome.js';
import { ParseFailure } from '../../dist/parser/failure.js';
import type { ScriptCalls } from '../../dist/parser/script/calls.js';
import type { ScriptPool } from '../../dist/parser/script/pool.js';
import { crawlId, fetched, NO_CALLS, pageJob, scriptPlan, spider, startPool } from '../parser/script/scripts.ts';

const LIMITS = { parseTimeoutMs: 300, callbackTimeoutMs: 20_000, scriptMemoryMb: 32 };
/** For what waits. */
const SHORT = { ...LIMITS, callbackTimeoutMs: 300 };
/** A page that gives a selector some work. */
const HTML = `<title>T</title><h1>Head</h1>${'<div><a href="/x">x</a><p>text</p></div>'.repeat(200)}`;
const INNOCENT = spider(`parse(r, ctx) { return { h: r.css('h1').text(), n: r.css('a').length }; }`);

/** What a trick comes to: the reason of its failure; or what its one item holds, where it is harmless by itself. */
type Expected = 'script_error' | 'parse_timeout' | 'parse_memory' | { gives: unknown };

const TRICKS: [name: string, body: string, expected: Expected | Expected[]][] = [
  // CPU
  ['while (true)', 'while (true);', 'parse_timeout'],
  ['for (;;) inside try/finally', 'try { for (;;); } finally { for (;;); }', 'parse_timeout'],
  ['catching its own interruption', 'for (;;) { try { for (;;); } catch {} }', 'parse_timeout'],
  ['a generator without end', 'return (function* () { for (;;) yield {}; })();', 'parse_timeout'],
  ['a regex catastrophe', `return { a: /^(a+)+$/.test('a'.repeat(40) + 'b') };`, 'parse_timeout'],
  ['a regex on a huge text', `return { a: /(.*)(.*)(.*)(.*)x/.test('a'.repeat(20000)) };`, 'parse_timeout'],
  [
    'a native that cannot be interrupted',
    `return { a: 'a'.repeat(2e6).indexOf('a'.repeat(1e6) + 'b') };`,
    'parse_timeout',
  ],
  ['sorting with a comparison without end', 'return [3, 2, 1].sort(() => { for (;;); });', 'parse_timeout'],
  [
    'a microtask without end',
    'const f = () => Promise.resolve().then(f); await f(); await new Promise(() => {});',
    'parse_timeout',
  ],
  [
    'a flood of promises',
    'const f = async () => { for (;;) await null; }; for (let i = 0; i < 1e4; i++) f(); await f();',
    'parse_timeout',
  ],
  ['an async loop without end', 'for (;;) await null;', 'parse_timeout'],
  ['a bomb of BigInt', 'let n = 3n; for (;;) n = n * n;', ['parse_timeout', 'parse_memory', 'script_error']],
  ['JSON.stringify of a getter without end', 'return { get a() { for (;;); } };', 'parse_timeout'],
  ['toJSON without end', 'return { a: { toJSON() { for (;;); } } };', 'parse_timeout'],
  ['a then without end', 'return { then() { for (;;); } };', 'parse_timeout'],
  [
    'an iterator without end',
    'return { [Symbol.iterator]() { return { next: () => ({ done: false, value: {} }) }; } };',
    'parse_timeout',
  ],
  ['a proxy whose keys never end', 'return new Proxy({}, { ownKeys() { for (;;); } });', 'parse_timeout'],
  ['an error whose message is a loop', 'throw { get message() { for (;;); } };', 'parse_timeout'],
  [
    'an error whose stack is a loop',
    'const e = new Error("x"); Object.defineProperty(e, "stack", { get() { for (;;); } }); throw e;',
    'parse_timeout',
  ],
  [
    'selectors that cost',
    `for (let i = 0; i < 1e5; i++) r.css('div:nth-child(odd) ~ div:has(a) a:not(p a):nth-child(1)').texts();`,
    'parse_timeout',
  ],
  [
    'a selector that costs, once',
    `return { n: r.css('${'div:has(a) ~ '.repeat(40)}div').length };`,
    ['parse_timeout', { gives: 0 }, { gives: 160 }],
  ],
  [
    'an XPath that costs',
    `return { n: r.xpath('count(//div[count(//a) > count(//p/preceding::*)])').text() };`,
    ['parse_timeout', { gives: '0' }],
  ],

  // memory
  [
    'an array without end',
    'const a = []; for (;;) a.push(new Array(1000).fill(1));',
    ['parse_memory', 'parse_timeout'],
  ],
  ['a text that doubles', `let s = 'ab'; for (;;) s += s;`, ['parse_memory', 'script_error']],
  [
    'a map without end',
    `const m = new Map(); for (let i = 0; ; i++) m.set(i, 'x'.repeat(1000));`,
    ['parse_memory', 'parse_timeout'],
  ],
  [
    'join of a huge array',
    `return { a: new Array(2 ** 26).fill('ab').join('cccccccc') };`,
    ['parse_memory', 'parse_timeout', 'script_error'],
  ],
  ['split of a huge text', `return { a: 'a'.repeat(2 ** 28).split('').length };`, 'parse_memory'],
  ['a huge ArrayBuffer', 'return { a: new ArrayBuffer(2 ** 31 - 1).byteLength };', ['parse_memory', 'script_error']],
  [
    'memory kept over pages',
    'globalThis.kept ??= []; for (;;) kept.push("x".repeat(1e5) + kept.length);',
    ['parse_memory', 'parse_timeout'],
  ],
  ['padStart', `return { a: ''.padStart(2 ** 29, 'ab').length };`, ['parse_memory', 'script_error']],
  [
    'catching that memory is out, for ever',
    'const a = []; for (;;) { try { for (;;) a.push(new Array(1e5).fill(a)); } catch {} }',
    ['parse_timeout', 'parse_memory'],
  ],

  // stacks
  ['deep recursion', 'const f = () => 1 + f(); f();', 'script_error'],
  ['recursion through natives', 'const f = () => [1].map(f); f();', 'script_error'],
  ['recursion through toString', `const o = { toString: () => '' + o }; return { a: '' + o };`, 'script_error'],
  [
    'recursion through a proxy',
    'let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); return { a: p.x };',
    ['script_error', 'parse_timeout', 'parse_memory'],
  ],
  ['deep JSON', `return { a: JSON.parse('['.repeat(1e5) + ']'.repeat(1e5)).length };`, ['script_error', { gives: 1 }]],
  ['a deep item', 'let a = {}; for (let i = 0; i < 1e5; i++) a = { a }; return a;', 'script_error'],
  ['a deep regex', `return { a: new RegExp('('.repeat(5e4) + ')'.repeat(5e4)).test('') };`, 'script_error'],
  ['deep source', `return { a: eval('['.repeat(1e5)) };`, 'script_error'],

  // out
  ['the constructor chain', `return { a: [].constructor.constructor('return process')() };`, 'script_error'],
  [
    'the constructor of a host function',
    `return { a: r.css.constructor('return typeof process + typeof require + typeof globalThis.__host')() };`,
    { gives: 'undefinedundefinedundefined' },
  ],
  ['process', 'process.exit(0);', 'script_error'],
  ['require', `require('node:fs');`, 'script_error'],
  ['import()', `await import('node:fs');`, 'script_error'],
  ['import() of the guest', `await import('orbweaver/host.js');`, 'script_error'],
  ['import() of a path', `await import('/etc/passwd');`, 'script_error'],
  [
    'fetch, XMLHttpRequest, WebSocket',
    'return { a: typeof fetch + typeof XMLHttpRequest + typeof WebSocket };',
    { gives: 'undefinedundefinedundefined' },
  ],
  ['WebAssembly', 'return { a: typeof WebAssembly };', { gives: 'undefined' }],
  ['Atomics.wait', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);', ['script_error', 'parse_timeout']],
  ['eval', `return { a: eval('typeof process') };`, { gives: 'undefined' }],
  ['a timer', 'setTimeout(() => {}, 0);', 'script_error'],
  [
    'std, os and bjson of QuickJS',
    'return { a: typeof std + typeof os + typeof bjson + typeof print };',
    { gives: 'undefinedundefinedundefinedundefined' },
  ],

  // floods
  ['never settling', 'await new Promise(() => {});', 'script_error'],
  ['waiting for itself', 'const p = (async () => { await null; await p; })(); await p;', 'script_error'],
  ['a call that is never answered', `await ctx.fetch('http://site.test/hangs');`, 'parse_timeout'],
  [
    'a flood of calls',
    `await Promise.all(Array.from({ length: 5000 }, () => ctx.fetch('http://site.test/')));`,
    ['script_error', 'parse_timeout'],
  ],
  ['a flood of calls without await', `for (;;) ctx.fetch('http://site.test/').catch(() => {});`, 'parse_timeout'],
  ['a flood of log lines', `for (;;) console.log('x'.repeat(5000));`, 'parse_timeout'],
  ['a flood of items', 'for (;;) yields.push({ a: 1 });', ['parse_memory', 'parse_timeout']],
  ['a flood of links', `for (;;) ctx.follow('/' + Math.random());`, ['script_error', 'parse_timeout']],
  ['a huge meta', `return ctx.follow('/a', { meta: { a: 'x'.repeat(1e6) } });`, 'script_error'],
  ['a huge state', `ctx.state.set('a', 'x'.repeat(1e6));`, 'script_error'],
  ['a flood of state', `for (let i = 0; ; i++) ctx.state.set('k' + i, i);`, 'script_error'],
  ['a huge body', `await ctx.fetch('http://site.test/', { body: 'x'.repeat(1e6), method: 'POST' });`, 'script_error'],
  ['a huge message', `throw new Error('x'.repeat(1e6));`, 'script_error'],
  ['a huge selector', `r.css('a'.repeat(1e6)).length;`, 'script_error'],
  ['a huge lookup', `await ctx.lookup('x'.repeat(1e6), 'select', []);`, 'script_error'],
  [
    'a flood of nodes',
    `const all = []; for (;;) all.push(r.css('*').toArray().length);`,
    ['script_error', 'parse_timeout', 'parse_memory'],
  ],
];

/** What would spoil its own crawl's later pages: each is a crawl of its own. */
const TAMPERING: typeof TRICKS = [
  [
    'Object.prototype',
    'Object.prototype.then = 1; Object.prototype.toJSON = () => 1; return { a: 1 };',
    [{ gives: 1 }, 'script_error'],
  ],
  [
    'Array.prototype',
    'Array.prototype.map = Array.prototype.filter = Array.prototype.includes = () => { for (;;); }; return { a: 1 };',
    [{ gives: 1 }, 'parse_timeout'],
  ],
  ['JSON', 'JSON.stringify = () => "nonsense"; JSON.parse = () => ({}); return { a: 1 };', { gives: 1 }],
  [
    'Promise.prototype.then',
    'Promise.prototype.then = function () { return this; }; return { a: 1 };',
    [{ gives: 1 }, 'script_error'],
  ],
  [
    'Symbol.iterator',
    'Array.prototype[Symbol.iterator] = function* () { yield { a: 2 }; }; return { a: 1 };',
    { gives: 1 },
  ],
  [
    'Map and WeakMap',
    'Map.prototype.get = WeakMap.prototype.get = () => undefined; return { a: 1 };',
    [{ gives: 1 }, 'script_error'],
  ],
  [
    'Function.prototype.call',
    'Function.prototype.call = Function.prototype.apply = () => 1; return { a: 1 };',
    [{ gives: 1 }, 'script_error'],
  ],
  ['what it was given', 'ctx.fetch = r.css = 1; return { a: 1 };', 'script_error'],
  [
    'numbers of nodes that are not its own',
    'return { a: Object.getPrototypeOf(r.css("a")).constructor.of(1, [999999, -1, 1.5]).text() };',
    'script_error',
  ],
  ['the page of another', 'return { a: r.css("a").constructor.of(12345, [0]).text() };', 'script_error'],
  ['an infinite error', 'throw new Proxy({}, { get() { throw new Error("again"); } });', 'script_error'],
];

function check(name: string, expected: Expected | Expected[], outcome: ParsedPage | ParseFailure): void {
  const all = Array.isArray(expected) ? expected : [expected];
  if (outcome instanceof ParseFailure) {
    assert.ok(all.includes(outcome.reason as 'script_error'), `${name}: ${outcome.reason}: ${outcome.message}`);
    assert.ok(outcome.message.length > 5 && outcome.message.length < 4000, `${name}: it is said why`);
  } else {
    const data = JSON.parse(outcome.items[0]?.data ?? '{}') as { a?: unknown; n?: unknown };
    const given = data.a ?? data.n;
    const fits = all.some((one) => typeof one === 'object' && one.gives === given);
    assert.ok(fits, `${name}: it gave ${outcome.items[0]?.data}, expected ${JSON.stringify(all)}`);
  }
}

for (const boundary of ['bubblewrap', 'process'] as const)
  describe(`scripts that attack, inside ${boundary}`, { concurrency: 3 }, () => {
    let pool: ScriptPool;
    const calls: ScriptCalls = {
      ...NO_CALLS,
      fetch: ({ url }, signal) =>
        url.endsWith('hangs')
          ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))))
          : Promise.resolve(fetched('<p>')),
    };
    before(async () => {
      pool = await startPool({ processes: 4, boundary });
      pool.openCrawl(scriptPlan(INNOCENT, {}, { crawlId: crawlId(1) }), NO_CALLS);
      await innocent();
    });
    // The pool is as it was.
    after(async () => {
      try {
        assert.equal(pool.queuedJobs, 0);
        assert.ok(pool.hasRoom);
        await Promise.all(Array.from({ length: 20 }, innocent));
      } finally {
        await pool.stop();
      }
    });

    async function innocent(): Promise<void> {
      const page = await pool.run(pageJob(HTML));
      assert.equal(page.items[0]?.data, '{"h":"Head","n":200}');
    }

    async function attack(name: string, id: string, callback: string, expected: Expected | Expected[]): Promise<void> {
      const attacker = pool.run(pageJob(HTML, { extra: { page: callback } }, id)).catch((error: unknown) => error);
      await innocent();
      const outcome = await attacker;
      assert.ok(outcome instanceof ParseFailure || !(outcome instanceof Error), `${name}: ${outcome}`);
      check(name, expected, outcome as ParsedPage | ParseFailure);
    }

    const every = boundary === 'bubblewrap' ? 1 : 10;
    const members = TRICKS.map(
      ([, body], i) => `async trick${i}(r, ctx) { const yields = []; ${body} return yields; }`,
    );
    // Three crawls take turns, and each is at one trick at a time: memory that is out is out for all pages of a process.
    const attackers = [crawlId(1000), crawlId(1001), crawlId(1002)];
    const turns = attackers.map(() => Promise.resolve());
    const WAITER = crawlId(1003);
    before(() => {
      const script = spider(members.join(',\n'));
      for (const id of attackers) pool.openCrawl(scriptPlan(script, LIMITS, { crawlId: id }), calls);
      pool.openCrawl(scriptPlan(script, SHORT, { crawlId: WAITER }), calls);
    });
    const inTurn = (i: number, work: (id: string) => Promise<void>): Promise<void> => {
      const n = i % attackers.length;
      const done = turns[n]!.then(() => work(attackers[n]!));
      turns[n] = done.catch(() => undefined);
      return done;
    };
    TRICKS.forEach(([name, body, expected], i) => {
      if (i % every !== 0) return;
      const [callback, waits] = [`trick${i}`, body.includes('/hangs')];
      it(name, () => inTurn(i, (id) => attack(name, waits ? WAITER : id, callback, expected)));
    });
    TAMPERING.forEach(([name, body, expected], i) => {
      if (i % every !== 0) return;
      it(`tampering with ${name}`, async () => {
        const id = crawlId(2000 + i);
        pool.openCrawl(scriptPlan(spider(`parse(r, ctx) { ${body} }`), LIMITS, { crawlId: id }), calls);
        await attack(name, id, 'parse', expected);
        pool.closeCrawl(id);
      });
    });
  });
