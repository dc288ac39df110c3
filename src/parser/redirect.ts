import { isUtf8 } from 'node:buffer';
import { requestFp } from '../model/extra.ts';
import type { Link } from '../model/outcome.ts';
import type { RequestExtra } from '../model/request.ts';
import { parseHttpUrl } from '../model/url.ts';
import { linkOf } from './links.ts';
import type { Target } from './targets.ts';

/** What a redirect came from. */
export interface Redirected {
  /** Canonical URL. */
  url: string;
  status: number;
  extra: RequestExtra | null;
}

/**
 * A Location as browsers read it. Headers come as Latin-1: what is UTF-8 is read so, other octets beyond ASCII are escaped.
 * Without a fragment of its own it keeps the one that led here (Fetch, «location URL»).
 */
export function locationOf(header: string, from: string): string {
  const octets = Buffer.from(header.trim(), 'latin1');
  const text = isUtf8(octets)
    ? octets.toString('utf8')
    : header.trim().replace(/[\x80-\xff]/g, (octet) => `%${octet.charCodeAt(0).toString(16).toUpperCase()}`);
  const fragment = from.indexOf('#');
  return text.includes('#') || fragment < 0 ? text : text + from.slice(fragment);
}

/** A redirect's target as a link that goes on with the request. A sitemap's is held to the scope's hosts alone. */
export function redirectLink(target: Target, from: Redirected): Link {
  const link = linkOf(from.extra?.kind !== undefined && target.reason === 'denied' ? allowed(target) : target);
  const extra = redirectedExtra(from, target.url);
  return extra === null ? link : { ...link, fp: requestFp(target.url, extra), extra };
}

/**
 * A site that redirects a URL to itself, written in another way (its parameters in another order, one more that does not
 * count, `%7E` for `~`), wants to be asked so: the same request again, with the URL as the Location has it. The link as it is
 * where it leads elsewhere, or was asked for so already.
 *
 * @param location as `locationOf` has it
 */
export function asWritten(link: Link, location: string, from: Redirected, maxUrlLength: number): Link {
  const written = parseHttpUrl(location, from.url);
  if (written === null || link.reason !== null || link.fp !== requestFp(from.url, from.extra)) return link;
  written.username = written.password = written.hash = '';
  const { href } = written;
  if (href.length > maxUrlLength || href === (from.extra?.sent ?? from.url)) return link;
  return { ...link, extra: { ...link.extra, sent: href }, again: true };
}

function allowed(target: Target): Target {
  return { ...target, reason: null, detail: null };
}

/**
 * What is sent to the target, as the Fetch standard has it: 301 and 302 turn POST into GET, 303 turns everything but GET and
 * HEAD into GET, and a request that turns loses its body. Another origin gets no headers but the kept body's type: they may
 * be secrets. Kind, page and passed values go on.
 */
function redirectedExtra({ url, status, extra }: Redirected, target: string): RequestExtra | null {
  if (extra === null) return null;
  const { method = 'GET', headers = {}, body, sent: _, ...rest } = extra;
  const turns = status === 303 ? method !== 'GET' && method !== 'HEAD' : status <= 302 && method === 'POST';
  const isSameOrigin = URL.parse(url)?.origin === URL.parse(target)?.origin;
  const kept = Object.entries(headers).filter(([name]) =>
    isSameOrigin ? !(turns && name.startsWith('content-')) : !turns && body !== undefined && name === 'content-type',
  );
  const sent: RequestExtra = {
    ...(turns || method === 'GET' ? {} : { method }),
    ...(kept.length === 0 ? {} : { headers: Object.fromEntries(kept) }),
    ...(turns || body === undefined ? {} : { body }),
    ...rest,
  };
  return Object.keys(sent).length === 0 ? null : sent;
}
