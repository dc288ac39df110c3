import { recordOf } from '../model/record.ts';
import { Type } from '../model/type.ts';
import { integer, orNull, text, time } from './schema_parts.ts';

/** What a preview answers. */
export const PreviewAnswerSchema = Type.Object(
  {
    url: Type.String({ description: 'Canonical; where redirects were followed, of the last one' }),
    status: orNull(integer, 'null: nothing was fetched, and no page was given'),
    redirects: Type.Array(Type.Object({ url: text, status: integer, to: text })),
    fetched: orNull(
      Type.Object({
        ms: integer,
        bytes: integer,
        contentType: orNull(text),
        cookies: Type.Array(text, { description: 'Names of the cookies that were set' }),
        cached: orNull(time, 'When it was stored, where it came from the cache'),
      }),
      'null: the page was given, or nothing came back',
    ),
    outcome: Type.Object(
      { state: Type.Enum(['done', 'failed', 'skipped']), reason: orNull(text), detail: orNull(text) },
      { description: 'How the ledger of a crawl would show the request' },
    ),
    content: orNull(text, '`html`, `xml`, `json`, `text`, `sitemap`; null: no page was read'),
    pages: Type.Array(text, { description: 'The page entries, or the callback, that the page was given to' }),
    items: Type.Array(Type.Object({ type: text, data: Type.Unsafe<unknown>({}) }), {
      description: 'The first thousand, of at most 2 MiB',
    }),
    dropped: recordOf(integer, { description: 'Items that were dropped, by reason' }),
    fields: Type.Array(Type.Object({ pointer: text, source: text, text: text, hits: integer }), {
      description: 'Every selector of the spider (the first thousand), with the matches that it had on this page',
    }),
    links: Type.Object(
      {
        kept: Type.Array(
          Type.Object({ url: text, method: text, body: Type.Optional(text), priority: integer, rule: text }),
        ),
        dropped: Type.Array(Type.Object({ url: text, reason: text, rule: orNull(text) })),
      },
      { description: 'The first thousand of each' },
    ),
    tree: orNull(
      Type.Array(Type.Object({ pointer: text, text: text, why: text })),
      'What makes a crawl build a tree of such a page, which costs more. Empty: it is read as it comes; null: no HTML, or a script’s',
    ),
    counts: Type.Object({ items: integer, linksKept: integer, linksDropped: integer }),
    logs: Type.Array(Type.Object({ level: text, message: text })),
    state: recordOf(Type.Unsafe<unknown>({}), { description: 'What the script would have stored' }),
    flags: Type.Array(text, { description: 'What was cut to stay inside the limits' }),
    timing: recordOf(Type.Number(), { description: 'Milliseconds: `fetch`, `total`, stages of the parser' }),
    warnings: Type.Array(text, { description: 'In plain words, with the mend' }),
  },
  {
    examples: [
      {
        url: 'https://books.example/',
        status: 200,
        redirects: [],
        fetched: { ms: 83, bytes: 16204, contentType: 'text/html; charset=utf-8', cookies: [], cached: null },
        outcome: { state: 'done', reason: null, detail: null },
        content: 'html',
        pages: ['0'],
        items: [{ type: 'book', data: { title: 'Emma', price: 17.99 } }],
        dropped: {},
        fields: [
          { pointer: '/pages/0/items/0/each', source: 'each', text: 'article.product', hits: 1 },
          { pointer: '/pages/0/items/0/fields/title', source: 'selector', text: 'h3', hits: 1 },
        ],
        links: {
          kept: [{ url: 'https://books.example/page/2', method: 'GET', priority: 0, rule: 'pages[0].follow[0]' }],
          dropped: [{ url: 'https://ads.example/', reason: 'offsite', rule: 'scope.hosts' }],
        },
        tree: [],
        counts: { items: 1, linksKept: 1, linksDropped: 1 },
        logs: [],
        state: {},
        flags: [],
        timing: { fetch: 83, total: 91, tree: 2.1 },
        warnings: [],
      },
    ],
  },
);

/** What a check of a stored spider's samples answers. */
export const CheckAnswerSchema = Type.Object({
  name: text,
  version: integer,
  ok: Type.Boolean({ description: 'Every sample is as expected; also where there is none' }),
  samples: Type.Array(
    Type.Object({
      url: text,
      ok: Type.Boolean(),
      differences: Type.Array(
        Type.Object({
          pointer: Type.String({ description: 'JSON pointer into the sample' }),
          expected: Type.Optional(Type.Unsafe<unknown>({})),
          found: Type.Optional(Type.Unsafe<unknown>({})),
          message: text,
        }),
      ),
      items: integer,
      warnings: Type.Array(text),
      error: orNull(text, 'Why there was nothing to compare'),
    }),
  ),
});
