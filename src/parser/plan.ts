import type { TreeReason } from '../model/explanation.ts';
import { crawlKey, type KnownFingerprints, skippedKey } from '../model/known.ts';
import { emptyPage, type ParsedPage } from '../model/outcome.ts';
import { type RenderPlan, renderPlan } from '../model/render.ts';
import type { PageRule, ParsePlanInput } from '../model/spider.ts';
import { compileAutomaton } from './automaton.ts';
import { documentOf, type PageInput, type PageKind, type ParseTree } from './content.ts';
import { baseOf, metaNofollow, refreshOf, tagNofollow } from './directives.ts';
import type { Document } from './dom.ts';
import { ItemReader } from './extract.ts';
import { compileFollow, type FollowReader } from './follow.ts';
import { ItemStates } from './item_states.ts';
import { ItemSink } from './items.ts';
import { parseJson } from './json_path.ts';
import { type CompiledRule, compileRule, type LinkContext, LinkJudge, MAX_LINKS, PageLinks } from './links.ts';
import { Matcher } from './matcher.ts';
import type { PageFacts } from './page_facts.ts';
import { compilePattern, firstMatch, type Matcher as PatternMatcher, subjectOf } from './patterns.ts';
import { PLAIN_PAGES, PLAIN_TYPE, plainItem } from './plain.ts';
import { readableKinds } from './readable.ts';
import { asWritten, locationOf, type Redirected, redirectLink } from './redirect.ts';
import { type KeptLink, recallLinks, rememberLinks, rulesByNumber } from './remembered.ts';
import { productToken } from './robots.ts';
import { MAX_SITEMAP_URLS, type Sitemap } from './sitemap.ts';
import { compileSteps, type Steps } from './steps.ts';
import type { Target, TargetCache } from './targets.ts';
import type { Trace } from './trace.ts';
import { parseFast } from './tree.ts';
import { Wants } from './wants.ts';

/** Sitemap indexes that may lead to one another. */
const MAX_SITEMAP_DEPTH = 3;
const SITEMAP_RULE = compileRule({}, 0, 'sitemap');

interface CompiledPage {
  name: string;
  /** Place among the spider's entries. */
  number: number;
  wants: Wants;
  match: PatternMatcher[] | null;
  /** Null: a response is read as it came. */
  render: RenderPlan | null;
  items: ItemReader[];
  follow: FollowReader[];
}

/** Sets of page entries that a plan has matchers for; a page that makes a further set is made into a tree. */
const MAX_MATCHERS = 50;

/** How HTML pages are read: `auto` makes a tree only where a page entry needs one. Both give the same. */
export type Extraction = 'auto' | 'tree';

let plans = 0;

/** A spider, compiled once per thread, crawl and settings version; run on each page of the crawl. */
export class Plan {
  /** Of the pipeline; null: it has none. */
  readonly steps: Steps | null;
  /** Null: items are not compared with those of earlier crawls. */
  readonly states: ItemStates | null;
  readonly #input: ParsePlanInput;
  readonly #pages: CompiledPage[];
  readonly #kinds: ReadonlySet<PageKind>;
  readonly #judge: LinkJudge;
  readonly #key: Uint32Array;
  readonly #skippedKey: Uint32Array;
  readonly #known: KnownFingerprints;
  readonly #cache: TargetCache;
  readonly #parseTree: ParseTree;
  readonly #trace: Trace | null;
  /** By the numbers of the page entries that a page is given to; null: they need a tree. */
  readonly #matchers = new Map<string, Matcher | null>();
  /** Every page is made into a tree. */
  readonly #isTree: boolean;
  /** In lower case; what pages say to crawlers by name. */
  readonly #token: string;
  readonly #number = ++plans;
  /** By number; made when a page is first recalled. */
  #rules: ReadonlyMap<number, CompiledRule> | null = null;

