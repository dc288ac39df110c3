import type { ScriptRunner } from '../../dist/engine/scripts.js';
import type { ParsedPage } from '../../dist/model/outcome.js';
import { ParserStopped } from '../../dist/parser/failure.js';
import type { PageJob } from '../../dist/parser/protocol.js';
import type { ScriptCalls } from '../../dist/parser/script/calls.js';

type Callback = (job: PageJob, calls: ScriptCalls, signal: AbortSignal) => Promise<Partial<ParsedPage>>;

/** Stands for the sandbox: runs a function of the test as every crawl's script. */
export class FakeSandbox implements ScriptRunner {
  readonly #callback: Callback;
  readonly #calls = new Map<string, ScriptCalls>();
  readonly #ends = new Map<string, AbortController>();
  hasRoom = true;
  readonly boundary = { kind: 'process' as const, detail: 'none' };
  readonly busyProcesses = 0;
  readonly kills = 0;
  stopped = false;

  constructor(callback: Callback) {
    this.#callback = callback;
  }

  openCrawl(plan: { crawlId: string }, calls: ScriptCalls): void {
    this.#calls.set(plan.crawlId, calls);
    if (!this.#ends.has(plan.crawlId)) this.#ends.set(plan.crawlId, new AbortController());
  }

  closeCrawl(crawlId: string): void {
    this.#ends.get(crawlId)?.abort();
    this.#ends.delete(crawlId);
    this.#calls.delete(crawlId);
  }

  async run(job: PageJob): Promise<ParsedPage> {
    const [calls, end] = [this.#calls.get(job.crawlId), this.#ends.get(job.crawlId)];
    if (this.stopped || calls === undefined || end === undefined) throw new ParserStopped('the crawl is not open');
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = () => reject(new ParserStopped('the crawl was closed'));
    end.signal.addEventListener('abort', stop, { once: true });
    const running = this.#callback(job, calls, end.signal);
    running.catch(() => {});
    try {
      return { ...emptyPage(), ...(await Promise.race([running, promise])) };
    } finally {
      end.signal.removeEventListener('abort', stop);
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    for (const id of [...this.#ends.keys()]) this.closeCrawl(id);
  }
}

function emptyPage(): ParsedPage {
  return { items: [], links: [], linkedFps: [], dropped: {}, fills: {}, flags: [], parseMs: 1 };
}
