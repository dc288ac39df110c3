import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { inTransaction } from '../../dist/db/client.js';
import { listAttempts, listDeliveries } from '../../dist/db/deliveries.js';
import { insertExports } from '../../dist/db/exports.js';
import { Downloader } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import { senderOf } from '../../dist/downloader/sender.js';
import { type Cursor, ExportError } from '../../dist/exports/target.js';
import { WebhookTarget } from '../../dist/exports/webhook.js';
import type { Webhook } from '../../dist/model/export.js';
import type { StoredItem } from '../../dist/model/item.js';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { seedCrawl } from '../support/rows.ts';
import { conform, someItems } from './conformance.ts';
import { answer, type Endpoint, once, SECRET, startEndpoint } from './webhook_endpoint.ts';

const SECOND = 1000;
const DAY = 24 * 60 * 60 * SECOND;
const signal = new AbortController().signal;

let database: TestDatabase;
let downloader: Downloader;
before(async () => {
  database = await testDatabase();
  downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.1/32'] }) });
});
after(async () => {
  await downloader.close();
  await database.drop();
});

/** A crawl with one webhook, and its endpoint. */
class Scene {
  readonly endpoint: Endpoint;
  readonly crawlId: string;
  readonly webhook: Webhook;
  /** What the runner has stored. */
  stored: Cursor = { next: 0, position: null };
  /** Of the targets; each look at it takes a millisecond. */
  clock = Date.now();
  random = 0.5;

  private constructor(endpoint: Endpoint, crawlId: string, webhook: Webhook) {
    this.endpoint = endpoint;
    this.crawlId = crawlId;
    this.webhook = webhook;
  }

  static async open(more: Partial<Webhook> = {}): Promise<Scene> {
    const endpoint = await startEndpoint();
    const { id } = await seedCrawl(database.sql, { queued: 0 });
    await database.sql`update crawls set started_at = now(), state = 'running' where id = ${id}`;
    const webhook: Webhook = { url: `${endpoint.url}/hook`, secret: SECRET, timeoutMs: 2000, ...more };
    await inTransaction(database.sql, (tx) =>
      insertExports(tx, id, [{ name: 'hook', kind: 'webhook', definition: webhook }]),
    );
    return new Scene(endpoint, id, webhook);
  }

  target(): WebhookTarget {
    return new WebhookTarget({ crawlId: this.crawlId, n: 0, spider: 'books' }, this.webhook, {
      sql: database.sql,
      send: senderOf(downloader),
      now: () => this.clock++,
      random: () => this.random,
    });
  }

  /** Plays the runner for one opening: an error is its return. */
  async run(
    work: (target: WebhookTarget, next: number) => Promise<Cursor | null> = async () => null,
  ): Promise<ExportError | null> {
    const target = this.target();
    try {
      this.stored = await target.open(this.stored, signal);
      this.stored = (await work(target, this.stored.next)) ?? this.stored;
      return null;
    } catch (error) {
      assert.ok(error instanceof ExportError, String((error as Error).stack));
      return error;
    } finally {
      await target.close();
    }
  }

  write(items: StoredItem[], next = items.at(-1)!.offset + 1): Promise<ExportError | null> {
    return this.run((target) => target.write({ items, next }, signal));
  }

  /** Tries again when that is due, until it needs no more. @returns the delays, in milliseconds */
  async tryOn(): Promise<{ delays: number[]; error: ExportError | null }> {
    const delays: number[] = [];
    for (;;) {
      const error = await this.run();
      if (error === null || error.permanent) return { delays, error };
      delays.push(error.retryAt! - this.clock);
      this.clock = error.retryAt!;
    }
  }

  async commit(items: StoredItem[]): Promise<StoredItem[]> {
    for (const { offset, type, url, data, size, scraped_at } of items)
      await database.sql`
        insert into items (crawl_id, "offset", scraped_at, seq, size, type, url, data)
        values (${this.crawlId}, ${offset}, ${scraped_at}, 0, ${size}, ${type}, ${url}, ${data}::text::json) on conflict do nothing`;
    return items;
  }

