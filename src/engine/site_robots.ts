import type { Downloader } from '../downloader/downloader.ts';
import { type KnownRobots, ROBOTS_MAX_BYTES, RobotsCache } from '../downloader/robots.ts';
import type { Frontier } from '../frontier/frontier.ts';
import { type Caller, crawlDelayOf, type HostSlot } from '../frontier/host.ts';
import type { Reason } from '../model/request.ts';
import type { FetchResult } from '../model/response.ts';
import { type Settings, USER_AGENT } from '../model/settings.ts';
import { ParserStopped } from '../parser/failure.ts';
import type { ParserPool } from '../parser/pool.ts';
import type { Manners } from './manners.ts';

const TIMEOUT_MS = 15_000;
/** Whoever would wait for longer than this until the file may be fetched is told to come again. */
const PATIENCE_MS = 2000;
/** Ways of fetching that differ from the usual one, whose answers are kept: the least recently used go first. */
const MAX_WAYS = 100;
/** Of each of them: a client may name as many proxies as it likes, and be each site behind them. */
const UNUSUAL_BOUNDS = { origins: 2000, length: 2 * 1024 * 1024 };
const MAX_PROXIES_ASKED = 3;

/** Who asks what robots.txt says. */
interface Asker {
  crawlId: string;
  settings: Settings;
}

/** What robots.txt of a host says to some URLs of it. */
export type RobotsJudgement =
  | { kind: 'judged'; allowed: boolean[] }
  /** The host must be left alone for now, or is being handed on. */
  | { kind: 'later' }
  /** `waitMs`: until it is asked again. */
  | { kind: 'unreachable'; reason: Reason; detail: string; waitMs: number };

/** What one file says to one user agent. */
interface Reading {
  allowsAll: boolean;
  crawlDelayMs: number;
}

export interface SiteRobotsOptions {
  downloader: Downloader;
  parser: ParserPool;
  frontier: Frontier;
  manners: Manners;
}

/**
 * robots.txt of the hosts that this node holds, for pages and calls alike; read off the event loop. Its fetch is one of the
 * host's: it waits its turn, and what the host answers is heeded.
 */
export class SiteRobots {
  readonly #options: SiteRobotsOptions;
  /** By how they fetch: a crawl that does not verify certificates, or whose proxy fails, must not answer for others. */
  readonly #caches = new Map<string, RobotsCache>();
  /** By user agent: a file that allows all is read once for each. */
  readonly #readings = new WeakMap<KnownRobots, Map<string, Reading>>();
  readonly #stopping = new AbortController();

  constructor(options: SiteRobotsOptions) {
    this.#options = options;
  }

  /** Fetches nothing any more; whoever waits is told to come later. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Judges URLs of the host in one job, and notes its Crawl-delay there. Never rejects. */
  async judge(host: HostSlot, urls: string[], asker: Asker): Promise<RobotsJudgement> {
    try {
      const known = await this.#cacheOf(asker).get(host.origin, (url) => this.#fetch(host, url, asker));
      const { verdict } = known;
      switch (verdict.kind) {
        case 'unasked':
          return { kind: 'later' };
        case 'unreachable':
          return { ...verdict, waitMs: Math.max(0, known.expires - Date.now()) };
        case 'allow':
          this.#noteDelay(host, known, asker, 0);
          return { kind: 'judged', allowed: urls.map(() => true) };
        case 'rules':
          return { kind: 'judged', allowed: await this.#read(host, urls, known, verdict.text, asker) };
      }
    } catch (error) {
      if (error instanceof ParserStopped) return { kind: 'later' };
      const detail = `robots.txt could not be read: ${(error as Error).message}`.slice(0, 500);
      return { kind: 'unreachable', reason: 'robots_unreachable', detail, waitMs: 0 };
    }
  }

  async #read(host: HostSlot, urls: string[], known: KnownRobots, text: string, asker: Asker): Promise<boolean[]> {
    const { userAgent } = asker.settings;
    const readings = this.#readings.get(known) ?? new Map<string, Reading>();
    this.#readings.set(known, readings);
    const reading = readings.get(userAgent);
    if (reading?.allowsAll) {
      this.#noteDelay(host, known, asker, reading.crawlDelayMs);
      return urls.map(() => true);
    }
    const answer = await this.#options.parser.robots({ crawlId: asker.crawlId, text, urls, userAgent });
    const crawlDelayMs = (answer.crawlDelaySeconds ?? 0) * 1000;
    readings.set(userAgent, { allowsAll: answer.allowsAll, crawlDelayMs });
    this.#noteDelay(host, known, asker, crawlDelayMs);
    return answer.allowed;
  }

