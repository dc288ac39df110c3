import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, startDatabase } from './database.ts';
import { besides, stopAll } from './processes.ts';

/**
 * Runs `work` with a temporary directory and a PostgreSQL server, and leaves neither behind, nor any process, where it
 * fails or is interrupted.
 */
export async function inWorkspace(work: (directory: string, database: Database) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'orbweaver-bench-'));
  chmodSync(directory, 0o755); // started by root, PostgreSQL runs as another user
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => reject(new Error(`stopped by ${signal}`)));
  });
  const database = await startDatabase(directory);
  try {
    await Promise.race([work(directory, database), interrupted]);
  } finally {
    process.on('unhandledRejection', () => {}); // of calls to what is stopped now
    await stopAll();
    await database.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Writes `bench/results/<name>.json`. */
export function saveResults(name: string, results: object): void {
  mkdirSync(besides('results'), { recursive: true });
  writeFileSync(besides(`results/${name}.json`), `${JSON.stringify(results, null, 2)}\n`);
}
