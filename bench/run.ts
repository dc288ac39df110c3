/**
 * The service beside Crawlee, Scrapy and a bare loop, in one run, alternating: `node bench/run.ts`.
 *
 * --runs 5           of each contender; medians are shown
 * --only service,bare
 * --copies 1         how many copies of the corpus are one crawl
 * --profile          the service writes CPU profiles to bench/results/profile
 */
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Bench, CONTENDERS, type Measurement } from './contenders.ts';
import { loadCorpus, reachable } from './corpus.ts';
import { besides, startSite } from './processes.ts';
import { printTable, printTargets, summarize } from './report.ts';
import { inWorkspace, saveResults } from './workspace.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    only: { type: 'string', default: Object.keys(CONTENDERS).join(',') },
    copies: { type: 'string', default: '1' },
    profile: { type: 'boolean', default: false },
  },
});
const names = values.only.split(',');
const unknown = names.filter((name) => !(name in CONTENDERS));
if (unknown.length > 0)
  throw new Error(`--only: ${unknown.join(', ')}? There are ${Object.keys(CONTENDERS).join(', ')}`);
const runs = Number(values.runs);
const copies = Number(values.copies);
const serviceFlags = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${besides('results/profile')}`] : [];

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
async function measureAll(bench: Omit<Bench, 'directory'>, root: string): Promise<Map<string, Measurement[]>> {
  const results = new Map<string, Measurement[]>(names.map((name) => [name, []]));
  for (let round = 0; round < runs; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length]!;
      const directory = join(root, `${name}-${round}`);
      mkdirSync(directory);
      const measurement = await CONTENDERS[name]!.run({ ...bench, directory });
      results.get(name)!.push(measurement);
      console.log(`${round + 1}/${runs} ${name}: ${(measurement.pages / measurement.seconds).toFixed(0)} pages/s`);
    }
  }
  return results;
}

const corpus = loadCorpus();
const pages = reachable(corpus.pages).size;
console.log(
  `${corpus.name}: ${pages} of ${corpus.pages.size} pages reachable, ${copies} copies; ${availableParallelism()} cores`,
);

await inWorkspace(async (root, database) => {
  const site = await startSite('corpus');
  const startUrls = Array.from({ length: copies }, (_, copy) => `${site.origin}/${copy}/index.html`);
  try {
    const results = await measureAll({ startUrls, database, serviceFlags }, root);
    checkSame(results, pages * copies);
    console.log(`All contenders got the same ${pages * copies} pages and items.`);
    const summaries = names.map((name) =>
      summarize(name, CONTENDERS[name]!.target, results.get(name)!, results.get('service') ?? []),
    );
    printTable(summaries);
    for (const summary of summaries) if (summary.name === 'service') printTargets(summary);
    saveResults('latest', { at: new Date().toISOString(), corpus: corpus.name, pages, copies, summaries });
  } finally {
    await site.stop();
  }
});
