import { pino } from 'pino';
import { type AppDeps, buildApp } from './app.ts';
import { openPool } from './db/client.ts';
import { Wakeups } from './stream/wakeups.ts';

/** Writes the OpenAPI document, made from the routes' own schemas, to stdout. Needs no database: the pool never connects. */
async function printOpenapi(): Promise<void> {
  const sql = openPool('postgres://localhost/none', 1, 'openapi');
  const app = await buildApp({
    sql,
    config: { apiKeys: [] },
    log: pino({ level: 'silent' }),
    wakeups: new Wakeups(),
    checkSpider: async () => [],
    planStart: async () => ({ requests: [], scopeHosts: [], warnings: [], problems: [] }),
    // Never asked: no request is served.
    webhooks: {} as AppDeps['webhooks'],
    previews: {} as AppDeps['previews'],
    onCrawlChanged: () => {},
    onScheduled: () => {},
    onDeleted: () => {},
    metrics: async () => '',
    engineStatus: () => Promise.reject(new Error('nobody asks')),
    ready: async () => ({ ok: true, checks: {} }),
    closing: new AbortController().signal,
  });
  await app.ready();
  process.stdout.write(app.swagger({ yaml: true }));
  await app.close();
  await sql.end();
}

await printOpenapi();
