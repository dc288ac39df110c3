import { extraSize, requestFp } from '../model/extra.ts';
import { fpWords, type KnownFingerprints } from '../model/known.ts';
import type { Link } from '../model/outcome.ts';
import type { Reason, RequestExtra } from '../model/request.ts';
import type { FollowRule, ParsePlanInput, Pattern, Scope } from '../model/spider.ts';
import { canonicalize, fingerprint, parseHttpUrl, type UrlRules, urlRules } from '../model/url.ts';
import { type Element, textOf } from './dom.ts';
import { compilePattern, firstMatch, type Matcher, subjectOf } from './patterns.ts';
import { isSameSite } from './same_site.ts';
import { type TrapSettings, trapOf } from './traps.ts';

/** Distinct links that one page may bring. */
export const MAX_LINKS = 10_000;
/** Characters that the links of one page may carry beside their URLs, together. */
const MAX_CARRIED = 4 * 1024 * 1024;
/** Targets a thread keeps over all plans, about 600 bytes each. */
const MAX_CACHED = 20_000;
/** A DNS name has at most so many characters (RFC 1035). */
const MAX_HOST = 253;
/** More text than a URL can be. */
const MAX_TEXT_URL = 10_000;
/** Longer ones are judged anew each time. */
const MAX_CACHED_HREF = 2000;
const IGNORED = /^javascript:\s*(?:void\s*(?:\(\s*0?\s*\)|0)?)?\s*;?\s*$/i;

/** Where an href leads, and what the spider's scope says to that: the same on every page of a directory. */
export interface Target {
  url: string;
  fp: string;
  words: Uint32Array;
  origin: string;
  /** The scope's verdict; null: inside. */
  reason: Reason | null;
  detail: string | null;
  /** Verdicts of follow rules with patterns, by rule number: null is yes, a string is the pattern that says no. */
  verdicts: (string | null | undefined)[];
}

/**
 * Targets by plan, directory and href. A site repeats its links on every page: 28 links through `new URL`, the sorted
 * query and SHA-256 cost 0.11 ms a page, through this 0.015.
 */
export class TargetCache {
  readonly #directories = new Map<string, Map<string, Target | null>>();
  #size = 0;

  /** The links of one directory, for one plan. Valid for one page. */
  directory(plan: number, base: string): Map<string, Target | null> {
    if (this.#size > MAX_CACHED) {
      this.#directories.clear();
      this.#size = 0;
    }
    const key = `${plan} ${base.slice(0, base.search(/[?#]|$/)).replace(/[^/]*$/, '')}`;
    let hrefs = this.#directories.get(key);
    if (hrefs === undefined) {
      hrefs = new Map();
      this.#directories.set(key, hrefs);
      this.#size++;
    }
    return hrefs;
  }

  /** Drops what a plan has here. */
  forget(plan: number): void {
    for (const [key, hrefs] of this.#directories) {
      if (!key.startsWith(`${plan} `)) continue;
      this.#directories.delete(key);
      this.#size -= hrefs.size + 1;
    }
  }

  /** Counts an entry that was added to a directory. */
  added(): void {
    this.#size++;
  }
}

/** A follow rule, compiled. */
export interface CompiledRule {
  /** Place among all follow rules of the spider, for `Target.verdicts`. */
  number: number;
  /** `pages[0].follow[1]`, for details. */
  name: string;
  priority: number;
  maxDepth: number;
  allow: Matcher[];
  deny: Matcher[];
}

export function compileRule(rule: FollowRule, number: number, name: string): CompiledRule {
  const compile = (patterns: readonly Pattern[] = []) => patterns.map(compilePattern);
  const { priority = 0, maxDepth = Number.POSITIVE_INFINITY } = rule;
  return { number, name, priority, maxDepth, allow: compile(rule.allow), deny: compile(rule.deny) };
}

