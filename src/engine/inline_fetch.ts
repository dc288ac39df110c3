import { setTimeout as sleep } from 'node:timers/promises';
import { type Downloader, transportOf } from '../downloader/downloader.ts';
import type { Frontier } from '../frontier/frontier.ts';
import type { HostSlot } from '../frontier/host.ts';
import { headerProblems } from '../model/headers.ts';
import type { FetchedResponse } from '../model/response.ts';
import { CallFailed, type FetchCall } from '../parser/script/calls.ts';
import type { Manners } from './manners.ts';
import { cacheRequest, type ResponseCache } from './response_cache.ts';
import { countCall, type Session } from './sessions.ts';
import type { SiteRobots } from './site_robots.ts';

/** Before robots.txt of a host that must be left alone is asked again. */
const LATER_MS = 250;

export interface InlineFetcherOptions {
  frontier: Frontier;
  downloader: Downloader;
  robots: SiteRobots;
  manners: Manners;
  cache: ResponseCache;
}

/**
 * Fetches that are in no ledger: what scripts fetch while their page waits, and previews. All that holds for a crawl's pages
 * holds for them: the host's lease (invariant 5), its delay, concurrency, Crawl-delay and back-off together with the pages,
 * robots.txt, the crawl's cookies, the egress guard. A call that waits holds no slot (invariant 6).
 */
export class InlineFetcher {
  readonly #options: InlineFetcherOptions;
  readonly #stopping = new AbortController();

  constructor(options: InlineFetcherOptions) {
    this.#options = options;
  }

  /**
   * Fetches one hop; redirects come back as responses.
   *
   * @param signal gives up, at any stage
   * @throws CallFailed with a reason of the ledger's list, `host_busy`, `bad_header` or `aborted`
   */
  async fetch(session: Session, call: FetchCall, signal: AbortSignal): Promise<FetchedResponse> {
    countCall(session, 'fetch');
    try {
      return await this.#fetch(session, call, AbortSignal.any([signal, this.#stopping.signal]));
    } catch (error) {
      countCall(session, 'fetch failed');
      if (error instanceof CallFailed || !(signal.aborted || this.#stopping.signal.aborted)) throw error;
      throw new CallFailed('aborted', 'the call was given up');
    }
  }

  /** Ends what is waiting and what is under way. Nothing is fetched any more. */
  stop(): void {
    this.#stopping.abort();
  }

  async #fetch(session: Session, call: FetchCall, signal: AbortSignal): Promise<FetchedResponse> {
    const [wrong] = headerProblems(call.headers, '');
    if (wrong !== undefined) throw new CallFailed('bad_header', `${wrong.pointer.slice(1)}: ${wrong.message}`);
    if (session.settings.cache === null) return this.#ask(session, call, null, signal);
    const asked = cacheRequest(session.settings, { ...call, headers: headersFor(session, call) });
    const { cache } = this.#options;
    const fetching = cache.fetch(asked, (sent) => this.#ask(session, call, sent, signal));
    const fetched = await unlessAborted(fetching, signal);
    if (fetched.kind === 'failure') throw new CallFailed(fetched.reason, fetched.detail);
    if (fetched.cached !== undefined) session.jar?.store(call.url, fetched.headers['set-cookie']);
    await unlessAborted(cache.store(asked, fetched, Date.now()), signal);
    return fetched;
  }

  /** Asks the site. @param headers null: those that the session has when its turn comes */
  async #ask(
    session: Session,
    call: FetchCall,
    headers: Readonly<Record<string, string>> | null,
    signal: AbortSignal,
  ): Promise<FetchedResponse> {
    const { origin } = new URL(call.url);
    const { loans } = this.#options.frontier;
    const patience = session.settings.callbackTimeoutMs / 2;
    for (;;) {
      const host = await this.#hold(origin, patience, signal);
      try {
        if (session.settings.hostGroup === 'address' && !(await this.#options.frontier.grouping.place(host)))
          throw new CallFailed('host_busy', `another node fetches from the address of ${origin}`);
        if (session.settings.robots && !(await this.#askRobots(host, call.url, session))) {
          await sleep(LATER_MS, undefined, { signal });
          continue;
        }
        if (await loans.turn(host, session.caller, signal))
          return await this.#send(host, session, call, headers, signal);
      } finally {
        loans.release(host, Date.now());
      }
    }
  }

  /** Another node may hold the host for as long as it crawls it: that is said before the callback's time is over. */
  async #hold(origin: string, patienceMs: number, signal: AbortSignal): Promise<HostSlot> {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), patienceMs);
    try {
      return await this.#options.frontier.loans.hold(origin, AbortSignal.any([signal, patience.signal]));
    } catch (error) {
      if (signal.aborted) throw error;
      throw new CallFailed(
        'host_busy',
        `${origin} is crawled by another node, and only one node fetches from a host; it was not free within ${patienceMs} ms (half of callbackTimeoutMs)`,
      );
    } finally {
      clearTimeout(timer);
    }
  }

  /** @returns false where robots.txt could not be asked yet */
  async #askRobots(host: HostSlot, url: string, session: Session): Promise<boolean> {
    const verdict = await this.#options.robots.judge(host, [url], session);
    if (verdict.kind === 'later') return false;
    if (verdict.kind === 'unreachable') throw new CallFailed(verdict.reason, verdict.detail);
    if (verdict.allowed[0]) return true;
    const { userAgent } = session.settings;
    throw new CallFailed('robots', `robots.txt disallows ${url} to ${userAgent}; the setting \`robots\` is on`);
  }

  async #send(
    host: HostSlot,
    session: Session,
    call: FetchCall,
    headers: Readonly<Record<string, string>> | null,
    signal: AbortSignal,
  ): Promise<FetchedResponse> {
    const { downloader, manners } = this.#options;
    const fetched = await manners.call(host, session.caller, async (onSent) => {
      const sent = {
        url: call.url,
        method: call.method,
        headers: headers ?? headersFor(session, call),
        body: call.body ?? undefined,
        ...transportOf(session.settings),
        onSent,
      };
      const result = await downloader.fetch(sent, signal);
      signal.throwIfAborted();
      return result;
    });
    if (fetched.kind === 'failure') throw new CallFailed(fetched.reason, fetched.detail);
    session.jar?.store(call.url, fetched.headers['set-cookie']);
    return fetched;
  }
}

/** The cache waits for the database longer than a call may. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}

function headersFor(session: Session, call: FetchCall): Record<string, string> {
  const cookie = session.jar?.header(call.url);
  return {
    ...session.headersTo(call.url),
    ...(cookie === undefined ? {} : { cookie }),
    ...call.headers,
  };
}