  /** Where the delay is news, it counts from the fetch of the file on. */
  #noteDelay(host: HostSlot, known: KnownRobots, { settings }: Asker, crawlDelayMs: number): void {
    if (host.crawlDelays.get(settings.userAgent) === crawlDelayMs) return;
    const { scheduler, memory } = this.#options.frontier;
    host.crawlDelays.set(settings.userAgent, crawlDelayMs);
    if (crawlDelayMs > 0) scheduler.block(host, known.askedAt + crawlDelayOf(host, settings));
    memory.noteCrawlDelay(host);
  }

  #cacheOf({ settings: { verifyTls, proxy } }: Asker): RobotsCache {
    const way = JSON.stringify([verifyTls, proxy]);
    const cache = this.#caches.get(way) ?? new RobotsCache(verifyTls && proxy === null ? undefined : UNUSUAL_BOUNDS);
    this.#caches.delete(way);
    this.#caches.set(way, cache);
    if (this.#caches.size > MAX_WAYS) this.#caches.delete(this.#caches.keys().next().value!);
    return cache;
  }

  /** One hop, in the host's turn; null where that does not come soon. A redirect to another origin is followed as it is. */
  async #fetch(host: HostSlot, url: string, asker: Asker): Promise<FetchResult | null> {
    const { manners } = this.#options;
    if (new URL(url).origin !== host.origin) return this.#send(url, asker);
    const caller = { id: `robots for ${asker.crawlId}`, settings: asker.settings };
    if (!(await this.#turn(host, caller))) return null;
    return manners.call(host, caller, (onSent) => this.#send(url, asker, onSent));
  }

  async #turn(host: HostSlot, caller: Caller): Promise<boolean> {
    const { signal } = this.#stopping;
    if (signal.aborted || host.nextAt > Date.now() + PATIENCE_MS) return false;
    return this.#options.frontier.loans.turn(host, caller, signal).catch(() => false);
  }

  /** A proxy that fails says nothing of the site: where the crawl has others, some are asked before that is concluded. */
  async #send(url: string, asker: Asker, onSent?: () => void): Promise<FetchResult> {
    const { proxy } = asker.settings;
    const proxies = Array.isArray(proxy) ? Math.min(proxy.length, MAX_PROXIES_ASKED) : 1;
    for (let asked = 1; ; asked++) {
      const result = await this.#sendOnce(url, asker, onSent);
      if (result.kind === 'response' || result.reason !== 'proxy' || asked >= proxies) return result;
    }
  }

  /** One fetch serves every crawl, whatever their user agents; each is judged by its own name. */
  #sendOnce(url: string, { settings: { verifyTls, proxy } }: Asker, onSent?: () => void): Promise<FetchResult> {
    return this.#options.downloader.fetch({
      url,
      headers: { 'user-agent': USER_AGENT, accept: 'text/plain,*/*;q=0.5' },
      timeoutMs: TIMEOUT_MS,
      maxBodyBytes: ROBOTS_MAX_BYTES,
      cutAtCap: true,
      verifyTls,
      proxy,
      ...(onSent === undefined ? {} : { onSent }),
    });
  }
}
