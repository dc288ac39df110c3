import type { RequestExtra } from '../model/request.ts';
import { BodyText } from './charset.ts';
import { Document, textDocument } from './dom.ts';
import type { PageJob } from './protocol.ts';
import { parseXml } from './xml_tree.ts';

/** What a response is read as. */
export type PageKind = 'html' | 'xml' | 'json' | 'text';

/** A response with its body as text. */
export interface PageInput {
  kind: PageKind;
  text: string;
  /** The same text in parts of about so many bytes, decoded as they are asked for; absent: it is there as a whole. */
  parts?: (size: number) => Iterable<string>;
  /** Canonical URL. */
  url: string;
  depth: number;
  status: number;
  /** Milliseconds since the epoch. */
  fetchedAt: number;
  contentType: string | null;
  /** Names in lower case; null: unknown. */
  headers: Readonly<Record<string, string | string[] | undefined>> | null;
  /** Of its request; null: a plain GET. */
  extra: RequestExtra | null;
  /** Its Refresh and X-Robots-Tag headers. */
  refresh?: string | undefined;
  robotsTag?: string | string[] | undefined;
}

/** Builds the tree of an HTML page. */
export type ParseTree = (html: string) => Document;

const HTML_TYPES = new Set(['text/html', 'application/xhtml+xml']);
const XML_TYPE = /^(?:application|text)\/xml$|\+xml$/;
const JSON_TYPE = /^(?:application|text)\/(?:json|x-json)$|\+json$/;
/** Subtypes of `text` that are prose or data. Scripts and styles are neither. */
const TEXT_TYPES = new Set(['text/plain', 'text/csv', 'text/markdown', 'text/tab-separated-values', 'text/x-markdown']);
/** Tags that the WHATWG sniffing rules take for HTML. */
const HTML_START =
  /^(?:<!doctype html|<(?:html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|meta|link|ul|ol|section|main|article|header|nav|span|form|img)[\s/>]|<!--)/i;
/** XML that is served as HTML, or as nothing: a declaration or a feed, whose first element is not `html`. */
const XML_PROLOG = /^(?:<\?[^>]*>\s*|<!--(?:(?!-->)[\s\S])*-->\s*|<!doctype[^>[]*(?:\[[^\]]*\]\s*)?>\s*)+/i;
const FEED_START = /^<(?:rss|feed|rdf:RDF|urlset|sitemapindex)[\s>]/;
const SNIFF_BYTES = 1024;

/**
 * What a body is: by its Content-Type, or where that is missing by how it begins; XML and feeds also where they are served
 * as HTML. Null: nothing that is read, such as an image. An empty body without a type counts as an empty HTML page.
 */
export function kindOf(body: SharedArrayBuffer, length: number, contentType: string | null): PageKind | null {
  const type = (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (type === 'text/html') return isXml(startOf(body, length)) ? 'xml' : 'html';
  if (HTML_TYPES.has(type)) return 'html';
  if (XML_TYPE.test(type)) return 'xml';
  if (JSON_TYPE.test(type)) return 'json';
  if (TEXT_TYPES.has(type)) return 'text';
  if (type !== '' && type !== '*/*') return null;
  const text = startOf(body, length);
  if (isXml(text)) return 'xml';
  const html = text.replace(/^<\?xml[^>]*>\s*/, '');
  return html === '' || (HTML_START.test(html) && !hasControls(html)) ? 'html' : null;
}

/** How a body begins, without byte order mark and blanks. */
function startOf(body: SharedArrayBuffer, length: number): string {
  const head = Buffer.from(body, 0, Math.min(length, SNIFF_BYTES)).toString('latin1');
  return head.replace(/^(?:\u00ef\u00bb\u00bf)?\s*/, '');
}

function isXml(text: string): boolean {
  const isDeclared = text.startsWith('<?xml');
  if (!isDeclared && !FEED_START.test(text)) return false;
  const root = text.replace(XML_PROLOG, '');
  if (FEED_START.test(root)) return true;
  const name = /^<([^\s/>]+)/.exec(root)?.[1] ?? '';
  return isDeclared && name !== '' && name.toLowerCase() !== 'html' && !/<!doctype html/i.test(text);
}

function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 && code !== 9 && code !== 10 && code !== 12 && code !== 13 && code !== 27) return true;
  }
  return false;
}

/** A job's page, its body decoded when it is asked for. */
class JobInput implements PageInput {
  readonly kind: PageKind;
  readonly url: string;
  readonly depth: number;
  readonly status: number;
  readonly fetchedAt: number;
  readonly contentType: string | null;
  readonly headers: PageInput['headers'];
  readonly extra: RequestExtra | null;
  readonly refresh: PageInput['refresh'];
  readonly robotsTag: PageInput['robotsTag'];
  readonly #body: BodyText;
  #whole: string | null = null;

  constructor(kind: PageKind, job: PageJob) {
    this.kind = kind;
    this.url = job.url;
    this.depth = job.depth;
    this.status = job.status;
    this.fetchedAt = job.fetchedAt;
    this.contentType = job.contentType;
    this.headers = job.headers ?? null;
    this.extra = job.extra;
    this.refresh = job.refresh;
    this.robotsTag = job.robotsTag;
    this.#body = new BodyText(job.body, job.bodyBytes, job.contentType, kind);
  }

  get text(): string {
    this.#whole ??= this.#body.whole();
    return this.#whole;
  }

  parts(size: number): Iterable<string> {
    return this.#body.parts(size);
  }
}

/** A job's page; null where it is nothing that is read. */
export function inputOf(job: PageJob): PageInput | null {
  const kind = kindOf(job.body, job.bodyBytes, job.contentType);
  return kind === null ? null : new JobInput(kind, job);
}

/** The tree of a page; of JSON an empty one. @param parseHtml for HTML */
export function documentOf({ kind, text }: Pick<PageInput, 'kind' | 'text'>, parseHtml: ParseTree): Document {
  switch (kind) {
    case 'html':
      return parseHtml(text);
    case 'xml':
      return parseXml(text);
    case 'text':
      return textDocument(text);
    case 'json':
      return new Document();
  }
}
