import type { Source } from './field.ts';
import type { Link } from './outcome.ts';

const MAX_BODY_SHOWN = 2000;

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
    kept: KeptLink[];
    dropped: { url: string; reason: string; rule: string | null }[];
  };
  /** What makes a crawl build a tree of such a page, and not read it as it comes. Empty: nothing; null: no HTML, or a script's. */
  tree: TreeReason[] | null;
  /** Milliseconds of the parser's thread (or the script's process) by stage: `decode`, `tree`, `links`, `items`, `steps`. */
  ms: Record<string, number>;
  /** What a script asked for; `outcome` is a status, `ok`, or why it came to nothing. */
  calls?: { kind: 'fetch' | 'lookup' | 'state'; what: string; ms: number; outcome: string }[];
  /** In plain words, with the mend. */
  warnings: string[];
}

/** A part of a spider that needs the page as a tree. */
export interface TreeReason {
  /** JSON pointer into the spider. */
  pointer: string;
  /** The selector, XPath or path. */
  text: string;
  /** In plain words. */
  why: string;
}

/** A link that a crawl would follow; `body` where its request has one: the first 2,000 characters. */
export interface KeptLink {
  url: string;
  method: string;
  body?: string;
  priority: number;
  rule: string;
}

export function keptLink({ url, extra, priority }: Link, rule: string): KeptLink {
  const body = extra?.body === undefined ? {} : { body: extra.body.slice(0, MAX_BODY_SHOWN) };
  return { url, method: extra?.method ?? 'GET', ...body, priority, rule };
}
