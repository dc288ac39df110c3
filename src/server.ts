import { randomUUID } from 'node:crypto';
import { access, constants } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import type { Logger } from 'pino';
import { buildApp } from './app.ts';
import { Closers } from './closers.ts';
import { type Config, readConfig, runsScripts } from './config.ts';
import { openPool, type Sql } from './db/client.ts';
import { EmbeddedServerError, startEmbedded } from './db/embedded.ts';
import { isExportDue } from './db/exports.ts';
import { Lookups } from './db/lookups.ts';
import { MigrationError, migrate } from './db/migrate.ts';
import { Downloader } from './downloader/downloader.ts';
import { EgressGuard } from './downloader/egress.ts';
import { senderOf } from './downloader/sender.ts';
import { Chores } from './engine/chores.ts';
import { Engine } from './engine/engine.ts';
import type { Checks } from './engine/lifecycle.ts';
import { Metrics } from './engine/metrics.ts';
import { Previews } from './engine/preview.ts';
import { renderProblems } from './engine/rendering.ts';
import { ScriptFacts } from './engine/script_facts.ts';
import { engineStatus } from './engine/status.ts';
import { StartupError } from './errors.ts';
import { tableChecks } from './exports/check_tables.ts';
import { ExportThread } from './exports/thread.ts';
import { WebhookCalls } from './exports/webhook_calls.ts';
import { openLog } from './log.ts';
import { type ConnectionKind, connectionKind } from './model/connection.ts';
import { KnownFingerprints } from './model/known.ts';
import { ParserPool } from './parser/pool.ts';
import { ScriptPool } from './parser/script/pool.ts';
import { Renderer } from './renderer/renderer.ts';
import { Wakeups } from './stream/wakeups.ts';

/** Time for what is in flight to end and commit after SIGTERM. */
const GRACE_MS = 10_000;
/** Of it, for exports and webhooks to store their cursors. */
const EXPORT_GRACE_MS = 4000;
/** Time to stop in order after a bug. */
const BUG_GRACE_MS = 5000;
/** A second Ctrl-C sooner than this is the same one: under npm it comes from the terminal and once more from npm. */
const SAME_KEY_MS = 500;
/** 2¹⁸ fingerprints, 5 MB. */
const KNOWN_SLOTS = 2 ** 18;
const CHANNEL = 'orbweaver';

async function startDatabase(config: Config, closers: Closers, log: Logger): Promise<string> {
  if (config.databaseUrl !== null) return config.databaseUrl;
  const starting = startEmbedded({
    dataDir: resolve(config.dataDir),
    log: (line) => log.debug({ source: 'postgres' }, line),
    onExit: (code, signal) => {
      if (closers.stopping.aborted) return;
      const how = signal ?? code;
      console.error(`orbweaver: the embedded PostgreSQL ended by itself (${how}); see its log in DATA_DIR`);
      void closers.exit(1);
    },
    signal: closers.stopping,
  });
  const stop = () =>
    starting.then(
      (server) => server.stop(),
      () => {}, // a start that failed leaves nothing
    );
  closers.add('the embedded database', stop);
  const server = await starting;
  if (server.adopted) log.info({}, 'adopted the embedded PostgreSQL of an earlier process');
  return server.url;
}

/** The connections of one kind. */
function urlsOf({ connections }: Config, kind: ConnectionKind): Map<string, string> {
  return new Map([...connections].filter(([, url]) => connectionKind(url) === kind));
}

function openPools(url: string, closers: Closers): { engineSql: Sql; apiSql: Sql } {
  // Two pools: a thousand readers of the API can never stand in a queue before a commit.
  const engineSql = openPool(url, 4, 'orbweaver engine');
  const apiSql = openPool(url, 10, 'orbweaver api');
  closers.add('the database pools', () => Promise.all([engineSql.end({ timeout: 5 }), apiSql.end({ timeout: 5 })]));
  return { engineSql, apiSql };
}

