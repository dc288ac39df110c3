import type { Downloader } from '../downloader/downloader.ts';
import { ROBOTS_MAX_BYTES, RobotsCache } from '../downloader/robots.ts';
import type { HostSlot } from '../frontier/host.ts';
import type { Reason } from '../model/request.ts';
import { USER_AGENT } from '../model/settings.ts';
import type { ParserPool } from '../parser/pool.ts';

const MAX_CRAWL_DELAY_MS = 60_000;
const TIMEOUT_MS = 15_000;

/** What robots.txt of a host says to some URLs of it. */
export type RobotsJudgement =
  | { kind: 'judged'; allowed: boolean[]; hasDelay: boolean }
  | { kind: 'unreachable'; reason: Reason; detail: string };

/** robots.txt of the hosts that this node holds, for pages and calls alike; read off the event loop. */
export class SiteRobots {
  readonly #parser: ParserPool;
  readonly #cache: RobotsCache;

  constructor(downloader: Downloader, parser: ParserPool) {
    this.#parser = parser;
    this.#cache = new RobotsCache((url) =>
      downloader.fetch({
        url,
        // One fetch serves every crawl, whatever their user agents; each is judged by its own name.
        headers: { 'user-agent': USER_AGENT, accept: 'text/plain,*/*;q=0.5' },
        timeoutMs: TIMEOUT_MS,
        maxBodyBytes: ROBOTS_MAX_BYTES,
        verifyTls: true,
        cutAtCap: true,
      }),
    );
  }

  /** Judges URLs of the host in one job, and notes its Crawl-delay there. Never rejects. */
  async judge(host: HostSlot, urls: string[], userAgent: string): Promise<RobotsJudgement> {
    try {
      const verdict = await this.#cache.get(host.origin);
      if (verdict.kind === 'unreachable') return verdict;
      if (verdict.kind === 'allow') return { kind: 'judged', allowed: urls.map(() => true), hasDelay: false };
      const { allowed, crawlDelaySeconds } = await this.#parser.robots({ text: verdict.text, urls, userAgent });
      host.crawlDelayMs = Math.min(MAX_CRAWL_DELAY_MS, (crawlDelaySeconds ?? 0) * 1000);
      return { kind: 'judged', allowed, hasDelay: host.crawlDelayMs > 0 };
    } catch (error) {
      const detail = `robots.txt could not be read: ${(error as Error).message}`.slice(0, 500);
      return { kind: 'unreachable', reason: 'robots_unreachable', detail };
    }
  }
}
