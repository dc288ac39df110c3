import { fpWords } from '../model/known.ts';
import type { Reason } from '../model/request.ts';
import { directoryText, PlainHrefs } from './hrefs.ts';
import { ownString } from './own_string.ts';

/**
 * One generation of the targets that a thread keeps, in entries and in characters of their URLs; there are two. An entry takes
 * 730 bytes with a URL of 50 characters: together 14 MB at most.
 */
const GENERATION = { entries: 10_000, chars: 1_000_000 };
/**
 * What a thread keeps of hrefs as they are written: 400 KB at most. Pages of one directory come together, so 19 of the 29
 * different hrefs of a large page are found with that much, 21 with ten times as much.
 */
const NEAR = { entries: 2000, chars: 200_000 };
/** In entries: a directory is a few objects. */
const NEAR_DIRECTORY = 10;
/** Of these, a page may fill no more: one of nothing but new links leaves the others' in their place. */
const PAGE_SHARE = 0.25;
export const PAGE_TARGETS = { entries: GENERATION.entries * PAGE_SHARE, chars: GENERATION.chars * PAGE_SHARE };
export const PAGE_NEAR = { entries: NEAR.entries * PAGE_SHARE, chars: NEAR.chars * PAGE_SHARE };

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
  /** Likewise, that it was skipped where it was found. */
  skipped: boolean;
}

export function targetOf(
  url: string,
  fp: string,
  origin: string,
  reason: Reason | null,
  detail: string | null,
): Target {
  return {
    url,
    fp,
    words: fpWords(fp),
    origin,
    reason,
    detail,
    verdicts: [],
    page: 0,
    rule: -1,
    known: false,
    skipped: false,
  };
}

/** A directory, whose pages mean the same by the same plain href. */
export interface Directory {
  plain: PlainHrefs;
  /** By plain or absolute hrefs without `&`: as they are written is what they mean. */
  hrefs: Map<string, Target>;
}

/** A plan's targets by URL, as URL parsing leaves it. */
interface Generations {
  young: Map<string, Target>;
  /** Those that are not asked for until the next turn are dropped then. */
  old: Map<string, Target>;
  /** Of the URLs in `young`. */
  chars: number;
  /** By their URLs. */
  directories: Map<string, Directory>;
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
  /** Of all directories. */
  #nearEntries = 0;
  #nearChars = 0;

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
    const generations = this.#of(plan);
    generations.young.set(url, target);
    generations.chars += url.length;
    this.#chars += url.length;
    this.#entries++;
  }

  /** The directory of a page's base. */
  directory(plan: number, base: string): Directory {
    const text = directoryText(base);
    const found = text === null ? undefined : this.#plans.get(plan)?.directories.get(text);
    if (found !== undefined) return found;
    const plain = new PlainHrefs(base);
    const url = plain.directory;
    const known = url === null ? undefined : this.#plans.get(plan)?.directories.get(url);
    if (known !== undefined) return known;
    const directory: Directory = { plain, hrefs: new Map() };
    if (url !== null) {
      this.#makeNear(NEAR_DIRECTORY, url.length);
      this.#of(plan).directories.set(url, directory);
    }
    return directory;
  }

  /** @param href plain or absolute, without `&` */
  setNear({ hrefs }: Directory, href: string, target: Target): void {
    this.#makeNear(1, href.length);
    hrefs.set(ownString(href), target);
  }

  /** Drops what a plan has here. */
  forget(plan: number): void {
    const generations = this.#plans.get(plan);
    if (generations === undefined) return;
    this.#plans.delete(plan);
    this.#entries -= generations.young.size;
    this.#chars -= generations.chars;
  }

  #of(plan: number): Generations {
    let generations = this.#plans.get(plan);
    if (generations === undefined) {
      generations = { young: new Map(), old: new Map(), chars: 0, directories: new Map() };
      this.#plans.set(plan, generations);
    }
    return generations;
  }

  /** Room for so many more entries and characters. */
  #makeNear(entries: number, chars: number): void {
    if (this.#nearEntries >= NEAR.entries || this.#nearChars >= NEAR.chars) {
      for (const { directories } of this.#plans.values()) directories.clear();
      this.#nearEntries = 0;
      this.#nearChars = 0;
    }
    this.#nearEntries += entries;
    this.#nearChars += chars;
  }

  #turn(): void {
    for (const [plan, { young, directories }] of this.#plans)
      if (young.size === 0) this.#plans.delete(plan);
      else this.#plans.set(plan, { young: new Map(), old: young, chars: 0, directories });
    this.#entries = 0;
    this.#chars = 0;
  }
}
