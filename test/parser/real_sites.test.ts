/**
 * 6: the pages of three real sites give the same items and links without a tree: DocBook's XHTML, javadoc's pages of up to
 * 6 MB, and LaTeX2HTML's, with tags in upper case and paragraphs that nobody ends. Some pages of each, which takes 4 s of CPU
 * instead of 35; with REAL_SITES=all every page, as in .ci/run.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { PageRule, Spider } from '../../dist/model/spider.js';
import type { PageInput } from '../../dist/parser/content.js';
import type { Document } from '../../dist/parser/dom.js';
import { cutAt, essence, fromBytes, inPieces, needsTree, pageFor, planFor } from '../support/both_ways.ts';
import { referenceTree } from '../support/reference_tree.ts';

/** Large enough that most pages are few pieces, and no multiple of anything. */
const PIECE = 7919;
const ALL = process.env.REAL_SITES === 'all';

/** The bench's. */
const PLAIN: PageRule = {
  name: 'plain',
  items: [{ type: 'page', fields: { title: 'title', h1: 'h1', h2: ['h2'] } }],
  follow: [{ selector: 'a[href]', allow: [{ regex: '\\.html' }] }],
};
/** What any page has: its metas, its links with what is around them, and lists in lists. */
const COMMON: PageRule = {
  name: 'common',
  items: [
    {
      type: 'metas',
      fields: {
        generator: { selector: 'meta[name="generator" i]', value: 'content' },
        author: { opengraph: 'title', default: 'none' },
        product: { jsonld: 'Product.name' },
        next: { selector: 'link[rel~=next]', value: 'href', as: 'url' },
        metas: [
          {
            selector: 'head > meta[content]:not([name=viewport])',
            value: { name: { value: 'name' }, length: { value: 'content', match: '\\d+', as: 'integer' } },
          },
        ],
        styles: ['link[href$=".css"]::attr(href)'],
        third: 'body > *:nth-child(3)',
        headings: [':is(h1, h2, h3, h4):not(.nothing) > a[id]:first-child'],
        numbers: [{ selector: 'tr:nth-child(2n+1) > td:first-of-type', as: 'number' }],
      },
    },
    {
      type: 'list',
      each: 'ul, ol, dl',
      fields: {
        first: { selector: ':is(li, dt):first-child', as: 'uppercase' },
        others: [
          { selector: 'li ~ li', value: { links: ['a::attr(href)'], bold: { selector: 'b, code', as: 'trim' } } },
        ],
        terms: ['dt + dd'],
      },
      required: ['first'],
    },
  ],
  follow: [
    {
      selector: 'li > a',
      page: 'common',
      pass: { text: { as: 'text' }, id: { value: 'id' } },
      deny: ['*index*'],
      maxDepth: 1,
    },
    { selector: 'p a:first-of-type', match: '^([^#]+)', url: '/seen/{value}' },
  ],
};
const JAVADOC: PageRule = {
  name: 'javadoc',
  items: [
    {
      type: 'member',
      each: 'section.detail',
      fields: {
        name: 'h3',
        signature: '.member-signature',
        returns: '.notes > dt + dd',
        modifiers: { selector: '.modifiers', match: '(\\w+)', default: 'none' },
        code: [
          {
            selector: 'dl.notes > dd',
            value: { first: 'code:first-child', links: [{ selector: 'a', value: 'href', as: 'url' }] },
          },
        ],
      },
      key: ['name'],
    },
    {
      type: 'row',
      each: '.summary-table > [class^="col-first"]',
      fields: { text: { as: 'trim' }, next: { value: 'class' } },
    },
  ],
  follow: [{ selector: 'main a[href]:not([href^="#"]):not([href*="://"])' }],
};
const DOCBOOK: PageRule = {
  name: 'docbook',
  items: [
    {
      type: 'section',
      each: 'div.sect1, div.sect2, div.refsect1',
      fields: {
        id: { value: 'id' },
        title: '.titlepage .title, h2',
        examples: ['pre:is(.programlisting, .screen)'],
        terms: [{ selector: 'dl.variablelist > dt', value: { id: '[id]::attr(id)', term: '.term' } }],
        cells: ['div > table tr:nth-of-type(2) > td'],
      },
    },
  ],
  follow: [{ selector: '.navfooter td[align=RIGHT] a', priority: 5 }, { selector: '.toc dl dl a.xref, dt a' }],
};
const LATEX: PageRule = {
  name: 'latex',
  items: [
    { type: 'name', each: 'A[ID]:not([HREF])', fields: { id: { value: 'ID' }, text: { as: 'text' } } },
    {
      type: 'prose',
      each: 'P',
      fields: { text: { as: 'text' }, code: ['SPAN[style*=monospace]'], bold: ['B ~ B'] },
      required: ['text'],
    },
  ],
  follow: [{ selector: '.navigation > B + A' }, { selector: 'LI > A:first-child', pass: { inner: 'B' } }],
};

