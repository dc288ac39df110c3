import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Which of the two corpora: pages as most are, or large ones. */
export type CorpusName = 'small' | 'large';
export const CORPUS_NAMES: readonly CorpusName[] = ['small', 'large'];

interface Source {
  /** Debian's package. */
  package: string;
  directory: string;
  /** Which of its pages belong to the corpus; every contender follows the links whose URL fits, and no other. */
  follow: RegExp;
}

/** Lists of every use of a class are left out of the large one: a few pages of several megabytes would be all that is measured. */
const SOURCES: Record<CorpusName, Source> = {
  small: { package: 'postgresql-doc-15', directory: '/usr/share/doc/postgresql-doc-15/html', follow: /\.html$/ },
  large: {
    package: 'openjdk-17-doc',
    directory: '/usr/share/doc/openjdk-17-jre-headless/api',
    follow: /\/\d+\/(?:[a-z\d.]+\/)*(?:[A-Z][^/]*|module-summary|package-summary)\.html$/,
  },
};
const GENERATED = { small: { pages: 1170, sections: 5 }, large: { pages: 4400, sections: 12 } };

/** Pages by path; the crawl starts at `index.html`, and all links are relative. */
export interface Corpus {
  name: string;
  follow: RegExp;
  pages: Map<string, Buffer>;
}

/** Debian's manuals where they are installed, else generated sites of about the same size, links and headings. */
export function loadCorpus(name: CorpusName): Corpus {
  const { package: debian, directory, follow } = SOURCES[name];
  if (!existsSync(join(directory, 'index.html'))) {
    const { pages, sections } = GENERATED[name];
    return { name: 'generated site', follow: SOURCES.small.follow, pages: generate(pages, sections) };
  }
  const paths = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  const own = paths.filter((path) => path === 'index.html' || follow.test(`/0/${path}`));
  return { name: debian, follow, pages: new Map(own.map((path) => [path, readFileSync(join(directory, path))])) };
}

/** Paths that links lead to from `index.html`, itself included. */
export function reachable({ pages, follow }: Corpus): Set<string> {
  const seen = new Set(['index.html']);
  for (const from of seen) {
    for (const [, href] of pages
      .get(from)!
      .toString()
      .matchAll(/<a\s[^>]*?href="([^"#]+)/g)) {
      const path = URL.parse(href!, `http://corpus/${from}`)?.pathname.slice(1) ?? '';
      if (follow.test(`/0/${path}`) && pages.has(path)) seen.add(path);
    }
  }
  return seen;
}

function generate(count: number, sections: number): Corpus['pages'] {
  const name = (n: number) => (n === 0 ? 'index.html' : `page-${n}.html`);
  const pages = new Map<string, Buffer>();
  for (let n = 0; n < count; n++) pages.set(name(n), Buffer.from(page(n, count, sections, name)));
  return pages;
}

/** About 3 KB a section, 28 links: a tree of five children a page, and pages that many others link to. */
function page(n: number, count: number, sections: number, name: (n: number) => string): string {
  const targets = Array.from({ length: 28 }, (_, i) => (i < 5 ? n * 5 + i + 1 : (n * 31 + i * i * 7) % count));
  const links = targets
    .filter((target) => target < count)
    .map((target) => `<li><a href="${name(target)}#top">See ${target}</a></li>`);
  const prose = `<p class="text">Paragraph of <code>page ${n}</code> with <em>some</em> inline markup &amp; entities.</p>\n`;
  const section = (i: number) => `<div class="section"><h2>${n}.${i}.&#160;Part  ${i}</h2>\n${prose.repeat(28)}</div>`;
  return (
    `<!DOCTYPE html><html><head><meta charset="utf-8"><title>Page ${n}</title></head><body>\n<h1>Page\n ${n}</h1>` +
    `${Array.from({ length: sections }, (_, i) => section(i + 1)).join('\n')}<ul>${links.join('\n')}</ul></body></html>`
  );
}
