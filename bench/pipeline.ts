/**
 * Steps that ask the outside, beside the same crawl without them: `node bench/pipeline.ts [--rounds 3]`. With a service that
 * takes 100 ms a call, a crawl is to keep half of its speed.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startSite } from './processes.ts';
import { median } from './report.ts';
import { type Crawled, call, crawl, SPIDERS, startService } from './service.ts';
import { inWorkspace, saveResults } from './workspace.ts';

const COPIES = 2;

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '3' } } });

/** Every item must have got its answer. */
function pagesPerSecond({ crawl: { stats }, lines, seconds }: Crawled, field: string | null): number {
  const items = lines.map((line) => JSON.parse(line) as { data: Record<string, unknown> });
  const without = field === null ? 0 : items.filter(({ data }) => typeof data[field] !== 'number').length;
  if (items.length !== stats.done || without > 0)
    throw new Error(`${items.length} items of ${stats.done} pages, ${without} without an answer`);
  return stats.done / seconds;
}

await inWorkspace(async (directory, database) => {
  const [site, slow] = [await startSite('small'), await startSite('slow')];
  const url = await database.create('pipeline');
  const settings = { ENRICH_EGRESS_ALLOW: '127.0.0.0/8', CONNECTIONS: `own=${url}` };
  const service = await startService(url, join(directory, 'service'), [], settings);
  // The page's URL makes every question another one.
  const ask = {
    ...SPIDERS.css('\\.html$').pages[0]!,
    items: [{ type: 'page', fields: { title: 'title', url: { meta: 'url' } } }],
  };
  const enrich = { url: `${slow.origin}/score?url={url}`, set: { answer: 'score' } };
  const lookup = {
    connection: 'own',
    query: 'select length($1) as n',
    params: ['url'],
    set: { answer: 'n' },
  };
  const contenders = {
    none: { pages: [ask] },
    enrich: { pages: [ask], pipeline: [{ enrich }] },
    lookup: { pages: [ask], pipeline: [{ lookup }] },
  };
  try {
    const startUrls = Array.from({ length: COPIES }, (_, copy) => `${site.origin}/${copy}/index.html`);
    await crawl(service, startUrls.slice(0, 1)); // warm-up
    const rates: Record<keyof typeof contenders, number[]> = { none: [], enrich: [], lookup: [] };
    for (let round = 0; round < Number(values.rounds); round++)
      for (const name of ['none', 'enrich', 'lookup'] as const) {
        const crawled = await crawl(service, startUrls, {}, contenders[name]);
        rates[name].push(pagesPerSecond(crawled, name === 'none' ? null : 'answer'));
        const { steps } = await call<{ steps: object }>(service, 'GET', `/crawls/${crawled.crawl.id}/stats`);
        console.log(`${name}: ${rates[name].at(-1)!.toFixed(0)} pages/s ${JSON.stringify(steps)}`);
      }
    const kept = (name: 'enrich' | 'lookup') => median(rates[name].map((rate, i) => rate / rates.none[i]!));
    const [enriched, lookedUp] = [kept('enrich'), kept('lookup')];
    console.log(`speed kept with 100 ms a call: ${(enriched * 100).toFixed(0)} % (target ≥ 50 %)`);
    console.log(`speed kept with a lookup: ${(lookedUp * 100).toFixed(0)} % (target ≥ 50 %)`);
    saveResults('pipeline', { at: new Date().toISOString(), enriched, lookedUp, rates });
  } finally {
    await Promise.all([service.stop(), site.stop(), slow.stop()]);
  }
});
