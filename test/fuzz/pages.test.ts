/** Whatever a page is, it is parsed within its limits by either parser, and what comes of it can be stored. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { ParsedPage } from '../../dist/model/outcome.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { Spider } from '../../dist/model/spider.js';
import { ParserPool } from '../../dist/parser/pool.js';
import fc from '../support/property.ts';
import { markup, PAGES } from './generators.ts';

const known = new KnownFingerprints(1024);
const pool = new ParserPool({ threads: 2, memoryMb: 128, known: known.buffer });
before(() => pool.start());
after(() => pool.stop());

const SPIDER: Spider = {
  pages: [
    {
      items: [
        {
          type: 'page',
          fields: {
            title: 'title',
            headings: ['h1, h2'],
            markdown: { selector: 'body', as: 'markdown' },
            html: { selector: 'table', value: 'outerHTML' },
            cells: [{ selector: 'tr', value: { head: 'th', cells: ['td'] } }],
            third: { xpath: '(//*)[3]' },
            links: [{ xpath: '//a/@href' }],
            name: { jsonld: 'Product.name' },
            micro: { microdata: 'Product.name' },
            og: { opengraph: 'title' },
            price: { selector: '*', as: 'number', locale: 'de' },
            date: { selector: '*', as: 'date', locale: 'de' },
          },
        },
        { type: 'cell', each: 'td, li', fields: { text: { as: 'text' }, html: { as: 'html' } } },
      ],
      follow: [{ selector: 'a' }, { form: 'form' }],
    },
  ],
};

/** @throws where a page of the commit could not be stored */
function checkStorable({ items, links }: ParsedPage): void {
  for (const { data, size } of items) {
    JSON.parse(data);
    assert.ok(data.isWellFormed() && !data.includes('\0') && !data.includes('\\u0000'));
    assert.equal(size, Buffer.byteLength(data));
  }
  for (const { url, fp } of links) {
    assert.ok(URL.canParse(url) && url.isWellFormed() && !url.includes('\0'), url);
    assert.match(fp, /^[0-9a-f]{32}$/);
  }
}

const FORMS = [
  ['fast', 'text/html'],
  ['html5', 'text/html'],
  ['fast', 'application/xml'],
  ['fast', 'application/json'],
  ['fast', null],
] as const;
const EACH = Math.ceil(PAGES / FORMS.length);

for (const [parser, contentType] of FORMS) {
  const crawlId = crypto.randomUUID();
  test(`${EACH} pages as ${contentType ?? 'nothing in particular'}, parser ${parser}, end no thread and can be stored`, async () => {
    const settings = { ...DEFAULT_SETTINGS, parser, parseTimeoutMs: 10_000 };
    pool.openCrawl({ crawlId, definition: SPIDER, params: {}, scopeHosts: ['site.test'], settings });
    const facts = {
      crawlId,
      url: 'https://site.test/a/b',
      depth: 0,
      status: 200,
      headers: {},
      extra: null,
      fetchedAt: 0,
    };
    await fc.assert(
      fc.asyncProperty(markup, async (text) => {
        const bytes = Buffer.from(text);
        const body = new SharedArrayBuffer(bytes.length);
        new Uint8Array(body).set(bytes);
        const page = pool.parse({ ...facts, contentType, body, bodyBytes: bytes.length });
        await page.then(checkStorable, (error: { reason?: string }) => {
          if (error.reason !== 'content_type' && error.reason !== 'parse_error') throw error;
        });
      }),
      { numRuns: EACH },
    );
    assert.equal(pool.kills, 0);
  });
}
