import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Webhook as Library } from 'standardwebhooks';
import { Downloader } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import { senderOf } from '../../dist/downloader/sender.js';
import { WebhookTarget } from '../../dist/exports/webhook.js';
import { WebhookCalls } from '../../dist/exports/webhook_calls.js';
import type { Attempt } from '../../dist/model/delivery.js';
import type { Webhook } from '../../dist/model/export.js';
import { answer, type Endpoint, once, SECRET, startEndpoint } from '../exports/webhook_endpoint.ts';
import { startSite } from '../support/site.ts';
import { commitItems, type TestApi, testApi } from './api.ts';

let api: TestApi;
let endpoint: Endpoint;
let downloader: Downloader;
before(async () => {
  const egress = new EgressGuard({ allow: ['127.0.0.1/32'] });
  downloader = new Downloader({ egress });
  const send = senderOf(downloader);
  const calls: { made: WebhookCalls | null } = { made: null };
  const made = () => {
    calls.made ??= new WebhookCalls(api.sql, send);
    return calls.made;
  };
  api = await testApi({
    refusesWebhook: (url) => egress.refuses(url),
    webhooks: { redeliver: (...given) => made().redeliver(...given), test: (...given) => made().test(...given) },
  });
  endpoint = await startEndpoint();
});
after(async () => {
  await endpoint.close();
  await downloader.close();
  await api.stop();
});

const signal = new AbortController().signal;
const HEADER_SECRET = 't0ken';
const startUrls = ['https://books.example/'];

/** Plays the runner: everything there is goes to the crawl's webhook. */
async function deliver(crawlId: string, items: number): Promise<void> {
  const [row] = await api.sql<{ definition: Webhook }[]>`select definition from exports where crawl_id = ${crawlId}`;
  const target = new WebhookTarget({ crawlId, n: 0, spider: null }, row!.definition, {
    sql: api.sql,
    send: senderOf(downloader),
  });
  const { next } = await target.open({ next: 0, position: null }, signal);
  if (items === 0) return;
  const stored = await api.sql`
    select "offset", type, url, data::text as data, size, scraped_at, null as change from items
    where crawl_id = ${crawlId} and "offset" >= ${next} order by 1 limit ${items}`;
  await target.write({ items: stored as never, next: next + items }, signal).catch(() => {});
}

const pointers = ({ json }: { json: Record<string, unknown> }) =>
  (json.errors as { pointer: string; code: string }[]).map(({ pointer, code }) => `${code} ${pointer}`);

