import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, type Item, postCrawl, waitFor } from './client.ts';
import { FAST } from './pages.ts';
import { type Site, startSite } from './site.ts';

/** A page of a shop, as it is at the moment. */
export interface Page {
  /** `id`, `name` and `weight` of the page's product; absent: it has none. */
  product?: [string, string, string];
  links?: string[];
  etag?: string;
  lastModified?: string;
  status?: number;
  location?: string;
  delayMs?: number;
}
export type Pages = Record<string, Page>;

/** Pages that may be changed between two crawls; answers 304 as RFC 9110 has it. */
export async function startShop(
  pages: Pages,
  host = '127.0.0.1',
): Promise<Site & { pages: Pages; asked: () => string[]; clear: () => void }> {
  const site = await startSite((req, res) => void answer(pages, req, res), { host });
  // Cut to the path, with what each was asked by.
  const asked = () =>
    site.hits.map(({ url, headers }) => {
      const isConditional = headers['if-none-match'] !== undefined || headers['if-modified-since'] !== undefined;
      return isConditional ? `${url}?` : url;
    });
  return Object.assign(site, { pages, asked, clear: () => site.hits.splice(0) });
}

async function answer(pages: Pages, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const page = pages[req.url ?? ''];
  if (page === undefined) return void res.writeHead(404).end();
  const { product, links = [], etag, lastModified, status = 200, location, delayMs = 0 } = page;
  if (delayMs > 0) await sleep(delayMs);
  const validators = {
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { 'last-modified': lastModified }),
  };
  const asked = req.headers['if-none-match'];
  const same = asked === undefined ? req.headers['if-modified-since'] === lastModified : asked === etag;
  if ((asked !== undefined || req.headers['if-modified-since'] !== undefined) && same)
    return void res.writeHead(304, validators).end();
  const [id, name, weight] = product ?? [];
  const item =
    product === undefined ? '' : `<p class=id>${id}</p><p class=name>${name}</p><p class=weight>${weight}</p>`;
  const list = links.map((href) => `<a href="${href}">${href}</a>`).join('');
  res.writeHead(status, {
    'content-type': 'text/html',
    ...validators,
    ...(location === undefined ? {} : { location }),
  });
  res.end(`<!doctype html><body>${item}${list}`);
}

/** Products of `/p…`, found from `/` and lists. */
export const SHOP = {
  pages: [
    {
      match: ['/p*'],
      items: [
        {
          type: 'product',
          fields: { id: '.id', name: '.name', specs: { selector: 'body', value: { weight: '.weight' } } },
          required: ['id'],
          key: ['id'],
        },
      ],
      follow: [{ selector: 'a', priority: 3 }],
    },
    { match: ['/', '/list*'], follow: [{ selector: 'a' }] },
  ],
};

export interface Options {
  ttl?: number | null;
  spider?: object;
  settings?: object;
  /** Path of the start URL; `/` unless told. */
  start?: string;
}

/** Runs a crawl of the spider to its end, and checks its books. */
export async function crawlShop(
  base: string,
  site: Site,
  name: string,
  { ttl = null, spider = SHOP, settings = {}, start = '/' }: Options = {},
) {
  const { id } = await postCrawl(base, {
    spider: { name, ...spider },
    startUrls: [site.url + start],
    settings: { ...FAST, retries: 0, dedup: { scope: 'spider', ttl }, ...settings },
  });
  await waitFor(base, id, ENDED);
  const books = await checkBooks(base, id);
  const path = (row: { url: string }) => row.url.slice(site.url.length);
  const states = Object.fromEntries(books.ledger.map((row) => [path(row), row.reason ?? row.state]));
  return { id, ...books, states, changes: books.items.map(changeOf).sort() };
}

interface Change {
  kind: string;
  fields: string[];
}

/** `b changed name`. */
export function changeOf({ data, ...item }: Item): string {
  const { kind, fields } = (item as Item & { change: Change }).change ?? { kind: 'none', fields: [] };
  return [data.id, kind, ...fields].join(' ');
}
