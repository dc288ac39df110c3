import type { UrlParts } from '../model/url.ts';
import { decodeAttribute } from './entities.ts';
import { PlainHrefs, withoutFragment } from './hrefs.ts';
import { type Directory, PAGE_NEAR, PAGE_TARGETS, type Target, type TargetCache } from './targets.ts';

/** Longer hrefs and URLs are judged anew each time. */
const MAX_TEXT = 2000;
/** Hrefs of one page that are found by their text. */
const MAX_HREFS = 20_000;
const HASH = 0x23;
/** No two runs of space side by side: such a pair takes quadratic time. */
const IGNORED = /^javascript:\s*(?:void\s*(?:(?:\(\s*(?:0\s*)?\)|0)\s*)?)?(?:;\s*)?$/i;

/** Who says what becomes of URLs. */
export interface UrlJudge {
  /** Whether a fragment alone leads to another page. */
  readonly keepsFragment: boolean;
  judged(parsed: UrlParts): Target;
}

/** What the hrefs of a page are read by. */
export interface HrefContext {
  judge: UrlJudge;
  cache: TargetCache;
  plan: number;
  url: string;
  /** An absolute URL. */
  base: string;
}

/**
 * Where the hrefs of one page lead. Of a hundred, a third repeats the one before it but for the fragment, as many were there
 * before, and what is left is mostly known to the directory: a cut, a comparison, a look-up. The rest is known by its URL, or judged.
 */
export class PageTargets {
  readonly #context: HrefContext;
  readonly #isOwnBase: boolean;
  readonly #directory: Directory;
  /** What the directory has no room for, or cannot say. */
  readonly #hrefs = new Map<string, Target | null>();
  /** The last href that the directory knew, and its target. */
  #lastText: string | null = null;
  #last: Target | null = null;
  #left = { ...PAGE_TARGETS };
  #nearLeft = { ...PAGE_NEAR };

  constructor(context: HrefContext) {
    this.#context = context;
    this.#isOwnBase = context.base === context.url;
    this.#directory = context.cache.directory(context.plan, context.base);
  }

  /** By an attribute's value with its entities as in the source; null: it leads nowhere. */
  ofSource(source: string): Target | null {
    if (this.#isPlace(source)) return null;
    // The directory's have no `&`, and what has none is what it means: so is what stands before a `#`, whatever comes then.
    const text = this.#context.judge.keepsFragment ? source : withoutFragment(source);
    if (text === this.#lastText) return this.#last;
    const near = this.#directory.hrefs.get(text);
    if (near === undefined) return this.ofHref(decodeAttribute(source));
    this.#lastText = text;
    this.#last = near;
    return near;
  }

  /** By an href; null: it leads nowhere. */
  ofHref(raw: string): Target | null {
    if (this.#isPlace(raw)) return null;
    const href = this.#context.judge.keepsFragment ? raw : withoutFragment(raw);
    const target = this.#ofText(href);
    const isPage = target !== null && target.reason !== 'scheme';
    return isPage || href.length === raw.length ? target : this.#ofText(raw);
  }

  /** A place in the page itself. */
  #isPlace(href: string): boolean {
    return href.charCodeAt(0) === HASH && this.#isOwnBase && !this.#context.judge.keepsFragment;
  }

  /** By an href as it is, looked up once a page. */
  #ofText(raw: string): Target | null {
    const known = this.#directory.hrefs.get(raw) ?? this.#hrefs.get(raw);
    if (known !== undefined) return known;
    const plain = this.#directory.plain.resolve(raw);
    const target = plain === null ? this.#lookUp(raw.trim()) : this.#lookUpPlain(raw, plain);
    const nearLeft = this.#nearLeft;
    if (
      plain !== null &&
      target !== null &&
      nearLeft.entries > 0 &&
      nearLeft.chars > raw.length &&
      !raw.includes('&')
    ) {
      nearLeft.entries--;
      nearLeft.chars -= raw.length;
      this.#context.cache.setNear(this.#directory, raw, target);
    } else if (raw.length <= MAX_TEXT && this.#hrefs.size < MAX_HREFS) this.#hrefs.set(raw, target);
    return target;
  }

  /** @param url what the directory makes of it */
  #lookUpPlain(href: string, url: string): Target | null {
    const { cache, plan } = this.#context;
    const known = cache.get(plan, url);
    if (known !== undefined) return known;
    if (PlainHrefs.isAbsolute(href)) return this.#lookUp(href.trim(), url);
    return this.#judged(this.#directory.plain.partsOf(url));
  }

  /** @param asked the URL that was looked for already */
  #lookUp(href: string, asked: string | null = null): Target | null {
    const { judge, cache, plan, base } = this.#context;
    const isPlace = href.startsWith('#') && this.#isOwnBase && (href === '#' || !judge.keepsFragment);
    if (href === '' || isPlace || IGNORED.test(href)) return null;
    const parsed = URL.parse(href, base);
    if (parsed === null) return null;
    const known = asked === parsed.href ? undefined : cache.get(plan, parsed.href);
    return known ?? this.#judged(parsed);
  }

  #judged(parsed: UrlParts): Target {
    const { judge, cache, plan } = this.#context;
    const target = judge.judged(parsed);
    const url = parsed.href;
    const left = this.#left;
    if (url.length > MAX_TEXT || left.entries <= 0 || left.chars <= 0) return target;
    left.entries--;
    left.chars -= url.length;
    // Mostly it is canonical, and one string is enough. Else it is one of its own: a slice of the page would keep it in memory.
    cache.set(plan, target.url === url ? target.url : url, target);
    return target;
  }
}
