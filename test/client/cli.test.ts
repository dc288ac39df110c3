/** The command line and the client against a service that runs, and is killed. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parse as parseCsv } from 'csv-parse/sync';
import { readArgs, UsageError } from '../../clients/typescript/src/cli/command.ts';
import { COMMANDS } from '../../clients/typescript/src/cli/commands.ts';
import { plain } from '../../clients/typescript/src/cli/terminal.ts';
import { createClient, type Item, type OrbweaverError } from '../../clients/typescript/src/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { freePort } from '../support/free_port.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';
import { runCli, startCli } from './cli_process.ts';

const PAGES = 100;
/** Three seconds at the least, of which a third is over when something is done to the crawl. */
const SLOW = { ...FAST, concurrency: 4, concurrencyPerHost: 4, delayMs: 30, randomizeDelay: false };
/** Never ends before it is cancelled. */
const ENDLESS = { ...SLOW, delayMs: 200 };

let database: TestDatabase;
let site: Site;
let service: Service;
let scratch: string;
let port: number;
/** The site answers once it is open. */
let gate = Promise.resolve();

before(async () => {
  database = await testDatabase();
  const tree = treeSite(PAGES);
  site = await startSite((req, res) => void gate.then(() => tree(req, res)));
  scratch = await mkdtemp(join(tmpdir(), 'orbweaver-cli-'));
  port = await freePort();
  service = await start();
  await writeFile(join(scratch, 'titles.json'), JSON.stringify({ pages: TITLE_SPIDER.pages }));
});
after(async () => {
  await service.stop();
  await site.close();
  await database.drop();
  await rm(scratch, { recursive: true });
});

const start = () => startService({ DATABASE_URL: database.url, PORT: String(port), SCRIPTS: 'on' });
const cli = (...args: string[]) => runCli(service.url, args);
const settings = (values: object) =>
  Object.entries(values).flatMap(([name, value]) => ['--setting', `${name}=${value}`]);
const lines = (text: string) => text.trimEnd().split('\n');
const itemsOf = (text: string) => lines(text).map((line) => JSON.parse(line) as Item<{ title: string }>);
const spider = () => ['--spider', join(scratch, 'titles.json')];

function checkWhole(items: readonly Item[]): void {
  assert.deepEqual(
    items.map(({ offset }) => offset),
    items.map((_, i) => i),
  );
  assert.equal(new Set(items.map(({ url }) => url)).size, PAGES);
}

test('34: kill -9 of the service: a stream of the client and a file of the command line have every item once', async () => {
  const file = join(scratch, 'killed.ndjson');
  const run = startCli(service.url, ['crawl', `${site.url}/`, ...spider(), ...settings(SLOW), '-o', file]);
  await run.says(/crawl \S+\n/);
  const id = /crawl (\S+)/.exec(run.err)![1]!;
  const cuts: OrbweaverError[] = [];
  const items: Item[] = [];
  for await (const item of createClient({ url: service.url }).streamItems(id, { onRetry: (cut) => cuts.push(cut) })) {
    items.push(item);
    if (items.length === 30) {
      await service.signal('SIGKILL');
      assert.deepEqual(
        (await readdir(scratch)).includes('killed.ndjson'),
        false,
        'the file has its name when it is whole',
      );
      service = await start();
    }
  }
  checkWhole(items);
  assert.ok(cuts.length > 0);
  assert.equal(await run.ended, 0, run.err);
  assert.deepEqual(itemsOf(await readFile(file, 'utf8')), items);
  assert.match(run.err, /finished: 100 items of 100 pages; 0 failed, 0 skipped\n$/);
  assert.deepEqual((await readdir(scratch)).sort(), ['killed.ndjson', 'titles.json']);
});

test('Ctrl-C cancels the crawl and keeps what was committed, in the file too; so does a reader that leaves', async () => {
  const file = join(scratch, 'some.ndjson');
  const run = startCli(service.url, ['crawl', `${site.url}/`, ...spider(), ...settings(ENDLESS), '-o', file]);
  const left = startCli(service.url, ['crawl', `${site.url}/`, ...spider(), ...settings(ENDLESS)]);
  await Promise.all([run.says(/crawl \S+\n/), left.says(/crawl \S+\n/)]);
  const client = createClient({ url: service.url });
  for await (const { offset } of client.streamItems(/crawl (\S+)/.exec(run.err)![1]!)) if (offset === 5) break;
  run.signal('SIGINT');
  left.closeStdout();
  assert.deepEqual(await Promise.all([run.ended, left.ended]), [130, 130]);
  assert.match(run.err, /what was committed is kept: orbweaver tail [\w-]+\n/);
  assert.match(left.err, /nobody reads on; the crawl is cancelled/);
  for (const { err } of [run, left]) {
    const id = /crawl (\S+)/.exec(err)![1]!;
    assert.equal((await client.waitFor(id)).state, 'cancelled');
  }
  const kept = await cli('tail', /crawl (\S+)/.exec(run.err)![1]!);
  assert.ok(itemsOf(kept.out).length > 5);
  assert.equal(await readFile(file, 'utf8'), kept.out);
  await rm(file);
});

