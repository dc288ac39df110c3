import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where Debian's `postgresql-doc-15` puts the manual. */
const MANUAL = '/usr/share/doc/postgresql-doc-15/html';
const GENERATED_PAGES = 1170;

/** Pages by file name; the crawl starts at `index.html`, and all links are relative file names. */
export interface Corpus {
  name: string;
  pages: Map<string, Buffer>;
}

/** The PostgreSQL manual where it is installed, else a generated site of about the same size, links and headings. */
export function loadCorpus(): Corpus {
  if (!existsSync(join(MANUAL, 'index.html'))) return { name: 'generated site', pages: generate(GENERATED_PAGES) };
  const names = readdirSync(MANUAL).filter((name) => name.endsWith('.html'));
  return { name: 'postgresql-doc-15', pages: new Map(names.map((name) => [name, readFileSync(join(MANUAL, name))])) };
}

/** File names that links lead to from `index.html`, itself included. */
export function reachable(pages: Corpus['pages']): Set<string> {
  const seen = new Set(['index.html']);
  for (const name of seen) {
    for (const [, href] of pages
      .get(name)!
      .toString()
      .matchAll(/<a\s[^>]*?href="([^"#]+)/g))
      if (pages.has(href!)) seen.add(href!);
  }
  return seen;
}

function generate(count: number): Corpus['pages'] {
  const name = (n: number) => (n === 0 ? 'index.html' : `page-${n}.html`);
  const pages = new Map<string, Buffer>();
  for (let n = 0; n < count; n++) pages.set(name(n), Buffer.from(page(n, count, name)));
  return pages;
}

/** About 15 KB, 28 links: a tree of five children a page, and pages that many others link to. */
function page(n: number, count: number, name: (n: number) => string): string {
  const targets = Array.from({ length: 28 }, (_, i) => (i < 5 ? n * 5 + i + 1 : (n * 31 + i * i * 7) % count));
  const links = targets
    .filter((target) => target < count)
    .map((target) => `<li><a href="${name(target)}#top">See ${target}</a></li>`);
  const prose = `<p class="text">Paragraph of <code>page ${n}</code> with <em>some</em> inline markup &amp; entities.</p>\n`;
  const section = (i: number) => `<div class="section"><h2>${n}.${i}.&#160;Part  ${i}</h2>\n${prose.repeat(28)}</div>`;
  return (
    `<!DOCTYPE html><html><head><meta charset="utf-8"><title>Page ${n}</title></head><body>\n<h1>Page\n ${n}</h1>` +
    `${[1, 2, 3, 4, 5].map(section).join('\n')}<ul>${links.join('\n')}</ul></body></html>`
  );
}
