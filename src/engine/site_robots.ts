import type { Downloader } from '../downloader/downloader.ts';
import { ROBOTS_MAX_BYTES, RobotsCache } from '../downloader/robots.ts';
import type { HostSlot } from '../frontier/host.ts';
import type { Reason } from '../model/request.ts';
import type { FetchResult } from '../model/response.ts';
import { type Settings, USER_AGENT } from '../model/settings.ts';
import type { ParserPool } from '../parser/pool.ts';

const MAX_CRAWL_DELAY_MS = 60_000;
const TIMEOUT_MS = 15_000;
/** Ways of fetching that differ from the usual one, whose answers are kept: the least recently used go first. */
const MAX_WAYS = 100;

/** What decides how robots.txt is reached, and in whose name it is read. */
type Asker = Pick<Settings, 'userAgent' | 'verifyTls'>;

/** What robots.txt of a host says to some URLs of it. */
export type RobotsJudgement =
  | { kind: 'judged'; allowed: boolean[]; hasDelay: boolean }
  | { kind: 'unreachable'; reason: Reason; detail: string };

/** robots.txt of the hosts that this node holds, for pages and calls alike; read off the event loop. */
export class SiteRobots {
  readonly #downloader: Downloader;
  readonly #parser: ParserPool;
  /** By how they fetch: a crawl that does not verify certificates must not answer for one that does. */
  readonly #caches = new Map<string, RobotsCache>();

  constructor(downloader: Downloader, parser: ParserPool) {
    this.#downloader = downloader;
    this.#parser = parser;
  }

  /** Judges URLs of the host in one job, and notes its Crawl-delay there. Never rejects. */
  async judge(host: HostSlot, urls: string[], asker: Asker): Promise<RobotsJudgement> {
    const { userAgent } = asker;
    try {
      const verdict = await this.#cacheOf(asker).get(host.origin);
      if (verdict.kind === 'unreachable') return verdict;
      if (verdict.kind === 'allow') return { kind: 'judged', allowed: urls.map(() => true), hasDelay: false };
      const { allowed, crawlDelaySeconds } = await this.#parser.robots({
        crawlId: null,
        text: verdict.text,
        urls,
        userAgent,
      });
      host.crawlDelayMs = Math.min(MAX_CRAWL_DELAY_MS, (crawlDelaySeconds ?? 0) * 1000);
      return { kind: 'judged', allowed, hasDelay: host.crawlDelayMs > 0 };
    } catch (error) {
      const detail = `robots.txt could not be read: ${(error as Error).message}`.slice(0, 500);
      return { kind: 'unreachable', reason: 'robots_unreachable', detail };
    }
  }

  #cacheOf({ verifyTls }: Asker): RobotsCache {
    const way = JSON.stringify([verifyTls]);
    const cache = this.#caches.get(way) ?? new RobotsCache((url) => this.#fetch(url, verifyTls));
    this.#caches.delete(way);
    this.#caches.set(way, cache);
    if (this.#caches.size > MAX_WAYS) this.#caches.delete(this.#caches.keys().next().value!);
    return cache;
  }

  /** One fetch serves every crawl, whatever their user agents; each is judged by its own name. */
  #fetch(url: string, verifyTls: boolean): Promise<FetchResult> {
    return this.#downloader.fetch({
      url,
      headers: { 'user-agent': USER_AGENT, accept: 'text/plain,*/*;q=0.5' },
      timeoutMs: TIMEOUT_MS,
      maxBodyBytes: ROBOTS_MAX_BYTES,
      verifyTls,
      cutAtCap: true,
    });
  }
}
