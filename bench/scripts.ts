/**
 * What the script of the bench's spider costs in three engines, and end to end: `node bench/scripts.ts`, after a build.
 *
 * QuickJS is what the service uses. The others are measured where SCRIPT_PEERS names a folder in which they are installed
 * (`npm i deno isolated-vm`); docs/sandbox.md has the results and why they are not used.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { KnownFingerprints } from '../dist/model/known.js';
import type { ParsedPage } from '../dist/model/outcome.js';
import { DEFAULT_SETTINGS } from '../dist/model/settings.js';
import { ScriptPool } from '../dist/parser/script/pool.js';
import { loadCorpus } from './corpus.ts';
import { besides } from './processes.ts';

const PAGES = 500;
const CRAWL = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b';
const SCRIPT = `export default {
  *parse(response, ctx) {
    yield { title: response.css('title').text(), h1: response.css('h1').text(), h2: response.css('h2').texts() };
    for (const href of response.css('a[href]').attrs('href')) if (/\\.html(?:#|$)/.test(href)) yield ctx.follow(href);
  },
};`;

interface Row {
  'start ms': number;
  'RSS MiB': number | null;
  'CPU ms/page': number;
  'pages/s, one process': number;
}

const pages = [...loadCorpus('small').pages].slice(0, PAGES);

const NO_CALLS = {
  fetch: () => Promise.reject(new Error('not used')),
  lookup: () => Promise.reject(new Error('not used')),
  readState: () => Promise.resolve(null),
};

/** Through `ScriptPool.run`, as the engine does, links and items and all. */
async function throughPool(boundary: 'bubblewrap' | 'process'): Promise<Row> {
  const pool = new ScriptPool({ processes: 1, known: new KnownFingerprints(1024).buffer, boundary });
  await pool.start();
  pool.openCrawl(
    {
      crawlId: CRAWL,
      definition: { script: SCRIPT },
      params: {},
      scopeHosts: ['site.test'],
      settings: DEFAULT_SETTINGS,
    },
    NO_CALLS,
  );
  const jobs = pages.map(([name, bytes]) => {
    const body = new SharedArrayBuffer(bytes.length);
    new Uint8Array(body).set(bytes);
    const page = { url: `http://site.test/${name}`, depth: 0, status: 200, contentType: 'text/html', extra: null };
    return { crawlId: CRAWL, ...page, body, bodyBytes: bytes.length, fetchedAt: Date.now() };
  });
  const begin = performance.now();
  await pool.run(jobs[0]!);
  const started = performance.now() - begin;
  await Promise.all(jobs.map((job) => pool.run(job)));
  const from = performance.now();
  const done: ParsedPage[] = await Promise.all(jobs.map((job) => pool.run(job)));
  const seconds = (performance.now() - from) / 1000;
  const rss = rssOfChildren(process.pid);
  await pool.stop();
  return {
    'start ms': Math.round(started),
    'RSS MiB': rss,
    'CPU ms/page': rounded(done.reduce((sum, { parseMs }) => sum + parseMs, 0) / done.length),
    'pages/s, one process': Math.round(done.length / seconds),
  };
}

/** An engine alone, in a process that is given the pages as lines. */
async function alone(command: string, args: string[]): Promise<Row> {
  const begin = performance.now();
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  const started = performance.now() - begin;
  for (const [name, bytes] of [...pages, ...pages])
    child.stdin.write(`${JSON.stringify({ url: `http://site.test/${name}`, html: bytes.toString() })}\n`);
  child.stdin.end();
  const { value = '{}' } = await lines.next();
  const { msPerPage, rssMb } = JSON.parse(value) as { msPerPage: number; rssMb: number };
  return {
    'start ms': Math.round(started),
    'RSS MiB': Math.round(rssMb),
    'CPU ms/page': rounded(msPerPage),
    'pages/s, one process': Math.round(1000 / msPerPage),
  };
}

/** Resident memory of the largest process below `pid`; null where there is no /proc. */
function rssOfChildren(pid: number): number | null {
  if (!existsSync('/proc/self/task')) return null;
  const below = (one: number): number[] => childrenOf(one).flatMap((child) => [child, ...below(child)]);
  const rss = (one: number) => Number(readFileSync(`/proc/${one}/statm`, 'latin1').split(' ')[1]) / 256;
  return Math.round(Math.max(...below(pid).map(rss)));
}

/** Children of all threads of a process: the broker's thread starts the script processes, not the main one. */
function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`)
    .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').trim().split(' '))
    .filter((text) => text !== '')
    .map(Number);
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

const rows: Record<string, Row> = {
  'QuickJS, bubblewrap, end to end': await throughPool('bubblewrap'),
  'QuickJS, plain process, end to end': await throughPool('process'),
};
const peers = process.env.SCRIPT_PEERS;
if (peers !== undefined) {
  const deno = [
    join(peers, 'node_modules/.bin/deno'),
    ['run', '--no-prompt', '--no-remote', '--node-modules-dir=manual', '--no-check', besides('script_peers/deno.ts')],
  ] as const;
  rows['isolated-vm in a child, engine alone'] = await alone(process.execPath, [
    besides('script_peers/isolated_vm.ts'),
  ]);
  rows['Deno, engine alone'] = await alone(deno[0], [...deno[1]]);
}
console.table(rows);
