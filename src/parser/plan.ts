import { crawlKey, type KnownFingerprints, skippedKey } from '../model/known.ts';
import type { ParsedPage } from '../model/outcome.ts';
import type { PageRule, ParsePlanInput } from '../model/spider.ts';
import { parseHttpUrl } from '../model/url.ts';
import { type Document, textOf } from './dom.ts';
import { type Data, ItemReader, type PageFacts } from './extract.ts';
import { ItemSink } from './items.ts';
import { type CompiledRule, compileRule, LinkJudge, PageLinks, type TargetCache } from './links.ts';
import { compilePattern, firstMatch, type Matcher, subjectOf } from './patterns.ts';
import { type Redirected, redirectLink } from './redirect.ts';
import { Selector } from './selector.ts';
import { parseFast } from './tree.ts';

/** A decoded page. */
export interface PageInput {
  html: string;
  /** Canonical URL. */
  url: string;
  depth: number;
  status: number;
  /** Milliseconds since the epoch. */
  fetchedAt: number;
}

/** The type of the items of a spider that has no `pages`, and how much of a page they hold. */
const PLAIN = { type: 'page', text: 200_000, links: 1000 } as const;
const PLAIN_PAGES: readonly PageRule[] = [{ follow: [{ selector: 'a[href]' }] }];
const PLAIN_FIELDS = new ItemReader(
  {
    fields: {
      title: 'title',
      description: { selector: 'meta[name="description" i]', value: 'content' },
      lang: { selector: 'html', value: 'lang' },
      h1: 'h1',
    },
  },
  PLAIN.type,
);

interface CompiledPage {
  match: Matcher[] | null;
  items: ItemReader[];
  follow: { selector: Selector; rule: CompiledRule }[];
}

type ParseTree = (html: string) => Document;
let plans = 0;

/** A spider, compiled once per thread, crawl and settings version; run on each page of the crawl. */
export class Plan {
  readonly #input: ParsePlanInput;
  readonly #pages: CompiledPage[];
  readonly #judge: LinkJudge;
  readonly #key: Uint32Array;
  readonly #skippedKey: Uint32Array;
  readonly #known: KnownFingerprints;
  readonly #cache: TargetCache;
  readonly #parseTree: ParseTree;
  readonly #number = ++plans;

  /**
   * @param html5 builds the tree for spiders with `parser: html5`; null for others
   * @throws on a selector, regex or pattern that does not compile; `check` says so before
   */
  constructor(input: ParsePlanInput, known: KnownFingerprints, cache: TargetCache, html5: ParseTree | null) {
    this.#input = input;
    this.#pages = compilePages(input.definition.pages ?? PLAIN_PAGES);
    this.#judge = new LinkJudge(input);
    this.#key = crawlKey(input.crawlId);
    this.#skippedKey = skippedKey(input.crawlId);
    this.#known = known;
    this.#cache = cache;
    this.#parseTree = (input.settings.parser === 'html5' ? html5 : null) ?? parseFast;
  }

  /** The crawl is over: forgets its links. */
  close(): void {
    this.#cache.forget(this.#number);
  }

  /** Items and links of one page. `parseMs` is left 0 for the caller. */
  run(input: PageInput): ParsedPage {
    const { html, url, depth, status, fetchedAt } = input;
    const document = this.#parseTree(html);
    const base = baseOf(document, url);
    const subject = subjectOf(url);
    const pages = this.#pages.filter(({ match }) => match === null || firstMatch(match, subject) >= 0);
    const links = this.#links(pages, document, input, base);
    const facts: PageFacts = { document, url, base, status, depth, fetchedAt: new Date(fetchedAt).toISOString() };
    const sink = new ItemSink();
    for (const { items } of pages) for (const reader of items) sink.collect(reader, facts);
    if (this.#input.definition.pages === undefined) sink.add(PLAIN.type, plainItem(facts, links));
    if (links.full) document.flags.add('links');
    if (sink.full) document.flags.add('items');
    const { items, dropped, fills } = sink;
    const fresh = links.fresh(this.#known, this.#key, this.#skippedKey);
    return {
      items,
      links: fresh,
      linkedFps: links.fingerprints(),
      dropped,
      fills,
      flags: [...document.flags],
      parseMs: 0,
    };
  }

  /** What a redirect brings: its target as the page's one link, judged by the scope; none where it is not a URL. */
  redirect(location: string, from: Redirected): ParsedPage {
    const target = this.#judge.target(location.trim(), from.url);
    const links = target === null ? [] : [redirectLink(target, from)];
    const worthy = this.#input.settings.maxDepth === null ? [] : links.filter(({ reason }) => reason === null);
    return { items: [], links, linkedFps: worthy.map(({ fp }) => fp), dropped: {}, fills: {}, flags: [], parseMs: 0 };
  }

  #links(pages: CompiledPage[], document: Document, { url, depth }: PageInput, base: string): PageLinks {
    const links = new PageLinks({
      judge: this.#judge,
      cache: this.#cache,
      plan: this.#number,
      url,
      base,
      depth: depth + 1,
      maxDepth: this.#input.settings.maxDepth,
      nofollow: metaNofollow(document),
    });
    for (const { follow } of pages)
      for (const { selector, rule } of follow)
        for (const element of selector.all(document, document.root)) {
          if (links.full) return links;
          links.add(element, rule);
        }
    return links;
  }
}

function compilePages(pages: readonly PageRule[]): CompiledPage[] {
  let number = 0;
  return pages.map(({ name, match, items = [], follow = [] }, page) => ({
    match: match === undefined ? null : match.map(compilePattern),
    items: items.map((rule) => new ItemReader(rule, name ?? 'item')),
    follow: follow.map((rule, place) => ({
      selector: new Selector(rule.selector ?? '*', false),
      rule: compileRule(rule, number++, `pages[${page}].follow[${place}]`),
    })),
  }));
}

/** What relative URLs are resolved against: the first `<base href>` if it is an http(s) URL, else the page's own. */
function baseOf(document: Document, url: string): string {
  const href = document
    .byTag('base')
    .find((element) => element.attribute('href') !== undefined)
    ?.attribute('href');
  return href === undefined ? url : (parseHttpUrl(href, url)?.href ?? url);
}

function metaNofollow(document: Document): boolean {
  return document.byTag('meta').some((meta) => {
    if (meta.attribute('name')?.trim().toLowerCase() !== 'robots') return false;
    const words = (meta.attribute('content') ?? '').toLowerCase().split(/[\s,]+/);
    return words.includes('nofollow') || words.includes('none');
  });
}

/** The item of a spider without `pages`: the page's metadata, its text, and its links inside the scope. */
function plainItem(page: PageFacts, links: PageLinks): Data {
  const { document } = page;
  const data = PLAIN_FIELDS.read(page, document.root);
  const body = document.byTag('body')[0] ?? document.root;
  // Runs of blanks shrink, so more than is wanted is read.
  data.text = textOf(body, PLAIN.text * 4, true)
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, PLAIN.text);
  data.links = links.inScope(PLAIN.links);
  return data;
}
