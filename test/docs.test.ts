/** The documents say what the code does: tables are compared with the code's, examples are run. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Compile } from 'typebox/compile';
import { SETTINGS_TABLE } from '../dist/config.js';
import { KnownFingerprints } from '../dist/model/known.js';
import type { Link, ParsedPage } from '../dist/model/outcome.js';
import { PROBLEMS } from '../dist/model/problems.js';
import { REASONS } from '../dist/model/request.js';
import { DEFAULT_SETTINGS, type Settings } from '../dist/model/settings.js';
import { type Params, type Problem, type Spider, SpiderSchema } from '../dist/model/spider.js';
import { ParserPool } from '../dist/parser/pool.js';
import type { ScriptCalls } from '../dist/parser/script/calls.js';
import { ScriptPool } from '../dist/parser/script/pool.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const PAGE_URL = 'https://shop.example/product/tall-oak-lamp';

/** The rows of every table of a document, each a list of cells, heads and rules left out. */
function tableRows(text: string): string[][] {
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  return rows.map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );
}

test('docs/configuration.md lists every setting with its default, and no other', () => {
  const listed = tableRows(read('docs/configuration.md')).map(([variable, fallback]) => `${variable} ${fallback}`);
  const expected = Object.values(SETTINGS_TABLE).map(({ variable, fallback }) => {
    if (variable === 'RETENTION') return '`RETENTION` none';
    if (variable === 'PARSER_THREADS') return "`PARSER_THREADS` the machine's cores, 2 or more";
    const none = fallback === null || (Array.isArray(fallback) && fallback.length === 0) || fallback instanceof Map;
    return `\`${variable}\` ${none ? 'none' : `\`${fallback}\``}`;
  });
  assert.deepEqual(listed, expected);
});

test('docs/spiders.md lists every crawl setting with its default, and no other', () => {
  const section = read('docs/spiders.md').split('\n## Settings\n')[1]!.split('\n## ')[0]!;
  const listed = tableRows(section).map(([setting, fallback]) => `${setting} ${fallback}`);
  const expected = Object.entries(DEFAULT_SETTINGS).map(([name, value]) => `\`${name}\` \`${JSON.stringify(value)}\``);
  assert.deepEqual(listed, expected);
});

test('docs/errors.md lists every code of a wrong field, and no other', () => {
  const section = read('docs/errors.md').split('\n| code | meaning |\n')[1]!;
  const expected = Object.entries(PROBLEMS).map(([code, meaning]) => [`\`${code}\``, meaning]);
  assert.deepEqual(tableRows(section), expected);
});

test('docs/api.md lists every reason of the ledger, and no other', () => {
  const section = read('docs/api.md').split('\n## Reasons\n')[1]!.split('\n## ')[0]!;
  const listed = tableRows(section).flatMap(([words]) => words!.match(/\w+/g) ?? []);
  assert.deepEqual(listed.toSorted(), [...REASONS].toSorted());
});

test('docs/api.md and README.md show every call of openapi.yaml', () => {
  const paths = [...read('openapi.yaml').matchAll(/^ {2}(\/\S+):$/gm)].map(([, path]) =>
    path!.replace(/\{(\w+)\}/g, ':$1'),
  );
  assert.ok(paths.length > 0);
  for (const document of ['docs/api.md', 'README.md'])
    for (const path of paths) assert.ok(read(document).includes(path), `${document} does not mention ${path}`);
});

