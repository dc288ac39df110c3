/** The bare loop: undici and cheerio, everything in memory, nothing stored, nothing limited, nothing retried. */
import { load } from 'cheerio/slim';
import { Pool } from 'undici';
import { clean, FOLLOW, type Item, run } from './peer.ts';

const CONCURRENCY = 32;

async function crawl(startUrls: string[]): Promise<() => Promise<Item[]>> {
  const pool = new Pool(new URL(startUrls[0]!).origin, { connections: CONCURRENCY });
  const seen = new Set(startUrls);
  const queue = [...startUrls];
  const items: Item[] = [];
  let next = 0;

  async function visit(url: string): Promise<void> {
    const { statusCode, body } = await pool.request({ method: 'GET', path: new URL(url).pathname });
    const text = await body.text();
    if (statusCode !== 200) return;
    const $ = load(text);
    items.push({
      url,
      title: clean($('title').first().text()),
      h1: clean($('h1').first().text()),
      h2: $('h2')
        .map((_, h2) => clean($(h2).text()))
        .get(),
    });
    const origin = new URL(url).origin;
    for (const link of $('a[href]')) {
      const target = URL.parse($(link).attr('href')!, url);
      if (target === null || target.origin !== origin || !FOLLOW.test(target.pathname)) continue;
      target.hash = '';
      if (seen.has(target.href)) continue;
      seen.add(target.href);
      queue.push(target.href);
    }
  }

  await new Promise<void>((resolve, reject) => {
    let active = 0;
    const fill = () => {
      while (active < CONCURRENCY && next < queue.length) {
        active++;
        visit(queue[next++]!).then(() => {
          active--;
          fill();
        }, reject);
      }
      if (active === 0) resolve();
    };
    fill();
  });
  await pool.close();
  return async () => items;
}

await run(crawl);
