import { type CrawlRun, hasRoom } from '../frontier/crawl_run.ts';
import type { Frontier } from '../frontier/frontier.ts';
import type { HostQueue } from '../frontier/host.ts';
import { hold, letGo } from '../frontier/window.ts';
import type { ClaimedRequest } from '../model/request.ts';
import type { Pages } from './pages.ts';
import { type CachedPage, keyOf, type ResponseCache } from './response_cache.ts';

export interface CachedPagesOptions {
  cache: ResponseCache;
  frontier: Pick<Frontier, 'scheduler' | 'push'>;
  pages: Pick<Pages, 'asks' | 'missed'>;
  /** Whether what responses set changes what is sent. */
  hasCookies: (run: CrawlRun) => boolean;
  /** So many claimed requests wait here now: `next` is due. */
  onWaiting: (n: number) => void;
}

/**
 * The claimed requests whose response the cache has: they need no robots.txt, no turn at their host, no slot and no delay.
 * They wait here until their crawl and the parser have room, each crawl in its turn, and are read only then.
 */
export class CachedPages {
  readonly #options: CachedPagesOptions;
  /** By crawl, in the order of their turns. None is empty. */
  readonly #lanes = new Map<string, CachedPage[]>();
  #stopped = false;

  constructor(options: CachedPagesOptions) {
    this.#options = options;
  }

  /**
   * Takes those requests of one host queue that the cache has. What is missing may be stored under the cookies that these
   * set, as where a site greets its first visitor with one: where they change what would be sent, it is looked up again.
   * Never rejects.
   *
   * @returns those that are to be fetched
   */
  async admit(queue: HostQueue, requests: readonly ClaimedRequest[]): Promise<ClaimedRequest[]> {
    const missing: ClaimedRequest[] = [];
    for (let asked = [...requests]; asked.length > 0; ) {
      const { found, others } = await this.#find(queue, asked);
      const settled = this.#wait(queue, found);
      const mayChange = found.length > 0 && others.length > 0 && this.#options.hasCookies(queue.run);
      if (mayChange) await settled;
      asked = [];
      for (const { request, key } of others)
        if (mayChange && !this.#stopped && this.#keyOf(queue, request) !== key) asked.push(request);
        else missing.push(request);
    }
    if (queue.run.settings.cache?.mode !== 'only' || this.#stopped) return missing;
    for (const request of missing) this.#options.pages.missed(request);
    return [];
  }

  /** The next whose crawl has room; null: none. */
  next(): CachedPage | null {
    for (const [id, lane] of this.#lanes) {
      while (lane.length > 0 && isGone(lane[0]!.queue)) this.#turnAway(lane.shift()!);
      if (lane.length === 0) this.#lanes.delete(id);
      else if (hasRoom(lane[0]!.queue.run)) return this.#takeFrom(id, lane);
    }
    return null;
  }

  /** Nothing waits any more: what is here goes back with its host. */
  stop(): void {
    this.#stopped = true;
    for (const page of [...this.#lanes.values()].flat()) page.settle();
    this.#lanes.clear();
  }

  async #find(queue: HostQueue, requests: readonly ClaimedRequest[]) {
    const { cache, pages } = this.#options;
    const asked = requests.map((request) => ({ request, about: pages.asks(request, queue) }));
    const keyed = asked.map(({ request, about }) => ({ request, about, key: keyOf(about) }));
    const byKey = new Map(keyed.map(({ key, about }) => [key, about]));
    const sizes = await cache.find(queue.run.settings.cache!, byKey);
    const found = keyed.flatMap(({ request, key }) => {
      const size = this.#stopped ? undefined : sizes.get(key);
      return size === undefined ? [] : [{ request, queue, key, size }];
    });
    return { found, others: this.#stopped ? keyed : keyed.filter(({ key }) => !sizes.has(key)) };
  }

  #keyOf(queue: HostQueue, request: ClaimedRequest): string {
    return keyOf(this.#options.pages.asks(request, queue));
  }

  /** Resolves when the cookies of all are in the jar. */
  async #wait(queue: HostQueue, found: readonly Omit<CachedPage, 'settle'>[]): Promise<void> {
    if (found.length === 0) return;
    const lane = this.#lanes.get(queue.run.id) ?? [];
    this.#lanes.set(queue.run.id, lane);
    const settled = found.map((page) => new Promise<void>((settle) => lane.push({ ...page, settle })));
    hold(this.#options.frontier.scheduler, queue, found.length);
    this.#options.onWaiting(found.length);
    await Promise.all(settled);
  }

  /** The crawl's next turn comes after those of the others. */
  #takeFrom(id: string, lane: CachedPage[]): CachedPage {
    const page = lane.shift()!;
    this.#lanes.delete(id);
    if (lane.length > 0) this.#lanes.set(id, lane);
    letGo(this.#options.frontier.scheduler, page.queue);
    return page;
  }

  #turnAway({ queue, request, settle }: CachedPage): void {
    letGo(this.#options.frontier.scheduler, queue);
    this.#options.frontier.push(queue, [request]);
    settle();
  }
}

/** Its crawl was dropped, or its host is lost or handed on. */
function isGone(queue: HostQueue): boolean {
  const { host, run } = queue;
  return host.queues.get(run.id) !== queue;
}
