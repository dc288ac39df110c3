/**
 * The crawl: the only code that knows all stages. See docs/architecture.md for the way of a page.
 *
 * The invariants, and where each one is kept:
 *  1 one row per (crawl, fingerprint)            db/discoveries.ts, insertDiscoveries
 *  2 one outcome, one transaction                pipeline/commit.ts
 *  3 fenced                                      db/hosts.ts, fencedHosts; db/outcomes.ts, finishRequests
 *  4 gapless, commit-ordered offsets             pipeline/commit.ts, placeItems under lockForCommit
 *  5 one origin, one owner                       frontier/leases.ts, loans.ts for calls; db/hosts.ts, acquireHosts; of an
 *                                                address too: claimAddress
 *  6 a host that must wait holds nothing         frontier/scheduler.ts, pages and calls alike
 *  7 nothing user-supplied on the event loop     parser/pool.ts, also for robots.txt and redirects' scope; parser/script;
 *                                                renderer/thread.ts
 *  8 the ledger reconciles                       check constraint ledger_reconciles; db/crawl_counters.ts
 *  9 attempts are counted where no crash loses them   db/claims.ts, claim and recoverHosts
 * 10 the address checked is the address dialled  downloader/egress.ts, through proxies and for browsers as well
 * 11 crawls share nothing but politeness         the keys of every table; sessions.ts. What they ask to share: pipeline/dedupe.ts,
 *                                                spaceOf; response_cache.ts, keyOf
 * 12 stopping is orderly                         Engine.stop
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../db/client.ts';
import type { Lookups } from '../db/lookups.ts';
import { forgetDeadNodes } from '../db/nodes.ts';
import type { Downloader } from '../downloader/downloader.ts';
import { type CrawlRun, CrawlRuns, parsePlanOf } from '../frontier/crawl_run.ts';
import { Frontier } from '../frontier/frontier.ts';
import type { HostQueue } from '../frontier/host.ts';
import { Leases } from '../frontier/leases.ts';
import type { KnownFingerprints } from '../model/known.ts';
import type { Outcome } from '../model/outcome.ts';
import type { ParserPool } from '../parser/pool.ts';
import type { ScriptCalls } from '../parser/script/calls.ts';
import type { CommitResult } from '../pipeline/commit.ts';
import { Committer } from '../pipeline/committer.ts';
import { Admission } from './admission.ts';
import { queuesOf, rememberDiscoveries } from './discovered.ts';
import { Endings } from './endings.ts';
import { InlineFetcher } from './inline_fetch.ts';
import { Loop, reporter } from './loop.ts';
import { Manners } from './manners.ts';
import { PageMemory } from './page_memory.ts';
import { Pages } from './pages.ts';
import { type PageRenderer, Rendering } from './rendering.ts';
import { ResponseCache } from './response_cache.ts';
import { type ScriptRunner, Scripts } from './scripts.ts';
import { type Session, Sessions } from './sessions.ts';
import { SiteRobots } from './site_robots.ts';
import { Starter } from './starter.ts';
import { StepCalls } from './step_calls.ts';

const SURVEY_MS = 500;
const BEAT_MS = 2500;
const JANITOR_MS = 1000;

export interface EngineOptions {
  sql: Sql;
  nodeId: string;
  role: 'all' | 'api' | 'worker';
  maxFetches: number;
  downloader: Downloader;
  parser: ParserPool;
  /** The sandbox; null: scripts are off on this node. */
  scripts: ScriptRunner | null;
  lookups: Lookups;
  /** For the calls of pipeline steps: it has an egress policy of its own. */
  callDownloader: Downloader;
  /** Null: this node renders no pages. */
  renderer: PageRenderer | null;
  known: KnownFingerprints;
  /** Bytes of responses that crawls with `cache` keep, in all. */
  cacheBytes: number;
  /** After each commit: these crawls have something new. */
  onCommitted: (crawlIds: Iterable<string>) => void;
  log: {
    info: (detail: object, message: string) => void;
    warn: (detail: object, message: string) => void;
    error: (detail: object, message: string) => void;
  };
}

