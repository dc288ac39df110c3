/**
 * Where the CPU time of a page goes: crawls a corpus and prints, per page, what each thread of the node, PostgreSQL, the site
 * and the client (this process) used: `node bench/cpu.ts --corpus large --crawls 3`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CorpusName, loadCorpus } from './corpus.ts';
import { cpuSeconds, residentMb, startSite } from './processes.ts';
import { crawl, type Service, SPIDERS, type SpiderForm, startService } from './service.ts';
import { inWorkspace } from './workspace.ts';

const { values } = parseArgs({
  options: {
    corpus: { type: 'string', default: 'small' },
    crawls: { type: 'string', default: '3' },
    form: { type: 'string', default: 'css' },
  },
});
const name = values.corpus as CorpusName;
const form = values.form as SpiderForm;

/** Seconds of CPU by thread: the event loop, the workers, and what V8 and libuv have beside them. */
function threadSeconds(pid: number): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8');
    const comm = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const kind = Number(id) === pid ? 'event loop' : comm;
    sums[kind] = (sums[kind] ?? 0) + (Number(fields[11]) + Number(fields[12])) / 100;
  }
  return sums;
}

/** The CPU time of everything that takes part, by name, in seconds. */
function snapshot(service: Service, sitePid: number, postgresPid: number): Record<string, number> {
  const { user, system } = process.cpuUsage();
  return {
    ...threadSeconds(service.child.pid!),
    postgres: cpuSeconds(postgresPid),
    site: cpuSeconds(sitePid),
    client: (user + system) / 1e6,
  };
}

await inWorkspace(async (root, database) => {
  const site = await startSite(name);
  const url = await database.create(`cpu_${form}`);
  const service = await startService(url, join(root, 'service'));
  const spider = SPIDERS[form](loadCorpus(name).follow.source);
  const start = [`${site.origin}/0/index.html`];
  await crawl(service, start, {}, spider);
  const before = snapshot(service, site.pid, database.pid);
  let pages = 0;
  let seconds = 0;
  for (let i = 0; i < Number(values.crawls); i++) {
    const crawled = await crawl(service, start, {}, spider);
    pages += crawled.crawl.stats.done;
    seconds += crawled.seconds;
  }
  const after = snapshot(service, site.pid, database.pid);
  const used = Object.entries(after).map(
    ([what, time]) => [what, (1000 * (time - (before[what] ?? 0))) / pages] as const,
  );
  console.log(
    `${name}, ${form}: ${(pages / seconds).toFixed(0)} pages/s, ${residentMb(service.child.pid!, 'VmHWM').toFixed(0)} MiB at most`,
  );
  console.table(
    Object.fromEntries(
      used.filter(([, ms]) => ms >= 0.005).map(([what, ms]) => [what, { 'ms a page': ms.toFixed(3) }]),
    ),
  );
  console.log(`in all: ${used.reduce((sum, [, ms]) => sum + ms, 0).toFixed(3)} ms a page`);
  await service.stop();
  await site.stop();
});
