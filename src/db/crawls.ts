import type { Crawl, CrawlState, StopReason } from '../model/crawl.ts';
import { shownParams, shownSettings } from '../model/secrets.ts';
import type { Settings } from '../model/settings.ts';
import type { Params, Spider, StartUrl } from '../model/spider.ts';
import type { Db, Tx } from './client.ts';
import { noteChanges } from './crawl_changes.ts';
import { insertDeletion } from './deletions.ts';

/** A row of `crawls` without the definition, as the driver gives it. */
export interface CrawlRow {
  id: string;
  created_at: Date;
  started_at: Date | null;
  ended_at: Date | null;
  deadline_at: Date | null;
  remaining_ms: number | null;
  state: CrawlState;
  stop_reason: StopReason | null;
  stop_detail: string | null;
  spider_name: string | null;
  spider_version: number | null;
  settings: Settings;
  settings_version: number;
  start_urls: StartUrl[];
  params: Params;
  /** Pointers of `secretParams`. */
  secret_params: string[];
  scope_hosts: string[];
  labels: Record<string, string>;
  warnings: string[];
  ledger_deleted_at: Date | null;
  max_pages: number | null;
  max_items: number | null;
  max_errors: number | null;
  max_bytes: number | null;
  discovered: number;
  queued: number;
  in_progress: number;
  done: number;
  failed: number;
  skipped: number;
  retried: number;
  items: number;
  dropped: number;
  item_bytes: number;
  body_bytes: number;
  wire_bytes: number;
  next_seq: number;
}

/** All but the definition, which may be a megabyte and is for the engine alone. */
const COLUMNS: readonly (keyof CrawlRow)[] = [
  'id',
  'created_at',
  'started_at',
  'ended_at',
  'deadline_at',
  'remaining_ms',
  'state',
  'stop_reason',
  'stop_detail',
  'spider_name',
  'spider_version',
  'settings',
  'settings_version',
  'start_urls',
  'params',
  'secret_params',
  'scope_hosts',
  'labels',
  'warnings',
  'ledger_deleted_at',
  'max_pages',
  'max_items',
  'max_errors',
  'max_bytes',
  'discovered',
  'queued',
  'in_progress',
  'done',
  'failed',
  'skipped',
  'retried',
  'items',
  'dropped',
  'item_bytes',
  'body_bytes',
  'wire_bytes',
  'next_seq',
];

/** What a new crawl's row is made of; the rest are the columns' defaults. */
export interface NewCrawl {
  id: string;
  definition: Spider;
  /** Of a stored spider; null: the definition was posted with the crawl. */
  version: number | null;
  settings: Settings;
  startUrls: StartUrl[];
  params: Params;
  /** Pointers of `secretParams`. */
  secretParams: string[];
  scopeHosts: string[];
  labels: Record<string, string>;
  warnings: string[];
  /** Of a crawl that compares with earlier ones: hash of what it sets out from and how far it goes, a UUID; else null. */
  startHash: string | null;
  /** Start requests that wait, and those skipped at once. */
  queued: number;
  skipped: number;
}

/** The crawl as the API shows it: without its secrets. */
export function toCrawl(row: CrawlRow): Crawl {
  return {
    id: row.id,
    state: row.state,
    stopReason: row.stop_reason,
    stopDetail: row.stop_detail,
    spider: { name: row.spider_name, version: row.spider_version },
    startUrls: row.start_urls.map((start) => (typeof start === 'string' ? start : start.url)),
    params: shownParams(row.params, row.secret_params),
    settings: shownSettings(row.settings),
    labels: row.labels,
    stats: toStats(row),
    warnings: row.warnings,
    createdAt: row.created_at.toISOString(),
    startedAt: row.started_at?.toISOString() ?? null,
    endedAt: row.ended_at?.toISOString() ?? null,
    ledgerDeletedAt: row.ledger_deleted_at?.toISOString() ?? null,
  };
}

/** The counters of a crawl; they reconcile, being one row. */
export function toStats(row: CrawlRow): Crawl['stats'] {
  return {
    discovered: row.discovered,
    queued: row.queued,
    inProgress: row.in_progress,
    done: row.done,
    failed: row.failed,
    skipped: row.skipped,
    retried: row.retried,
    items: row.items,
    dropped: row.dropped,
    itemBytes: row.item_bytes,
    bodyBytes: row.body_bytes,
    wireBytes: row.wire_bytes,
  };
}

/**
 * Inserts a crawl in state queued. Null where the id is there: an earlier try of the same insert was committed.
 *
 * JSON goes as text: the driver sends `sql.json` as jsonb, which sorts the keys, and an item's fields come in the order
 * of the definition.
 */