  /**
   * @param html5 builds the tree for spiders with `parser: html5`; null for others
   * @param trace is told what the selectors find, in a tree; null, as for every page of a crawl: nothing is counted
   * @throws on a selector, regex or pattern that does not compile; `check` says so before
   */
  constructor(
    input: ParsePlanInput,
    known: KnownFingerprints,
    cache: TargetCache,
    html5: ParseTree | null,
    trace: Trace | null = null,
    extraction: Extraction = 'auto',
  ) {
    this.#input = input;
    this.steps = compileSteps(input.definition);
    this.states = ItemStates.of(input);
    this.#pages = compilePages(input.definition.pages ?? PLAIN_PAGES, trace);
    this.#kinds = readableKinds(input.definition);
    this.#judge = new LinkJudge(input);
    this.#key = crawlKey(input.crawlId);
    this.#skippedKey = skippedKey(input.crawlId);
    this.#known = known;
    this.#cache = cache;
    this.#isTree = extraction === 'tree' || trace !== null || input.settings.parser === 'html5';
    this.#parseTree = (input.settings.parser === 'html5' ? html5 : null) ?? parseFast;
    this.#trace = trace;
    this.#token = productToken(input.settings.userAgent).toLowerCase();
  }

  /** The crawl is over: forgets its links. */
  close(): void {
    this.#cache.forget(this.#number);
  }

  /** False where nothing in the spider could read such a page. */
  reads(kind: PageKind): boolean {
    return this.#kinds.has(kind);
  }

