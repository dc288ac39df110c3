import { randomUUID } from 'node:crypto';
import { inTransaction, retried, type Sql, type Tx } from '../db/client.ts';
import { type StoredCookie, storeCookies } from '../db/crawl_cookies.ts';
import {
  type CrawlRow,
  deleteCrawl as deleteRows,
  endCrawl,
  findCrawl,
  insertCrawl,
  lockCrawl,
  setPaused,
  setResumed,
  changeCrawl as storeChange,
  toCrawl,
} from '../db/crawls.ts';
import { insertExports, reviveExports } from '../db/exports.ts';
import { findAnswer, keepAnswer, type StoredAnswer } from '../db/idempotency.ts';
import { addHosts, insertStartRequests } from '../db/ledger.ts';
import { setKeepFor } from '../db/retention.ts';
import { CookieJar } from '../downloader/cookies.ts';
import { ApiError, refuse } from '../errors.ts';
import {
  type ChangeCrawl,
  type Crawl,
  ENDED_STATES,
  type PlainStart,
  RESUMABLE,
  type StartCrawl,
} from '../model/crawl.ts';
import { HIDDEN, hiddenInSettings, shownSettings } from '../model/secrets.ts';
import type { Problem, Spider } from '../model/spider.ts';
import { type PlannedCrawl, type Planning, planCrawl, settingsProblems, wellFormed } from './crawl_input.ts';
import { type CheckSpider, lookUpSpider } from './spiders.ts';

// What starts, stops and changes a crawl. Each transition is one transaction that begins with the crawl's row lock, and
// doing it twice is doing it once, so that it may be tried again when the connection is lost, its COMMIT included.
//
//   queued ──► running ──► finished | failed          pause: queued, running ──► pausing (fetches under way) ──► paused
//     ▲           ▲             │                     resume: pausing, paused ──► running (queued if it never ran)
//     └── resume ─┴── resume ───┘ (at a limit)        cancel: any that has not ended ──► cancelled

/** The answer to a start. */
export interface Started {
  status: number;
  location: string;
  crawl: Crawl;
  /** True where an Idempotency-Key brought the answer of an earlier request. */
  replayed: boolean;
}

export interface StartOptions extends Checks {
  /** The key, whose it is, and the hash of the body that it stands for. */
  idempotency?: { principal: string; key: string; bodyHash: string } | undefined;
}

/** What is done off the event loop. */
export interface Checks extends Planning {
  checkSpider: CheckSpider;
  /** Fills in what a script exports besides its callbacks: name and start URLs. */
  completeSpider?: ((spider: Spider) => Promise<Spider>) | undefined;
}

/**
 * Starts a crawl: its row, its first requests and the kept answer in one transaction.
 *
 * @throws ApiError `invalid_request` or `invalid_spider` with every problem, `idempotency_mismatch`
 */
export async function startCrawl(sql: Sql, input: StartCrawl, options: StartOptions): Promise<Started> {
  const { idempotency } = options;
  if (idempotency !== undefined) {
    const kept = await retried(() => findAnswer(sql, idempotency.principal, idempotency.key));
    if (kept !== null) return replay(kept, idempotency.bodyHash);
  }
  const { plan, problems } = await readInput(sql, input, options);
  refuse(problems);
  const id = newId();
  await addOrigins(sql, plan);
  try {
    return await retried(() => inTransaction(sql, (tx) => storeCrawl(tx, id, plan, idempotency)));
  } catch (error) {
    if (!(error instanceof KeyTaken) || idempotency === undefined) throw error;
    const kept = await retried(() => findAnswer(sql, idempotency.principal, idempotency.key));
    if (kept === null) throw error;
    return replay(kept, idempotency.bodyHash);
  }
}

/** Adds the hosts of a crawl's first requests: before the transaction that stores it, so that it waits for no other crawl's. */
export async function addOrigins(sql: Sql, plan: PlannedCrawl): Promise<void> {
  const origins = plan.requests.flatMap((request) => request.origin ?? []);
  if (origins.length > 0) await retried(() => addHosts(sql, origins));
}

/** Another request took the same Idempotency-Key first; rolls the transaction back. */
class KeyTaken extends Error {}

/** Every problem that a posted crawl has beyond its schema. */
export async function inputProblems(sql: Sql, input: StartCrawl, checks: Checks): Promise<Problem[]> {
  return (await readInput(sql, input, checks)).problems;
}

