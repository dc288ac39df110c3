import { parseHttpUrl } from '../model/url.ts';
import type { Document, Element } from './dom.ts';

// What a page says to browsers and crawlers about itself: its base, where it refreshes to, whether its links count.

/** Characters of a directive that are read. */
const MAX_CONTENT = 10_000;
/** More metas than any page needs; each that may count has its ancestors walked. */
const MAX_METAS = 1000;

/** True for what a browser with scripts does not act on. */
function isInert(element: Element): boolean {
  for (let at = element.parent; at !== null; at = at.parent)
    if (at.name === 'template' || at.name === 'noscript') return true;
  return false;
}

/**
 * What relative URLs are resolved against: the first `<base>` with an href, itself resolved against the page's URL; that URL
 * where there is none, or it is no URL, or one of data: or javascript: (HTML, 4.2.3).
 */
export function baseOf(document: Document, url: string): string {
  const given = document.byTag('base').find((base) => base.attribute('href') !== undefined && !isInert(base));
  const base = given === undefined ? null : URL.parse(given.attribute('href')!, url);
  return base === null || base.protocol === 'data:' || base.protocol === 'javascript:' ? url : base.href;
}

/** A refresh: after how many seconds, and to which URL as it is written; empty: to the page itself. */
interface Refresh {
  seconds: number;
  url: string;
}

/** Reads a Refresh as the HTML standard's «shared declarative refresh steps» do; null where it is none. */
export function parseRefresh(given: string): Refresh | null {
  const input = given.slice(0, MAX_CONTENT);
  const time = /^[\t\n\f\r ]*(?:(\d+)|(?=\.))[\d.]*/.exec(input);
  if (time === null) return null;
  const seconds = Number(time[1] ?? 0);
  const after = input.slice(time[0].length);
  if (after !== '' && !/^[;,\t\n\f\r ]/.test(after)) return null;
  const rest = after.replace(/^[\t\n\f\r ]*[;,]?[\t\n\f\r ]*/, '');
  const name = /^url[\t\n\f\r ]*=[\t\n\f\r ]*/i.exec(rest);
  if (name === null && /^u/i.test(rest)) return { seconds, url: rest };
  const url = rest.slice(name?.[0].length ?? 0);
  const quote = /^["']/.exec(url)?.[0];
  return { seconds, url: quote === undefined ? url : url.slice(1).split(quote, 1)[0]! };
}

/**
 * Where a page refreshes to, as http(s) URL: by its Refresh header, else by the first meta that is a refresh. Null where it
 * does not, or to something else, or later.
 *
 * @param document null: not HTML
 * @param maxSeconds later ones do not count
 */
export function refreshOf(
  document: Document | null,
  header: string | undefined,
  { url, base }: { url: string; base: string },
  maxSeconds: number,
): string | null {
  const [first] = refreshes(document, header, url, base).take(1);
  return first === undefined || first.seconds > maxSeconds ? null : (parseHttpUrl(first.url)?.href ?? null);
}

function* refreshes(document: Document | null, header: string | undefined, url: string, base: string) {
  const of = (text: string, from: string): Refresh[] => {
    const refresh = parseRefresh(text);
    const target = refresh === null ? null : URL.parse(refresh.url === '' ? url : refresh.url, from);
    return refresh === null || target === null ? [] : [{ seconds: refresh.seconds, url: target.href }];
  };
  if (header !== undefined) yield* of(header, url);
  for (const meta of document?.byTag('meta').slice(0, MAX_METAS) ?? [])
    if (meta.attribute('http-equiv')?.toLowerCase() === 'refresh' && !isInert(meta))
      yield* of(meta.attribute('content') ?? '', base);
}

/** Whether a page's meta robots, or a meta named like our product token, says that its links are not to be followed. */
export function metaNofollow(document: Document, token: string): boolean {
  return document.byTag('meta').some((meta) => {
    const name = meta.attribute('name')?.trim().toLowerCase();
    if (name !== 'robots' && name !== token) return false;
    return (meta.attribute('content') ?? '')
      .slice(0, MAX_CONTENT)
      .split(/[\s,]+/)
      .some(isNofollow);
  });
}

const isNofollow = (word: string) => /^(?:nofollow|none)$/i.test(word);

/** Directives with a value, which is no directive for a crawler of that name. */
const WITH_VALUE = /^(?:unavailable_after|max-snippet|max-image-preview|max-video-preview)$/i;

/**
 * The same for X-Robots-Tag: `nofollow`, `otherbot: noindex, nofollow`, `unavailable_after: 25 Jun 2010 15:00:00 PST`. A
 * crawler's name holds for the rest of its line, or until the next name.
 *
 * @param token our product token, in lower case
 */
export function tagNofollow(header: string | readonly string[] | undefined, token: string): boolean {
  if (header === undefined) return false;
  return [header].flat().some((line) => {
    let isOurs = true;
    return line
      .slice(0, MAX_CONTENT)
      .split(',')
      .some((part) => {
        const [, name, value] = /^\s*([a-z][a-z0-9_-]*)\s*:(.*)$/is.exec(part) ?? [];
        if (name !== undefined && WITH_VALUE.test(name)) return false;
        if (name !== undefined) isOurs = name.toLowerCase() === token;
        return isOurs && isNofollow((value ?? part).trim());
      });
  });
}
