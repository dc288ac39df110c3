import { patiently, type Sql } from '../db/client.ts';
import { readState } from '../db/crawl_state.ts';
import { LookupFailed, type Lookups } from '../db/lookups.ts';
import { type CrawlRun, parsePlanOf } from '../frontier/crawl_run.ts';
import type { ParsedPage } from '../model/outcome.ts';
import type { ParsePlanInput } from '../model/spider.ts';
import { ParseFailure, ParserStopped } from '../parser/failure.ts';
import type { PageJob } from '../parser/protocol.ts';
import { CallFailed, type ScriptCalls } from '../parser/script/calls.ts';
import type { InlineFetcher } from './inline_fetch.ts';
import { countCall, type Session } from './sessions.ts';

/** What the engine asks of the sandbox; see ScriptPool in parser/script/pool.ts. */
export interface ScriptRunner {
  openCrawl(plan: ParsePlanInput, calls: ScriptCalls): void;
  closeCrawl(crawlId: string): void;
  run(job: PageJob): Promise<ParsedPage>;
  stop(): Promise<void>;
  readonly hasRoom: boolean;
  readonly boundary: { kind: 'bubblewrap' | 'process'; detail: string };
  readonly busyProcesses: number;
  readonly kills: number;
}

export interface ScriptsOptions {
  sql: Sql;
  /** Null: scripts are off on this node. */
  pool: ScriptRunner | null;
  fetcher: InlineFetcher;
  lookups: Lookups;
}

/** Crawls whose spider is a script: their pages go to the sandbox, and its calls come back here. */
export class Scripts {
  readonly #options: ScriptsOptions;
  readonly #open = new Set<string>();

  constructor(options: ScriptsOptions) {
    this.#options = options;
  }

  /** Again for the same crawl, it does nothing: no setting that may change is the sandbox's. @param session as it is by then */
  openCrawl(run: CrawlRun, session: () => Session): void {
    if (run.definition.script === undefined || this.#open.has(run.id)) return;
    this.#open.add(run.id);
    const { pool } = this.#options;
    if (pool === null) return;
    // Not asked of the whole node: the calls that its pages wait for must go on.
    run.takesPages = () => pool.hasRoom;
    pool.openCrawl(parsePlanOf(run), this.callsOf(session, run.id));
  }

  closeCrawl(crawlId: string): void {
    if (this.#open.delete(crawlId)) this.#options.pool?.closeCrawl(crawlId);
  }

  /** @throws ParseFailure, ParserStopped */
  run(job: PageJob): Promise<ParsedPage> {
    const { pool } = this.#options;
    if (pool === null)
      throw new ParseFailure('script_error', 'scripts are off on the node that fetched the page (SCRIPTS)');
    if (!this.#open.has(job.crawlId)) throw new ParserStopped('the crawl is not open');
    return pool.run(job);
  }

  /** Ends what runs: its pages are rejected with `ParserStopped`, whatever they wait for. */
  async stop(): Promise<void> {
    await this.#options.pool?.stop();
  }

  /** The outside of a crawl's scripts, or of a preview's. @param crawlId null: there is no committed state */
  callsOf(session: () => Session, crawlId: string | null): ScriptCalls {
    const { sql, fetcher, lookups } = this.#options;
    return {
      fetch: (call, signal) => fetcher.fetch(session(), call, signal),
      lookup: async (connection, query, params, signal) => {
        countCall(session(), 'lookup');
        try {
          return await lookups.query(connection, query, params, signal);
        } catch (error) {
          countCall(session(), 'lookup failed');
          throw error instanceof LookupFailed ? new CallFailed(error.code, error.message) : error;
        }
      },
      readState: async (key, signal) =>
        crawlId === null ? null : patiently(() => readState(sql, crawlId, key), signal),
    };
  }
}