/** Looks the spider up where it is named, and finds every problem of the whole. */
export async function readInput(
  sql: Sql,
  input: StartCrawl,
  { checkSpider, completeSpider, ...planning }: Checks,
): Promise<{ plan: PlannedCrawl; problems: Problem[] }> {
  const { plain, unknown } = await resolveSpider(sql, input);
  if (plain.spider !== undefined && completeSpider !== undefined) plain.spider = await completeSpider(plain.spider);
  const plan = await planCrawl(plain, planning);
  if (unknown !== null) {
    // What the spider would have brought is not missed as well.
    const others = plan.problems.filter(({ code }) => code !== 'required' && code !== 'no_name');
    return { plan, problems: [{ pointer: '/spider', code: 'unknown_spider', message: unknown }, ...others] };
  }
  const checked = plain.spider === undefined ? [] : await checkSpider(plain.spider);
  const problems = [...plan.problems, ...checked.map((one) => ({ ...one, pointer: `/spider${one.pointer}` }))];
  return { plan, problems: typeof input.spider === 'string' ? problems.map((one) => named(one, plain)) : problems };
}

async function resolveSpider(
  sql: Sql,
  { spider, ...rest }: StartCrawl,
): Promise<{ plain: PlainStart; unknown: string | null }> {
  if (spider === undefined) return { plain: rest, unknown: null };
  if (typeof spider !== 'string') return { plain: { ...rest, spider }, unknown: null };
  const found = await lookUpSpider(sql, spider);
  if ('unknown' in found) return { plain: rest, unknown: found.unknown };
  return { plain: { ...rest, spider: found.definition, version: found.version }, unknown: null };
}

/** The body of a crawl that names its spider has nothing below `/spider` that a pointer could lead to. */
function named(problem: Problem, { spider, version }: PlainStart): Problem {
  const inside = /^\/spider(\/.*)$/s.exec(problem.pointer)?.[1];
  if (inside === undefined) return problem;
  return { ...problem, pointer: '/spider', message: `in ${spider?.name}@${version}, ${inside}: ${problem.message}` };
}