async function checkReady(sql: Sql, engine: Engine): Promise<{ ok: boolean; checks: Record<string, string> }> {
  const database = await Promise.race([
    sql`select 1`.then(
      () => 'ok',
      () => 'does not answer',
    ),
    new Promise<string>((done) => setTimeout(done, 2000, 'does not answer within 2 s').unref()),
  ]);
  const lease = engine.healthy ? 'ok' : 'the node has no valid lease: no heartbeat reached the database';
  return { ok: database === 'ok' && lease === 'ok', checks: { database, lease } };
}

/** Null: this node only serves the API. */
function makeExports(config: Config, url: string, nodeId: string, sql: Sql, log: Logger): ExportThread | null {
  if (config.role === 'api') return null;
  const { connections, webhookEgressAllow } = config;
  return new ExportThread({
    entry: new URL('./delivery.js', import.meta.url),
    data: { databaseUrl: url, nodeId, dataDir: resolve(config.dataDir), connections, webhookEgressAllow },
    isDue: () => isExportDue(sql),
    log,
  });
}

interface Parts {
  parser: ParserPool;
  /** Null: scripts are off. */
  scripts: ScriptPool | null;
  /** Null: no page is rendered. */
  renderer: Renderer | null;
  downloader: Downloader;
  engine: Engine;
  wakeups: Wakeups;
  /** Null: this node only serves the API. */
  exports: ExportThread | null;
}

function threadsOf(config: Config): number {
  return config.role === 'api' ? 1 : config.parserThreads;
}

async function startScripts(config: Config, known: SharedArrayBuffer, closers: Closers, log: Logger) {
  if (!runsScripts(config)) return null;
  const scripts = new ScriptPool({
    processes: config.scriptProcesses,
    known,
    log: (message, detail) => log.warn(detail, message),
  });
  closers.add('the sandbox', () => scripts.stop());
  await scripts.start();
  log.debug({ boundary: scripts.boundary }, 'script spiders are on');
  return scripts;
}

/** No browser is started before the first page, but that there is one is known. @throws StartupError */
async function makeRenderer(config: Config, downloader: Downloader, closers: Closers, log: Logger) {
  const { chromiumPath: executable, renderPages: pages, renderMemoryMb: memoryMb } = config;
  if (executable === null) return null;
  await access(executable, constants.X_OK).catch(() => {
    throw new StartupError(`CHROMIUM_PATH is "${executable}", which is no program that can be run`);
  });
  const renderer = new Renderer({
    executable,
    pages,
    memoryMb,
    open: (url, proxy, signal) => downloader.dial(url, proxy, signal),
    log: (message, detail) => log.warn(detail, message),
  });
  closers.add('the renderer', () => renderer.stop());
  if (!renderer.sandbox)
    log.warn({}, 'pages are rendered without the sandbox of Chromium, which it does not have for root');
  return renderer;
}

async function startEngine(
  config: Config,
  { url, sql, lookups }: { url: string; sql: Sql; lookups: Lookups },
  closers: Closers,
  log: Logger,
): Promise<Parts> {
  const known = new KnownFingerprints(KNOWN_SLOTS);
  const parser = new ParserPool({
    threads: threadsOf(config),
    memoryMb: config.parserMemoryMb,
    known: known.buffer,
    log: (message, detail) => log.warn(detail, message),
  });
  closers.add('the parser pool', () => parser.stop());
  await parser.start();
  const scripts = await startScripts(config, known.buffer, closers, log);
  const egress = new EgressGuard({ allow: [...config.egressAllow] });
  const downloader = new Downloader({ egress, proxies: config.proxies });
  closers.add('the downloader', () => downloader.close());
  const renderer = await makeRenderer(config, downloader, closers, log);
  const callDownloader = new Downloader({ egress: new EgressGuard({ allow: [...config.enrichEgressAllow] }) });
  closers.add('the downloader of calls', () => callDownloader.close());
  const wakeups = new Wakeups();
  const nodeId = randomUUID();
  const exports = makeExports(config, url, nodeId, sql, log);
  const engine = new Engine({
    sql,
    nodeId,
    role: config.role,
    maxFetches: config.maxFetches,
    downloader,
    parser,
    scripts,
    lookups,
    callDownloader,
    renderer,
    known,
    cacheBytes: config.cacheMb * 1024 * 1024,
    onCommitted: (ids) => {
      wakeups.publish(ids);
      exports?.publish(ids);
    },
    log,
  });
  await engine.start();
  closers.add('the engine', () => engine.stop(GRACE_MS));
  exports?.start();
  closers.add('the exports', () => exports?.stop(EXPORT_GRACE_MS));
  return { parser, scripts, renderer, downloader, engine, wakeups, exports };
}

