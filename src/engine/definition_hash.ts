import { hash } from 'node:crypto';
import { type CrawlRun, parsePlanOf } from '../frontier/crawl_run.ts';
import { extraSize, extraText } from '../model/extra.ts';
import type { ClaimedRequest } from '../model/request.ts';
import type { ParsePlanInput } from '../model/spider.ts';

/** Characters of what a request is beside its URL; with more, its page is not remembered. */
const MAX_EXTRA = 16 * 1024;

/** Settings that change what is followed, or how long it may take, and not what a page gives. */
const NOT_OF_PAGES: readonly (keyof ParsePlanInput['settings'])[] = [
  'maxDepth',
  'parseTimeoutMs',
  'callbackTimeoutMs',
  'scriptMemoryMb',
  'maxRedirects',
  'maxMetaRefreshSeconds',
  'dedup',
];

interface Digest {
  hash: string;
  /** Whether the page's depth matters: a follow rule, a field or a script may look at it. */
  ofDepth: boolean;
}

/** By definition, which is one object as long as a crawl is loaded. */
const known = new WeakMap<object, Digest>();

/**
 * What makes items and links of a page: page entries or script, pipeline, scope and the settings of parsing; not the spider's
 * version, name or start URLs. Params only where pages are read by them: those of a script always are.
 */
function digestOf(run: CrawlRun): Digest {
  let digest = known.get(run.definition);
  if (digest === undefined) {
    const { definition, scopeHosts, params, settings } = parsePlanOf(run);
    const { name: _n, description: _d, params: _p, sitemaps: _s, ...parts } = definition;
    const used = Object.entries(settings).filter(([key]) => !NOT_OF_PAGES.includes(key as keyof typeof settings));
    const text = JSON.stringify([parts, [...scopeHosts].sort(), Object.fromEntries(used.sort(byName))]);
    const isRead = parts.script !== undefined || Object.keys(params).some((key) => isNamed(key, text));
    const whole = isRead ? text + JSON.stringify(Object.entries(params).sort(byName)) : text;
    digest = { hash: shortHash(whole), ofDepth: /depth/i.test(text) };
    known.set(run.definition, digest);
  }
  return digest;
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}

/** As a field's `meta`, or in a template. */
function isNamed(param: string, text: string): boolean {
  return text.includes(`"param:${param}"`) || text.includes(`{${param}}`);
}

function shortHash(text: string): string {
  return hash('sha256', text, 'hex').slice(0, 32);
}

/**
 * Hash of what makes items and links of this request's page, as 32 hex digits: the definition, and what the request carries to
 * it. Null: it carries too much to be looked at here.
 */
export function pageDefinition(
  run: CrawlRun,
  { extra, depth }: Pick<ClaimedRequest, 'extra' | 'depth'>,
): string | null {
  const { hash: digest, ofDepth } = digestOf(run);
  if (extraSize(extra) > MAX_EXTRA) return null;
  const carried = [ofDepth ? String(depth) : '', extraText(extra) ?? ''].join(' ');
  return carried === ' ' ? digest : shortHash(`${digest} ${carried}`);
}
