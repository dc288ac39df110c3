import type { CrawlWarning, ParsedPage } from '../model/outcome.ts';
import type { Settings } from '../model/settings.ts';

/** Of the limit, in one page. */
const LARGE_SHARE = 0.5;
/** On the mean, over so many pages. */
const SLOW_MS = 100;
const ENOUGH_PAGES = 20;

/** Watches what a crawl's page entries and callbacks cost on this node, and says once of each that it stands out. */
export class CpuWatch {
  readonly #settings: Pick<Settings, 'parseTimeoutMs'>;
  readonly #sums = new Map<string, { pages: number; ms: number }>();
  readonly #said = new Set<string>();

  constructor(settings: Pick<Settings, 'parseTimeoutMs'>) {
    this.#settings = settings;
  }

  /** What there is to say after this page. */
  see(url: string, cpu: ParsedPage['cpu']): CrawlWarning[] {
    const warnings: CrawlWarning[] = [];
    const limit = this.#settings.parseTimeoutMs;
    for (const key in cpu) {
      const ms = cpu[key]!;
      const sum = this.#sums.get(key) ?? { pages: 0, ms: 0 };
      this.#sums.set(key, sum);
      sum.pages++;
      sum.ms += ms;
      if (ms >= limit * LARGE_SHARE)
        warnings.push(
          ...this.#once(
            `${nameOf(key)} used `,
            `${count(ms)} ms of CPU on ${url}; parseTimeoutMs is ${limit}, and beyond it a page fails`,
          ),
        );
      const mean = sum.ms / sum.pages;
      if (sum.pages >= ENOUGH_PAGES && mean >= SLOW_MS)
        warnings.push(
          ...this.#once(
            `${nameOf(key)} takes `,
            `${count(mean)} ms of CPU a page (mean of ${sum.pages} pages): no more than ${count(1000 / mean)} pages a second on each core; GET /crawls/:id/stats shows \`cpu\``,
          ),
        );
    }
    return warnings;
  }

  /** A page was ended at a limit of the parser or the sandbox. */
  killed(url: string, detail: string): CrawlWarning[] {
    return this.#once('a page was ended at its limit: ', `${url}: ${detail}; the ledger lists all of them by reason`);
  }

  #once(about: string, rest: string): CrawlWarning[] {
    if (this.#said.has(about)) return [];
    this.#said.add(about);
    return [{ about, text: about + rest }];
  }
}

/** `callback parse` as «callback `parse`». */
function nameOf(key: string): string {
  const [kind, ...name] = key.split(' ');
  return `${kind} \`${name.join(' ')}\``;
}

function count(n: number): string {
  return Math.round(n).toLocaleString('en');
}
