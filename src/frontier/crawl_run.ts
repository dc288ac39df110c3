import type { Sql } from '../db/client.ts';
import { loadCrawls, type StoredCrawl } from '../db/crawl_runs.ts';
import { PARSE_SETTINGS, type ParsePlanInput } from '../model/spider.ts';

/** A crawl as this node runs it. */
export interface CrawlRun extends StoredCrawl {
  /** Its fetches under way on this node. */
  inFlight: number;
  /** Its fetched pages that wait for the parser or are in it, and their bytes. */
  parsing: number;
  parsingBytes: number;
  /** Its pages whose items wait for calls of pipeline steps, and about their bytes. */
  waiting: number;
  waitingBytes: number;
  /** Told by whoever takes its pages: false while that has no room for more. Absent: the bounds here are enough. */
  takesPages?: () => boolean;
}

/** Pages of one crawl in the parser: enough to keep every thread busy, too few to take the room of other crawls. */
const MAX_PARSING = 32;
const MAX_PARSING_BYTES = 16 * 1024 * 1024;
/** Pages of one crawl that wait for calls: at a hundred pages a second and a second a call, a hundred wait. */
const MAX_WAITING = 1000;
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Whether a crawl may begin another fetch: backpressure is per crawl, so that one with slow pages stops only itself. */
export function hasRoom(run: CrawlRun): boolean {
  if (run.takesPages?.() === false) return false;
  if (run.waiting >= MAX_WAITING || run.waitingBytes >= MAX_WAITING_BYTES) return false;
  return run.inFlight < run.settings.concurrency && run.parsing < MAX_PARSING && run.parsingBytes < MAX_PARSING_BYTES;
}

/** What a parser thread, or the process of a script, needs to know of the crawl; no more, since there are secrets in the rest. */
export function parsePlanOf(
  run: Pick<CrawlRun, 'id' | 'definition' | 'scopeHosts' | 'params' | 'settings'>,
): ParsePlanInput {
  const { startUrls: _starts, settings: _settings, samples: _samples, ...definition } = run.definition;
  const settings = Object.fromEntries(PARSE_SETTINGS.map((name) => [name, run.settings[name]]));
  return {
    crawlId: run.id,
    definition,
    scopeHosts: run.scopeHosts,
    params: run.params,
    settings: settings as ParsePlanInput['settings'],
  };
}

/** The crawls that this node works on, loaded once per settings version. */
export class CrawlRuns {
  readonly #sql: Sql;
  readonly #runs = new Map<string, CrawlRun>();
  readonly #onOpen: (run: CrawlRun) => void;
  readonly #onClose: (run: CrawlRun) => void;

  /** @param onOpen also called again when the settings change. @param onClose when the node drops the crawl */
  constructor(sql: Sql, onOpen: (run: CrawlRun) => void, onClose: (run: CrawlRun) => void) {
    this.#sql = sql;
    this.#onOpen = onOpen;
    this.#onClose = onClose;
  }

  get(id: string): CrawlRun | undefined {
    return this.#runs.get(id);
  }

  get size(): number {
    return this.#runs.size;
  }

  all(): IterableIterator<CrawlRun> {
    return this.#runs.values();
  }

  /** Loads the crawls that are not here, or are here with older settings. */
  async refresh(versions: ReadonlyMap<string, number>): Promise<void> {
    const stale = [...versions].filter(([id, version]) => (this.#runs.get(id)?.settingsVersion ?? -1) < version);
    if (stale.length === 0) return;
    for (const stored of await loadCrawls(
      this.#sql,
      stale.map(([id]) => id),
    )) {
      const known = this.#runs.get(stored.id);
      const run =
        known === undefined
          ? { ...stored, inFlight: 0, parsing: 0, parsingBytes: 0, waiting: 0, waitingBytes: 0 }
          : Object.assign(known, stored);
      this.#runs.set(stored.id, run);
      this.#onOpen(run);
    }
  }

  drop(id: string): void {
    const run = this.#runs.get(id);
    if (run === undefined) return;
    this.#runs.delete(id);
    this.#onClose(run);
  }
}