  async end(state = 'finished'): Promise<void> {
    await database.sql`update crawls set state = ${state}, stop_reason = 'finished', ended_at = clock_timestamp() where id = ${this.crawlId}`;
  }

  deliveries() {
    return listDeliveries(database.sql, this.crawlId, { limit: 1000 });
  }

  async close(): Promise<void> {
    await this.endpoint.close();
  }
}

const inScene =
  (work: (scene: Scene) => Promise<void>, more: Partial<Webhook> = {}) =>
  async () => {
    const scene = await Scene.open(more);
    try {
      await work(scene);
    } finally {
      await scene.close();
    }
  };

const ITEMS: Partial<Webhook> = { events: ['items.created'] };
const states = async (scene: Scene) => (await scene.deliveries()).map(({ state }) => state);

describe('a webhook sends', () => {
  it(
    'what happens in order: the start, the items, the end; each signed, once, under its own id',
    inScene(async (scene) => {
      const items = await scene.commit(someItems(5));
      assert.equal(await scene.write(items.slice(0, 3)), null);
      assert.equal(await scene.write(items.slice(3)), null);
      await scene.end();
      assert.equal(await scene.run((target) => target.finish(signal)), null);
      assert.equal(await scene.run((target) => target.finish(signal)), null);
      const { received } = scene.endpoint;
      assert.deepEqual(
        received.map(({ type, data }) => [type, data.items?.map(({ offset }) => offset) ?? data.crawl.state]),
        [
          ['crawl.started', 'running'],
          ['items.created', [0, 1, 2]],
          ['items.created', [3, 4]],
          ['crawl.finished', 'finished'],
        ],
      );
      assert.equal(new Set(received.map(({ id }) => id)).size, 4);
      assert.match(received[1]!.id, /^msg_[0-9a-f]{32}_0_1$/);
      assert.equal(received[1]!.headers['content-type'], 'application/json');
      assert.deepEqual(JSON.parse(received[1]!.text).data.crawl, { id: scene.crawlId, spider: { name: 'books' } });
    }),
  );

  it(
    'a failed crawl as crawl.failed, a cancelled one as crawl.finished, and a resumed one’s second end too',
    inScene(
      async (scene) => {
        for (const state of ['failed', 'cancelled', 'finished']) {
          await scene.end(state);
          for (let i = 0; i < 2; i++) assert.equal(await scene.run((target) => target.finish(signal)), null);
        }
        assert.deepEqual(
          scene.endpoint.received.map(({ type, data }) => [type, data.crawl.state]),
          [
            ['crawl.failed', 'failed'],
            ['crawl.finished', 'cancelled'],
            ['crawl.finished', 'finished'],
          ],
        );
      },
      { events: ['crawl.finished', 'crawl.failed'] },
    ),
  );

  it(
    'the start when the crawl has started, and nothing that is not wanted',
    inScene(
      async (scene) => {
        await database.sql`update crawls set started_at = null, state = 'queued' where id = ${scene.crawlId}`;
        const target = scene.target();
        await target.open(scene.stored, signal);
        assert.equal(scene.endpoint.received.length, 0);
        await database.sql`update crawls set started_at = now(), state = 'running' where id = ${scene.crawlId}`;
        await target.flush(signal);
        await target.write({ items: someItems(3), next: 3 }, signal);
        assert.deepEqual(
          scene.endpoint.received.map(({ type }) => type),
          ['crawl.started'],
        );
      },
      { events: ['crawl.started'] },
    ),
  );

  it(
    'bodies of a mebibyte at most, but for an item that is larger alone; only the wanted fields',
    inScene(
      async (scene) => {
        const sizes = [300_000, 300_000, 300_000, 300_000, 1_200_000, 10];
        const items = someItems(6, (i) => JSON.stringify({ a: i, b: 1, c: 'x'.repeat(sizes[i]!) }));
        assert.equal(await scene.write(items), null);
        const bodies = scene.endpoint.received.map(({ text, data }) => [
          data.items!.map(({ offset }) => offset),
          text.length > 1024 * 1024,
        ]);
        assert.deepEqual(bodies, [
          [[0, 1, 2], false],
          [[3], false],
          [[4], true],
          [[5], false],
        ]);
        assert.deepEqual(Object.keys(scene.endpoint.received[0]!.data.items![0]!.data as object), ['a', 'c']);
      },
      { ...ITEMS, fields: ['c', 'a'] },
    ),
  );
});

