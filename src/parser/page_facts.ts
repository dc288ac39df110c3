import type { Params } from '../model/spider.ts';
import type { PageKind } from './content.ts';
import type { Document, Element } from './dom.ts';

/** The page that items and links are read from. */
export interface PageFacts {
  kind: PageKind;
  /** Without elements where the page is JSON. */
  document: Document;
  /** The value of a JSON response; undefined for other pages. */
  json: unknown;
  url: string;
  /** What relative URLs are resolved against: the URL, or the page's `<base href>`. */
  base: string;
  status: number;
  depth: number;
  /** ISO 8601. */
  fetchedAt: string;
  /** Names in lower case; null: unknown. */
  headers: Readonly<Record<string, string | string[] | undefined>> | null;
  /** The crawl's. */
  params: Params;
  /** What the page that linked here passed on. */
  passed: Readonly<Record<string, unknown>>;
}

/** A value that is no element: a part of a JSON response, of JSON-LD, a text that an XPath selects. */
export class JsonNode {
  readonly value: unknown;
  constructor(value: unknown) {
    this.value = value;
  }
}

/** What fields are read from: the page's root, an element, or a part of JSON. */
export type Scope = Element | JsonNode;
