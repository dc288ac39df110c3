import { createRequire } from 'node:module';

/** What a site's robots.txt says to a list of URLs. */
export interface RobotsAnswer {
  allowed: boolean[];
  /** Null: it names none. */
  crawlDelaySeconds: number | null;
}

/** RFC 9309 asks for 500 KiB at least; what is beyond is not read. */
const MAX_CHARS = 500 * 1024;
const MAX_CACHED = 64;
/** One name for every site, since the rules do not depend on it. */
const SITE = 'http://site.invalid';

interface Robots {
  isAllowed(url: string, agent: string): boolean | undefined;
  getCrawlDelay(agent: string): number | undefined;
}
/** The package's types promise a default export that it does not have. */
const robotsParser: (url: string, text: string) => Robots = createRequire(import.meta.url)('robots-parser');

const cache = new Map<string, Robots>();

/**
 * Judges URLs by a robots.txt as RFC 9309 says: the longest rule wins, Allow wins a tie, `*` and `$`, groups of the same
 * agent merged, agents compared by product token without case, `/robots.txt` itself always allowed.
 *
 * @param text the file
 * @param urls absolute URLs of that site
 * @param userAgent its product token is what stands before the first `/`
 */
export function judgeRobots(text: string, urls: readonly string[], userAgent: string): RobotsAnswer {
  const robots = parsed(text);
  const agent = userAgent.split('/', 1)[0]!.trim();
  const allowed = urls.map((url) => {
    const path = pathOf(url);
    return path === '/robots.txt' || (robots.isAllowed(SITE + path, agent) ?? true);
  });
  const delay = robots.getCrawlDelay(agent);
  return { allowed, crawlDelaySeconds: delay !== undefined && Number.isFinite(delay) && delay >= 0 ? delay : null };
}

function parsed(text: string): Robots {
  let robots = cache.get(text);
  if (robots === undefined) robots = robotsParser(`${SITE}/robots.txt`, normaliseLines(text.slice(0, MAX_CHARS)));
  else cache.delete(text);
  cache.set(text, robots);
  if (cache.size > MAX_CACHED) cache.delete(cache.keys().next().value!);
  return robots;
}

/**
 * robots-parser 3.0.1 differs from the RFC in what is mended here: a line that belongs to no group (Sitemap, Host, unknown
 * ones) ends a row of user-agent lines; an agent is compared whole instead of by its token; `%7E` is not `~`; a byte
 * order mark hides the first line.
 */
function normaliseLines(text: string): string {
  const lines: string[] = [];
  for (const line of text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/)) {
    const found = /^\s*([a-z-]+)\s*:\s*([^#]*)/i.exec(line);
    if (found === null) continue;
    const value = found[2]!.trim();
    switch (found[1]!.toLowerCase()) {
      case 'user-agent':
        lines.push(`User-agent: ${/^(?:\*|[\w-]+)/.exec(value)?.[0] ?? value}`);
        break;
      case 'allow':
      case 'disallow':
        lines.push(`${found[1]}: ${normalisePath(value)}`);
        break;
      case 'crawl-delay':
        lines.push(`Crawl-delay: ${value}`);
        break;
    }
  }
  return lines.join('\n');
}

function pathOf(url: string): string {
  const parsed = URL.parse(url);
  return parsed === null ? '/' : normalisePath(parsed.pathname + parsed.search);
}

/**
 * One spelling for rules and URLs: escapes of unreserved characters decoded, the others in upper case, and everything
 * escaped that a URL's path or query may hold either way.
 */
function normalisePath(path: string): string {
  return path
    .toWellFormed()
    .replace(/%([0-9a-f]{2})/gi, (whole, hex: string) => {
      const character = String.fromCharCode(Number.parseInt(hex, 16));
      return /[\w.~-]/.test(character) ? character : whole.toUpperCase();
    })
    .replace(/[^\x21-\x7e]+|[[\]|^\\"<>`{}']/g, (text) => (text === "'" ? '%27' : encodeURIComponent(text)));
}
