import type { Explanation } from '../model/explanation.ts';
import type { ParsedPage } from '../model/outcome.ts';
import type { Difference } from '../model/preview.ts';
import type { RenderPlan } from '../model/render.ts';
import type { ParsePlanInput, Problem, Spider } from '../model/spider.ts';
import type { CompareJob } from './compare.ts';
import { ParseFailure, ParserStopped, unexpected } from './failure.ts';
import { JobPool } from './job_pool.ts';
import type { PageJob, RobotsJob, SplitJob, StepsJob, StepsResult } from './protocol.ts';
import { JobQueue } from './queue.ts';
import type { RobotsAnswer } from './robots.ts';
import type { StartInput, StartPlan } from './start_requests.ts';

export { ParseFailure, ParserStopped };
export type { PageJob, RobotsAnswer, RobotsJob };

const CHECK_LIMIT_MS = 2000;
const ROBOTS_LIMIT_MS = 1000;

/**
 * Parses pages, judges robots.txt files, checks spiders and runs pipelines: everything that a stranger wrote is read in its
 * threads and never on the event loop.
 */
export class ParserPool extends JobPool {
  readonly #queues = new Map<string, JobQueue>();
  readonly #checks = new JobQueue('check');
  /** By crawl: a robots.txt that takes long delays the one that asks, and no other. */
  readonly #robots = new Map<string, JobQueue>();
  readonly #previews = new JobQueue('preview', { isMixed: true });

  /** Makes a crawl's plan known to all threads; again with the same crawl, it replaces the plan for later pages. */
  openCrawl(plan: ParsePlanInput): void {
    this.openPlan(plan);
    if (!this.#queues.has(plan.crawlId)) this.#queues.set(plan.crawlId, new JobQueue(plan.crawlId));
  }

  /** Forgets a crawl. Its waiting pages are rejected with `ParserStopped`; those in a thread are finished. */
  closeCrawl(crawlId: string): void {
    const queue = this.#queues.get(crawlId);
    if (queue === undefined) return;
    this.#queues.delete(crawlId);
    this.closePlan(crawlId);
    this.closeQueue(queue);
    const robots = this.#robots.get(crawlId);
    this.#robots.delete(crawlId);
    if (robots !== undefined) this.closeQueue(robots);
  }

  /**
   * Runs a crawl's spider on a page.
   *
   * @throws ParseFailure where the page cannot be parsed, ParserStopped where the crawl is not open
   */
  async parse(job: PageJob): Promise<ParsedPage> {
    const queue = this.#queues.get(job.crawlId);
    const answer = await this.submit({ kind: 'page', job }, queue, job.body.byteLength, this.limitOf(job.crawlId));
    if (answer.kind !== 'page') throw unexpected(answer);
    return answer.page;
  }

  /**
   * How a browser makes a page before it is parsed; null: it is parsed as it came.
   *
   * @param plan of a preview; null: that of the job's crawl
   * @throws ParseFailure, ParserStopped
   */
  async renderOf(job: PageJob, plan: ParsePlanInput | null = null): Promise<RenderPlan | null> {
    const queue = plan === null ? this.#queues.get(job.crawlId) : this.#previews;
    const answer = await this.submit({ kind: 'render', plan, job }, queue, 0, this.limitOf(job.crawlId));
    if (answer.kind !== 'render') throw unexpected(answer);
    return answer.render;
  }

  /**
   * Takes the items of a page on through the pipeline's steps.
   *
   * @throws ParseFailure: `pipeline_error` where a step failed and says so, ParserStopped where the crawl is not open
   */
  async steps(job: StepsJob): Promise<StepsResult> {
    const bytes = job.waiting.reduce((sum, item) => sum + item.size, 0);
    const queue = job.definition === null ? this.#queues.get(job.crawlId) : this.#previews;
    const answer = await this.submit({ kind: 'steps', job }, queue, bytes, this.limitOf(job.crawlId));
    if (answer.kind !== 'steps') throw unexpected(answer);
    return answer.items;
  }

  /** The members of a JSON list, each as JSON; null where it is no list. @throws ParseFailure, ParserStopped */
  async split(job: SplitJob): Promise<string[] | null> {
    const queue = this.#queues.get(job.crawlId) ?? this.#previews;
    const answer = await this.submit({ kind: 'split', job }, queue, job.text.length, this.limitOf(job.crawlId));
    if (answer.kind !== 'split') throw unexpected(answer);
    return answer.parts;
  }

  /**
   * Runs a spider on a page and tells why it made what it made. Nothing is kept: the explanation has every link, whether a crawl has
   * it or not.
   *
   * @throws ParseFailure where the page cannot be parsed. A response that is nothing to read is told in the explanation.
   */
  async preview(plan: ParsePlanInput, job: PageJob): Promise<{ page: ParsedPage; explanation: Explanation }> {
    const limitMs = plan.settings.parseTimeoutMs;
    const answer = await this.submit({ kind: 'preview', plan, job }, this.#previews, job.body.byteLength, limitMs);
    if (answer.kind !== 'preview') throw unexpected(answer);
    return { page: answer.page, explanation: answer.explanation };
  }

  /** How a page differs from what a sample expects. @throws ParseFailure where that takes too long */
  async compare(job: CompareJob): Promise<Difference[]> {
    const answer = await this.submit({ kind: 'compare', job }, this.#checks, 0, CHECK_LIMIT_MS);
    if (answer.kind !== 'compare') throw unexpected(answer);
    return answer.differences;
  }

  /** Every mistake of a spider that its schema cannot tell; pointers begin at the spider. */
  async check(spider: Spider): Promise<Problem[]> {
    try {
      const answer = await this.submit({ kind: 'check', spider }, this.#checks, 0, CHECK_LIMIT_MS);
      if (answer.kind !== 'check') throw unexpected(answer);
      return answer.problems;
    } catch (error) {
      if (!(error instanceof ParseFailure)) throw error;
      return [{ pointer: '', code: 'too_complex', message: `the spider could not be checked: ${error.message}` }];
    }
  }

  /** The first requests of a crawl, and every mistake of its start URLs and params; pointers begin at the posted crawl. */
  async planStart(input: StartInput): Promise<StartPlan> {
    try {
      const answer = await this.submit({ kind: 'start', input }, this.#checks, 0, CHECK_LIMIT_MS);
      if (answer.kind !== 'start') throw unexpected(answer);
      return answer.plan;
    } catch (error) {
      if (!(error instanceof ParseFailure)) throw error;
      const message = `the start URLs and params could not be worked out: ${error.message}`;
      const problems: Problem[] = [{ pointer: '/startUrls', code: 'too_complex', message }];
      return { requests: [], scopeHosts: [], warnings: [], problems };
    }
  }

  /** Judges URLs of one site by its robots.txt. @throws ParseFailure where that takes too long */
  async robots(job: RobotsJob): Promise<RobotsAnswer> {
    const queue = this.#robotsQueue(job.crawlId);
    const answer = await this.submit({ kind: 'robots', job }, queue, job.text.length, ROBOTS_LIMIT_MS);
    if (answer.kind !== 'robots') throw unexpected(answer);
    return answer.answer;
  }

  /** Not that of its pages: those may be slow, and a claim waits for robots.txt. */
  #robotsQueue(crawlId: string): JobQueue {
    if (!this.#queues.has(crawlId)) return this.#previews;
    const queue = this.#robots.get(crawlId) ?? new JobQueue(`robots of ${crawlId}`);
    this.#robots.set(crawlId, queue);
    return queue;
  }
}