/** A plan's judgement of links: canonical form, fingerprint, and the scope's verdict. */
export class LinkJudge {
  readonly #hosts: ReadonlySet<string>;
  readonly #subdomains: boolean;
  readonly #redirects: NonNullable<Scope['redirects']>;
  readonly #allow: Matcher[];
  readonly #deny: Matcher[];
  readonly #rules: UrlRules;
  readonly #traps: TrapSettings;
  readonly #maxUrlLength: number;

  constructor({ scopeHosts, definition, settings }: ParsePlanInput) {
    const scope: Scope = definition.scope ?? {};
    this.#hosts = new Set(scopeHosts);
    this.#subdomains = scope.subdomains ?? false;
    this.#redirects = scope.redirects ?? 'scope';
    this.#allow = (scope.allow ?? []).map(compilePattern);
    this.#deny = (scope.deny ?? []).map(compilePattern);
    this.#rules = urlRules(settings);
    this.#traps = settings;
    this.#maxUrlLength = settings.maxUrlLength;
  }

  /** Whether a fragment alone leads to another page. */
  get keepsFragment(): boolean {
    return this.#rules.keepFragment;
  }

  /** Where `href` leads from `base`; null where it leads nowhere: not a URL. */
  target(href: string, base: string): Target | null {
    const parsed = URL.parse(href, base);
    if (parsed === null) return null;
    if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') {
      const scheme = parsed.protocol.slice(0, -1);
      return this.#refused(parsed.href, fingerprint('GET', parsed.href, ''), 'scheme', scheme.slice(0, 100));
    }
    const { url, fp, origin, host } = canonicalize(parsed, this.#rules);
    if (host.length > MAX_HOST) return this.#refused(url, fp, 'bad_url', `a host name of ${host.length} characters`);
    if (url.length > this.#maxUrlLength)
      return this.#refused(url, fp, 'url_too_long', `${url.length} characters, maxUrlLength ${this.#maxUrlLength}`);
    if (!this.#isInside(host)) return this.#refused(url, fp, 'offsite', 'scope.hosts');
    return this.#inside(url, fp, origin);
  }

  /**
   * Where a redirect leads: `scope.redirects` may let it out of the scope's hosts, not past its patterns.
   *
   * @param from canonical
   * @param base for relative URLs: a page that refreshes may have one of its own
   */
  redirect(href: string, from: string, base = from): Target | null {
    const target = this.target(href, base);
    const isOut = target?.reason === 'offsite' && this.#redirects !== 'scope';
    const parsed = isOut ? parseHttpUrl(href, base) : null;
    if (parsed === null) return target;
    const { url, fp, origin, host } = canonicalize(parsed, this.#rules);
    const isLetOut = this.#redirects === 'any' || isSameSite(host, new URL(from).hostname);
    return isLetOut ? this.#inside(url, fp, origin) : target;
  }

  /**
   * Where a sitemap is: on the host that names it, or on one inside the scope. What it is allowed to name is judged when it
   * is read.
   */
  sitemap(href: string, base: string): Target | null {
    const parsed = parseHttpUrl(href, base);
    if (parsed === null) return null;
    const { url, fp, origin, host } = canonicalize(parsed, this.#rules);
    if (url.length > this.#maxUrlLength) return this.target(href, base);
    if (!this.#isInside(host) && host !== URL.parse(base)?.hostname)
      return this.#refused(url, fp, 'offsite', 'scope.hosts');
    return { url, fp, words: fpWords(fp), origin, reason: null, detail: null, verdicts: [] };
  }

  /** What is judged besides the host: patterns, then traps. */
  #inside(url: string, fp: string, origin: string): Target {
    const denied = judge(url, this.#allow, this.#deny, 'scope');
    const detail = denied ?? trapOf(url, this.#traps);
    const reason = denied !== null ? 'denied' : detail !== null ? 'trap' : null;
    return { url, fp, words: fpWords(fp), origin, reason, detail, verdicts: [] };
  }

  #refused(url: string, fp: string, reason: Reason, detail: string): Target {
    return { url: url.slice(0, this.#maxUrlLength), fp, words: fpWords(fp), origin: '', reason, detail, verdicts: [] };
  }

  #isInside(host: string): boolean {
    if (this.#hosts.has(host)) return true;
    if (!this.#subdomains || host.startsWith('[')) return false;
    for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1))
      if (this.#hosts.has(host.slice(dot + 1))) return true;
    return false;
  }
}

/** A target as a link, with the scope's verdict alone. */
export function linkOf({ url, fp, origin, reason, detail }: Target): Link {
  return { url, fp, origin: reason === null ? origin : null, priority: 0, reason, detail };
}

/** The pattern that refuses `url`, as `scope.deny[0] /private/*`; null where it is let through. */
function judge(url: string, allow: readonly Matcher[], deny: readonly Matcher[], name: string): string | null {
  if (allow.length === 0 && deny.length === 0) return null;
  const subject = subjectOf(url);
  const denied = firstMatch(deny, subject);
  if (denied >= 0) return `${name}.deny[${denied}] ${deny[denied]!.text}`;
  return allow.length > 0 && firstMatch(allow, subject) < 0 ? `${name}.allow` : null;
}

/** What a page's links are judged by, besides the plan. */
export interface LinkContext {
  judge: LinkJudge;
  cache: TargetCache;
  plan: number;
  url: string;
  base: string;
  /** Depth of the links. */
  depth: number;
  /** The crawl's limit; null: none. */
  maxDepth: number | null;
  /** Which links are not to be followed: those that their `rel` marks so; all, as the page says; none, by the crawl's settings. */
  nofollow: 'marked' | 'all' | 'none';
  /** Distinct links that it may have. */
  max: number;
  /** An element without href leads where its text says, as a feed's `link` does. */
  xml: boolean;
}

/** A link of a page, with the rule that decided. */
export interface FoundLink {
  target: Target;
  link: Link;
  rule: CompiledRule;
}

/** The links of one page: each URL once, with the best verdict that a rule has for it. */
export class PageLinks {
  /** True once the page had more links, or they carried more, than one page may bring. */
  full = false;
  readonly #context: LinkContext;
  readonly #hrefs: Map<string, Target | null>;
  readonly #links = new Map<string, FoundLink>();
  #carried = 0;

  constructor(context: LinkContext) {
    this.#context = context;
    this.#hrefs = context.cache.directory(context.plan, context.base);
  }

  /** Adds where an element leads to, as one rule sees it. An element without href leads nowhere. */
  add(element: Element, rule: CompiledRule): void {
    const href = element.attribute('href') ?? (this.#context.xml ? textOf(element, MAX_TEXT_URL) : undefined);
    if (href === undefined) return;
    const target = this.#target(href);
    if (target !== null) this.addTarget(target, rule, element, null);
  }

  /**
   * Adds a request that is more than an element's href.
   *
   * @param element where it was found; null: in no element
   * @param extra null: a plain GET
   * @param refusal why it cannot be made as the rule says; null: it can
   */
  addRequest(
    href: string,
    rule: CompiledRule,
    element: Element | null,
    extra: RequestExtra | null,
    refusal: string | null,
  ): void {
    const target = this.#target(href);
    if (target === null) return;
    const fp = extra === null ? target.fp : requestFp(target.url, extra);
    const own = fp === target.fp ? target : { ...target, fp, words: fpWords(fp) };
    if (refusal === null) this.addTarget(own, rule, element, extra);
    else this.addTarget({ ...own, reason: 'denied', detail: refusal }, rule, element, null);
  }

  /** Adds a target that is judged already by the scope. */
  addTarget(target: Target, rule: CompiledRule, element: Element | null, extra: RequestExtra | null): void {
    const known = this.#links.get(target.fp);
    if (known !== undefined && known.link.reason === null) return;
    this.#carried += extraSize(extra);
    if ((known === undefined && this.#links.size >= this.#context.max) || this.#carried > MAX_CARRIED) {
      this.full = true;
      return;
    }
    const link = this.#decide(target, rule, element);
    if (extra !== null) link.extra = extra;
    if (known === undefined || link.reason === null) this.#links.set(target.fp, { target, link, rule });
  }

  /** Every link with the rule that decided. */
  found(): Iterable<FoundLink> {
    return this.#links.values();
  }

  /** URLs that the scope lets through, in document order. @param max how many */
  inScope(max: number): string[] {
    const all = [...this.#links.values()].filter(({ target }) => target.reason === null);
    return all.slice(0, max).map(({ target }) => target.url);
  }

  /**
   * The links that may be new to the ledger: those that the cache knows to be there are left out.
   *
   * A link that this page's rules skip is left out where the ledger has it in any state, one that they take only where the
   * ledger did not skip it: what one rule denied, another may take.
   *
   * @param key the crawl's, of `crawlKey`. @param skippedKey the crawl's, of `skippedKey`
   */
  fresh(known: KnownFingerprints, key: Uint32Array, skippedKey: Uint32Array): Link[] {
    const { depth, maxDepth } = this.#context;
    // Without a depth limit it does not matter how near the ledger has it.
    const near = maxDepth === null ? Number.MAX_SAFE_INTEGER : depth;
    const links: Link[] = [];
    for (const { target, link } of this.#links.values()) {
      const isKnown = known.has(key, target.words, near);
      if (!isKnown && (link.reason === null || !known.has(skippedKey, target.words, near))) links.push(link);
    }
    return links;
  }

  /** Every fingerprint that is to be fetched, or would be if this page were nearer to the start. */
  fingerprints(): string[] {
    if (this.#context.maxDepth === null) return [];
    const worthy = [...this.#links.values()].filter(({ link }) => link.reason === null || link.reason === 'depth');
    return worthy.map(({ target }) => target.fp);
  }

  #target(raw: string): Target | null {
    const cached = this.#hrefs.get(raw);
    if (cached !== undefined) return cached;
    const { judge, cache, url, base } = this.#context;
    const href = raw.trim();
    const isPlace = href.startsWith('#') && base === url && (href === '#' || !judge.keepsFragment);
    const ignored = href === '' || isPlace || IGNORED.test(href);
    const target = ignored ? null : judge.target(href, base);
    // A query or fragment alone is resolved against the whole URL, not its directory.
    if (raw.length <= MAX_CACHED_HREF && !/^[?#]/.test(href) && href !== '') {
      this.#hrefs.set(copyOf(raw), target);
      cache.added();
    }
    return target;
  }

  #decide(target: Target, rule: CompiledRule, element: Element | null): Link {
    const { url, fp, origin } = target;
    const { depth, maxDepth } = this.#context;
    if (target.reason !== null) return linkOf(target);
    // With its origin: what this rule skips, another rule or a nearer page may take.
    const skip = (reason: Reason, detail: string | null): Link => ({
      url,
      fp,
      origin,
      priority: rule.priority,
      reason,
      detail,
    });
    const denied = verdictOf(target, rule);
    if (denied !== null) return skip('denied', denied);
    if (isNofollow(element, this.#context.nofollow)) return skip('denied', 'nofollow');
    if (maxDepth !== null && depth > maxDepth) return skip('depth', `maxDepth ${maxDepth}`);
    if (depth > rule.maxDepth) return skip('depth', `${rule.name}.maxDepth ${rule.maxDepth}`);
    return { url, fp, origin, priority: rule.priority, reason: null, detail: null };
  }
}

/** A slice of a page keeps the whole page alive; a key that lives on must not. */
function copyOf(text: string): string {
  return ` ${text}`.slice(1);
}

function verdictOf(target: Target, rule: CompiledRule): string | null {
  if (rule.allow.length === 0 && rule.deny.length === 0) return null;
  let verdict = target.verdicts[rule.number];
  if (verdict === undefined) {
    verdict = judge(target.url, rule.allow, rule.deny, rule.name);
    target.verdicts[rule.number] = verdict;
  }
  return verdict;
}

function isNofollow(element: Element | null, which: LinkContext['nofollow']): boolean {
  if (which !== 'marked') return which === 'all';
  const rel = element?.attribute('rel');
  return rel !== undefined && /(?:^|\s)nofollow(?:\s|$)/i.test(rel);
}
