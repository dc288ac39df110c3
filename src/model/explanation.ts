import type { Source } from './field.ts';

/** Why a page gave what it gave: the dry run's account. Pointers begin at the spider. */
export interface Explanation {
  /** `html`, `xml`, `json`, `sitemap`, `text`. */
  content: string;
  /** It is nothing that the spider reads: a crawl skips it as `content_type`. */
  unread?: boolean;
  /** Names (or numbers) of the page entries, or the callback, that the page was given to. */
  pages: string[];
  /** Every selector that was asked, with the matches that it had on this page; `each` counts its items. */
  fields: { pointer: string; source: Source | 'each' | 'follow'; text: string; hits: number }[];
  links: {
    kept: { url: string; method: string; priority: number; rule: string }[];
    dropped: { url: string; reason: string; rule: string | null }[];
  };
  /** Milliseconds of the parser's thread (or the script's process) by stage: `decode`, `tree`, `links`, `items`, `steps`. */
  ms: Record<string, number>;
  /** What a script asked for; `outcome` is a status, `ok`, or why it came to nothing. */
  calls?: { kind: 'fetch' | 'lookup' | 'state'; what: string; ms: number; outcome: string }[];
  /** In plain words, with the mend. */
  warnings: string[];
}