interface Site {
  /** Debian's package. */
  package: string;
  directory: string;
  /** Every so manyth page is read. */
  stride: number;
  spiders: Spider[];
}

const SITES: Site[] = [
  {
    package: 'postgresql-doc-15',
    directory: '/usr/share/doc/postgresql-doc-15/html',
    stride: 11,
    spiders: [{ pages: [PLAIN] }, { pages: [COMMON, DOCBOOK] }],
  },
  {
    package: 'gnuplot-doc',
    directory: '/usr/share/doc/gnuplot/htmldocs',
    stride: 11,
    spiders: [{ pages: [PLAIN] }, { pages: [COMMON, LATEX] }],
  },
  {
    package: 'openjdk-17-doc',
    directory: '/usr/share/doc/openjdk-17-jre-headless/api',
    stride: 29,
    // In one spider, since there are 270 MB of it.
    spiders: [{ pages: [PLAIN, JAVADOC] }],
  },
];

/** Builds the tree of a page once for all spiders. */
class SharedTree {
  #text = '';
  #document: Document | null = null;

  readonly parse = (text: string): Document => {
    if (this.#document === null || this.#text !== text) {
      this.#document = referenceTree(text);
      this.#text = text;
    }
    // What an earlier plan found too many of.
    for (const flag of ['links', 'items'] as const) this.#document.flags.delete(flag);
    return this.#document;
  };
}

function* pagesOf({ directory, stride }: Site): Generator<PageInput> {
  const paths = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.html'));
  for (const [i, path] of paths.sort().entries()) {
    if (!ALL && i % stride !== 0) continue;
    const page = pageFor('', { url: `http://site.test/${encodeURI(path)}` });
    yield fromBytes(page, readFileSync(join(directory, path)), 'text/html')!;
  }
}

const pieces = ({ text }: PageInput) =>
  cutAt(
    text,
    Array.from({ length: Math.floor(text.length / PIECE) }, (_, i) => (i + 1) * PIECE),
  );

for (const site of SITES) {
  const isThere = existsSync(join(site.directory, 'index.html')) || process.env.CI_SERVERS === '1';
  describe(`the pages of ${site.package}`, { skip: isThere ? false : `${site.package} is not installed` }, () => {
    it('6: are the same without a tree, as a whole and in pieces', () => {
      for (const spider of site.spiders) assert.deepEqual(needsTree(spider), [], 'it would be read by one way alone');
      const tree = new SharedTree();
      const plans = site.spiders.map(
        (spider) => [planFor(spider, 'tree', {}, tree.parse), planFor(spider, 'auto')] as const,
      );
      let items = 0;
      let links = 0;
      let number = 0;
      for (const page of pagesOf(site)) {
        const input = number++ % 2 === 0 ? page : inPieces(page, pieces(page));
        for (const [reference, plan] of plans) {
          const want = reference.run(page);
          const [mine, theirs] = [plan.run(input), want].map(essence);
          if (JSON.stringify(mine) !== JSON.stringify(theirs)) assert.deepEqual(mine, theirs, page.url);
          items += want.items.length;
          links += want.links.length;
        }
      }
      assert.ok(
        number * (ALL ? 1 : site.stride) > 500 && items > 5 * number && links > 5 * number,
        JSON.stringify({ number, items, links }),
      );
    });
  });
}
