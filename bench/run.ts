/**
 * The service beside Crawlee, Scrapy and a bare loop, in one run, alternating: `node bench/run.ts`.
 *
 * --runs 5           of each contender; medians are shown
 * --only service,bare
 * --corpus small,large
 * --copies 1         how many copies of the corpus are one crawl
 * --profile          the service writes CPU profiles to bench/results/profile
 */
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Bench, CONTENDERS, type Measurement } from './contenders.ts';
import { CORPUS_NAMES, type CorpusName, loadCorpus, reachable } from './corpus.ts';
import type { Database } from './database.ts';
import { besides, startSite } from './processes.ts';
import { printTable, printTargets, type Summary, summarize } from './report.ts';
import { inWorkspace, saveResults } from './workspace.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    only: { type: 'string' },
    corpus: { type: 'string', default: CORPUS_NAMES.join(',') },
    copies: { type: 'string', default: '1' },
    profile: { type: 'boolean', default: false },
  },
});
const corpora = known<CorpusName>('--corpus', values.corpus, CORPUS_NAMES);
const runs = Number(values.runs);
const copies = Number(values.copies);
const serviceFlags = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${besides('results/profile')}`] : [];

/** The names of an option's list. @throws Error that names those that there are not */
function known<Name extends string>(option: string, list: string, all: readonly Name[]): Name[] {
  const names = list.split(',') as Name[];
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Error(`${option}: ${unknown.join(', ')}? There are ${all.join(', ')}`);
  return names;
}

/** Who takes part on a corpus. */
function contendersOn(corpus: CorpusName): string[] {
  if (values.only !== undefined) return known('--only', values.only, Object.keys(CONTENDERS));
  return Object.keys(CONTENDERS).filter((name) => corpus === 'small' || CONTENDERS[name]!.smallOnly !== true);
}

/** All must have got every page, and the same items. @throws Error that names who got what */
function checkSame(results: Map<string, Measurement[]>, expectedPages: number): void {
  const reference = [...results.values()][0]![0]!.items;
  for (const [name, measurements] of results) {
    for (const { pages, items } of measurements) {
      if (pages !== expectedPages) throw new Error(`${name} got ${pages} pages of ${expectedPages}`);
      const different = items.findIndex((item, i) => item !== reference[i]);
      if (items.length !== expectedPages || different >= 0)
        throw new Error(`${name} got other items (${items.length}):\n${items[different]}\n${reference[different]}`);
    }
  }
}

/** Runs every contender in turn; each round begins with another one. */
async function measureAll(
  names: readonly string[],
  bench: Omit<Bench, 'directory'>,
  root: string,
): Promise<Map<string, Measurement[]>> {
  const results = new Map<string, Measurement[]>(names.map((name) => [name, []]));
  for (let round = 0; round < runs; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length]!;
      const directory = join(root, `${name}-${round}`);
      mkdirSync(directory, { recursive: true });
      const measurement = await CONTENDERS[name]!.run({ ...bench, directory });
      results.get(name)!.push(measurement);
      console.log(`${round + 1}/${runs} ${name}: ${(measurement.pages / measurement.seconds).toFixed(0)} pages/s`);
    }
  }
  return results;
}

async function benchOn(name: CorpusName, root: string, database: Database) {
  const corpus = loadCorpus(name);
  const pages = reachable(corpus).size;
  const bytes = [...corpus.pages.values()].reduce((sum, { length }) => sum + length, 0);
  console.log(
    `${corpus.name}: ${pages} of ${corpus.pages.size} pages reachable, ${(bytes / corpus.pages.size / 1000).toFixed(1)} KB ` +
      `on average, ${copies} copies; ${availableParallelism()} cores`,
  );
  const names = contendersOn(name);
  const site = await startSite(name);
  const startUrls = Array.from({ length: copies }, (_, copy) => `${site.origin}/${copy}/index.html`);
  try {
    const bench = { startUrls, follow: corpus.follow.source, database, serviceFlags };
    const results = await measureAll(names, bench, join(root, name));
    checkSame(results, pages * copies);
    console.log(`All contenders got the same ${pages * copies} pages and items.`);
    const summaries = names.map((contender) => {
      const target = CONTENDERS[contender]!.target?.[name] ?? null;
      return summarize(contender, target, results.get(contender)!, results.get('service') ?? []);
    });
    return { corpus: corpus.name, pages, copies, summaries };
  } finally {
    await site.stop();
  }
}

await inWorkspace(async (root, database) => {
  const measured: { corpus: string; pages: number; copies: number; summaries: Summary[] }[] = [];
  for (const name of corpora) measured.push(await benchOn(name, root, database));
  for (const { corpus, summaries } of measured) {
    console.log(corpus);
    printTable(summaries);
    for (const summary of summaries) if (summary.name === 'service') printTargets(summary);
  }
  saveResults('latest', { at: new Date().toISOString(), measured });
});