  /**
   * How a browser makes an HTML page before it is read; null: it is read as it came. The first of the page entries that it is
   * given to decides, and where a script asked for the page, the script.
   */
  renderOf(page: Pick<PageInput, 'url' | 'extra'>): RenderPlan | null {
    if (this.#input.definition.script !== undefined) return renderPlan(page.extra?.render);
    return this.#entriesFor(page).find(({ render }) => render !== null)?.render ?? null;
  }

  /**
   * Items and links of one page, or where it refreshes to. `parseMs` is left 0 for the caller.
   *
   * @throws where a JSON page is not JSON
   */
  run(input: PageInput): ParsedPage {
    const entries = this.#entriesFor(input);
    const page = this.#factsOf(input, entries);
    const refreshed = this.#refreshed(input, page);
    if (refreshed !== null) return refreshed;
    const links = this.#linksOf(input, page);
    const sink = new ItemSink(this.steps, 0, this.states);
    const cpu: Record<string, number> = {};
    for (const entry of entries) this.#runEntry(entry, page, links, sink, cpu);
    if (this.#input.definition.pages === undefined) sink.add(PLAIN_TYPE, plainItem(page, input.contentType, links));
    const { document } = page;
    if (links.full) document.flags.add('links');
    if (sink.full) document.flags.add('items');
    return { ...this.#pageOf(links, [...document.flags]), ...sink.outcome(), cpu };
  }

  /** What a redirect brings: its target as the page's one link, judged by the scope and its `redirects`; none where it is not a URL. */
  redirect(location: string, from: Redirected): ParsedPage {
    const href = locationOf(location, from.url);
    const page = this.#redirectTo(this.#judge.redirect(href, from.url), from);
    const { maxUrlLength } = this.#input.settings;
    return { ...page, links: page.links.map((link) => asWritten(link, href, from, maxUrlLength)) };
  }

  /** A page that refreshes to another within `maxMetaRefreshSeconds`: as a redirect; null where it is a page of its own. */
  refreshed(input: PageInput): ParsedPage | null {
    return this.#refreshed(input, this.#factsOf(input, []));
  }

  #refreshed({ kind, url, refresh, extra }: PageInput, { document, base }: PageFacts): ParsedPage | null {
    const { maxMetaRefreshSeconds } = this.#input.settings;
    if (maxMetaRefreshSeconds === null) return null;
    const to = refreshOf(kind === 'html' ? document : null, refresh, { url, base }, maxMetaRefreshSeconds);
    const target = to === null ? null : this.#judge.redirect(to, url, base);
    // To itself it is no redirect: what a browser shows again and again is the page.
    if (target === null || target.url === url) return null;
    // A navigation is a GET, as after a 303.
    return { ...this.#redirectTo(target, { url, status: 303, extra }), refreshes: true };
  }

  #redirectTo(target: Target | null, from: Redirected): ParsedPage {
    const links = target === null ? [] : [redirectLink(target, from)];
    const worthy = this.#input.settings.maxDepth === null ? [] : links.filter(({ reason }) => reason === null);
    return { ...emptyPage(), links, linkedFps: worthy.map(({ fp }) => fp) };
  }

  /** What a page brings that is not read again: the links that it had, judged anew. @param text of an earlier page's `remembered` */
  recall(text: string, { url, depth }: { url: string; depth: number }): ParsedPage {
    this.#rules ??= rulesByNumber(this.#input.definition.pages ?? []);
    const links = new PageLinks({ ...this.#contextOf(url, depth), base: url, max: MAX_SITEMAP_URLS });
    recallLinks(text, url, links, this.#rules, this.#judge);
    const { remembered: _, ...page } = this.#pageOf(links, []);
    return page;
  }

  /**
   * The requests that a sitemap or a robots.txt brings: its pages, judged by the scope as links are, and further sitemaps,
   * judged by their host.
   *
   * @param sitemapDepth indexes on the way to this one
   */
  sitemap({ pages, sitemaps, cut }: Sitemap, url: string, depth: number, sitemapDepth: number): ParsedPage {
    const links = new PageLinks({ ...this.#contextOf(url, depth), base: url, max: MAX_SITEMAP_URLS });
    for (const href of pages) {
      const target = this.#judge.target(href, url);
      if (target !== null) links.addTarget(target, SITEMAP_RULE, null, null);
    }
    for (const href of sitemaps) {
      const target = this.#judge.sitemap(href, url);
      if (target === null) continue;
      const tooDeep = sitemapDepth > MAX_SITEMAP_DEPTH;
      const judged = tooDeep
        ? { ...target, reason: 'depth' as const, detail: `sitemap indexes deeper than ${MAX_SITEMAP_DEPTH}` }
        : target;
      links.addTarget(judged, SITEMAP_RULE, null, { kind: 'sitemap', sitemapDepth });
    }
    return this.#pageOf(links, cut || links.full ? ['links'] : []);
  }

  /** What a page's links make of it; the rest is for the caller. */
  #pageOf(links: PageLinks, flags: string[]): ParsedPage {
    if (this.#trace !== null) this.#trace.links = [...links.found()];
    return {
      items: [],
      links: links.fresh(this.#known, this.#key, this.#skippedKey),
      linkedFps: links.fingerprints(),
      dropped: {},
      fills: {},
      flags,
      parseMs: 0,
      ...(this.#input.settings.dedup.scope === 'spider' ? { remembered: rememberLinks(keptLinks(links)) } : {}),
    };
  }

  #factsOf(input: PageInput, entries: readonly CompiledPage[]): PageFacts {
    const { kind, url, depth, status, fetchedAt, headers, extra } = input;
    const start = this.#trace === null ? 0 : performance.now();
    const document = this.#documentOf(input, entries);
    const json = kind === 'json' ? parseJson(input.text) : undefined;
    this.#trace?.time('tree', start);
    return {
      kind,
      document,
      json,
      url,
      base: kind === 'html' ? baseOf(document, url) : url,
      status,
      depth,
      fetchedAt: new Date(fetchedAt).toISOString(),
      headers,
      params: this.#input.params,
      passed: extra?.pass ?? {},
    };
  }

  #documentOf(input: PageInput, entries: readonly CompiledPage[]): Document {
    const matcher = input.kind === 'html' && !this.#isTree ? this.#matcherFor(entries) : null;
    if (this.#trace !== null && input.kind === 'html') this.#trace.tree = this.#treeReasons(entries);
    return matcher === null ? documentOf(input, this.#parseTree) : matcher.read(input);
  }

  #matcherFor(entries: readonly CompiledPage[]): Matcher | null {
    const key = entries.map(({ number }) => number).join();
    let matcher = this.#matchers.get(key);
    if (matcher === undefined) {
      if (this.#matchers.size >= MAX_MATCHERS) return null;
      const automaton = compileAutomaton(entries.map(({ wants }) => wants));
      matcher = Array.isArray(automaton) ? null : new Matcher(automaton);
      this.#matchers.set(key, matcher);
    }
    return matcher;
  }

  /** What makes a page need a tree. */
  #treeReasons(entries: readonly CompiledPage[]): TreeReason[] {
    if (this.#input.settings.parser === 'html5')
      return [{ pointer: '/settings/parser', text: 'html5', why: 'parse5 builds a tree' }];
    const automaton = compileAutomaton(entries.map(({ wants }) => wants));
    return Array.isArray(automaton) ? automaton : [];
  }

  #contextOf(url: string, depth: number) {
    const { maxDepth } = this.#input.settings;
    const shared = { judge: this.#judge, cache: this.#cache, plan: this.#number };
    return { ...shared, url, depth: depth + 1, maxDepth, nofollow: 'marked' as const, xml: false, max: MAX_LINKS };
  }

  #linksOf(input: PageInput, { document, base }: PageFacts): PageLinks {
    const { kind, url, depth } = input;
    const nofollow = this.#nofollow(input, document);
    return new PageLinks({ ...this.#contextOf(url, depth), base, nofollow, xml: kind === 'xml' });
  }

  #nofollow({ kind, robotsTag }: PageInput, document: Document): LinkContext['nofollow'] {
    if (!this.#input.settings.nofollow) return 'none';
    const isAll = tagNofollow(robotsTag, this.#token) || (kind === 'html' && metaNofollow(document, this.#token));
    return isAll ? 'all' : 'marked';
  }

  /** The page entries that a page is given to: the one that its link named, else those whose `match` fits. */
  #entriesFor({ url, extra }: Pick<PageInput, 'url' | 'extra'>): readonly CompiledPage[] {
    const named = extra?.page === undefined ? undefined : this.#pages.find(({ name }) => name === extra.page);
    if (named !== undefined) return [named];
    const subject = subjectOf(url);
    return this.#pages.filter(({ match }) => match === null || firstMatch(match, subject) >= 0);
  }

  #runEntry(
    { name, items, follow }: CompiledPage,
    page: PageFacts,
    links: PageLinks,
    sink: ItemSink,
    cpu: Record<string, number>,
  ): void {
    const start = performance.now();
    for (const reader of follow) if (!links.full) reader.follow(links, page);
    const between = this.#trace === null ? 0 : performance.now();
    for (const reader of items) sink.collect(reader, page);
    const key = `page ${name}`;
    cpu[key] = (cpu[key] ?? 0) + performance.now() - start;
    if (this.#trace === null) return;
    this.#trace.pages.push(name);
    this.#trace.ms.links = (this.#trace.ms.links ?? 0) + between - start;
    this.#trace.time('items', between);
  }
}

/** The links of a page that a crawl follows, or would if the page were nearer to the start. */
function* keptLinks(links: PageLinks): Generator<KeptLink> {
  for (const { target, link, rule } of links.found())
    if (target.reason === null && (link.reason === null || link.reason === 'depth'))
      yield {
        url: link.url,
        rule: rule === SITEMAP_RULE ? -1 : rule.number,
        priority: link.priority,
        extra: link.extra,
      };
}

/** An entry without a name is called by its number. */
function compilePages(pages: readonly PageRule[], trace: Trace | null): CompiledPage[] {
  let number = 0;
  return pages.map(({ name, match, render, items = [], follow = [] }, page) => {
    const wants = new Wants();
    if (pages === PLAIN_PAGES) wants.refuse('/pages', '', 'without `pages`, a page is made into Markdown');
    return {
      name: name ?? String(page),
      number: page,
      wants,
      match: match === undefined ? null : match.map(compilePattern),
      render: renderPlan(render),
      items: items.map((rule, i) => new ItemReader(rule, name ?? 'item', `/pages/${page}/items/${i}`, trace, wants)),
      follow: follow.map((rule, place) => compileFollow(rule, number++, page, place, trace, wants)),
    };
  });
}
