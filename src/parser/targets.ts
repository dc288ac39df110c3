import { fpWords } from '../model/known.ts';
import type { Reason } from '../model/request.ts';
import { ownString } from './own_string.ts';

/**
 * One generation of the targets that a thread keeps, in entries and in characters of their URLs; there are two. An entry takes
 * 730 bytes with a URL of 50 characters: together 14 MB at most.
 */
const GENERATION = { entries: 10_000, chars: 1_000_000 };
/** Of a generation, a page may fill no more: one of nothing but new links leaves the others' in their place. */
const PAGE_SHARE = 0.25;
/** Longer hrefs and URLs are judged anew each time. */
const MAX_TEXT = 2000;
/** Hrefs of one page that are found by their text. */
const MAX_HREFS = 20_000;

/** Where an href leads, and what the spider's scope says to that: the same on every page. */
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
  /** The number of the last page that had it, and of the last rule that had its say there: again, it says the same. */
  page: number;
  rule: number;
  /**
   * The ledger was seen to have it. It never loses one, so the cache, which does, need not be asked again, except how near
   * the ledger has it.
   */
  known: boolean;
}

export function targetOf(
  url: string,
  fp: string,
  origin: string,
  reason: Reason | null,
  detail: string | null,
): Target {
  return { url, fp, words: fpWords(fp), origin, reason, detail, verdicts: [], page: 0, rule: -1, known: false };
}

/** A plan's targets by URL, as URL parsing leaves it. */
interface Generations {
  young: Map<string, Target>;
  /** Those that are not asked for until the next turn are dropped then. */
  old: Map<string, Target>;
  /** Of the URLs in `young`. */
  chars: number;
}

/**
 * Targets by plan and URL. A site repeats its links on every page, each directory and fragment writes them in another way, and
 * all of them lead to one entry here: of the 115 links of a page of a large manual one is judged anew, where 20 were when
 * they were found by directory and href.
 */
export class TargetCache {
  readonly #plans = new Map<number, Generations>();
  /** Of all that is young. */
  #entries = 0;
  #chars = 0;

  get(plan: number, url: string): Target | undefined {
    const generations = this.#plans.get(plan);
    const young = generations?.young.get(url);
    if (young !== undefined) return young;
    const old = generations?.old.get(url);
    // The string that was asked for may be a slice of a page, which would live as long: a thousand pages of 200 KB were 200 MB.
    if (old !== undefined) this.set(plan, old.url === url ? old.url : ownString(url), old);
    return old;
  }

  /** @param url a string of its own */
  set(plan: number, url: string, target: Target): void {
    if (this.#entries >= GENERATION.entries || this.#chars >= GENERATION.chars) this.#turn();
    let generations = this.#plans.get(plan);
    if (generations === undefined) {
      generations = { young: new Map(), old: new Map(), chars: 0 };
      this.#plans.set(plan, generations);
    }
    generations.young.set(url, target);
    generations.chars += url.length;
    this.#chars += url.length;
    this.#entries++;
  }

  /** Drops what a plan has here. */
  forget(plan: number): void {
    const generations = this.#plans.get(plan);
    if (generations === undefined) return;
    this.#plans.delete(plan);
    this.#entries -= generations.young.size;
    this.#chars -= generations.chars;
  }

  #turn(): void {
    for (const [plan, { young }] of this.#plans)
      if (young.size === 0) this.#plans.delete(plan);
      else this.#plans.set(plan, { young: new Map(), old: young, chars: 0 });
    this.#entries = 0;
    this.#chars = 0;
  }
}

/** What one page finds again: its own hrefs by their text, and the targets of the cache, of which it may fill a share. */
export class PageTargets {
  readonly #cache: TargetCache;
  readonly #plan: number;
  readonly #hrefs = new Map<string, Target | null>();
  #entries = GENERATION.entries * PAGE_SHARE;
  #chars = GENERATION.chars * PAGE_SHARE;

  constructor(cache: TargetCache, plan: number) {
    this.#cache = cache;
    this.#plan = plan;
  }

  /** Undefined: it was not there yet; null: it leads nowhere. */
  ofHref(href: string): Target | null | undefined {
    return this.#hrefs.get(href);
  }

  setHref(href: string, target: Target | null): void {
    if (href.length <= MAX_TEXT && this.#hrefs.size < MAX_HREFS) this.#hrefs.set(href, target);
  }

  ofUrl(url: string): Target | undefined {
    return this.#cache.get(this.#plan, url);
  }

  /** @param url as URL parsing leaves it; a string of its own, for a slice of the page would keep the whole page in memory */
  setUrl(url: string, target: Target): void {
    if (url.length > MAX_TEXT || this.#entries <= 0 || this.#chars <= 0) return;
    this.#entries--;
    this.#chars -= url.length;
    // Mostly it is canonical, and one string is enough.
    this.#cache.set(this.#plan, target.url === url ? target.url : url, target);
  }
}