/** How endpoints misbehave, and what the try says of it. */
const MISBEHAVIOUR: [
  string,
  (scene: Scene) => void,
  { status: number | null; error: string | null; delivered?: boolean },
][] = [
  [
    'answers with 500',
    ({ endpoint }) => {
      endpoint.manner = answer(500, {}, 'oh');
    },
    { status: 500, error: null },
  ],
  [
    'hangs',
    ({ endpoint }) => {
      endpoint.manner = () => {};
    },
    { status: null, error: 'timeout' },
  ],
  [
    'resets the connection',
    ({ endpoint }) => {
      endpoint.manner = (req) => req.socket.resetAndDestroy();
    },
    { status: null, error: 'reset' },
  ],
  [
    'redirects to a private address',
    ({ endpoint }) => {
      endpoint.manner = answer(302, { location: 'http://169.254.169.254/latest/' });
    },
    { status: 302, error: null },
  ],
  [
    'redirects to itself, keeping the method',
    ({ endpoint }) => {
      endpoint.manner = answer(307, { location: '/hook' });
    },
    { status: 307, error: null },
  ],
  [
    'answers 200 with a huge body',
    ({ endpoint }) => {
      endpoint.manner = answer(200, { 'set-cookie': 'sid=1' }, 'y'.repeat(1_000_000));
    },
    { status: 200, error: null, delivered: true },
  ],
  [
    'answers 200 and never ends the body',
    ({ endpoint }) => {
      endpoint.manner = (_req, res) => {
        res.writeHead(200).write('drip');
      };
    },
    { status: 200, error: 'timeout', delivered: true },
  ],
  [
    'answers 400 in broken gzip',
    ({ endpoint }) => {
      endpoint.manner = answer(400, { 'content-encoding': 'gzip' }, 'no gzip');
    },
    { status: 400, error: null },
  ],
  [
    'is not HTTP',
    ({ endpoint }) => {
      endpoint.manner = (req) => {
        req.socket.end('SSH-2.0-x\r\n');
      };
    },
    { status: null, error: 'bad_response' },
  ],
  [
    'is not there',
    ({ webhook }) => {
      webhook.url = 'http://127.0.0.1:4/';
    },
    { status: null, error: 'connect' },
  ],
  [
    'is inside the network',
    ({ webhook }) => {
      webhook.url = 'http://127.0.0.2:8080/';
    },
    { status: null, error: 'egress' },
  ],
];

describe('an endpoint that misbehaves delays its webhook alone, and the try says how', () => {
  for (const [what, misbehave, expected] of MISBEHAVIOUR)
    it(
      what,
      inScene(
        async (scene) => {
          misbehave(scene);
          const error = await scene.write(await scene.commit(someItems(2)));
          const [row] = await scene.deliveries();
          const [{ attempt } = { attempt: null }] = await listAttempts(database.sql, row!);
          assert.deepEqual(
            {
              status: attempt!.response?.status ?? null,
              error: attempt!.error?.code ?? null,
              delivered: attempt!.delivered,
            },
            { delivered: false, ...expected },
          );
          assert.equal(error === null, expected.delivered ?? false);
          assert.equal(row!.state, error === null ? 'delivered' : 'pending');
          assert.ok(scene.endpoint.received.length <= 1);
          if (attempt!.response !== null) assert.ok(attempt!.response.body.length <= 4096);
          assert.doesNotMatch(JSON.stringify(attempt), /sid=1|t0ken/);
          assert.equal(attempt!.request.headers['x-token'], '(hidden)');
          assert.doesNotMatch(error?.message ?? '', /127\.0|169\.254/);
        },
        { ...ITEMS, timeoutMs: 600, headers: { 'X-Token': 't0ken' } },
      ),
    );
});