export class Engine {
  readonly #options: EngineOptions;
  readonly #leases: Leases;
  readonly #runs: CrawlRuns;
  readonly #pages: Pages;
  readonly #robots: SiteRobots;
  readonly #sessions: Sessions;
  readonly #scripts: Scripts;
  readonly #admission: Admission;
  readonly #starter: Starter;
  readonly cache: ResponseCache;
  /** For the items of previews as well. */
  readonly steps: StepCalls;
  /** For previews as well. */
  readonly rendering: Rendering;
  readonly frontier: Frontier;
  /** For previews; calls of scripts go the same way. */
  readonly fetcher: InlineFetcher;
  readonly committer: Committer;
  readonly #work: Loop;
  readonly #beat: Loop;
  readonly #janitor: Loop;
  readonly #endings: Endings;
  #surveyAt = 0;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { sql, nodeId, role, parser, downloader, log } = options;
    this.#leases = new Leases(sql, nodeId, role);
    this.#sessions = new Sessions(sql, nodeId);
    this.#runs = new CrawlRuns(
      sql,
      (run) => this.#openCrawl(run),
      (run) => this.#closeCrawl(run.id),
    );
    this.frontier = new Frontier({
      sql,
      leases: this.#leases,
      runs: this.#runs,
      syncCookies: (versions) => this.#sessions.syncCookies(versions),
      addressOf: (origin) => downloader.addressOf(origin),
      onClaimed: (queue, requests) => void this.#admission.admit(queue, requests),
      onWanted: () => this.#work.wake(),
      onCall: () => this.#pump(),
    });
    const { frontier } = this;
    const onEnded = () => this.#pump();
    const manners = new Manners(frontier, onEnded);
    this.cache = new ResponseCache({ sql, maxBytes: options.cacheBytes, log });
    const { cache } = this;
    this.#robots = new SiteRobots({ downloader, parser, frontier, manners });
    this.fetcher = new InlineFetcher({ frontier, downloader, robots: this.#robots, manners, cache });
    this.#scripts = new Scripts({ sql, pool: options.scripts, fetcher: this.fetcher, lookups: options.lookups });
    this.steps = new StepCalls({ downloader: options.callDownloader, lookups: options.lookups, parser });
    this.rendering = new Rendering(options.renderer, parser);
    const onOutcome = (outcome: Outcome) => this.#outcome(outcome);
    const [hasRoom, isStopping] = [() => this.committer.hasRoom, () => this.#starter.isStopped];
    const { rendering } = this;
    const memory = new PageMemory({ sql, parser, onOutcome, hasRoom, isStopping, rendering, log });
    this.#pages = this.#newPages(manners, memory, onOutcome);
    const hasCookies = ({ id }: CrawlRun) => this.#sessions.get(id)?.jar != null;
    this.#admission = new Admission({
      frontier,
      pages: this.#pages,
      robots: this.#robots,
      memory,
      cache,
      hasCookies,
      onAdmitted: onEnded,
      log,
    });
    this.committer = new Committer({
      sql,
      nodeId,
      notify: () => this.#leases.hasOthers,
      isStarved: () => this.frontier.scheduler.windowed === 0,
      outstanding: () => this.frontier.scheduler.outstanding,
      onCommitted: (result, batch) => this.#committed(result, batch),
      log,
    });
    const { onCommitted } = options;
    const onOver = (id: string, how: string) => this.#ended(id, how);
    this.#endings = new Endings({ sql, notify: () => this.hasOthers, onEnded: onOver, onCommitted });
    this.#starter = this.#newStarter();
    this.#work = new Loop(50, () => this.#step(), reporter(log, 'the work loop'));
    this.#beat = new Loop(BEAT_MS, () => this.#heartbeat(), reporter(log, 'the heartbeat'));
    this.#janitor = new Loop(JANITOR_MS, () => this.#cleanUp(), reporter(log, 'the janitor'));
  }

  #newStarter(): Starter {
    const { downloader, parser, maxFetches } = this.#options;
    return new Starter({
      frontier: this.frontier,
      admission: this.#admission,
      pages: this.#pages,
      committer: this.committer,
      leases: this.#leases,
      downloader,
      parser,
      maxFetches,
      onLow: () => this.#work.wake(),
    });
  }

  #newPages(manners: Manners, memory: PageMemory, onOutcome: (outcome: Outcome) => void): Pages {
    const { downloader, parser, log } = this.#options;
    return new Pages({
      downloader,
      parser,
      scripts: this.#scripts,
      steps: this.steps,
      rendering: this.rendering,
      manners,
      sessions: this.#sessions,
      memory,
      cache: this.cache,
      onOutcome,
      onSent: ({ host }) => this.frontier.scheduler.sent(host, Date.now()) && this.#pump(),
      onFetched: (queue) => this.#fetched(queue),
      onParsed: (run) => this.#freed(run),
      onEvicted: (queue, request) => this.#admission.readmit(queue, request),
      log,
    });
  }

  /** Whether the lease is valid and the loops run. */
  get healthy(): boolean {
    return this.#leases.valid;
  }

  /** Whether other nodes are there to be told of a change. */
  get hasOthers(): boolean {
    return this.#leases.hasOthers;
  }

  get nodeId(): string {
    return this.#options.nodeId;
  }

  get role(): EngineOptions['role'] {
    return this.#options.role;
  }

  get crawls(): number {
    return this.#runs.size;
  }

  /** Requests between their claim and their outcome. */
  get underWay(): number {
    return this.#admission.underWay;
  }

  /** The outside of the scripts of a preview. */
  callsOf(session: Session): ScriptCalls {
    return this.#scripts.callsOf(() => session, null);
  }

  async start(): Promise<void> {
    await this.#leases.beat();
    await this.#leases.buryDeadNeighbours();
    this.#beat.start();
    this.#work.start();
    if (this.#options.role !== 'api') this.#janitor.start();
  }

  /** Something changed that the database knows and this node may not: a crawl started, resumed, was paused or changed. */
  wake(): void {
    this.#surveyAt = 0;
    this.#work.wake();
  }

  /**
   * Takes no more work, lets what is in flight end and commit within the grace time, hands back the rest, and releases
   * the leases, so that another node goes on within seconds.
   */
  async stop(graceMs: number): Promise<void> {
    this.#starter.stop();
    // First the scripts: one that saw its calls fail might go on without them, and its items would be kept.
    const scripts = this.#scripts.stop();
    this.fetcher.stop();
    this.#robots.stop();
    this.#admission.cachedPages.stop();
    const deadline = AbortSignal.timeout(graceMs);
    // Most calls of steps, and most pages in the browser, are over soon; pages that are not are fetched again.
    const patience = setTimeout(() => this.#giveUp(), graceMs / 4);
    await Promise.all([this.#work.stop(), this.#janitor.stop(), scripts]);
    while (this.underWay > 0 && !deadline.aborted) await sleep(10);
    clearTimeout(patience);
    this.#giveUp();
    this.cache.stop();
    await this.committer.stop(deadline);
    await this.#beat.stop();
    try {
      await this.frontier.close(Date.now());
      await this.#leases.leave();
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the leases could not be released; they run out by themselves');
    }
  }

  #giveUp(): void {
    this.steps.stop();
    this.rendering.stop();
  }

  /** Also when its settings changed. */
  #openCrawl(run: CrawlRun): void {
    const session = this.#sessions.open(run);
    this.#options.parser.openCrawl(parsePlanOf(run));
    this.#scripts.openCrawl(run, () => this.#sessions.get(run.id) ?? session);
    this.steps.openCrawl(run);
  }

  #closeCrawl(id: string): void {
    this.rendering.closeCrawl(id);
    this.steps.closeCrawl(id);
    this.#scripts.closeCrawl(id);
    this.#options.parser.closeCrawl(id);
    this.#sessions.close(id);
  }

  /** Its page may be long in a callback or wait for calls: the next fetch does not wait for its outcome. */
  #fetched(queue: HostQueue): void {
    this.frontier.scheduler.ended(queue, Date.now());
    this.#pump();
  }

  /** A page left the parser or the sandbox, or what its items waited for is here. */
  #freed(run: CrawlRun): void {
    this.frontier.scheduler.freed(run);
    if (run.takesPages !== undefined) this.#freedScripts();
    this.#pump();
  }

  /** The sandbox may have room again: for every crawl with a script. */
  #freedScripts(): void {
    for (const run of this.#runs.all()) if (run.takesPages !== undefined) this.frontier.scheduler.freed(run);
  }

  async #heartbeat(): Promise<boolean> {
    const kept = await this.#leases.beat();
    if (!kept) await this.frontier.reconcile();
    await this.#leases.buryDeadNeighbours();
    return false;
  }

  async #cleanUp(): Promise<boolean> {
    if (Math.random() < 0.01) await forgetDeadNodes(this.#options.sql);
    this.cache.tidy(Date.now());
    return this.#endings.step();
  }

  #ended(id: string, how: string): void {
    this.#options.log.info({ crawl: id }, `crawl ended: ${how}`);
    this.#dropCrawl(id);
  }

  /** A node with `ROLE=api` takes no crawl's work, but lends leases to its previews. */
  async #step(): Promise<boolean> {
    const works = this.#options.role !== 'api';
    const now = Date.now();
    if (now >= this.#surveyAt) {
      this.#surveyAt = now + SURVEY_MS;
      await this.frontier.rebalance(now);
      if (works) await this.frontier.survey();
      this.#freedScripts();
    }
    await this.frontier.memory.store(now, this.frontier.scheduler.hosts);
    await this.frontier.lend(now);
    const more = works && (await this.frontier.refill(Date.now()));
    this.#pump();
    return more;
  }

  #pump(): void {
    this.#starter.wake();
  }

  #outcome(outcome: Outcome): void {
    this.#admission.ended();
    this.committer.add(outcome);
    this.#pump();
  }

  #committed(result: CommitResult, batch: readonly Outcome[]): void {
    const postponed = new Set(result.postponed);
    for (const outcome of batch)
      if (!postponed.has(outcome))
        this.frontier.settled(outcome.crawlId, outcome.hostId, outcome.fence, outcome.readyAt);
    this.frontier.loseHosts(result.lostHosts);
    this.#sessions.cookiesStored(result.cookieVersions);
    this.#remember(result);
    for (const [id, state] of result.changed) this.#ended(id, state);
    if (result.fetched.length > 0) this.#janitor.wake();
    this.#options.onCommitted(new Set([...result.touched, ...result.changed.keys()]));
    this.#pump();
    if (this.frontier.isHungry) this.#work.wake();
  }

  /** What was discovered is in the ledger now, and on the host queues. */
  #remember({ discoveries }: CommitResult): void {
    void rememberDiscoveries(this.#options.known, discoveries);
    const elsewhere = queuesOf(discoveries).filter(({ crawlId, hostId }) => !this.frontier.queued(crawlId, hostId));
    if (elsewhere.length > 0) this.#surveyAt = Math.min(this.#surveyAt, Date.now() + 50);
  }

  #dropCrawl(id: string): void {
    this.frontier.dropCrawl(id);
    this.#runs.drop(id);
  }
}