export async function insertCrawl(db: Db, crawl: NewCrawl): Promise<CrawlRow | null> {
  const { settings } = crawl;
  const [row] = await db<CrawlRow[]>`
    insert into crawls (
      id, spider_name, spider_version, definition, settings, start_urls, params, secret_params, scope_hosts, labels, warnings,
      max_pages, max_items, max_errors, max_bytes, max_pages_per_host, max_queue_per_host, max_urls_per_pattern, remaining_ms,
      gone_pending, start_hash,
      discovered, queued, skipped, next_seq)
    values (
      ${crawl.id}, ${crawl.definition.name ?? null}, ${crawl.version}, ${JSON.stringify(crawl.definition)}::text::json,
      ${JSON.stringify(settings)}::text::json, ${JSON.stringify(crawl.startUrls)}::text::json,
      ${JSON.stringify(crawl.params)}::text::json, ${JSON.stringify(crawl.secretParams)}::text::json,
      ${JSON.stringify(crawl.scopeHosts)}::text::json, ${db.json(crawl.labels)},
      ${JSON.stringify(crawl.warnings)}::text::json,
      ${settings.maxPages}, ${settings.maxItems}, ${settings.maxErrors}, ${settings.maxBytes},
      ${settings.maxPagesPerHost}, ${settings.maxQueuePerHost}, ${settings.maxUrlsPerPattern},
      ${settings.maxDurationSeconds === null ? null : settings.maxDurationSeconds * 1000},
      ${settings.dedup.scope === 'spider' ? false : null}, ${crawl.startHash},
      ${crawl.queued + crawl.skipped}, ${crawl.queued}, ${crawl.skipped}, ${crawl.queued + crawl.skipped})
    on conflict (id) do nothing
    returning ${db(COLUMNS)}`;
  return row ?? null;
}

export async function findCrawl(db: Db, id: string): Promise<CrawlRow | null> {
  const [row] = await db<CrawlRow[]>`select ${db(COLUMNS)} from crawls where id = ${id}`;
  return row ?? null;
}

/** The crawl's row, locked until the transaction ends. Every transaction that changes a crawl begins with this. */
export async function lockCrawl(tx: Tx, id: string): Promise<CrawlRow | null> {
  const [row] = await tx<CrawlRow[]>`select ${tx(COLUMNS)} from crawls where id = ${id} for update`;
  return row ?? null;
}

/** What a follower of a crawl needs to know before it reads. */
export interface CrawlHead {
  state: CrawlState;
  stop_reason: StopReason | null;
  /** Items committed: every offset below is there. */
  items: number;
}

export async function readHead(db: Db, id: string): Promise<CrawlHead | null> {
  const [row] = await db<CrawlHead[]>`select state, stop_reason, items from crawls where id = ${id}`;
  return row ?? null;
}

export interface CrawlFilter {
  state?: CrawlState | undefined;
  spider?: string | undefined;
  label?: { key: string; value: string } | undefined;
  /** Exclusive: the last one of the page before. */
  before?: { createdAt: string; id: string } | undefined;
  limit: number;
}

/** A page of crawls, newest first; `cursor_at` is the creation time in full precision. */
export async function listCrawls(db: Db, filter: CrawlFilter): Promise<(CrawlRow & { cursor_at: string })[]> {
  const { state, spider, label, before } = filter;
  return db<(CrawlRow & { cursor_at: string })[]>`
    select ${db(COLUMNS)}, created_at::text as cursor_at from crawls
    where true
      ${state === undefined ? db`` : db`and state = ${state}`}
      ${spider === undefined ? db`` : db`and spider_name = ${spider}`}
      ${label === undefined ? db`` : db`and labels @> ${db.json({ [label.key]: label.value })}::jsonb`}
      ${before === undefined ? db`` : db`and (created_at, id) < (${before.createdAt}::text::timestamptz, ${before.id}::uuid)`}
    order by created_at desc, id desc
    limit ${filter.limit}`;
}

/** Stops claims: `pausing` while fetches are under way, else `paused`. The clock of maxDurationSeconds stops. */
export async function setPaused(tx: Tx, id: string): Promise<CrawlRow> {
  const [row] = await tx<CrawlRow[]>`
    update crawls set
      state = case when in_progress > 0 then 'pausing' else 'paused' end,
      remaining_ms = ${remainingMs(tx)}, deadline_at = null
    where id = ${id} returning ${tx(COLUMNS)}`;
  await noteChanges(tx, [row!.id]);
  return row!;
}

/** Goes on: `running`, or `queued` where it has never run. The clock of maxDurationSeconds runs on. */
export async function setResumed(tx: Tx, id: string): Promise<CrawlRow> {
  const [row] = await tx<CrawlRow[]>`
    update crawls set
      state = case when started_at is null then 'queued' else 'running' end,
      stop_reason = null, stop_detail = null, ended_at = null,
      deadline_at = case when started_at is null then null else clock_timestamp() + remaining_ms * interval '1 ms' end,
      remaining_ms = case when started_at is null then remaining_ms end
    where id = ${id} returning ${tx(COLUMNS)}`;
  await noteChanges(tx, [row!.id]);
  return row!;
}

