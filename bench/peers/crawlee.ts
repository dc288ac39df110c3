/** Crawlee's CheerioCrawler as its users write it. `CRAWLEE_DISK=<directory>`: with its file storage; else in memory. */
import { join } from 'node:path';
import { CheerioCrawler, Configuration, Dataset, log } from '@crawlee/cheerio';
import { MemoryStorage } from '@crawlee/memory-storage';
import { clean, FOLLOW, type Item, run } from './peer.ts';

const CONCURRENCY = 32;
/** It is asked of the link as it stands, with its fragment. */
const LINKS = new RegExp(FOLLOW.source.replace(/\$$/, '(#|$)'));
const disk = process.env.CRAWLEE_DISK;
log.setLevel(log.LEVELS.WARNING);

function configuration(round: number): Configuration {
  const persistStorage = disk !== undefined;
  const localDataDirectory = join(disk ?? '/nonexistent', String(round));
  return new Configuration({
    persistStorage,
    storageClient: new MemoryStorage({ persistStorage, localDataDirectory }),
  });
}

async function crawl(startUrls: string[], round: number): Promise<() => Promise<Item[]>> {
  const config = configuration(round);
  const crawler = new CheerioCrawler(
    {
      // Both, so that autoscaling never holds it back.
      minConcurrency: CONCURRENCY,
      maxConcurrency: CONCURRENCY,
      async requestHandler({ $, request, pushData, enqueueLinks }) {
        await pushData({
          url: request.loadedUrl.split('#')[0],
          title: clean($('title').first().text()),
          h1: clean($('h1').first().text()),
          h2: $('h2')
            .map((_, h2) => clean($(h2).text()))
            .get(),
        });
        await enqueueLinks({ selector: 'a[href]', strategy: 'same-origin', regexps: [LINKS] });
      },
    },
    config,
  );
  await crawler.run(startUrls);
  return async () => {
    const dataset = await Dataset.open<Item>(undefined, { config });
    return (await dataset.getData()).items;
  };
}

await run(crawl);
