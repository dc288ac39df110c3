import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { LogLine, ParsedPage } from '../../../dist/model/outcome.js';
import { ParseFailure } from '../../../dist/parser/failure.js';
import type { ScriptPool } from '../../../dist/parser/script/pool.js';
import { crawlId, NO_CALLS, type PageOptions, pageJob, scriptPlan, spider, startPool } from './scripts.ts';

const HTML = '<title>T</title><h1>Head</h1><a href="/a">a</a>';

/** Callbacks by name; each is the one that a page is given to. */
const CALLBACKS = `
  parse() {},
  async *asyncGenerator() { yield { n: 1 }; await null; yield { n: 2 }; },
  async *returns() { yield { n: 1 }; return [{ n: 2 }, { n: 3 }]; },
  *generator() { yield { n: 1 }; yield { n: 2 }; },
  async promise() { await null; return { n: 1 }; },
  async list() { return [{ n: 1 }, { n: 2 }]; },
  plainList() { return [{ n: 1 }, { n: 2 }]; },
  arrow: () => ({ n: 1 }),
  async *delegates() { yield* this.generator(); },
  typed(r, ctx) { return [{ a: 1 }, ctx.item('book', { b: 2 })]; },
  values() { return { d: new Date(0), u: undefined, l: [undefined, null], n: -0, t: { toJSON: () => 'x' }, __proto__: null }; },
  own() { return JSON.parse('{"__proto__": 1, "constructor": 2, "b": 3, "1": 4}'); },
  big() { return [{ t: 'x'.repeat(2e6) }, { t: 'ok' }]; },
  awaitMissing(r, ctx) { return { title: 'x', price: Promise.resolve(1) }; },
  nested() { return { a: [{ b: Promise.resolve(1) }] }; },
  fn() { return { f() {} }; },
  bigint() { return { id: 1n }; },
  nan() { return { price: Number('x') }; },
  cycle() { const a = {}; a.self = { a }; return a; },
  selection(r) { return { t: r.css('h1') }; },
  map() { return { m: new Map() }; },
  deep() { let a = {}; for (let i = 0; i < 200; i++) a = { a }; return a; },
  *yieldsNumber() { yield 5; },
  *yieldsPromise() { yield Promise.resolve({}); },
  *yieldsList() { yield [{ n: 1 }]; },
  returnsText() { return 'text'; },
  badType(r, ctx) { return ctx.item('no good', {}); },

  throwsLine(r) {
    return { t: r.css('h9').text().trim() };
  },
  throwsText() { throw 'just text'; },
  throwsNothing() { throw undefined; },
  *throwsLate() { yield { n: 1 }; throw new RangeError('late'); },
  async rejects() { throw Object.assign(new Error('no'), { name: 'Special' }); },
  noList(r) { return { t: r.css('h1')[0].text() }; },
  noFetch() { return fetch('/a'); },
  badSelector(r) { return { t: r.css('a[').text() }; },
  badXPath(r) { return { t: r.xpath('//a[').text() }; },
  badFollow(r, ctx) { return ctx.follow('/a', { callback: 'nowhere' }); },
  badOption(r, ctx) { return ctx.follow('/a', { calback: 'parse' }); },
  nullFollow(r, ctx) { return ctx.follow(r.css('h9').attr('href')); },
  badHeader(r, ctx) { return ctx.follow('/a', { headers: { Host: 'x' } }); },
  unsettled() { return new Promise(() => {}); },
  logs(r, ctx) {
    console.log('a', 1, { b: [2] });
    ctx.log('b');
    ctx.log.warn('c', new TypeError('d'));
    console.error(null, undefined, [Promise.resolve()]);
    ctx.log('debug', 'e', 1);
    ctx.log('warn');
    throw new Error('after logs');
  },
  logFlood() { for (let i = 0; i < 150; i++) console.log('line ' + i); },
  leftover(r, ctx) { ctx.follow('/a'); return { n: 1 }; },
  imports() { return import('node:fs'); },
  follows: function* (r, ctx) {
    yield ctx.follow('a?b=2&a=1#x');
    yield ctx.follow(r.css('a'), { callback: 'promise', priority: 7, meta: { from: r.url } });
    yield ctx.follow('/form', { form: { q: 'ü' }, headers: { 'X-A': '1' } });
    yield ctx.follow('/json', { method: 'PUT', json: { a: [1] } });
    yield ctx.follow('http://other.test/');
    yield ctx.follow('/private/x');
    yield ctx.follow('mailto:a@b');
    yield ctx.follow('http://[');
    yield ctx.follow('a?b=2&a=1');
  },
  manyLinks: function* (r, ctx) { for (let i = 0; i < 10_100; i++) yield ctx.follow('/p' + i); },
`;
const SCRIPT = spider(CALLBACKS);
const lineOf = (text: string) => SCRIPT.split('\n').findIndex((line) => line.includes(text)) + 1;

