import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ENDED, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { startEverything } from '../support/everything.ts';
import { startService } from '../support/service.ts';

let database: TestDatabase;
let env: Record<string, string>;
before(async () => {
  database = await testDatabase();
  env = { DATABASE_URL: database.url, SCRIPTS: 'on', ENRICH_EGRESS_ALLOW: '127.0.0.0/8' };
});
after(() => database.drop());

/** Asks the database itself: the service may be away from it. */
async function waitForDone(id: string, done: number): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await sleep(10)) {
    const [crawl] = await database.sql<
      { state: string; done: number }[]
    >`select state, done from crawls where id = ${id}`;
    if (crawl!.done >= done || ENDED.includes(crawl!.state)) return;
    assert.ok(Date.now() < deadline, `${crawl!.done} of ${done} pages are done`);
  }
}

function killConnections() {
  return database.sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name like 'orbweaver%'`;
}

test('34: kill -9 of the node and of its connections during a crawl with everything on: each item, count and line once', async () => {
  const everything = await startEverything({ pages: 100 });
  let service = await startService(env);
  try {
    const { id } = await postCrawl(service.url, everything.crawl());
    for (let kill = 1; kill <= 2; kill++) {
      await waitForDone(id, kill * 30 - 20);
      await killConnections();
      await waitForDone(id, kill * 30);
      await sleep(Math.random() * 40);
      await service.signal('SIGKILL');
      service = await startService(env);
    }
    await waitFor(service.url, id, ENDED);
    await everything.check(database.sql, service.url, id);
  } finally {
    await service.stop();
    await everything.site.close();
  }
});