/**
 * Wake-ups from other nodes: `crawls` have new items, `changed` was started, paused or changed through their API; `delivers`:
 * one of its exports may be due.
 */
function onNotify(payload: string, { wakeups, engine, exports }: Pick<Parts, 'wakeups' | 'engine' | 'exports'>): void {
  const { crawls, changed, delivers } = JSON.parse(payload) as { crawls?: string[]; changed?: string; delivers?: true };
  const ids = crawls ?? (changed === undefined ? [] : [changed]);
  wakeups.publish(ids);
  exports?.publish(ids);
  if (delivers) exports?.look();
  if (changed !== undefined) engine.wake();
}

/** Where webhooks may be called, and how one is called by hand; the others are sent in a thread of their own. */
function webhookDeps(config: Config, sql: Sql, closers: Closers) {
  const egress = new EgressGuard({ allow: [...config.webhookEgressAllow] });
  const downloader = new Downloader({ egress });
  closers.add('the downloader of webhooks', () => downloader.close());
  return {
    refusesWebhook: (url: URL) => egress.refuses(url),
    webhooks: new WebhookCalls(sql, senderOf(downloader)),
  };
}

/** What is asked about a posted crawl, spider or schedule. */
function makeChecks(
  config: Config,
  { parser, scripts, renderer }: Parts,
  lookups: Lookups,
  refusesWebhook: Checks['refusesWebhook'],
): Checks {
  const facts = new ScriptFacts(scripts);
  return {
    checkSpider: async (spider) => [
      ...(await Promise.all([parser.check(spider), lookups.check(spider), facts.problems(spider)])).flat(),
      ...renderProblems(spider, renderer !== null),
    ],
    completeSpider: (spider) => facts.complete(spider),
    planStart: (input) => parser.planStart(input),
    proxies: new Set(config.proxies.keys()),
    connections: new Map([...config.connections].map(([name, url]) => [name, connectionKind(url)!])),
    refusesWebhook,
    checkExports: tableChecks(config.connections),
  };
}

function makeMetrics(parts: Parts, deletions: Chores['deletions'], closers: Closers, log: Logger): Metrics {
  const metrics = new Metrics({
    ...parts,
    streams: () => parts.wakeups.size,
    exports: () => parts.exports?.totals ?? {},
    deletions,
    onSlowLoop: (p99Ms) => log.warn({ p99Ms }, 'once in a hundred times the event loop was late by more than 50 ms'),
  });
  closers.add('the metrics', () => metrics.stop());
  return metrics;
}