/** A UUIDv7, so that a crawl's rows lie together in the indexes and new crawls at their end. */
export function newId(): string {
  const time = Date.now().toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

/** Stores a crawl with its first requests: its start, as a part of the transaction. Twice under one id is once. */
export async function storeCrawl(
  tx: Tx,
  id: string,
  plan: PlannedCrawl,
  idempotency?: StartOptions['idempotency'],
): Promise<Started> {
  const location = `/crawls/${id}`;
  let row = await insertCrawl(tx, { ...plan.crawl, id });
  if (row === null) {
    const stored = await findCrawl(tx, id); // an earlier try was committed and only its answer was lost
    if (stored !== null)
      return { status: 201, location, crawl: { ...toCrawl(stored), ...told(plan) }, replayed: false };
    throw new Error('the crawl was deleted while it was stored');
  }
  if (plan.crawl.settings.keepFor !== null) await setKeepFor(tx, id, plan.crawl.settings.keepFor);
  await insertStartRequests(tx, id, plan.requests);
  await storeCookies(tx, null, givenCookies(id, plan));
  await insertExports(tx, id, plan.exports);
  if (plan.crawl.queued === 0)
    row = await endCrawl(tx, id, 'failed', 'start_urls_failed', 'every start URL is outside the scope');
  const crawl = { ...toCrawl(row), ...told(plan) };
  if (idempotency !== undefined) {
    const { principal, key, bodyHash } = idempotency;
    const answer = { body_hash: bodyHash, status: 201, location, response: withoutSecrets(crawl) };
    if (!(await keepAnswer(tx, principal, key, answer))) throw new KeyTaken();
  }
  return { status: 201, location, crawl, replayed: false };
}

/** What the answer to a start has beside the crawl. */
function told({ webhooks }: PlannedCrawl): Pick<Crawl, 'webhooks'> {
  return webhooks.length === 0 ? {} : { webhooks };
}

/** The secrets that were made for webhooks are shown once. */
function withoutSecrets(crawl: Crawl): Crawl {
  const { webhooks } = crawl;
  return webhooks === undefined ? crawl : { ...crawl, webhooks: webhooks.map((one) => ({ ...one, secret: HIDDEN })) };
}

/** The cookies that the client gave, as if a response had set them: a site may change and delete them. */
function givenCookies(crawlId: string, { crawl }: PlannedCrawl): StoredCookie[] {
  const jar = new CookieJar();
  jar.give(crawl.settings.cookies ? crawl.settings.initialCookies : []);
  return (jar.takeChanges() ?? []).map((change) => ({ ...change, crawlId }));
}

function replay(kept: StoredAnswer, bodyHash: string): Started {
  if (kept.body_hash !== bodyHash) throw new ApiError('idempotency_mismatch');
  // An older version kept the secrets in its answer.
  const crawl = { ...kept.response, settings: shownSettings(kept.response.settings) };
  return { status: kept.status, location: kept.location, crawl, replayed: true };
}

/** Stops fetching; what is under way is still committed. @throws ApiError `crawl_not_found`, `wrong_state` when it has ended */
export async function pauseCrawl(sql: Sql, id: string): Promise<Crawl> {
  return withLock(sql, id, async (tx, row) => {
    if (row.state === 'pausing' || row.state === 'paused') return row;
    if (ENDED_STATES.includes(row.state)) throw wrongState(row, 'a crawl that has ended cannot be paused');
    return setPaused(tx, id);
  });
}

/**
 * Goes on after a pause, or after a limit once it has been raised.
 *
 * @throws ApiError `crawl_not_found`; `wrong_state` when it ended for good, the limit still holds or nothing is queued
 */
export async function resumeCrawl(sql: Sql, id: string): Promise<Crawl> {
  return withLock(sql, id, async (tx, row) => {
    if (row.state === 'queued' || row.state === 'running') return row;
    if (ENDED_STATES.includes(row.state)) refuseResume(row);
    await reviveExports(tx, id);
    return setResumed(tx, id);
  });
}

function refuseResume(row: CrawlRow): void {
  if (row.ledger_deleted_at !== null)
    throw wrongState(
      row,
      `its ledger was deleted at ${row.ledger_deleted_at.toISOString()}, so that nothing is left to go on with`,
    );
  if (row.stop_reason === null || !RESUMABLE.includes(row.stop_reason))
    throw wrongState(row, 'only a crawl that stopped at a limit can go on');
  const limit = reachedLimit(row);
  if (limit !== null) throw wrongState(row, `raise settings.${limit} by PATCH first`);
  if (row.queued === 0) throw wrongState(row, 'no request is queued, so there is nothing to go on with');
}

/** The setting whose limit is reached, or null. */
function reachedLimit(row: CrawlRow): keyof Crawl['settings'] | null {
  if (row.max_pages !== null && row.done >= row.max_pages) return 'maxPages';
  if (row.max_items !== null && row.items >= row.max_items) return 'maxItems';
  if (row.max_errors !== null && row.failed >= row.max_errors) return 'maxErrors';
  if (row.max_bytes !== null && row.body_bytes >= row.max_bytes) return 'maxBytes';
  if (row.remaining_ms !== null && row.remaining_ms <= 0) return 'maxDurationSeconds';
  return null;
}

/** Ends a crawl and keeps what was committed. @throws ApiError `crawl_not_found`; `wrong_state` when it ended otherwise */
export async function cancelCrawl(sql: Sql, id: string): Promise<Crawl> {
  return withLock(sql, id, async (tx, row) => {
    if (row.state === 'cancelled') return row;
    if (ENDED_STATES.includes(row.state)) throw wrongState(row, 'it has ended already');
    await reviveExports(tx, id);
    return endCrawl(tx, id, 'cancelled', 'cancelled', null);
  });
}

/**
 * Changes limits, speed and labels in any state. Settings are merged into the crawl's, labels replace its labels.
 *
 * @param proxies names of the operator's; absent: there are none
 * @throws ApiError `crawl_not_found`, `invalid_request`
 */
export async function changeCrawl(
  sql: Sql,
  id: string,
  change: ChangeCrawl,
  proxies?: Planning['proxies'],
): Promise<Crawl> {
  refuse([
    ...hiddenInSettings(change.settings, '/settings'),
    ...settingsProblems(change.settings, '/settings', proxies),
  ]);
  return withLock(sql, id, async (tx, row) => {
    if (change.settings?.keepFor !== undefined) await setKeepFor(tx, id, change.settings.keepFor);
    return storeChange(tx, row, { ...row.settings, ...change.settings }, wellFormed(change.labels ?? row.labels));
  });
}

/** Deletes a crawl that has ended: it is gone at once, its rows soon after. @throws ApiError `crawl_not_found`, `wrong_state` */
export async function deleteCrawl(sql: Sql, id: string): Promise<void> {
  await retried((attempt) =>
    inTransaction(sql, async (tx) => {
      const row = await lockCrawl(tx, id);
      if (row === null && attempt > 1) return; // an earlier try was committed and only its answer was lost
      if (row === null) throw notFound(id);
      if (!ENDED_STATES.includes(row.state)) throw wrongState(row, 'cancel it first');
      await deleteRows(tx, row);
    }),
  );
}

async function withLock(sql: Sql, id: string, change: (tx: Tx, row: CrawlRow) => Promise<CrawlRow>): Promise<Crawl> {
  const row = await retried(() =>
    inTransaction(sql, async (tx) => {
      const locked = await lockCrawl(tx, id);
      if (locked === null) throw notFound(id);
      return change(tx, locked);
    }),
  );
  return toCrawl(row);
}

function notFound(id: string): ApiError {
  return new ApiError('crawl_not_found', `There is no crawl ${id}`);
}

function wrongState(row: CrawlRow, why: string): ApiError {
  const reason = row.stop_reason === null ? '' : ` (${row.stop_reason})`;
  return new ApiError('wrong_state', `The crawl is ${row.state}${reason}: ${why}`);
}
