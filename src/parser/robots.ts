import { type Pattern, patternOf, type RobotsPath, robotsPath } from './robots_pattern.ts';

/** What a site's robots.txt says to a list of URLs. */
export interface RobotsAnswer {
  allowed: boolean[];
  /** Null: it names none. */
  crawlDelaySeconds: number | null;
  /** No rule for this user agent disallows anything: nobody has to ask again. */
  allowsAll: boolean;
}

/** RFC 9309, 2.5, asks for 500 KiB at least; what is beyond is not read. */
const MAX_LENGTH = 500 * 1024;
/** Characters of the files whose rules a thread keeps; the rules take about twenty times as much. */
const MAX_CACHED = 1024 * 1024;
const MAX_AGENTS = 16;

interface Rule extends Pattern {
  allow: boolean;
}

/** The rules for one user agent: all groups that name it, or else all for `*`. The one that counts first comes first. */
interface Group {
  rules: Rule[];
  crawlDelaySeconds: number | null;
}

/** By file, then by product token; in order of use. */
const cache = new Map<string, Map<string, Group>>();
let cached = 0;

/**
 * Judges URLs by a robots.txt as RFC 9309 says. What is not in the RFC is read as Google documents it, but nothing is guessed:
 * a line without its colon, or with a misspelt name, says nothing.
 *
 * @param text the file, a character for each octet (latin1)
 * @param urls absolute URLs of that site
 * @param userAgent see `productToken`
 */
export function judgeRobots(text: string, urls: readonly string[], userAgent: string): RobotsAnswer {
  const { rules, crawlDelaySeconds } = groupFor(text, productToken(userAgent));
  const allowsAll = rules.every((rule) => rule.allow);
  const allowed = urls.map((url) => allowsAll || isAllowed(rules, robotsPath(url)));
  return { allowed, crawlDelaySeconds, allowsAll };
}

/**
 * The name that a robots.txt addresses this user agent by, in lower case (RFC 9309, 2.2.1): how it begins, or as `Mozilla/5.0
 * (compatible; Name/1.0)` what it says to be. Empty: only groups for `*` fit it.
 */
export function productToken(userAgent: string): string {
  const found = /\(compatible;\s*([\w-]+)/i.exec(userAgent) ?? /^\s*([\w-]+)/.exec(userAgent);
  return found?.[1]?.toLowerCase() ?? '';
}

/** The longest rule that fits decides, Allow where two are as long (2.2.2); none: allowed, as is robots.txt itself. */
function isAllowed(rules: readonly Rule[], path: RobotsPath): boolean {
  if (path.text === '/robots.txt') return true;
  return rules.find((rule) => rule.fits(path))?.allow ?? true;
}

function groupFor(whole: string, token: string): Group {
  const text = wholeLines(whole);
  const groups = cache.get(text) ?? new Map<string, Group>();
  if (!cache.delete(text)) cached += text.length;
  cache.set(text, groups);
  for (const [oldest] of cache) {
    if (cached <= MAX_CACHED || oldest === text) break;
    cache.delete(oldest);
    cached -= oldest.length;
  }
  const group = groups.get(token) ?? readGroup(text, token);
  if (groups.size < MAX_AGENTS) groups.set(token, group);
  return group;
}

/** Of a line that was cut off half the path is left, which says something else. */
function wholeLines(text: string): string {
  if (text.length < MAX_LENGTH) return text;
  const cut = text.slice(0, MAX_LENGTH);
  return cut.slice(0, Math.max(cut.lastIndexOf('\n'), cut.lastIndexOf('\r')) + 1);
}

function readGroup(text: string, token: string): Group {
  const own: Group = { rules: [], crawlDelaySeconds: null };
  const all: Group = { rules: [], crawlDelaySeconds: null };
  const rows = new Rows();
  let isNamed = false;
  for (const line of text.replace(/^(?:\xef\xbb\xbf|\ufeff)/, '').split(/\r\n?|\n/)) {
    const { name, value } = fieldOf(line);
    if (name === 'user-agent') {
      const agent = /^(?:\*(?![^ \t])|[\w-]+)/.exec(value)?.[0].toLowerCase();
      rows.add(agent === '*' ? all : agent === token ? own : null);
      isNamed ||= agent === token;
    } else if (name === 'allow' || name === 'disallow') {
      // An empty path is no rule: it names nothing.
      for (const { rules } of rows.ofRule())
        if (value !== '') rules.push({ ...patternOf(value), allow: name === 'allow' });
    } else if (name === 'crawl-delay')
      for (const group of rows.ofDelay()) group.crawlDelaySeconds = longer(group.crawlDelaySeconds, value);
  }
  const group = isNamed ? own : all;
  group.rules.sort((a, b) => b.length - a.length || Number(b.allow) - Number(a.allow));
  return group;
}

/**
 * The groups that a line belongs to: those that the row of user-agent lines above it names. Such a row goes on until a rule,
 * whatever stands between (2.2.4). Crawl-delay is not in the RFC: for itself it does end a row, as whoever writes it means.
 */
class Rows {
  readonly #named = new Set<Group>();
  readonly #delayed = new Set<Group>();
  #ruled = false;
  #told = false;

  /** A user-agent line. @param group null: of somebody else */
  add(group: Group | null): void {
    if (this.#ruled) this.#named.clear();
    if (this.#ruled || this.#told) this.#delayed.clear();
    this.#ruled = false;
    this.#told = false;
    if (group === null) return;
    this.#named.add(group);
    this.#delayed.add(group);
  }

  ofRule(): Iterable<Group> {
    this.#ruled = true;
    return this.#named;
  }

  ofDelay(): Iterable<Group> {
    this.#told = true;
    return this.#delayed;
  }
}

/** The name of a line in lower case, and its value without comment and blanks. Not a pattern: `\s+$` takes quadratic time. */
function fieldOf(line: string): { name: string; value: string } {
  const end = line.indexOf('#');
  const text = end < 0 ? line : line.slice(0, end);
  const colon = text.indexOf(':');
  if (colon < 0) return { name: '', value: '' };
  return { name: trimmed(text.slice(0, colon)).toLowerCase(), value: trimmed(text.slice(colon + 1)) };
}

/** `trim` would also take the octet A0, with which a letter of UTF-8 may end. */
function trimmed(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d);
}

function longer(known: number | null, value: string): number | null {
  if (!/^(?:\d+\.?\d*|\.\d+)$/.test(value)) return known;
  return Math.max(known ?? 0, Number(value));
}
