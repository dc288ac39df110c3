/**
 * A script's process that has been taken over: QuickJS is broken, and so is node around it. The broker believes none of what
 * it writes: its page fails or gives less, its process is ended, and the page of another crawl is as it should be.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { KnownFingerprints } from '../../dist/model/known.js';
import { Broker } from '../../dist/parser/script/broker.js';
import type { BrokerReply, Question } from '../../dist/parser/script/broker_messages.js';
import { pageJob, scriptPlan } from '../parser/script/scripts.ts';

const FALSE_CHILD = fileURLToPath(new URL('../parser/script/false_child.ts', import.meta.url));
const LIMITS = { parseTimeoutMs: 300, callbackTimeoutMs: 20_000, scriptMemoryMb: 16 };
/** What comes after an answer that asks for something is in nobody's parse time: it lasts until the callback's is over. */
const LIMITS_AFTER = { ...LIMITS, callbackTimeoutMs: 1000 };

const FAIL = [
  'two answers',
  'no answer, and lines without end',
  'lines after its answer',
  'ready again and again',
  'work after its answer',
  'memory after its answer',
  'calls without end',
  'a frame that drips',
  'a frame that is too long',
  'a header that is longer than its frame',
  'no JSON',
  'a deep frame',
  'a prototype',
  'items that are none',
  'a deep item',
  'items that wait for no step',
  'values passed on that are deep',
  'a state that is no JSON',
  'counts that are none',
  'its page’s number as text',
  'a description that nobody asked for',
  'a page of its own making',
];

/** The false child is TypeScript: compiled once, where the run keeps what it compiled. */
const KEPT = process.env.NODE_COMPILE_CACHE;
const CACHED = KEPT === undefined ? [] : ['/usr/bin/env', `NODE_COMPILE_CACHE=${KEPT}`];

/** A broker whose processes play a trick. */
class Attacked {
  readonly asked: Question[] = [];
  readonly #broker: Broker;
  readonly #settled = new Map<number, (reply: BrokerReply) => void>();
  #pages = 0;

  constructor(trick: string, answer: (question: Question, signal: AbortSignal) => Promise<unknown>) {
    this.#broker = new Broker({
      launch: {
        kind: 'process',
        detail: '',
        command: [...CACHED, process.execPath, '--no-warnings', FALSE_CHILD, trick],
      },
      processes: 1,
      known: new KnownFingerprints(1024),
      reply: (reply) => 'id' in reply && this.#settled.get(reply.id)?.(reply),
      ask: (_, question, signal) => {
        this.asked.push(question);
        // As the thread does, which hands it over.
        structuredClone(question);
        return answer(question, signal);
      },
      log: () => {},
      count: () => {},
    });
    this.#broker.openCrawl(scriptPlan('', trick.endsWith('after its answer') ? LIMITS_AFTER : LIMITS));
  }

  page(): Promise<BrokerReply> {
    const id = ++this.#pages;
    return new Promise((resolve) => {
      this.#settled.set(id, resolve);
      this.#broker.page(id, pageJob('<p>'));
    });
  }

  stop(): Promise<void> {
    return this.#broker.stop();
  }
}

const none = () => Promise.resolve({ ok: true, text: '[]' });
const never = (_: Question, signal: AbortSignal) =>
  new Promise((resolve) =>
    signal.addEventListener('abort', () => resolve({ ok: false, code: 'aborted', message: '' })),
  );

describe('a process that has been taken over', { concurrency: 3 }, () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  before(() => process.on('unhandledRejection', note));
  after(() => {
    process.off('unhandledRejection', note);
    assert.deepEqual(unhandled, [], 'nothing that it writes is an error of the broker');
  });

  async function play<T>(trick: string, answer: typeof never, check: (attacked: Attacked) => Promise<T>): Promise<T> {
    const attacked = new Attacked(trick, answer);
    try {
      return await check(attacked);
    } finally {
      await attacked.stop();
    }
  }

  for (const trick of FAIL)
    it(`gets nowhere with ${trick}`, async () => {
      const answer = trick.endsWith('after its answer') ? never : none;
      const reply = await play(trick, answer as typeof never, (attacked) => attacked.page());
      // Of two answers the first is one.
      if (trick === 'two answers') assert.equal(reply.kind, 'done');
      else assert.ok(reply.kind === 'failed' && reply.message.length > 5, `${trick}: ${JSON.stringify(reply)}`);
      if (reply.kind === 'failed') assert.ok(reply.logs.length <= 101);
    });

  it('asks a value that cannot be handed over, and is told so', async () => {
    const [reply, asked] = await play('a deep value to look up', none as typeof never, async (attacked) => [
      await attacked.page(),
      attacked.asked.length,
    ]);
    assert.deepEqual([(reply as BrokerReply).kind, asked], ['done', 1]);
  });

  it('fetches nothing outside, and sends no header that it may not', async () => {
    const asked = await play('fetches outside', none as typeof never, async (attacked) => {
      assert.equal((await attacked.page()).kind, 'done');
      return attacked.asked;
    });
    assert.deepEqual(asked, []);
  });

  it('follows nothing outside', async () => {
    const reply = await play('links outside', none as typeof never, (attacked) => attacked.page());
    assert.ok(reply.kind === 'done');
    const kept = reply.page.links.filter(({ reason }) => reason === null).map(({ url }) => url);
    assert.deepEqual(kept, ['http://site.test/fine']);
  });

  it('gives text that PostgreSQL holds, and no prototype', async () => {
    const reply = await play('text that PostgreSQL does not hold', none as typeof never, (attacked) => attacked.page());
    assert.ok(reply.kind === 'done', JSON.stringify(reply));
    const { items, dropped, state } = reply.page;
    assert.equal(items[0]?.data, '{"a\ufffd":"\ufffd","__proto__":{"x":1}}');
    assert.deepEqual(Object.entries(dropped), [
      ['a\ufffd\ufffd', 1],
      ['__proto__', 2],
      ['constructor', 3],
    ]);
    assert.deepEqual(state, { 'k\ufffd': '"\ufffd\ufffd"' });
    assert.equal((Object.prototype as { x?: unknown }).x, undefined);
  });
});
