import { gunzipSync } from 'node:zlib';
import { Tokenizer, type TokenizerCallbacks } from 'htmlparser2';
import { decodeBody } from './charset.ts';
import { kindOf } from './content.ts';
import { decodeText } from './entities.ts';

/** What a sitemap names, as it stands there. */
export interface Sitemap {
  /** Pages. */
  pages: string[];
  /** Further sitemaps: the file is an index, or a robots.txt. */
  sitemaps: string[];
  /** It names more than is read. */
  cut: boolean;
}

/** sitemaps.org: no file names more, or is larger. */
export const MAX_SITEMAP_URLS = 50_000;
const MAX_SITEMAP_BYTES = 50 * 1024 * 1024;

/** A gzip file that holds more than a sitemap may. */
export class SitemapTooLarge extends Error {}
const MAX_URL = 8000;
/** RFC 9309 asks for 500 KiB at least; what is beyond is not read. */
const MAX_ROBOTS = 500 * 1024;

/** The `Sitemap:` lines of a robots.txt. */
export function robotsSitemaps(text: string): Sitemap {
  const lines = text.slice(0, MAX_ROBOTS).split(/\r\n|\r|\n/);
  const sitemaps = lines.flatMap((line) => /^\s*sitemap\s*:\s*(\S+)/i.exec(line.replace(/^\ufeff/, ''))?.[1] ?? []);
  return { pages: [], sitemaps: sitemaps.slice(0, 1000), cut: sitemaps.length > 1000 };
}

/**
 * Reads a sitemap, whatever it is served as: a sitemap or an index in XML, a feed (RSS, Atom, RDF), or a text with a URL a
 * line; each of them also as a gzip file. Entries that are no URL are the caller's to skip. Dates are not read, and other
 * languages' pages (`xhtml:link`) are not meant.
 *
 * @param body decoded from its Content-Encoding; what is beyond 50 MiB is not read
 * @throws where it is none of these, in words for the crawl's owner; SitemapTooLarge
 */
export function readSitemap(body: SharedArrayBuffer, length: number, contentType: string | null): Sitemap {
  const bytes = new Uint8Array(body, 0, Math.min(length, MAX_SITEMAP_BYTES));
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const { buffer, size } = isGzip ? unzipped(bytes) : { buffer: body, size: bytes.length };
  const kind = kindOf(buffer, size, null);
  const text = decodeBody(buffer, size, isGzip ? null : contentType, 'xml');
  const head = text.slice(0, 1000).trimStart();
  if (!head.startsWith('<')) return textSitemap(text, length > MAX_SITEMAP_BYTES);
  if (kind === 'html' && !head.startsWith('<?xml')) throw new Error('an HTML page, not a sitemap');
  const sitemap = xmlSitemap(text);
  return { ...sitemap, cut: sitemap.cut || length > MAX_SITEMAP_BYTES };
}

function unzipped(bytes: Uint8Array): { buffer: SharedArrayBuffer; size: number } {
  const plain = gunzip(bytes);
  const buffer = new SharedArrayBuffer(plain.length);
  new Uint8Array(buffer).set(plain);
  return { buffer, size: plain.length };
}

function gunzip(bytes: Uint8Array): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_SITEMAP_BYTES });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'ERR_BUFFER_TOO_LARGE') throw new SitemapTooLarge('the gzip file has more than 50 MiB unpacked');
    throw new Error('a damaged gzip file, not a sitemap');
  }
}