function remainingMs(tx: Tx) {
  return tx`case when deadline_at is null then remaining_ms
    else greatest(0, extract(epoch from deadline_at - clock_timestamp()) * 1000)::bigint end`;
}

/**
 * Ends a crawl, and gives its requests in flight back to their queues, counters included, so that nothing is left
 * «fetching» in a crawl that does nothing any more and a resume finds them. Outcomes that come later are refused by
 * their state. Locks the crawl's row first. Also called by the committer when a limit is reached.
 *
 * @param detail one sentence for `stopDetail`, or null
 */
export async function endCrawl(
  tx: Tx,
  crawlId: string,
  state: 'finished' | 'cancelled' | 'failed',
  stopReason: StopReason,
  detail: string | null,
): Promise<CrawlRow> {
  await tx`select 1 from crawls where id = ${crawlId} for update`;
  await requeueFetching(tx, crawlId);
  const [row] = await tx<CrawlRow[]>`
    update crawls set
      state = ${state}, stop_reason = ${stopReason}, stop_detail = ${detail}, ended_at = clock_timestamp(),
      remaining_ms = ${remainingMs(tx)}, deadline_at = null
    where id = ${crawlId} returning ${tx(COLUMNS)}`;
  await noteChanges(tx, [row!.id]);
  return row!;
}

/**
 * Gives every request in flight of a crawl back to its queue: ledger, host queues and the crawl's counters together.
 * The caller holds the crawl's row lock. Attempts stay counted: they are also what refuses a late outcome.
 */
async function requeueFetching(tx: Tx, crawlId: string): Promise<void> {
  await tx`
    with returned as (
      update requests set state = 0, reason = null where crawl_id = ${crawlId} and state = 2 returning host_id, rank
    ), per_host as (
      select host_id, count(*) as n, min(rank) as head from returned group by host_id
    ), queues as (
      update host_queues q
      set in_progress = q.in_progress - p.n, queued = q.queued + p.n, head = least(q.head, p.head)
      from per_host p where q.crawl_id = ${crawlId} and q.host_id = p.host_id
    )
    update crawls c set queued = c.queued + r.n, in_progress = c.in_progress - r.n
    from (select count(*) as n from returned) r
    where c.id = ${crawlId} and r.n > 0`;
}

/** Writes changed settings (limit columns, clock) or labels; the caller holds the row lock. */
export async function changeCrawl(
  tx: Tx,
  crawl: CrawlRow,
  settings: Settings,
  labels: Record<string, string>,
): Promise<CrawlRow> {
  const clock = changedClock(tx, crawl, settings.maxDurationSeconds);
  const [row] = await tx<CrawlRow[]>`
    update crawls set
      settings = ${JSON.stringify(settings)}::text::json, labels = ${tx.json(labels)},
      settings_version = settings_version + 1,
      max_pages = ${settings.maxPages}, max_items = ${settings.maxItems}, max_errors = ${settings.maxErrors},
      max_bytes = ${settings.maxBytes}, max_pages_per_host = ${settings.maxPagesPerHost ?? null},
      deadline_at = ${clock.deadline}, remaining_ms = ${clock.remaining}
    where id = ${crawl.id} returning ${tx(COLUMNS)}`;
  return row!;
}

/** The clock moves by the difference of the limits; a limit where there was none counts from now. */
function changedClock(tx: Tx, crawl: CrawlRow, seconds: number | null) {
  const old = crawl.settings.maxDurationSeconds;
  const kept = { deadline: tx`deadline_at`, remaining: tx`remaining_ms` };
  if (seconds === old) return kept;
  if (seconds === null) return { deadline: tx`null`, remaining: tx`null` };
  const delta = (seconds - (old ?? 0)) * 1000;
  if (crawl.state !== 'running')
    return { ...kept, remaining: tx`greatest(0, coalesce(remaining_ms, 0) + ${delta}::bigint)` };
  return { ...kept, deadline: tx`coalesce(deadline_at, clock_timestamp()) + ${delta}::float8 * interval '1 ms'` };
}

/**
 * Deletes a crawl for everyone who asks for it: its row, without which nothing of it is read and no late commit changes
 * anything, and its consumers. The many rows that it has elsewhere are deleted in the background. The caller holds the row lock.
 */
export async function deleteCrawl(
  tx: Tx,
  { id, next_seq, items }: Pick<CrawlRow, 'id' | 'next_seq' | 'items'>,
): Promise<void> {
  await insertDeletion(tx, id, true, next_seq + items);
  await tx`delete from exports where crawl_id = ${id}`;
  await tx`delete from crawls where id = ${id}`;
}
