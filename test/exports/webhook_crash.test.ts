import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, getJson, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { startSite } from '../support/site.ts';
import { answer, once, SECRET, startEndpoint } from './webhook_endpoint.ts';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.drop());

const PAGES = 300;

async function until(isSo: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 60_000; !isSo(); await sleep(10)) assert.ok(Date.now() < deadline, 'in vain');
}

test('34: kill -9 while messages are under way: each item in one message, in order, told apart by webhook-id', async () => {
  const site = await startSite(treeSite(PAGES));
  const endpoint = await startEndpoint();
  let service: Service | null = await startService({ DATABASE_URL: database.url });
  try {
    const { id } = await postCrawl(service.url, {
      spider: TITLE_SPIDER,
      startUrls: [`${site.url}/`],
      settings: FAST,
      webhooks: [{ url: endpoint.url, secret: SECRET, batch: { items: 20, seconds: 0 } }],
    });
    // Once a message is there without an answer, once it is answered and nobody may have noted it.
    for (const [seen, answers] of [
      [3, false],
      [8, true],
    ] as const) {
      const killed = Promise.withResolvers<void>();
      endpoint.manner = (req, res, message) => {
        if (endpoint.received.length >= seen && service !== null) {
          const dying = service;
          service = null;
          if (answers) answer(204)(req, res, message);
          void dying.signal('SIGKILL').then(killed.resolve);
        } else if (service !== null) answer(204)(req, res, message);
      };
      await killed.promise;
      endpoint.manner = answer(204);
      service = await startService({ DATABASE_URL: database.url });
    }
    await waitFor(service.url, id, ENDED);
    await until(() => endpoint.received.some(({ type }) => type === 'crawl.finished'));
    const { items } = await checkBooks(service.url, id);
    const messages = once(endpoint.received);
    assert.deepEqual([messages[0]!.type, messages.at(-1)!.type], ['crawl.started', 'crawl.finished']);
    const sent = messages.flatMap(({ data }) => data.items ?? []);
    assert.deepEqual(sent, items as object[]);
    assert.equal(sent.length, PAGES);
    const { deliveries } = await getJson<{ deliveries: { id: string }[] }>(
      `${service.url}/crawls/${id}/deliveries?limit=1000`,
    );
    assert.deepEqual(
      deliveries.map((one) => one.id),
      messages.map((one) => one.id),
    );
  } finally {
    await service?.stop();
    await endpoint.close();
    await site.close();
  }
});