/** Starts everything. @throws the reason of `closers.stopping` when that fires meanwhile */
async function serve(config: Config, log: Logger, closers: Closers): Promise<void> {
  const url = await startDatabase(config, closers, log);
  closers.stopping.throwIfAborted();
  const { engineSql, apiSql } = openPools(url, closers);
  await migrate(engineSql);
  closers.stopping.throwIfAborted();
  const lookups = new Lookups(urlsOf(config, 'postgres'));
  closers.add('the lookups', () => lookups.close());
  const parts = await startEngine(config, { url, sql: engineSql, lookups }, closers, log);
  const { parser, scripts, renderer, engine, wakeups, exports } = parts;
  closers.stopping.throwIfAborted();
  const { unlisten } = await apiSql.listen(CHANNEL, (payload) => onNotify(payload, parts));
  closers.add('the listener', unlisten);
  const closing = new AbortController();
  const { refusesWebhook, webhooks } = webhookDeps(config, apiSql, closers);
  const checks = makeChecks(config, parts, lookups, refusesWebhook);
  const onCrawlChanged = (id: string, what: string, delivers = true) => {
    log.info({ crawl: id }, `crawl ${what}`);
    engine.wake();
    wakeups.publish([id]);
    exports?.publish([id]);
    if (delivers) exports?.look();
    const told = JSON.stringify({ changed: id, delivers: delivers || undefined });
    if (engine.hasOthers) void apiSql.notify(CHANNEL, told).catch(() => {});
  };
  const chores = new Chores({ sql: apiSql, checks, kept: config.retention, onCrawlChanged, log });
  closers.add('the chores', () => chores.stop());
  chores.start();
  const metrics = makeMetrics(parts, chores.deletions, closers, log);
  const processes = config.scriptProcesses;
  const app = await buildApp({
    sql: apiSql,
    config,
    log,
    wakeups,
    ...checks,
    webhooks,
    previews: new Previews({ sql: apiSql, parser, scripts, engine, checks }),
    onCrawlChanged,
    onScheduled: () => chores.onScheduled(),
    onDeleted: () => chores.deletions.wake(),
    onDelivered: (ms) => metrics.delivered(ms),
    metrics: () => metrics.text(),
    engineStatus: () =>
      engineStatus({ engine, metrics, parser, scripts, renderer, threads: threadsOf(config), processes }),
    ready: () => checkReady(apiSql, engine),
    closing: closing.signal,
  });
  closers.add('the API', () => {
    closing.abort();
    return app.close();
  });
  closers.stopping.throwIfAborted();
  const address = await app.listen({ host: config.host, port: config.port });
  if (config.role === 'worker') console.log(`Orbweaver works on ${address} (ROLE=worker)`);
  else console.log(`Orbweaver listens on ${address} (API docs: ${address}/docs)`);
}

/** One line for the operator where the cause is known; the stack where it is not. */
function explain(error: unknown): string {
  if (error instanceof StartupError || error instanceof EmbeddedServerError || error instanceof MigrationError)
    return error.message;
  const { code, message, port, stack, syscall, name } = error as NodeJS.ErrnoException & { port?: number };
  if (code === 'EADDRINUSE') return `port ${port} is taken: set PORT to another one, or to 0 for any free one`;
  if (syscall === 'listen') return `HOST and PORT cannot be listened on: ${message}`;
  if (name === 'PostgresError') return `DATABASE_URL is refused by the server: ${message}`;
  if (/^(ECONN|CONNECT|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_)/.test(code ?? ''))
    return `DATABASE_URL does not answer: ${message || code}`;
  return stack ?? message;
}

function stopAtSignals(closers: Closers): void {
  let firstAt = 0;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => {
      const isAgain = closers.stopping.aborted && performance.now() - firstAt > SAME_KEY_MS;
      if (isAgain && signal === 'SIGINT') process.exit(130);
      firstAt ||= performance.now();
      void closers.exit(0);
    });
}

/** An error that nobody caught: what it broke is not known, so the process ends. What was committed is not touched by it. */
function stopAtBugs(closers: Closers, log: Logger): void {
  let seen = 0;
  const stop = (error: unknown) => {
    seen++;
    if (seen > 10) return; // such as a log that cannot be written
    log.fatal({ err: error }, 'an error that nobody caught; the service stops');
    if (seen === 1) setTimeout(() => process.exit(1), BUG_GRACE_MS);
    void closers.exit(1);
  };
  process.on('uncaughtException', stop);
  process.on('unhandledRejection', stop);
}

async function main(): Promise<void> {
  // A bound on the event loop's heap by the command line would win over the `resourceLimits` of every thread: a page could take a
  // gigabyte instead of PARSER_MEMORY_MB. The heap that runs this has its bounds, and keeps them.
  for (const flag of ['heap', 'old-space', 'semi-space']) setFlagsFromString(`--max-${flag}-size=0`);
  let config: Config;
  try {
    config = readConfig(process.env);
  } catch (error) {
    console.error(`orbweaver: ${explain(error)}`);
    process.exit(1);
  }
  const { log, written } = openLog(config.logLevel);
  const closers = new Closers(log);
  closers.add('the log', written);
  stopAtSignals(closers);
  stopAtBugs(closers, log);
  try {
    await serve(config, log, closers);
  } catch (error) {
    if (!closers.stopping.aborted) console.error(`orbweaver: ${explain(error)}`);
    await closers.exit(closers.stopping.aborted ? 0 : 1);
  }
}

await main();