test('a crawl left to itself is listed, looked at, explained, paused, gone on with, followed and read in part', async () => {
  const opened = Promise.withResolvers<void>();
  gate = opened.promise;
  const args = [`${site.url}/`, `${site.url}/none`, ...spider(), ...settings({ ...SLOW, maxPages: 30 })];
  const id = lines((await cli('crawl', ...args, '--label', 'team=research', '--detach')).out)[0]!;
  assert.match((await cli('pause', id)).out, new RegExp(`^${id} paus(ing|ed)\n$`));
  opened.resolve();
  await createClient({ url: service.url }).waitFor(id, { states: ['paused'] });
  assert.match((await cli('resume', id)).out, new RegExp(`^${id} (queued|running)\n$`));
  const events = await cli('tail', id, '--events');
  assert.deepEqual(JSON.parse(lines(events.out).at(-1)!), {
    event: 'end',
    data: { state: 'finished', stopReason: 'max_pages' },
  });
  assert.match(
    (await cli('list', '--label', 'team=research')).out,
    new RegExp(`^${id}  finished  30 pages  30 items .* titles\n$`),
  );
  const status = await cli('status', id);
  assert.match(status.out, /^state {4}finished \(max_pages/);
  assert.match(status.out, /\nitems {4}30 \(30 page\), 0 dropped\n/);
  assert.equal(JSON.parse((await cli('status', id, '--json')).out).stats.counts.done, 30);
  assert.match((await cli('why', id, `${site.url}/none`)).out, /\/none\n.+\n/);
  const some = itemsOf((await cli('tail', id, '--after', '9', '--limit', '3', '--fields', 'title', '--no-follow')).out);
  assert.deepEqual(
    some.map(({ offset }) => offset),
    [10, 11, 12],
  );
  assert.equal((await cli('cancel', id)).code, 1, 'it has ended');
  await checkFiles(id);
});

/** The items of a crawl as files of each kind. */
async function checkFiles(id: string): Promise<void> {
  const files = Object.fromEntries(['csv', 'json', 'parquet'].map((kind) => [kind, join(scratch, `items.${kind}`)]));
  const written = await Promise.all(Object.values(files).map((file) => cli('tail', id, '-o', file)));
  for (const { code, err } of written) assert.equal(code, 0, err);
  const rows = parseCsv(await readFile(files.csv!, 'utf8'), { columns: true }) as { offset: string; title: string }[];
  const items = JSON.parse(await readFile(files.json!, 'utf8')) as Item<{ title: string }>[];
  assert.deepEqual(
    rows.map(({ offset, title }) => [Number(offset), title]),
    items.map(({ offset, data }) => [offset, data.title]),
  );
  assert.equal(items.length, 30);
  const parquet = await readFile(files.parquet!);
  assert.deepEqual([parquet.subarray(0, 4).toString(), parquet.subarray(-4).toString()], ['PAR1', 'PAR1']);
  const some = await cli('tail', id, '--format', 'csv', '--after', '27', '--fields', 'title');
  assert.equal(lines(some.out).length, 3, some.err);
  await Promise.all(Object.values(files).map((file) => rm(file)));
}

test('a failed crawl exits with 1 and says why; a limit says how to go on', async () => {
  const failed = await cli('crawl', `${site.url}/none`, '--setting', 'robots=false');
  assert.equal(failed.code, 1);
  assert.match(failed.err, /failed \(start_urls_failed: .+\): 0 items of 0 pages; 1 failed, 0 skipped\n$/);
  const limited = await cli('crawl', `${site.url}/`, ...spider(), ...settings({ ...FAST, maxPages: 3 }));
  assert.equal(limited.code, 0);
  assert.equal(itemsOf(limited.out).length, 3);
  assert.match(limited.err, /finished \(max_pages.*to go on: orbweaver resume \S+ --setting maxPages=…\n$/s);
  const id = /crawl (\S+)/.exec(limited.err)![1]!;
  assert.equal((await cli('resume', id, '--setting', 'maxPages=5')).code, 0);
  assert.equal(itemsOf((await cli('tail', id)).out).length, 5);
  const quiet = await cli('crawl', `${site.url}/`, '-q', ...settings({ ...FAST, maxPages: 1 }));
  assert.deepEqual([quiet.code, quiet.err, itemsOf(quiet.out).length], [0, '', 1]);
});

test('a preview is readable: items, selectors, links with their reasons', async () => {
  const html = join(scratch, 'emma.html');
  await writeFile(html, '<h1>Emma</h1><a href="/next">on</a><a href="https://ads.example/">ad</a>');
  const { code, out } = await cli('preview', 'https://books.example/emma', ...spider(), '--html', html);
  assert.equal(code, 0);
  for (const part of [
    'A crawl would say: done',
    'Items (1)\n  page  {"title":"Emma"}',
    'Links kept (1)\n  https://books.example/next',
    'Links dropped (1)\n  https://ads.example/  offsite (scope.hosts)',
  ])
    assert.ok(out.includes(part), out);
  const refused = await cli('preview', `${site.url}/none`);
  assert.equal(refused.code, 1);
  assert.match(refused.out, /A crawl would say: failed: http_4xx/);
  await rm(html);
});

test('a script is sent as one, and its params as JSON where they are JSON', async () => {
  const script = join(scratch, 'shop.js');
  await writeFile(script, 'export default { async *parse(response, ctx) { yield ctx.params; } };');
  const args = [
    '--spider',
    script,
    '--param',
    'n=7',
    '--param',
    'word=two words',
    ...settings({ ...FAST, maxPages: 1 }),
  ];
  const { code, out, err } = await cli('crawl', `${site.url}/`, ...args);
  assert.equal(code, 0, err);
  assert.deepEqual(itemsOf(out)[0]!.data, { n: 7, word: 'two words' });
  await rm(script);
});

const wrong: [string[], RegExp][] = [
  [['crawl', 'https://x.example/', '--seting', 'a=1'], /there is no option --seting; did you mean --setting\?/],
  [['crawl'], /give a URL, or a --spider that has some/],
  [['crawl', 'https://x.example/', '--setting', 'maxPages'], /--setting is "maxPages"; expected NAME=VALUE/],
  [['crawl', 'https://x.example/', '-o', 'x.xlsx'], /-o x\.xlsx: its ending names no format/],
  [['crawl', 'https://x.example/', '-o', '/none/x.csv'], /-o \/none\/x\.csv cannot be written/],
  [['crawl', 'https://x.example/', '--spider', 'none.json'], /none\.json cannot be read/],
  [['tail'], /CRAWL is missing/],
  [['tail', 'a', 'b'], /"b" is one too many/],
  [['tail', 'a', '--after', 'x'], /--after is "x"; expected a whole number/],
  [['list', '--url', 'localhost:3000'], /the service's URL is "localhost:3000"/],
];
test('a wrong command line exits with 2 and says what is wrong', async () => {
  const { code, out, err } = await cli('crwal');
  assert.deepEqual([code, out], [2, '']);
  assert.match(err, /there is no command crwal; did you mean crawl\?/);
  for (const [[name, ...rest], message] of wrong) {
    const command = COMMANDS[name!]!;
    const run = async () => command.run(readArgs(command, rest));
    await assert.rejects(run, (error: Error) => error instanceof UsageError && message.test(error.message));
  }
});

test('what the service refuses is said with its pointers; a service that is not there in one line', async () => {
  const refused = await cli('crawl', 'ftp://x.example/', '--setting', 'maxPges=1');
  assert.equal(refused.code, 1);
  assert.match(refused.err, /\n {2}\/settings\/maxPges {2}.*did you mean `maxPages`/);
  const nobody = await runCli(`http://127.0.0.1:${await freePort()}`, [
    'crawl',
    'https://x.example/',
    '-o',
    join(scratch, 'x.csv'),
  ]);
  assert.equal(nobody.code, 1);
  assert.match(nobody.err, /^orbweaver: no service there: .*ECONNREFUSED.*npm start.*ORBWEAVER_URL\n$/);
  assert.deepEqual(await readdir(scratch), ['killed.ndjson', 'titles.json']);
});

test('the help lists the commands, and that of a command its options, with examples', async () => {
  const [all, crawl] = await Promise.all([cli('--help'), cli('crawl', '--help')]);
  assert.equal(all.code, 0);
  for (const name of ['crawl', 'preview', 'tail', 'status', 'list', 'why', 'cancel', 'pause', 'resume'])
    assert.match(all.out, new RegExp(`^ {2}${name} +\\w`, 'm'));
  assert.match(
    crawl.out,
    /^orbweaver crawl \[URL …\] \[options\]\n\n.+ {2}-o, --output FILE {2}.+Examples:\n {2}orbweaver crawl /s,
  );
});

test('what pages say is shown by a terminal, and not obeyed', () => {
  const hostile = '\x1b]0;title\x07\x9b31m\u202eabc\rgone\ta\r\nb';
  assert.equal(plain(hostile), '\\u001b]0;title\\u0007\\u009b31m\\u202eabc\\u000dgone\ta\r\nb');
});