describe('a webhook’s secret', () => {
  it('is made where none is given, shown in the answer to the start alone, and signs', async () => {
    const body = {
      startUrls,
      webhooks: [{ url: endpoint.url }, { url: endpoint.url, secret: SECRET, headers: { 'X-Any': HEADER_SECRET } }],
    };
    const key = { 'idempotency-key': 'secret' };
    const started = await api.call('POST', '/crawls', body, key);
    assert.equal(started.status, 201, started.text);
    const [made, given] = started.json.webhooks as { name: string; url: string; secret: string }[];
    assert.deepEqual(
      [made!.name, made!.url, given!.name, given!.secret],
      ['webhook', endpoint.url, 'webhook-2', '(hidden)'],
    );
    assert.match(made!.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
    assert.ok(new Library(made!.secret));
    const replayed = await api.call('POST', '/crawls', body, key);
    assert.equal(replayed.headers['idempotent-replayed'], 'true');
    assert.deepEqual(
      (replayed.json.webhooks as { secret: string }[]).map(({ secret }) => secret),
      ['(hidden)', '(hidden)'],
    );
    const id = String(started.json.id);
    const [rows, kept] = await Promise.all([
      api.sql<{ definition: Webhook }[]>`select definition from exports where crawl_id = ${id} order by n`,
      api.sql`select response::text as text from idempotency_keys where key = 'secret'`,
    ]);
    assert.deepEqual(
      rows.map(({ definition }) => definition.secret),
      [made!.secret, SECRET],
    );
    const answers = [await api.call('GET', `/crawls/${id}`), await api.call('GET', '/crawls'), replayed];
    const shown = [...answers.map(({ text }) => text), String(kept[0]!.text)].join('\n');
    for (const secret of [made!.secret, SECRET, HEADER_SECRET]) assert.ok(!shown.includes(secret));
    assert.equal(answers[0]!.json.webhooks, undefined);
  });

  it('and the rest of a webhook are refused with a pointer to each mistake', async () => {
    const short = `whsec_${Buffer.alloc(23).toString('base64')}`;
    const long = `whsec_${Buffer.alloc(65).toString('base64')}`;
    const bad: [Partial<Webhook>, string[]][] = [
      [{ secret: 'hush' }, ['bad_secret /secret']],
      [{ secret: 'whsec_!!' }, ['bad_secret /secret']],
      [{ secret: short }, ['bad_secret /secret']],
      [{ secret: long }, ['bad_secret /secret']],
      [{ secret: '(hidden)', headers: { 'X-Any': '(hidden)' } }, ['hidden /secret', 'hidden /headers/X-Any']],
      [
        { headers: { 'Webhook-Id': '1', 'content-type': 'a/b' } },
        ['bad_header /headers/Webhook-Id', 'bad_header /headers/content-type'],
      ],
      [{ url: 'http://10.0.0.1/' }, ['egress /url']],
      [{ url: 'http://[::1]/' }, ['egress /url']],
      [{ url: 'http://metadata/' }, []],
      [{ url: 'https://hooks.example:25/' }, ['egress /url']],
      [{ url: 'ftp://hooks.example/' }, ['bad_url /url']],
      [{ url: 'https://u:p@hooks.example/' }, ['bad_url /url']],
    ];
    for (const [part, expected] of bad) {
      const webhook = { url: endpoint.url, ...part };
      const started = await api.call('POST', '/crawls', { startUrls, webhooks: [webhook] });
      const tested = expected.length === 0 ? null : await api.call('POST', '/webhooks/test', webhook);
      assert.equal(started.status, expected.length === 0 ? 201 : 422, JSON.stringify(part));
      if (tested === null) continue;
      assert.deepEqual(
        pointers(started).toSorted(),
        expected.map((one) => one.replace(' ', ' /webhooks/0')).toSorted(),
      );
      assert.deepEqual(pointers(tested).toSorted(), expected.toSorted());
    }
  });
});

describe('a webhook’s secret that was lost', () => {
  it('is replaced, by one that is made or given, from the next message on', async () => {
    const id = await api.start({ startUrls, webhooks: [{ url: endpoint.url, events: ['items.created'] }] });
    await commitItems(api.sql, id, 2);
    const made = await api.call('POST', `/crawls/${id}/webhooks/webhook/secret`);
    assert.deepEqual([made.status, made.json.name, made.json.url], [200, 'webhook', endpoint.url]);
    assert.match(String(made.json.secret), /^whsec_/);
    const given = await api.call('POST', `/crawls/${id}/webhooks/webhook/secret`, { secret: SECRET });
    assert.equal(given.json.secret, '(hidden)');
    const [row] = await api.sql`select fence, node_id from exports where crawl_id = ${id}`;
    assert.deepEqual({ ...row }, { fence: 2, node_id: null }, 'whoever sends for it takes it anew');
    const before = endpoint.received.length;
    await deliver(id, 2); // the endpoint checks the signature
    assert.equal(endpoint.received.length, before + 1);
    const bad = await api.call('POST', `/crawls/${id}/webhooks/webhook/secret`, { secret: 'x' });
    assert.deepEqual([bad.status, pointers(bad)], [422, ['bad_secret /secret']]);
    assert.equal((await api.call('POST', `/crawls/${id}/webhooks/other/secret`)).status, 404);
  });
});

describe('deliveries', () => {
  it('are listed with their tries, by webhook and state, page by page, and sent once more by hand', async () => {
    const id = await api.start({
      startUrls,
      webhooks: [
        {
          name: 'hook',
          url: endpoint.url,
          secret: SECRET,
          headers: { 'X-Any': HEADER_SECRET },
          events: ['items.created'],
        },
      ],
    });
    await commitItems(api.sql, id, 6);
    await deliver(id, 2);
    await deliver(id, 2);
    endpoint.manner = answer(500, { 'x-why': 'broken' }, 'no room');
    await deliver(id, 2);
    const page = await api.call('GET', `/crawls/${id}/deliveries?limit=2`);
    const rest = await api.call('GET', `/crawls/${id}/deliveries?limit=2&cursor=${String(page.json.next)}`);
    const all = [page, rest].flatMap(
      ({ json }) => json.deliveries as { id: string; from: number; state: string; nextTryAt: string | null }[],
    );
    assert.deepEqual(
      all.map(({ from, state, nextTryAt }) => [from, state, nextTryAt !== null]),
      [
        [0, 'delivered', false],
        [2, 'delivered', false],
        [4, 'pending', true],
      ],
    );
    assert.equal(rest.json.next, null);
    const count = async (query: string) =>
      ((await api.call('GET', `/crawls/${id}/deliveries${query}`)).json.deliveries as object[]).length;
    assert.deepEqual(
      [await count('?state=pending'), await count('?webhook=hook&state=delivered'), await count('?webhook=other')],
      [1, 2, 0],
    );
    const last = all[2]!.id;
    const one = await api.call('GET', `/crawls/${id}/deliveries/${last}`);
    const [first] = one.json.tries as (Attempt & { n: number })[];
    assert.deepEqual([first!.n, first!.manual, first!.delivered, first!.response!.status], [1, false, false, 500]);
    assert.deepEqual([first!.response!.body, first!.response!.headers['x-why']], ['no room', 'broken']);
    assert.deepEqual([first!.request.headers['x-any'], first!.request.headers['webhook-id']], ['(hidden)', last]);
    assert.ok(first!.timing.totalMs >= first!.timing.firstByteMs! && first!.timing.connectMs! >= 0);

    const again = await api.call('POST', `/crawls/${id}/deliveries/${last}/redeliver`);
    assert.deepEqual([again.status, again.json.delivered, again.json.manual], [200, false, true]);
    assert.equal((await api.call('GET', `/crawls/${id}/deliveries/${last}`)).json.state, 'pending');
    endpoint.manner = answer(204);
    await api.sql`update crawls set state = 'finished', stop_reason = 'finished', ended_at = now() where id = ${id}`;
    const taken = await api.call('POST', `/crawls/${id}/deliveries/${last}/redeliver`);
    assert.equal(taken.json.delivered, true);
    const whole = await api.call('GET', `/crawls/${id}/deliveries/${last}`);
    assert.deepEqual([whole.json.state, whole.json.attempts, whole.json.nextTryAt], ['delivered', 3, null]);
    const mine = endpoint.received.filter(({ data }) => data.crawl?.id === id);
    assert.deepEqual(
      once(mine).map(({ data }) => data.items!.map(({ offset }) => offset)),
      [
        [0, 1],
        [2, 3],
        [4, 5],
      ],
    );
    assert.equal(
      (await api.sql`select next_offset from exports where crawl_id = ${id}`)[0]!.next_offset,
      0,
      'a cursor is the runner’s',
    );
    for (const { text } of [page, one, again, whole])
      assert.ok(!text.includes(HEADER_SECRET) && !text.includes(SECRET));

    await api.sql`delete from items where crawl_id = ${id}`;
    const gone = await api.call('POST', `/crawls/${id}/deliveries/${last}/redeliver`);
    assert.deepEqual([gone.status, gone.json.type], [409, 'wrong_state']);
  });

  it('that there are not are 404, and a forged cursor 422', async () => {
    const id = await api.start();
    const other = `msg_${'0'.repeat(32)}_0_0`;
    const own = `msg_${id.replaceAll('-', '')}_0_0`;
    for (const [method, path, status] of [
      ['GET', `/crawls/${id}/deliveries/${own}`, 404],
      ['GET', `/crawls/${id}/deliveries/${other}`, 404],
      ['POST', `/crawls/${id}/deliveries/nonsense/redeliver`, 404],
      ['GET', `/crawls/00000000-0000-7000-8000-000000000000/deliveries`, 404],
      ['GET', `/crawls/${id}/deliveries?cursor=x`, 422],
      ['GET', `/crawls/${id}/deliveries?state=lost`, 422],
    ] as const)
      assert.equal((await api.call(method, path)).status, status, path);
  });
});

describe('a test message', () => {
  it('is sent without a crawl, signed, and the answer shows the try and the secret that was made', async () => {
    const site = await startSite((req, res) => {
      req.resume().on('end', () => res.writeHead(202, { 'set-cookie': 'sid=1' }).end('thanks'));
    });
    const answered = await api.call('POST', '/webhooks/test', { url: site.url, headers: { 'X-Any': HEADER_SECRET } });
    assert.equal(answered.status, 200, answered.text);
    const { delivered, response, request, secret } = answered.json as unknown as Attempt & { secret: string };
    assert.deepEqual(
      [delivered, response!.status, response!.body, response!.headers['set-cookie']],
      [true, 202, 'thanks', '(hidden)'],
    );
    assert.match(request.headers['webhook-id']!, /^msg_test_[0-9a-f]{32}$/);
    assert.match(secret, /^whsec_/);
    assert.equal(site.hits[0]!.headers['x-any'], HEADER_SECRET);
    assert.ok(!answered.text.includes(HEADER_SECRET));
    const given = await api.call('POST', '/webhooks/test', { url: endpoint.url, secret: SECRET });
    assert.equal(given.json.secret, undefined);
    assert.equal(endpoint.received.at(-1)!.type, 'webhook.test');
    await site.close();
    const away = await api.call('POST', '/webhooks/test', { url: site.url });
    assert.deepEqual([away.json.delivered, (away.json.error as { code: string }).code], [false, 'connect']);
  });

  it('waits for no more than eight at once', async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const arrived: (() => void)[] = [];
    const site = await startSite(async (_req, res) => {
      arrived.shift()?.();
      await held;
      res.end();
    });
    const all = new Promise<void>((resolve) => {
      for (let i = 0; i < 7; i++) arrived.push(() => {});
      arrived.push(resolve);
    });
    const under = Array.from({ length: 8 }, () => api.call('POST', '/webhooks/test', { url: site.url }));
    await all;
    const ninth = await api.call('POST', '/webhooks/test', { url: site.url });
    assert.deepEqual([ninth.status, ninth.json.type, ninth.headers['retry-after']], [503, 'too_busy', '1']);
    release();
    for (const one of await Promise.all(under)) assert.equal(one.json.delivered, true);
    await site.close();
  });
});
