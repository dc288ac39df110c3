import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sql } from '../../dist/db/client.js';
import type { Downloader } from '../../dist/downloader/downloader.js';
import type { Manners } from '../../dist/engine/manners.js';
import type { PageMemory } from '../../dist/engine/page_memory.js';
import { Pages } from '../../dist/engine/pages.js';
import type { Rendering } from '../../dist/engine/rendering.js';
import type { ResponseCache } from '../../dist/engine/response_cache.js';
import type { Scripts } from '../../dist/engine/scripts.js';
import { Sessions } from '../../dist/engine/sessions.js';
import type { StepCalls } from '../../dist/engine/step_calls.js';
import type { HostQueue } from '../../dist/frontier/host.js';
import type { Outcome } from '../../dist/model/outcome.js';
import type { ClaimedRequest } from '../../dist/model/request.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { ParserPool } from '../../dist/parser/pool.js';

const request = { crawlId: 'c', url: 'https://a.example/', attempts: 1 } as ClaimedRequest;
const queue = {
  run: { id: 'c', settings: DEFAULT_SETTINGS, parsing: 0, parsingBytes: 0 },
  host: { origin: 'https://a.example' },
} as unknown as HostQueue;

/** Runs one request through stages that a bug has broken. */
async function runWith(fetch: Downloader['fetch'], onOutcome: (outcome: Outcome) => void) {
  const logged: { detail: object; message: string }[] = [];
  let freed = 0;
  const pages = new Pages({
    downloader: { fetch } as unknown as Downloader,
    parser: {} as ParserPool,
    scripts: {} as Scripts,
    steps: {} as StepCalls,
    rendering: { concerns: () => false } as unknown as Rendering,
    manners: { heed: () => 0 } as unknown as Manners,
    sessions: new Sessions({} as Sql, 'node'),
    memory: {} as PageMemory,
    cache: {} as ResponseCache,
    onOutcome,
    onSent: () => {},
    onFetched: () => freed++,
    onParsed: () => {},
    onEvicted: () => {},
    log: { error: (detail, message) => logged.push({ detail, message }) },
  });
  await pages.run(request, queue);
  return { logged, freed };
}

test('a bug in the way of a page is its outcome: the slot is freed, the request ends, the log names it', async () => {
  const outcomes: Outcome[] = [];
  const { logged, freed } = await runWith(
    () => Promise.reject(new TypeError('x is not a function')),
    (outcome) => outcomes.push(outcome),
  );
  assert.deepEqual(
    outcomes.map(({ state, reason, detail }) => ({ state, reason, detail })),
    [{ state: 'failed', reason: 'parse_error', detail: 'x is not a function' }],
  );
  assert.equal(freed, 1);
  assert.partialDeepStrictEqual(logged, [{ detail: { crawl: 'c', url: 'https://a.example/' } }]);
});

test('a bug in what takes the outcome rejects nothing either', async () => {
  const failure = { kind: 'failure', reason: 'dns', detail: 'no such name', status: null };
  const { logged, freed } = await runWith(
    async () => ({ ...failure, wireBytes: 0, ms: 1 }) as Awaited<ReturnType<Downloader['fetch']>>,
    () => {
      throw new Error('a bug');
    },
  );
  assert.equal(freed, 1);
  assert.equal(logged.length, 1);
});
