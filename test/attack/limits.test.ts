import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkBooks, ENDED, getCrawl, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

/** A chain without end, each page with an item; `/one` is a page alone. Answers come when `open` is resolved. */
describe('limits and changes of state that meet', () => {
  let db: TestDatabase;
  let service: Service;
  let site: Site;
  let gate = Promise.withResolvers<void>();
  before(async () => {
    site = await startSite(async (req, res) => {
      if (req.url?.startsWith('/held')) await gate.promise;
      else await sleep(5);
      const at = Number(/\d+/.exec(req.url ?? '')?.[0] ?? 0);
      html(res, `Page ${at}`, req.url?.startsWith('/chain') ? [`/chain${at + 1}`] : []);
    });
    db = await testDatabase();
    service = await startService({ DATABASE_URL: db.url });
  });
  after(async () => {
    gate.resolve();
    await service?.stop();
    await db?.drop();
    await site?.close();
  });

  const act = async (id: string, action: string) => {
    const response = await fetch(`${service.url}/crawls/${id}/${action}`, { method: 'POST' });
    await response.text();
    return response.status;
  };
  const patch = async (id: string, settings: object) => {
    const response = await fetch(`${service.url}/crawls/${id}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ settings }),
    });
    assert.equal(response.status, 200, await response.text());
  };
  const untilFetching = async (id: string, n: number) => {
    for (let tries = 0; (await getCrawl(service.url, id)).stats.inProgress < n; tries++) {
      assert.ok(tries < 1000, 'the pages are asked for');
      await sleep(50);
    }
  };

  it('24: maxItems set below what a running crawl has ends it, though every page brings items', async () => {
    const start = { startUrls: [`${site.url}/chain0`], spider: TITLE_SPIDER, settings: FAST };
    const { id } = await postCrawl(service.url, start);
    while ((await getCrawl(service.url, id)).stats.items < 5) await sleep(20);
    await patch(id, { maxItems: 2 });
    const ended = await waitFor(service.url, id, ENDED);
    assert.equal(ended.stopReason, 'max_items');
    await checkBooks(service.url, id);
  });

  it('24: maxItems that is reached while a crawl is pausing leaves nothing in progress', async () => {
    gate = Promise.withResolvers();
    const startUrls = [0, 1, 2, 3, 4, 5].map((i) => `${site.url}/held${i}`);
    const settings = { ...FAST, maxItems: 2 };
    const { id } = await postCrawl(service.url, { startUrls, spider: TITLE_SPIDER, settings });
    await untilFetching(id, 6);
    assert.equal(await act(id, 'pause'), 200);
    gate.resolve();
    const ended = await waitFor(service.url, id, [...ENDED, 'paused']);
    assert.equal(ended.stopReason, 'max_items');
    const { crawl } = await checkBooks(service.url, id);
    assert.deepEqual([crawl.stats.items, crawl.stats.inProgress], [2, 0]);
  });

  it('8: a crawl whose last page is committed while it is pausing has ended, and does not wait for ever', async () => {
    gate = Promise.withResolvers();
    const start = { startUrls: [`${site.url}/held`], spider: TITLE_SPIDER, settings: FAST };
    const { id } = await postCrawl(service.url, start);
    await untilFetching(id, 1);
    assert.equal(await act(id, 'pause'), 200);
    gate.resolve();
    const ended = await waitFor(service.url, id, [...ENDED, 'paused']);
    assert.deepEqual([ended.state, ended.stopReason], ['finished', 'finished']);
    await checkBooks(service.url, id);
  });

  it('25: a page at the deepest depth that the ledger can hold keeps its items, and its links', async () => {
    gate = Promise.withResolvers();
    const start = { startUrls: [`${site.url}/chain900000`], spider: TITLE_SPIDER, settings: { ...FAST, maxPages: 3 } };
    const { id } = await postCrawl(service.url, { ...start, settings: { ...start.settings, delayMs: 3000 } });
    while ((await getCrawl(service.url, id)).stats.done < 1) await sleep(20);
    await act(id, 'pause');
    await waitFor(service.url, id, ['paused']);
    await db.sql`update requests set depth = 32767 where crawl_id = ${id} and state = 0`;
    await patch(id, { delayMs: 0 });
    await act(id, 'resume');
    const ended = await waitFor(service.url, id, ENDED);
    assert.deepEqual([ended.stopReason, ended.stats.failed, ended.stats.items], ['max_pages', 0, 3]);
    await checkBooks(service.url, id);
  });
});
