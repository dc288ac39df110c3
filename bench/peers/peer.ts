import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The monitor's timer fires this often and reports the whole interval; what is beyond it is the delay. As in the service. */
const RESOLUTION_MS = 10;

/** What is taken from a page; the same fields, under the same names, in all contenders. */
export interface Item {
  url: string;
  title: string;
  h1: string;
  h2: string[];
}

/** The URLs that are followed. */
export const FOLLOW = new RegExp(process.env.FOLLOW!);

/** Text as all contenders give it. */
export function clean(text: string): string {
  return text.trim().replace(/\s+/g, ' ');
}

/**
 * Crawls twice and reports the second crawl on standard output, so that the compiler has seen the code, as it has in the
 * service. Arguments of the process: the file that the items go to, then the start URLs.
 *
 * @param crawl gives all items, when everything that belongs to the crawl is done
 */
export async function run(
  crawl: (startUrls: string[], round: number) => Promise<() => Promise<Item[]>>,
): Promise<void> {
  const [itemsFile, ...startUrls] = process.argv.slice(2);
  await crawl(startUrls, 0);
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const start = performance.now();
  const readItems = await crawl(startUrls, 1);
  const seconds = (performance.now() - start) / 1000;
  delay.disable();
  const items = await readItems();
  writeFileSync(itemsFile!, items.map((item) => `${JSON.stringify(item)}\n`).join(''));
  console.log(JSON.stringify({ seconds, loopDelayP99Ms: delay.percentile(99) / 1e6 - RESOLUTION_MS }));
}