describe('what a callback gives', () => {
  let pool: ScriptPool;
  before(async () => {
    pool = await startPool();
    pool.openCrawl(scriptPlan(SCRIPT, { maxDepth: 3 }, { scope: { deny: ['/private/'] } }), NO_CALLS);
  });
  after(() => pool.stop());

  const run = (callback: string, options: PageOptions = {}): Promise<ParsedPage> =>
    pool.run(pageJob(HTML, { ...options, extra: { page: callback } }));
  async function failure(callback: string): Promise<{ reason: string; message: string; logs: readonly LogLine[] }> {
    const error: unknown = await run(callback).then(
      () => assert.fail(`${callback} does not fail`),
      (thrown) => thrown,
    );
    assert.ok(error instanceof ParseFailure, String(error));
    return error;
  }

  for (const [callback, n] of Object.entries({
    parse: 0,
    asyncGenerator: 2,
    returns: 3,
    generator: 2,
    promise: 1,
    list: 2,
    plainList: 2,
    arrow: 1,
    delegates: 2,
  }))
    it(`takes ${n} items of the callback ${callback}`, async () => {
      const page = await run(callback);
      assert.deepEqual(
        page.items.map(({ data }) => data),
        [1, 2, 3].slice(0, n).map((i) => `{"n":${i}}`),
      );
      assert.deepEqual(Object.keys(page.cpu!), [`callback ${callback}`]);
    });

  it('gives items a type', async () => {
    const page = await run('typed');
    const items = page.items.map(({ type, data }) => [type, data]);
    assert.deepEqual(items, [
      ['item', '{"a":1}'],
      ['book', '{"b":2}'],
    ]);
    assert.deepEqual({ ...page.fills }, { item: 1, 'item.a': 1, book: 1, 'book.b': 1 });
  });

  it('stores values as JSON has them', async () => {
    const [item] = (await run('values')).items;
    assert.equal(item!.data, '{"d":"1970-01-01T00:00:00.000Z","l":[null,null],"n":0,"t":"x"}');
    assert.deepEqual(
      JSON.parse((await run('own')).items[0]!.data),
      JSON.parse('{"__proto__":1,"constructor":2,"b":3,"1":4}'),
    );
  });

  it('drops an item that is too large, with the reason', async () => {
    const page = await run('big');
    assert.deepEqual([page.items.length, { ...page.dropped }], [1, { too_large: 1 }]);
  });

  const mistakes: [callback: string, message: string | RegExp][] = [
    ['awaitMissing', 'field `price` is a Promise: is an `await` missing?'],
    ['nested', 'field `a[0].b` is a Promise: is an `await` missing?'],
    ['fn', /^field `f` is a function/],
    ['bigint', /^field `id` is a BigInt/],
    ['nan', /^field `price` is NaN/],
    ['cycle', /^field `self.a` contains itself/],
    ['selection', /^field `t` is a selection: is `.text\(\)`/],
    ['map', /^field `m` is a Map/],
    ['deep', /nested deeper than 100/],
    ['yieldsNumber', /^the callback yielded a number; expected an item/],
    ['yieldsPromise', /^the callback yielded a Promise: is an `await` missing/],
    ['yieldsList', /^the callback yielded a list; expected an item/],
    ['returnsText', /^the callback returned a string/],
    ['badType', /^ctx.item was given the type no good/],
    ['throwsLine', new RegExp(`^TypeError: .*\\(line ${lineOf('text().trim()')}\\)$`)],
    ['throwsText', 'threw a string: just text'],
    ['throwsNothing', 'threw undefined: undefined'],
    ['throwsLate', new RegExp(`^RangeError: late \\(line ${lineOf("RangeError('late')")}\\)$`)],
    ['rejects', new RegExp(`^Special: no \\(line ${lineOf("name: 'Special'")}\\)$`)],
    ['noList', /^a selection has no \[0\]: take \.first\(\)/],
    ['noFetch', /^ReferenceError: fetch is not defined: use ctx\.fetch \(line \d+\)$/],
    ['badSelector', new RegExp(`^"a\\[" is not a CSS selector: .*\\(line ${lineOf("css('a[')")}\\)$`)],
    ['badXPath', /^"\/\/a\[" is not an XPath: /],
    ['badFollow', /^ctx.follow: there is no callback `nowhere`; the script has parse, .*\(line \d+\)$/],
    ['badOption', /^ctx.follow: `calback` is not known; expected callback, /],
    ['nullFollow', /^ctx.follow was given null; expected a URL/],
    ['badHeader', /^ctx.follow: headers.Host: /],
    ['noSuch', /^there is no callback `noSuch`; the script has parse, /],
    ['unsettled', 'callback `unsettled` waits for a promise that nothing settles: is a call missing?'],
    ['imports', /modules are not there/],
  ];
  for (const [callback, message] of mistakes)
    it(`says what is wrong with ${callback}`, async () => {
      const failed = await failure(callback);
      assert.equal(failed.reason, 'script_error');
      if (typeof message === 'string') assert.equal(failed.message.replace(/ \(line \d+\)$/, ''), message);
      else assert.match(failed.message, message);
    });

  it('keeps what was logged before it failed', async () => {
    const { message, logs } = await failure('logs');
    assert.match(message, /^after logs \(line/);
    assert.deepEqual(logs[0], { level: 'info', message: 'a 1 {"b":[2]}' });
    assert.deepEqual(logs[1], { level: 'info', message: 'b' });
    assert.match(logs[2]!.message, /^c TypeError: d \(line \d+\)$/);
    assert.deepEqual([logs[2]!.level, logs[3]!.level], ['warn', 'error']);
    assert.deepEqual(logs[4], { level: 'debug', message: 'e 1' });
    assert.deepEqual(logs[5], { level: 'info', message: 'warn' });
  });

  it('keeps a hundred lines of a page and says how many were left out', async () => {
    const { logs = [] } = await run('logFlood');
    assert.equal(logs.length, 101);
    assert.match(logs[100]!.message, /^50 more lines/);
  });

  it('warns of requests that were made and not yielded', async () => {
    const page = await run('leftover');
    assert.deepEqual([page.items.length, page.links.length], [1, 0]);
    assert.match(page.logs![0]!.message, /^a request of ctx.follow was made and not yielded: is a `yield` missing/);
  });

  it('makes requests of ctx.follow, judged by the scope, each once', async () => {
    const page = await run('follows', { depth: 2 });
    const rows = page.links.map(({ url, reason, detail, priority, extra }) => [url, reason, detail, priority, extra]);
    assert.deepEqual(rows, [
      ['http://site.test/dir/a?a=1&b=2', null, null, 0, undefined],
      ['http://site.test/a', null, null, 7, { page: 'promise', pass: { from: 'http://site.test/dir/page.html' } }],
      [
        'http://site.test/form',
        null,
        null,
        0,
        {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-a': '1' },
          body: 'q=%C3%BC',
        },
      ],
      [
        'http://site.test/json',
        null,
        null,
        0,
        { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"a":[1]}' },
      ],
      ['http://other.test/', 'offsite', 'scope.hosts', 0, undefined],
      ['http://site.test/private/x', 'denied', 'scope.deny[0] /private/', 0, undefined],
      ['mailto:a@b', 'scheme', 'mailto', 0, undefined],
    ]);
    assert.equal(new Set(page.links.map(({ fp }) => fp)).size, page.links.length);
    assert.equal(page.linkedFps.length, 4);
    assert.equal(page.links[0]!.origin, 'http://site.test');
  });

  it('skips links beyond maxDepth', async () => {
    const page = await run('follows', { depth: 3 });
    assert.deepEqual([page.links[0]!.reason, page.links[0]!.detail], ['depth', 'maxDepth 3']);
  });

  it('cuts a page with too many links and flags it', async () => {
    const page = await run('manyLinks');
    assert.deepEqual([page.links.length, page.flags], [10_000, ['links']]);
  });

  it('refuses what is not text', async () => {
    const job = { contentType: 'image/png', extra: { page: 'parse' } };
    await assert.rejects(pool.run(pageJob('\x89PNG', job)), { reason: 'content_type', message: 'image/png' });
    await assert.rejects(pool.run(pageJob('\0\x01', { contentType: null })), { reason: 'content_type' });
  });
});

describe('scripts as a whole', () => {
  let pool: ScriptPool;
  before(async () => {
    pool = await startPool();
  });
  after(() => pool.stop());
  const runAs = async (n: number, script: string, definition = {}) => {
    pool.openCrawl(scriptPlan(script, {}, { crawlId: crawlId(n), definition: { script, ...definition } }), NO_CALLS);
    try {
      return await pool.run(pageJob(HTML, {}, crawlId(n)));
    } finally {
      pool.closeCrawl(crawlId(n));
    }
  };

  it('an object of a class is a spider', async () => {
    const base =
      'class Base { clean(t) { return t.trim(); } parse(r) { return { t: this.clean(r.css("h1").text()) }; } }';
    assert.equal((await runAs(1, `${base}\nexport default new Base();`)).items[0]!.data, '{"t":"Head"}');
  });

  it('passes each item through processItem; null drops it', async () => {
    const script = spider(`*parse() { yield { n: 1 }; yield { n: 2 }; yield { n: 3 }; },
       async processItem(item, ctx) { await null; return item.n === 2 ? null : { ...item, seen: ctx.crawl.id.length }; }`);
    const page = await runAs(2, script);
    assert.deepEqual(
      page.items.map(({ data }) => data),
      ['{"n":1,"seen":36}', '{"n":3,"seen":36}'],
    );
    assert.deepEqual({ ...page.dropped }, { processItem: 1 });
  });

  it('passes items through the pipeline, up to a step that asks', async () => {
    const pipeline = [
      { validate: { type: 'object', properties: { n: { type: 'integer', maximum: 2 } } } },
      { rename: { n: 'number' } },
      { dedupe: { key: ['number'] } },
      { lookup: { connection: 'w', query: 'select y from x where a = $1', params: ['number'], set: { y: 'y' } } },
    ];
    const page = await runAs(3, spider('*parse() { for (const n of [1, 2, 3]) yield { n }; }'), { pipeline });
    assert.equal(page.items.length, 0);
    assert.deepEqual(
      page.pending?.waiting.map(({ data, question, step }) => [data, question, step]),
      [
        ['{"number":1}', { kind: 'lookup', params: [1] }, 3],
        ['{"number":2}', { kind: 'lookup', params: [2] }, 3],
      ],
    );
    assert.ok(page.pending?.waiting.every(({ keys }) => keys.length === 1));
    assert.equal(Object.values(page.dropped)[0], 1);
  });

  it('fails every page of a script that does not load, with the line', async () => {
    await assert.rejects(runAs(4, 'const a = 1;\nconst b = ;\nexport default {};'), {
      reason: 'script_error',
      message: /^SyntaxError: .*\(line 2\)$/,
    });
    await assert.rejects(runAs(5, '\n\nnowhere();\nexport default {};'), { message: /^ReferenceError: .*\(line 3\)$/ });
    await assert.rejects(runAs(6, 'const a = 1;'), { message: /^the default export is undefined; expected/ });
    await assert.rejects(runAs(7, 'import fs from "node:fs"; export default { parse() {} }'), {
      message: /modules are not there/,
    });
  });

  it('describes a script, or says what is wrong with it', async () => {
    const good = `export default { name: 'books', startUrls: ['https://a.test/'], async *parse() {}, detail() {}, processItem: (i) => i }`;
    assert.deepEqual(await pool.describe(good), {
      name: 'books',
      startUrls: ['https://a.test/'],
      callbacks: ['parse', 'detail'],
      problems: [],
    });
    const problems = async (script: string) => (await pool.describe(script)).problems;
    for (const [script, code, message] of [
      ['export default {', 'bad_script', /SyntaxError.*\(line 1\)/],
      ['export default { detail() {} }', 'no_parse', /the script has detail; expected a callback `parse`/],
      ['export default { name: "no good", parse() {} }', 'bad_name', /`name` is "no good"/],
      ['export default { startUrls: [1], parse() {} }', 'bad_url', /`startUrls\[0\]` is 1/],
      ['export default { startUrls: "x", parse() {} }', 'bad_url', /`startUrls` is "x"/],
      ['export default { settings: {}, parse() {} }', 'bad_script', /`settings` has no effect within a script: put it/],
      ['export default { start_urls: [], parse() {} }', 'bad_script', /it is called `startUrls`/],
      ['while (true);', 'bad_script', /used more than 1000 ms of CPU/],
      ['await new Promise(() => {}); export default { parse() {} }', 'bad_script', /waits, at its top level/],
    ] as const) {
      const [problem] = await problems(script);
      assert.equal(problem?.pointer, '/script');
      assert.deepEqual(
        [problem?.code, message.test(problem?.message ?? '')],
        [code, true],
        `${script}: ${problem?.message}`,
      );
    }
  });

  it('describes many scripts, a few at a time', async () => {
    const all = await Promise.all(
      [1, 2, 3, 4, 5, 6].map((n) => pool.describe(`export default { name: 'n${n}', parse() {} }`)),
    );
    assert.deepEqual(
      all.map(({ name }) => name),
      ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'],
    );
  });

  it('previews a page with the reasons', async () => {
    const script = spider(`*parse(r, ctx) {
      yield { t: r.css('h1').text(), p: r.css('.price').number(), x: r.xpath('//title').text() };
      yield ctx.follow('/next');
      yield ctx.follow('http://other.test/');
      ctx.log('seen');
    }`);
    const { page, explanation } = await pool.preview(scriptPlan(script), pageJob(HTML), NO_CALLS);
    assert.equal(page.items.length, 1);
    assert.deepEqual(page.logs, [{ level: 'info', message: 'seen' }]);
    assert.deepEqual(
      explanation.fields.map(({ source, text, hits }) => [source, text, hits]),
      [
        ['selector', 'h1', 1],
        ['selector', '.price', 0],
        ['xpath', '//title', 1],
      ],
    );
    assert.deepEqual(explanation.links.kept, [
      { url: 'http://site.test/next', method: 'GET', priority: 0, rule: 'callback parse' },
    ]);
    assert.deepEqual(explanation.links.dropped, [
      { url: 'http://other.test/', reason: 'offsite', rule: 'scope.hosts' },
    ]);
    assert.match(explanation.warnings[0]!, /`\.price` matched nothing/);
    assert.deepEqual([explanation.content, explanation.pages], ['html', ['parse']]);
  });
});