describe('a message is tried again', () => {
  it(
    'with growing delays over a day, jittered, equal to the byte under the same id; then the webhook waits to be resumed',
    inScene(async (scene) => {
      scene.endpoint.manner = answer(503);
      const first = await scene.write(await scene.commit(someItems(2)));
      const start = scene.clock;
      scene.clock = first!.retryAt!;
      const { delays, error } = await scene.tryOn();
      const minutes = delays.map((ms) => Math.round(ms / 6000) / 10);
      assert.deepEqual(minutes.slice(0, 10), [0.5, 2, 10, 30, 60, 120, 240, 240, 240, 240]);
      assert.equal(first!.retryAt! - start, 5 * SECOND - 1);
      assert.ok(Math.abs(scene.clock - start - DAY) < SECOND, 'the last try is at the end of the day');
      assert.equal(error!.permanent, true);
      assert.match(error!.message, /status 503.*a day.*resume/);
      const { received } = scene.endpoint;
      assert.equal(once(received).length, 1);
      assert.deepEqual([await states(scene), scene.stored.next], [['pending'], 0]);
      scene.clock += 3 * DAY;
      scene.endpoint.manner = answer(204);
      assert.equal(await scene.run(), null, 'resumed');
      assert.equal(scene.stored.next, 2);
      const [row] = await scene.deliveries();
      assert.deepEqual([row!.state, row!.attempts, once(received).length], ['delivered', received.length, 1]);
      assert.ok(received.length > 10);
    }, ITEMS),
  );

  it(
    'no sooner than Retry-After says, in seconds and as a date; hours of it at most',
    inScene(async (scene) => {
      const cases: [string, number][] = [
        ['120', 120],
        ['7', 30],
        [new Date(scene.clock + 3600 * SECOND + 200 * SECOND).toUTCString(), 3600],
        ['999999999', 4 * 3600],
      ];
      await scene.commit(someItems(1));
      let write: Promise<ExportError | null> | null = scene.write(someItems(1));
      for (const [header, seconds] of cases) {
        scene.endpoint.manner = answer(429, { 'retry-after': header });
        const error = (await (write ?? scene.run()))!;
        if (write !== null) {
          scene.clock = error.retryAt!;
          write = null;
          continue;
        }
        const delay = (error.retryAt! - scene.clock) / SECOND;
        assert.ok(delay > seconds * 0.8 && delay < seconds * 1.2, `${header}: ${delay} s`);
        scene.clock = error.retryAt!;
      }
    }, ITEMS),
  );

  it(
    'jittered by a fifth each way',
    inScene(async (scene) => {
      scene.endpoint.manner = answer(500);
      scene.random = 0;
      const { retryAt } = (await scene.write(await scene.commit(someItems(1))))!;
      assert.equal(retryAt! - scene.clock, 4 * SECOND - 1);
      scene.clock = retryAt!;
      scene.random = 0.999999;
      const again = (await scene.run())!;
      assert.equal(again.retryAt! - scene.clock, 36 * SECOND - 1);
    }, ITEMS),
  );

  it(
    'alone for a day where the endpoint refuses this very message; then the next one is due',
    inScene(async (scene) => {
      const items = await scene.commit(someItems(3));
      assert.equal(await scene.write(items.slice(0, 1)), null);
      scene.endpoint.manner = (req, res, message) =>
        answer(message.data.items?.[0]?.offset === 1 ? 400 : 200)(req, res, message);
      await scene.write(items.slice(1, 2));
      const { error } = await scene.tryOn();
      assert.equal(error, null);
      assert.equal(scene.stored.next, 2);
      assert.equal(await scene.write(items.slice(2)), null);
      assert.deepEqual(await states(scene), ['delivered', 'failed', 'delivered']);
    }, ITEMS),
  );

  it(
    'never after a 410, until the webhook is resumed',
    inScene(async (scene) => {
      scene.endpoint.manner = answer(410);
      const error = await scene.write(await scene.commit(someItems(1)));
      assert.deepEqual([error!.permanent, error!.code], [true, 'gone']);
      assert.match(error!.message, /410/);
      scene.endpoint.manner = answer(200);
      assert.equal(await scene.run(), null);
      assert.deepEqual([await states(scene), scene.stored.next], [['delivered'], 1]);
    }, ITEMS),
  );

  it(
    'where the node was stopped in the middle of it, which is no failure of the endpoint',
    inScene(async (scene) => {
      const stop = new AbortController();
      scene.endpoint.manner = () => stop.abort(new Error('the node stops'));
      const target = scene.target();
      await target.open(scene.stored, signal);
      const [item] = await scene.commit(someItems(1));
      await assert.rejects(target.write({ items: [item!], next: 1 }, stop.signal), /the node stops/);
      scene.endpoint.manner = answer(204);
      assert.equal(await scene.run(), null);
      assert.equal(scene.stored.next, 1);
      const [row] = await scene.deliveries();
      assert.deepEqual([row!.attempts, row!.failures, once(scene.endpoint.received).length], [1, 0, 1]);
    }, ITEMS),
  );

  it(
    'no more where its items have been deleted',
    inScene(async (scene) => {
      scene.endpoint.manner = answer(500);
      await scene.write(someItems(2));
      assert.equal(await scene.run(), null);
      assert.deepEqual([await states(scene), scene.stored.next], [['failed'], 2]);
    }, ITEMS),
  );

  it(
    'not for ever in the database: the last fifty tries are kept, and none of what was delivered long ago',
    inScene(async (scene) => {
      scene.endpoint.manner = answer(500);
      await scene.write(await scene.commit(someItems(1)));
      await database.sql`
        insert into delivery_attempts select crawl_id, webhook, 0, i, now() - interval '1 hour', attempt
        from delivery_attempts, generate_series(2, 60) as i where crawl_id = ${scene.crawlId}`;
      await database.sql`update deliveries set attempts = 60, next_at = null where crawl_id = ${scene.crawlId}`;
      await scene.run();
      const [row] = await scene.deliveries();
      const kept = await listAttempts(database.sql, row!);
      assert.deepEqual([kept.length, kept[0]!.n, kept.at(-1)!.n], [50, 12, 61]);
      await database.sql`update deliveries set n = 999 where crawl_id = ${scene.crawlId}`;
      await database.sql`update delivery_attempts set delivery = 999 where crawl_id = ${scene.crawlId}`;
      for (const [n, state] of [
        [0, 'delivered'],
        [1, 'failed'],
      ] as const) {
        await database.sql`
          insert into deliveries (crawl_id, webhook, n, event, next_offset, state)
          values (${scene.crawlId}, 0, ${n}, 'items.created', 0, ${state})`;
        await database.sql`
          insert into delivery_attempts select crawl_id, webhook, ${n}, n, at, attempt
          from delivery_attempts where crawl_id = ${scene.crawlId} and delivery = 999`;
      }
      scene.endpoint.manner = answer(200);
      for (let offset = 1; offset < 4; offset++)
        await scene.write(await scene.commit(someItems(4).slice(offset, offset + 1)));
      const counts = await database.sql`
        select delivery, count(*)::int as n from delivery_attempts where crawl_id = ${scene.crawlId} group by 1 order by 1`;
      assert.deepEqual(
        counts.map(({ delivery, n }) => [delivery, n]),
        [
          [1, 50],
          [999, 50],
          [1000, 1],
          [1001, 1],
          [1002, 1],
        ],
      );
    }, ITEMS),
  );
});

conform('a webhook', async () => {
  const scene = await Scene.open(ITEMS);
  return {
    target: () => {
      const target = scene.target();
      const write = target.write.bind(target);
      target.write = async (batch, by) => {
        await scene.commit([...batch.items]);
        return write(batch, by);
      };
      scene.clock += 5 * 60 * SECOND; // whatever is pending is due
      return target;
    },
    read: async () =>
      once(scene.endpoint.received).flatMap(({ data }) =>
        (data.items ?? []).map(({ offset, data }) => ({ offset, data })),
      ),
    away: async () => {
      scene.endpoint.manner = answer(503);
    },
    back: async () => {
      scene.endpoint.manner = answer(204);
    },
    hopeless: () => {
      scene.endpoint.manner = answer(410);
      return scene.target();
    },
    remove: () => scene.close(),
  };
});
