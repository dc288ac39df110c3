import { randomUUID } from 'node:crypto';
import type { Sql } from '../../dist/db/client.js';
import { Lookups } from '../../dist/db/lookups.js';
import { Downloader } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import { Engine, type EngineOptions } from '../../dist/engine/engine.js';
import { startCrawl } from '../../dist/engine/lifecycle.js';
import type { StartCrawl } from '../../dist/model/crawl.js';
import { KnownFingerprints } from '../../dist/model/known.js';
import { ParserPool } from '../../dist/parser/pool.js';

/** A node of the service inside of this process: an engine with its stages, without an API. */
export interface TestNode {
  engine: Engine;
  /** What it logged at `warn` and above. */
  complaints: object[];
  /** Starts a crawl and gives its id. */
  start(input: StartCrawl): Promise<string>;
  /** Safe twice. */
  stop(graceMs?: number): Promise<void>;
}

/** Starts a node; fetching from loopback is allowed. */
export async function startNode(sql: Sql, overrides: Partial<EngineOptions> = {}): Promise<TestNode> {
  const known = new KnownFingerprints(2 ** 14);
  const parser = new ParserPool({ threads: 1, memoryMb: 128, known: known.buffer });
  await parser.start();
  const downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8'] }) });
  const lookups = new Lookups(new Map());
  const complaints: object[] = [];
  const complain = (detail: object, message: string) => complaints.push({ ...detail, message });
  const nodeId = randomUUID();
  const engine = new Engine({
    sql,
    nodeId,
    role: 'all',
    maxFetches: 512,
    downloader,
    parser,
    scripts: null,
    renderer: null,
    lookups,
    callDownloader: downloader,
    known,
    cacheBytes: 64 * 1024 * 1024,
    onCommitted: () => {},
    log: { info: () => {}, warn: complain, error: complain },
    ...overrides,
  });
  // Else another node of this process would take it for a dead one: same machine, same process id. What is there stays.
  await sql`
    insert into nodes (id, role, machine, pid, alive_until)
    values (${nodeId}, ${overrides.role ?? 'all'}, '', ${process.pid}, now())`;
  await engine.start();
  let stopped: Promise<void> | null = null;
  const stopOnce = async (graceMs: number) => {
    await engine.stop(graceMs);
    await lookups.close();
    await downloader.close();
    await parser.stop();
  };
  return {
    engine,
    complaints,
    start: async (input) => {
      const { crawl } = await startCrawl(sql, input, {
        checkSpider: async () => [],
        planStart: (start) => parser.planStart(start),
      });
      engine.wake();
      return crawl.id;
    },
    stop: (graceMs = 5000) => {
      stopped ??= stopOnce(graceMs);
      return stopped;
    },
  };
}
