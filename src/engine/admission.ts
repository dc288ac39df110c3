import type { CrawlRun } from '../frontier/crawl_run.ts';
import type { Frontier } from '../frontier/frontier.ts';
import type { HostQueue } from '../frontier/host.ts';
import type { ClaimedRequest } from '../model/request.ts';
import { CachedPages } from './cached_pages.ts';
import type { PageMemory } from './page_memory.ts';
import type { Pages } from './pages.ts';
import type { ResponseCache } from './response_cache.ts';
import { RobotsGate } from './robots_gate.ts';
import type { SiteRobots } from './site_robots.ts';

export interface AdmissionOptions {
  frontier: Frontier;
  pages: Pages;
  robots: SiteRobots;
  memory: PageMemory;
  cache: ResponseCache;
  /** Whether what responses of the crawl set changes what it sends. */
  hasCookies: (run: CrawlRun) => boolean;
  /** Something may be begun. */
  onAdmitted: () => void;
  log: { warn: (detail: object, message: string) => void };
}

/** What is asked between a request's claim and its beginning, and how many requests are under way. */
export class Admission {
  readonly #options: AdmissionOptions;
  /** Those whose response the cache has. */
  readonly cachedPages: CachedPages;
  readonly #gate: RobotsGate;
  #underWay = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    const { cache, frontier, pages, robots, hasCookies, onAdmitted } = options;
    const onWaiting = (n: number) => {
      this.#underWay -= n;
      onAdmitted();
    };
    this.cachedPages = new CachedPages({ cache, frontier, pages, hasCookies, onWaiting });
    this.#gate = new RobotsGate({ robots, pages, onLater: (queue, requests) => this.putBack(queue, requests) });
  }

  /** Requests between their claim and their outcome, but for those that wait to be begun. */
  get underWay(): number {
    return this.#underWay;
  }

  /**
   * What an earlier crawl scraped, or the cache has, needs no fetch. For the rest robots.txt is asked; what may be fetched goes
   * into the window.
   */
  async admit(queue: HostQueue, requests: ClaimedRequest[]): Promise<void> {
    this.#underWay += requests.length;
    const { memory, frontier, onAdmitted } = this.#options;
    const { dedup, cache, robots, hostGroup } = queue.run.settings;
    const wanted = dedup.scope === 'spider' ? await memory.admit(queue.run, requests) : requests;
    const toFetch = cache === null ? wanted : await this.cachedPages.admit(queue, wanted);
    if (hostGroup === 'address' && toFetch.length > 0 && !(await this.#isGrouped(queue))) {
      this.putBack(queue, toFetch);
      return;
    }
    const admitted = robots ? await this.#gate.admit(queue, toFetch) : toFetch;
    this.#underWay -= admitted.length;
    frontier.push(queue, admitted);
    onAdmitted();
  }

  async #isGrouped({ host }: HostQueue): Promise<boolean> {
    try {
      return await this.#options.frontier.grouping.place(host);
    } catch (error) {
      const about = { err: error, origin: host.origin };
      this.#options.log.warn(about, 'a host could not be grouped by its address; that is tried again');
      return false;
    }
  }

  /** What was begun has to be admitted anew. */
  readmit(queue: HostQueue, request: ClaimedRequest): void {
    this.#underWay--;
    void this.admit(queue, [request]);
  }

  /** They are not to be fetched now, or not by this node: they go back to the ledger. */
  putBack(queue: HostQueue, requests: ClaimedRequest[]): void {
    this.#underWay -= requests.length;
    this.#options.frontier.putBack(queue, requests);
  }

  begun(): void {
    this.#underWay++;
  }

  /** A request has its outcome. */
  ended(): void {
    this.#underWay--;
  }
}
