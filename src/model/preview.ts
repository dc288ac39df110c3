import type { Explanation } from './explanation.ts';
import { NAME_PATTERN } from './name.ts';
import type { LogLine } from './outcome.ts';
import { recordOf } from './record.ts';
import { SettingsSchema } from './settings.ts';
import { SpiderSchema } from './spider.ts';
import { type Static, Type } from './type.ts';

/** Characters of a page that is given with the request. */
const MAX_GIVEN_PAGE = 500_000;

export const PreviewSchema = Type.Object(
  {
    spider: Type.Optional(
      Type.Union([SpiderSchema, Type.String({ minLength: 1, maxLength: 120 })], {
        description:
          'A definition, or the name of a stored spider: `name` or `name@version`. Absent: the default spider',
      }),
    ),
    url: Type.String({ minLength: 1, maxLength: 8000 }),
    html: Type.Optional(
      Type.String({
        maxLength: MAX_GIVEN_PAGE,
        description: 'The page; absent: it is fetched. Any text, by `contentType`',
      }),
    ),
    contentType: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        pattern: '^[\\x20-\\x7e]+$',
        description: 'Of `html`; default text/html',
      }),
    ),
    status: Type.Optional(Type.Integer({ minimum: 200, maximum: 599, description: 'Of `html`; default 200' })),
    page: Type.Optional(
      Type.String({
        pattern: NAME_PATTERN,
        description: 'The page entry or callback that the page is given to, as a follow rule’s `page` would',
      }),
    ),
    pass: Type.Optional(recordOf(Type.Unsafe<unknown>({}), { description: 'What the page before it passed on' })),
    render: Type.Optional(
      Type.Boolean({
        description: 'For a script: a browser makes the page, as `ctx.follow(url, { render: true })` asks',
      }),
    ),
    params: Type.Optional(recordOf(Type.Unsafe<unknown>({}))),
    settings: Type.Optional(SettingsSchema),
  },
  { additionalProperties: false },
);
export type PreviewInput = Static<typeof PreviewSchema>;

/** What a spider makes of one page, and why. Nothing of it is stored. */
export interface Preview {
  /** Canonical; where redirects were followed, of the last one. */
  url: string;
  /** Null: nothing was fetched, and no page was given. */
  status: number | null;
  redirects: { url: string; status: number; to: string }[];
  /** Null: the page was given, or nothing came back. */
  fetched: {
    ms: number;
    bytes: number;
    contentType: string | null;
    cookies: string[];
    /** When it was stored, where it came from the cache. */
    cached: string | null;
  } | null;
  /** How the ledger of a crawl would show the request; `host_busy`: another node has the host. */
  outcome: { state: 'done' | 'failed' | 'skipped'; reason: string | null; detail: string | null };
  /** `html`, `xml`, `json`, `text`, `sitemap`; null: no page was read. */
  content: string | null;
  /** The page entries, or the callback, that the page was given to. */
  pages: string[];
  /** `data` is JSON text. */
  items: { type: string; data: string }[];
  /** Items that were dropped, by reason. */
  dropped: Record<string, number>;
  fields: Explanation['fields'];
  links: Explanation['links'];
  tree: Explanation['tree'];
  logs: LogLine[];
  /** What the script would have stored: JSON text by key; null deletes. */
  state: Record<string, string | null>;
  /** What was cut to stay inside the limits. */
  flags: string[];
  /** Milliseconds: `fetch`, `render`, `total`, and the stages of the parser. */
  timing: Record<string, number>;
  warnings: string[];
}

/** One difference between what a sample expects and what the spider makes of it. */
export interface Difference {
  /** JSON pointer into the sample. */
  pointer: string;
  /** Absent: nothing. */
  expected?: unknown;
  found?: unknown;
  message: string;
}

/** How one sample of a spider came out. */
export interface SampleCheck {
  url: string;
  ok: boolean;
  differences: Difference[];
  items: number;
  warnings: string[];
  /** Why there was nothing to compare; null: there was. */
  error: string | null;
}

export interface SpiderCheck {
  name: string;
  version: number;
  /** Every sample is; also where there is none. */
  ok: boolean;
  samples: SampleCheck[];
}
