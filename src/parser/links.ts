import { extraSize, requestFp } from '../model/extra.ts';
import { fpWords, type KnownFingerprints } from '../model/known.ts';
import type { Link } from '../model/outcome.ts';
import type { Reason, RequestExtra } from '../model/request.ts';
import type { FollowRule, ParsePlanInput, Pattern, Scope } from '../model/spider.ts';
import { canonicalize, fingerprint, parseHttpUrl, type UrlParts, type UrlRules, urlRules } from '../model/url.ts';
import { type Element, textOf } from './dom.ts';
import { type HrefContext, PageTargets } from './page_targets.ts';
import { compilePattern, firstMatch, type Matcher, subjectOf } from './patterns.ts';
import { isSameSite } from './same_site.ts';
import { type Target, targetOf } from './targets.ts';
import { type TrapSettings, trapOf } from './traps.ts';

/** Distinct links that one page may bring. */
export const MAX_LINKS = 10_000;
/** Characters that the links of one page may carry beside their URLs, together. */
const MAX_CARRIED = 4 * 1024 * 1024;
/** A DNS name has at most so many characters (RFC 1035). */
const MAX_HOST = 253;
/** More text than a URL can be. */
const MAX_TEXT_URL = 10_000;
/** The detail of a link that its `rel`, or its page, asks not to follow. */
const NOFOLLOW = 'nofollow';

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
  /** Of the last target. */
  #origin = '';

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
    return parsed === null ? null : this.judged(parsed);
  }

  /** What becomes of a URL, whoever named it. */
  judged(parsed: UrlParts): Target {
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
    return targetOf(url, fp, origin, null, null);
  }

  /** What is judged besides the host: patterns, then traps. */
  #inside(url: string, fp: string, origin: string): Target {
    const denied = judge(url, this.#allow, this.#deny, 'scope');
    const detail = denied ?? trapOf(url, this.#traps);
    const reason = denied !== null ? 'denied' : detail !== null ? 'trap' : null;
    // One string for all targets of a site: each its own would be 105 bytes of a target's 840.
    if (this.#origin !== origin) this.#origin = origin;
    return targetOf(url, fp, this.#origin, reason, detail);
  }

  #refused(url: string, fp: string, reason: Reason, detail: string): Target {
    return targetOf(url.slice(0, this.#maxUrlLength), fp, '', reason, detail);
  }

  #isInside(host: string): boolean {
    if (this.#hosts.has(host)) return true;
    if (!this.#subdomains || host.startsWith('[')) return false;
    for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1))
      if (this.#hosts.has(host.slice(dot + 1))) return true;
    return false;
  }
}

/** The same place with another method or body: another page, of which nothing is known. */
function sentOtherwise(target: Target, fp: string): Target {
  return { ...target, fp, words: fpWords(fp), page: 0, known: false, skipped: false };
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
export interface LinkContext extends HrefContext {
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

/** What becomes of a link by one rule; made into a `Link` where it is asked for: most are known to the ledger. */
interface Decision extends Pick<Link, 'reason' | 'detail'> {
  target: Target;
  rule: CompiledRule;
  extra: RequestExtra | null;
}

/** Pages so far, for `Target.page`. */
let pages = 0;

/** The links of one page: each URL once, with the best verdict that a rule has for it. */
export class PageLinks {
  /** True once the page had more links, or they carried more, than one page may bring. */
  full = false;
  readonly #context: LinkContext;
  readonly #number = ++pages;
  readonly #targets: PageTargets;
  /** By fingerprint. */
  readonly #links = new Map<string, Decision>();
  #carried = 0;

  constructor(context: LinkContext) {
    this.#context = context;
    this.#targets = new PageTargets(context);
  }

  /** Adds where an element leads to, as one rule sees it. An element without href leads nowhere. */
  add(element: Element, rule: CompiledRule): void {
    const source = element.source('href');
    if (source === undefined && !this.#context.xml) return;
    const target =
      source === undefined ? this.#targets.ofHref(textOf(element, MAX_TEXT_URL)) : this.#targets.ofSource(source);
    if (target === null || (target.page === this.#number && target.rule === rule.number)) return;
    this.addTarget(target, rule, element, null);
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
    const target = this.#targets.ofHref(href);
    if (target === null) return;
    const isGet = (extra?.method ?? 'GET') === 'GET' && (extra?.body ?? '') === '';
    const own = isGet ? target : sentOtherwise(target, requestFp(target.url, extra));
    if (refusal === null) this.addTarget(own, rule, element, extra);
    else this.addTarget({ ...own, reason: 'denied', detail: refusal }, rule, element, null);
  }

  /** Adds a target that is judged already by the scope. */
  addTarget(target: Target, rule: CompiledRule, element: Element | null, extra: RequestExtra | null): void {
    const known = this.#links.get(target.fp);
    if (known !== undefined && known.reason === null) return;
    this.#carried += extraSize(extra);
    if ((known === undefined && this.#links.size >= this.#context.max) || this.#carried > MAX_CARRIED) {
      this.full = true;
      return;
    }
    const decision = this.#decide(target, rule, element, extra);
    if (known === undefined || decision.reason === null) this.#links.set(target.fp, decision);
    // Another element of the same href may have no such rel.
    if (decision.detail === NOFOLLOW) return;
    target.page = this.#number;
    target.rule = rule.number;
  }

  /** Every link with the rule that decided. */
  *found(): Generator<FoundLink> {
    for (const decision of this.#links.values())
      yield { target: decision.target, link: decided(decision), rule: decision.rule };
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
    for (const decision of this.#links.values()) {
      const { target, reason } = decision;
      if (target.known && maxDepth === null) continue;
      if (reason !== null && target.skipped && maxDepth === null) continue;
      target.known = known.has(key, target.words, near);
      if (target.known) continue;
      if (reason !== null) {
        target.skipped = known.has(skippedKey, target.words, near);
        if (target.skipped) continue;
      }
      links.push(decided(decision));
    }
    return links;
  }

  /** Every fingerprint that is to be fetched, or would be if this page were nearer to the start. */
  fingerprints(): string[] {
    if (this.#context.maxDepth === null) return [];
    const worthy = [...this.#links.values()].filter(({ reason }) => reason === null || reason === 'depth');
    return worthy.map(({ target }) => target.fp);
  }

  #decide(target: Target, rule: CompiledRule, element: Element | null, extra: RequestExtra | null): Decision {
    const { depth, maxDepth, nofollow } = this.#context;
    const is = (reason: Reason | null, detail: string | null): Decision => ({ target, rule, extra, reason, detail });
    if (target.reason !== null) return is(target.reason, target.detail);
    const denied = verdictOf(target, rule);
    if (denied !== null) return is('denied', denied);
    if (isNofollow(element, nofollow)) return is('denied', NOFOLLOW);
    if (maxDepth !== null && depth > maxDepth) return is('depth', `maxDepth ${maxDepth}`);
    if (depth > rule.maxDepth) return is('depth', `${rule.name}.maxDepth ${rule.maxDepth}`);
    return is(null, null);
  }
}

function decided({ target, rule, reason, detail, extra }: Decision): Link {
  const { url, fp, origin } = target;
  // With its origin: what this rule skips, another rule or a nearer page may take.
  const link: Link =
    target.reason === null ? { url, fp, origin, priority: rule.priority, reason, detail } : linkOf(target);
  if (extra !== null) link.extra = extra;
  return link;
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
