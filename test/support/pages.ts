import type { IncomingMessage, ServerResponse } from 'node:http';

/** A site of `n` pages in a tree: page i links to its children, to its neighbours, and back to the start. */
export function treeSite(n: number, fanOut = 10): (req: IncomingMessage, res: ServerResponse) => void {
  return (req, res) => {
    const i = Number(/^\/p(\d+)$/.exec(req.url ?? '')?.[1] ?? (req.url === '/' ? 0 : Number.NaN));
    if (Number.isNaN(i) || i >= n) {
      res.writeHead(404).end();
      return;
    }
    const links = [...Array(fanOut).keys()].map((k) => i * fanOut + k + 1).filter((k) => k < n);
    html(res, `Page ${i}`, ['/', `/p${Math.max(1, i - 1)}`, `/p${(i % (n - 1)) + 1}`, ...links.map((k) => `/p${k}`)]);
  };
}

/** Answers with a page of this title and these links. */
export function html(res: ServerResponse, title: string, links: readonly string[], status = 200): void {
  const list = links.map((href) => `<li><a href="${href}">${href}</a></li>`).join('');
  res.writeHead(status, { 'content-type': 'text/html; charset=utf-8' });
  res.end(`<!doctype html><title>${title}</title><h1>${title}</h1><ul>${list}</ul>`);
}

/** One item a page, every link followed. */
export const TITLE_SPIDER = {
  name: 'titles',
  pages: [{ items: [{ type: 'page', fields: { title: 'h1' } }], follow: [{ selector: 'a[href]' }] }],
};

/** Fast and rude: for sites of a test's own. */
export const FAST = { robots: false, concurrency: 32, concurrencyPerHost: 32 };
