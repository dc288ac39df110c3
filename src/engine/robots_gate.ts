import type { CrawlRun } from '../frontier/crawl_run.ts';
import type { HostQueue } from '../frontier/host.ts';
import { sentUrl } from '../model/extra.ts';
import type { ClaimedRequest } from '../model/request.ts';
import { ended, outcomeOf, retryOrFail } from './outcomes.ts';
import type { Pages } from './pages.ts';
import type { RobotsJudgement, SiteRobots } from './site_robots.ts';

export interface RobotsGateOptions {
  robots: SiteRobots;
  /** Takes the outcomes of those that are not fetched. */
  pages: Pick<Pages, 'end'>;
  /** These are not to be fetched now: they go back to the ledger. */
  onLater: (queue: HostQueue, requests: ClaimedRequest[]) => void;
}

/** What robots.txt says to claimed requests, before they may be begun. */
export class RobotsGate {
  readonly #options: RobotsGateOptions;

  constructor(options: RobotsGateOptions) {
    this.#options = options;
  }

  /**
   * Asks for the claimed requests of one host queue, all in one job off the loop.
   *
   * @returns those that may be fetched; the others have their outcome, or are not to be fetched now
   */
  async admit(queue: HostQueue, requests: ClaimedRequest[]): Promise<ClaimedRequest[]> {
    // RFC 9309, 2.2.2: robots.txt itself may always be fetched.
    const exempt = requests.filter(({ extra }) => extra?.kind === 'robots');
    const asked = exempt.length === 0 ? requests : requests.filter(({ extra }) => extra?.kind !== 'robots');
    return asked.length === 0 ? exempt : [...exempt, ...(await this.#ask(queue, asked))];
  }

  async #ask(queue: HostQueue, requests: ClaimedRequest[]): Promise<ClaimedRequest[]> {
    const { robots, onLater } = this.#options;
    const { run, host } = queue;
    const verdict = await robots.judge(host, requests.map(sentUrl), { crawlId: run.id, settings: run.settings });
    switch (verdict.kind) {
      case 'judged':
        return requests.filter((request, i) => verdict.allowed[i] || this.#disallowed(request));
      case 'unreachable':
        return this.#unreachable(run, requests, verdict);
      case 'later':
        onLater(queue, requests);
        return [];
    }
  }

  #disallowed(request: ClaimedRequest): false {
    const ending = ended('skipped', 'robots', 'robots.txt disallows it');
    this.#options.pages.end(request, outcomeOf(request, null, Date.now(), ending));
    return false;
  }

  #unreachable(
    run: CrawlRun,
    requests: readonly ClaimedRequest[],
    failure: Extract<RobotsJudgement, { kind: 'unreachable' }>,
  ): [] {
    const now = Date.now();
    for (const request of requests) {
      const ending =
        failure.reason === 'egress'
          ? ended('skipped', failure.reason, failure.detail)
          : retryOrFail(request, run.settings, now, failure);
      this.#options.pages.end(request, outcomeOf(request, null, now, ending));
    }
    return [];
  }
}