function textSitemap(text: string, isCut: boolean): Sitemap {
  const lines = text.split(/[\r\n]+/, MAX_SITEMAP_URLS + 1).map((line) => line.trim());
  const pages = lines.filter((line) => /^https?:\/\//i.test(line) && line.length <= MAX_URL);
  if (pages.length === 0 && text.trim() !== '') throw new Error('neither XML nor a list of URLs, not a sitemap');
  return { pages: pages.slice(0, MAX_SITEMAP_URLS), sitemaps: [], cut: isCut || lines.length > MAX_SITEMAP_URLS };
}

/** The elements that hold a URL, and whether they name sitemaps. */
interface UrlPlace {
  parent: string;
  name: string;
  sitemaps: boolean;
}

/** By root element. */
const URL_PLACES: Readonly<Record<string, UrlPlace>> = {
  urlset: { parent: 'url', name: 'loc', sitemaps: false },
  sitemapindex: { parent: 'sitemap', name: 'loc', sitemaps: true },
  rss: { parent: 'item', name: 'link', sitemaps: false },
  RDF: { parent: 'item', name: 'link', sitemaps: false },
  feed: { parent: 'entry', name: 'link', sitemaps: false },
};

/**
 * Takes the URLs out of a sitemap's events: 50,000 entries would be more nodes than a tree may have. Elements with a prefix
 * of their own (`image:loc`, `atom:link`) are not meant.
 */
class SitemapReader implements TokenizerCallbacks {
  readonly urls: string[] = [];
  cut = false;
  /** Without the prefix. */
  root: string | null = null;
  readonly #source: string;
  readonly #stop: () => void;
  #prefix = '';
  /** Where the URLs are in a file with this root; null: nowhere. */
  place: UrlPlace | null = null;
  readonly #open: string[] = [];
  #tag = '';
  #text = '';
  #attribute = '';
  #href: string | null = null;
  #rel = 'alternate';

  constructor(source: string, stop: () => void) {
    this.#source = source;
    this.#stop = stop;
  }

  onopentagname(start: number, end: number): void {
    const name = this.#source.slice(start, end);
    if (this.root === null) {
      const colon = name.indexOf(':');
      this.root = name.slice(colon + 1);
      // RDF's own elements have the prefix, those of its feed have none.
      this.place = Object.hasOwn(URL_PLACES, this.root) ? URL_PLACES[this.root]! : null;
      this.#prefix = this.root === 'RDF' ? '' : name.slice(0, colon + 1);
    }
    this.#tag = name.startsWith(this.#prefix) ? name.slice(this.#prefix.length) : name;
    this.#href = null;
    this.#rel = 'alternate';
  }

  onattribname(start: number, end: number): void {
    this.#attribute = this.#source.slice(start, end);
  }

  onattribdata(start: number, end: number): void {
    const value = this.#source.slice(start, end);
    if (this.#attribute === 'href') this.#href = value;
    else if (this.#attribute === 'rel') this.#rel = value;
  }

  onopentagend(): void {
    this.#open.push(this.#tag);
    this.#text = '';
    if (this.root === 'feed' && this.#isPlace() && this.#href !== null && this.#rel === 'alternate')
      this.#add(this.#href);
  }

  onselfclosingtag(): void {
    this.onopentagend();
    this.#open.pop();
  }

  ontext(start: number, end: number): void {
    if (this.#text.length < MAX_URL && this.#isPlace()) this.#text += this.#source.slice(start, end);
  }

  oncdata(start: number, end: number, offset: number): void {
    this.ontext(start, end - offset);
  }

  onclosetag(): void {
    if (this.root !== 'feed' && this.#text !== '' && this.#isPlace()) this.#add(this.#text);
    this.#text = '';
    this.#open.pop();
  }

  onend(): void {}
  oncomment(): void {}
  ondeclaration(): void {}
  onprocessinginstruction(): void {}
  onattribend(): void {}
  onattribentity(): void {}
  ontextentity(): void {}

  #isPlace(): boolean {
    const { place } = this;
    return place !== null && this.#open.at(-1) === place.name && this.#open.at(-2) === place.parent;
  }

  #add(source: string): void {
    const url = decodeText(source).trim();
    if (url === '' || url.length > MAX_URL) return;
    if (this.urls.length < MAX_SITEMAP_URLS) this.urls.push(url);
    else {
      this.cut = true;
      this.#stop();
    }
  }
}

function xmlSitemap(source: string): Sitemap {
  const reader = new SitemapReader(source, () => tokenizer.pause());
  const tokenizer = new Tokenizer({ xmlMode: true, decodeEntities: false }, reader);
  tokenizer.write(source);
  if (tokenizer.running) tokenizer.end();
  const { root, place, urls, cut } = reader;
  if (place === null) throw new Error(`XML with the root <${(root ?? '').slice(0, 100)}>, not a sitemap`);
  return place.sitemaps ? { pages: [], sitemaps: urls, cut } : { pages: urls, sitemaps: [], cut };
}
