import { stat, truncate } from 'node:fs/promises';
import { resolve } from 'node:path';
import { openPool } from './client.ts';
import { type Cluster, DATABASE_NAME, prepareCluster } from './embedded_cluster.ts';
import { EmbeddedServerError } from './embedded_error.ts';
import { takeOwnership } from './embedded_owner.ts';
import { adopt, databaseUrl, isRunning, launch, type Postmaster, shutDown } from './embedded_postmaster.ts';
import { makeOpenDirectory } from './embedded_user.ts';

export { EmbeddedServerError } from './embedded_error.ts';

const MAX_LOG_BYTES = 16 * 1024 * 1024;

export interface EmbeddedServer {
  /** postgres://…@127.0.0.1:port/orbweaver, with the password. */
  url: string;
  /** True when the server was still running after an earlier process had been killed. */
  adopted: boolean;
  /** Stops the server and gives DATA_DIR free; resolves when both is done. May be called again. */
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** Made where absent. One process at a time may use it. */
  dataDir: string;
  log?: (line: string) => void;
  /** Called once when the server ends although nobody called `stop`. Of an adopted server nothing more is known. */
  onExit?: (code: number | null, signal: NodeJS.Signals | null) => void;
  /** Aborted: the start ends early, and rejects with nothing left running. Means nothing once it has started. */
  signal?: AbortSignal;
}

/**
 * Runs a PostgreSQL server whose data lives below `dataDir`: makes the cluster at the first start, takes over a server
 * that a killed process left behind, and starts one otherwise. It outlives a `kill -9` of this process; only `stop` ends it.
 *
 * @throws EmbeddedServerError whose message is one line for the operator; nothing of this start is left running
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedServer> {
  const { log = () => {}, signal = new AbortController().signal } = options;
  const dir = resolve(options.dataDir);
  let release: (() => Promise<void>) | null = null;
  try {
    await makeOpenDirectory(dir);
    release = await takeOwnership(dir);
    signal.throwIfAborted();
    const cluster = await prepareCluster(dir, log);
    return await serve(cluster, { ...options, log, signal }, release);
  } catch (error) {
    await release?.();
    if (error instanceof EmbeddedServerError) throw error;
    throw new EmbeddedServerError(
      `The embedded database cannot start in DATA_DIR ${dir}: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

async function serve(
  cluster: Cluster,
  { log, signal, onExit }: EmbeddedOptions & Required<Pick<EmbeddedOptions, 'log' | 'signal'>>,
  release: () => Promise<void>,
): Promise<EmbeddedServer> {
  const adopted = await adopt(cluster, signal);
  if (adopted !== null) log(`took over the database server that was still running (process ${adopted.pid})`);
  const server = adopted ?? (await launch(cluster, log, signal));
  try {
    signal.throwIfAborted();
    await ensureDatabase(databaseUrl(cluster, server.port, 'postgres'));
  } catch (error) {
    await shutDown(server);
    throw error;
  }
  const unwatch = watch(server, cluster.log, onExit);
  let stopped: Promise<void> | null = null;
  const stop = async () => {
    unwatch();
    await shutDown(server);
    await release();
  };
  return {
    url: databaseUrl(cluster, server.port, DATABASE_NAME),
    adopted: adopted !== null,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

async function ensureDatabase(url: string): Promise<void> {
  const sql = openPool(url, 1, 'orbweaver start');
  try {
    const found = await sql`select 1 from pg_database where datname = ${DATABASE_NAME}`;
    if (found.length === 0) await sql`create database ${sql(DATABASE_NAME)}`;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Notices the end of the server, and keeps its log small. @returns a function that ends the watch */
function watch(server: Postmaster, logFile: string, onExit: EmbeddedOptions['onExit']): () => void {
  const timer = setInterval(() => {
    // The server appends, so that after this it goes on at the start of the file.
    stat(logFile).then(
      ({ size }) => (size > MAX_LOG_BYTES ? truncate(logFile) : undefined),
      () => {},
    );
    if (!isRunning(server)) {
      clearInterval(timer);
      onExit?.(server.child?.exitCode ?? null, server.child?.signalCode ?? null);
    }
  }, 1000).unref();
  return () => clearInterval(timer);
}