test('docs/operations.md lists every metric of the service, and no other', () => {
  const source = read('src/engine/metrics.ts');
  const named = [...source.matchAll(/^\s+\['(\w+)', '/gm)].map(([, name]) => `orbweaver_${name}`);
  const others = [...source.matchAll(/name: '(orbweaver_\w+)'/g)].map(([, name]) => name!);
  const listed = [...read('docs/operations.md').matchAll(/^\| `(orbweaver_\w+)`/gm)].map(([, name]) => name!);
  assert.deepEqual(listed.toSorted(), [...named, ...others].toSorted());
});

test('every file and heading that the documents link to is there', () => {
  for (const document of [
    'README.md',
    'CONTRIBUTING.md',
    ...[
      'architecture',
      'api',
      'configuration',
      'operations',
      'spiders',
      'sandbox',
      'from-scrapy',
      'fetching',
      'delivery',
    ].map((n) => `docs/${n}.md`),
  ])
    for (const [, target] of read(document).matchAll(/\]\((?!https?:)([^)#\s]+)[^)]*\)/g))
      assert.doesNotThrow(
        () => read(new URL(target!, `file:///${document}`).pathname.slice(1)),
        `${document} links to ${target}`,
      );
});

test('docs/architecture.md names files and tests that are there', () => {
  const text = read('docs/architecture.md');
  for (const [, path] of text.matchAll(/`((?:\w+\/)+\w+(?:\.test)?\.ts)`/g))
    assert.doesNotThrow(() =>
      read(path!.startsWith('test/') ? path! : `${path!.includes('.test.') ? 'test' : 'src'}/${path}`),
    );
  const rows = text.split('\n').filter((line) => /^\| \d+ \|/.test(line));
  assert.equal(rows.length, 13);
  for (const row of rows) {
    const tests = [...row.matchAll(/`([\w/]+\.test\.ts)` ((?:«[^»]+»(?:, )?|\d+)+)/g)];
    assert.ok(tests.length > 0, `no test is named: ${row}`);
    for (const [, file, names] of tests)
      for (const name of names!.match(/[^«»]+(?=»)|^\d+/g) ?? [])
        for (const part of /^\d+$/.test(name) ? [`'${name}: `] : name.split(' … '))
          assert.ok(read(`test/${file}`).replaceAll('`', "'").includes(part), `${file} has no test «${name}»`);
  }
});

/** A spider of the documents with what the document says it makes of a page. */
interface Example {
  spider: Spider;
  params: Params;
  page?: string;
  contentType: string;
  items?: unknown;
  links?: Record<string, unknown>[];
}

const TYPES: Record<string, string> = { html: 'text/html', xml: 'application/xml', json: 'application/json' };

function examples(path: string): Example[] {
  const found: Example[] = [];
  const plain = { params: {}, contentType: 'text/html' };
  for (const [, language, kind, text] of read(path).matchAll(
    /^```(\w+) (spider|script|params|page|items|links)\n(.*?)^```$/gms,
  )) {
    const last = found.at(-1);
    if (kind === 'spider') found.push({ ...plain, spider: JSON.parse(text!) as Spider });
    else if (kind === 'script') found.push({ ...plain, spider: { script: text! } });
    else if (kind === 'page') Object.assign(last!, { page: text!, contentType: TYPES[language!] });
    else Object.assign(last!, { [kind!]: JSON.parse(text!) });
  }
  return found;
}

const known = new KnownFingerprints(1024);
const pool = new ParserPool({ threads: 1, memoryMb: 128, known: known.buffer, log: () => {} });
const scripts = new ScriptPool({ processes: 1, known: known.buffer });
before(() => Promise.all([pool.start(), scripts.start()]));
after(() => Promise.all([pool.stop(), scripts.stop()]));

const unexpected = (): Promise<never> => Promise.reject(new Error('an example of the documents fetches nothing'));
const NO_CALLS: ScriptCalls = { fetch: unexpected, lookup: unexpected, readState: () => Promise.resolve(null) };

function parse(crawlId: string, { spider, params, page, contentType }: Example): Promise<ParsedPage> {
  // The default limit is ten seconds by the clock, and the machine may be busy.
  const settings: Settings = { ...DEFAULT_SETTINGS, parseTimeoutMs: 60_000, ...spider.settings };
  const scopeHosts = spider.scope?.hosts ?? ['shop.example'];
  const plan = { crawlId, definition: spider, params, scopeHosts, settings };
  const bytes = Buffer.from(page!);
  const body = new SharedArrayBuffer(bytes.length);
  new Uint8Array(body).set(bytes);
  const fetchedAt = Date.UTC(2026, 10, 23);
  const facts = { url: PAGE_URL, depth: 0, status: 200, headers: {}, extra: null, contentType, fetchedAt };
  const job = { ...facts, crawlId, body, bodyBytes: bytes.length };
  if (spider.script === undefined) {
    pool.openCrawl(plan);
    return pool.parse(job);
  }
  scripts.openCrawl(plan, NO_CALLS);
  return scripts.run(job);
}

/** The problems of a whole spider; a script is asked for its own. */
async function problemsOf({ spider }: Example): Promise<Problem[]> {
  const problems = await pool.check(spider);
  return spider.script === undefined ? problems : [...problems, ...(await scripts.describe(spider.script)).problems];
}

/** A link as a document shows it: method and body where they are not a plain GET's. */
function shown({ url, reason, extra }: Link): Record<string, unknown> {
  const { method, body } = extra ?? {};
  return { url, reason, ...(method === undefined ? {} : { method }), ...(body === undefined ? {} : { body }) };
}

for (const path of ['docs/spiders.md', 'docs/fetching.md', 'docs/from-scrapy.md', 'README.md'])
  for (const [i, example] of examples(path).entries())
    test(`${path}: spider ${i + 1} is valid and does what the page says`, async () => {
      assert.deepEqual([...Compile(SpiderSchema).Errors(example.spider)], []);
      assert.deepEqual(await problemsOf(example), []);
      if (example.page === undefined) return;
      const parsed = await parse(randomUUID(), example);
      if (example.items !== undefined)
        assert.equal(JSON.stringify(parsed.items.map((item) => JSON.parse(item.data))), JSON.stringify(example.items));
      if (example.links !== undefined) assert.deepEqual(parsed.links.map(shown), example.links);
    });
