import type { Sql } from '../db/client.ts';
import { type CrawlChange, countEvents, type EventCounts, readChanges } from '../db/crawl_changes.ts';
import { readLogs, type StoredLogLine } from '../db/crawl_logs.ts';
import { type CrawlRow, findCrawl } from '../db/crawls.ts';
import { type FailedRow, readFailures } from '../db/failures.ts';
import { sseEvent } from '../formats/sse.ts';
import { type CrawlState, ENDED_STATES } from '../model/crawl.ts';
import { LOG_LEVELS } from '../model/outcome.ts';

/** Failures, and lines of the log, that are read at once. */
const PAGE_ROWS = 500;
const TICK_MS = 1000;
/** In the order of `EventPlace`: 3.17.204. */
const PLACE = /^(\d{1,15})\.(\d{1,15})\.(\d{1,15})$/;

/**
 * How much of a crawl's events a reader has had, of each kind: its place, whatever node it asks. Each kind is numbered in
 * the order of its commits, so that nothing below a number that was read can appear later.
 */
export type EventPlace = Readonly<EventCounts>;

/** As `id` of an event. */
export function placeText({ changes, failures, logs }: EventPlace): string {
  return `${changes}.${failures}.${logs}`;
}

/** Whether a crawl has come so far: else the place is one of another crawl. */
export function isBehind(place: EventPlace, now: EventPlace): boolean {
  return place.changes <= now.changes && place.failures <= now.failures && place.logs <= now.logs;
}

/** Null: that is none. */
export function parsePlace(text: string): EventPlace | null {
  const [, changes, failures, logs] = PLACE.exec(text) ?? [];
  return logs === undefined ? null : { changes: Number(changes), failures: Number(failures), logs: Number(logs) };
}

/** What a reader gets at a time. */
export interface EventPiece {
  text: string;
  /** Behind it. */
  place: EventPlace;
  /** When the reader goes on. */
  go: 'now' | 'later' | 'never';
}

/** A crawl at one moment. */
interface Moment {
  counts: EventCounts;
  state: CrawlState;
  /** Read after them. */
  crawl: CrawlRow;
}

/**
 * Reads the events of crawls for any number of readers, once a second: those of a crawl that are at the same place, as all
 * are that keep up, share the queries and the text.
 */
export class EventReader {
  readonly #sql: Sql;
  readonly #progress: (crawl: CrawlRow) => object;
  /** Answers of the second `#tick`. */
  readonly #answers = new Map<string, Promise<unknown>>();
  #tick = 0;

  /** @param progress what is told of a crawl once a second */
  constructor(sql: Sql, progress: (crawl: CrawlRow) => object) {
    this.#sql = sql;
    this.#progress = progress;
  }

  /** Where a reader begins that wants only what comes: the state as it is now, in an event. Null: there is no such crawl. */
  async begin(crawlId: string): Promise<EventPiece | null> {
    const now = await countEvents(this.#sql, crawlId);
    if (now === null) return null;
    const place = { changes: now.changes, failures: now.failures, logs: now.logs };
    const data = JSON.stringify({ state: now.state, stopReason: now.stop_reason });
    return { text: sseEvent('state', data, placeText(place)), place, go: 'now' };
  }

  /** What has happened since. Null: there is no such crawl any more. */
  async next(crawlId: string, place: EventPlace): Promise<EventPiece | null> {
    const moment = await this.#thisSecond(`moment ${crawlId}`, () => this.#readMoment(crawlId));
    if (moment === null) return null;
    return this.#thisSecond(`${placeText(place)} ${crawlId}`, () => this.#readPiece(crawlId, place, moment));
  }

  async #readMoment(crawlId: string): Promise<Moment | null> {
    const counts = await countEvents(this.#sql, crawlId);
    const crawl = counts === null ? null : await findCrawl(this.#sql, crawlId);
    return counts === null || crawl === null ? null : { counts, state: counts.state, crawl };
  }

  async #readPiece(crawlId: string, from: EventPlace, { counts, state, crawl }: Moment): Promise<EventPiece> {
    const writer = new EventWriter(from);
    // It comes from a node that looked later: what is known here of the crawl's state is out of date.
    if (from.changes > counts.changes) return writer.piece('later');
    for (const change of await this.#changes(crawlId, from, counts)) writer.change(change);
    const failures = await this.#failures(crawlId, from, counts);
    for (const failure of failures) writer.failure(failure);
    const lines = await this.#lines(crawlId, from, counts);
    for (const line of lines) writer.line(line);
    const isMore = failures.length === PAGE_ROWS || lines.length === PAGE_ROWS;
    // Numbers that are not there: lines beyond the bound, failures from before there were numbers.
    if (failures.length < PAGE_ROWS) writer.pass('failures', counts.failures);
    if (lines.length < PAGE_ROWS) writer.pass('logs', counts.logs);
    const hasEnded = ENDED_STATES.includes(state);
    if (isMore) return writer.piece('now');
    if (hasEnded || state === 'running' || state === 'pausing') writer.tell('progress', this.#progress(crawl));
    if (!hasEnded) return writer.piece('later');
    writer.tell('end', { state, stopReason: crawl.stop_reason });
    return writer.piece('never');
  }

  async #changes(crawlId: string, from: EventPlace, to: EventPlace): Promise<CrawlChange[]> {
    return from.changes < to.changes ? readChanges(this.#sql, crawlId, from.changes, to.changes) : [];
  }

  async #failures(crawlId: string, from: EventPlace, to: EventPlace): Promise<FailedRow[]> {
    const range = { from: from.failures, to: to.failures, limit: PAGE_ROWS };
    return range.from < range.to ? readFailures(this.#sql, crawlId, range) : [];
  }

  async #lines(crawlId: string, from: EventPlace, to: EventPlace): Promise<StoredLogLine[]> {
    const filter = { levels: LOG_LEVELS, after: from.logs - 1, limit: PAGE_ROWS };
    const lines = from.logs < to.logs ? await readLogs(this.#sql, crawlId, filter) : [];
    return lines.filter(({ n }) => n < to.logs);
  }

  /** One answer for all who ask the same within a second. */
  #thisSecond<T>(key: string, query: () => Promise<T>): Promise<T> {
    const tick = Math.floor(Date.now() / TICK_MS);
    if (tick !== this.#tick) this.#answers.clear();
    this.#tick = tick;
    const known = this.#answers.get(key);
    if (known !== undefined) return known as Promise<T>;
    const answer = query();
    this.#answers.set(key, answer);
    return answer;
  }
}

/** Writes events, each with the place behind it as its id. */
class EventWriter {
  readonly #place: { -readonly [K in keyof EventPlace]: number };
  #text = '';

  constructor({ changes, failures, logs }: EventPlace) {
    this.#place = { changes, failures, logs };
  }

  change({ n, at, state, stop_reason }: CrawlChange): void {
    this.#place.changes = n + 1;
    this.tell('state', { state, stopReason: stop_reason, at: at.toISOString() });
  }

  failure({ n, url, reason, detail, status, attempts, finished_at }: FailedRow): void {
    this.#place.failures = n + 1;
    this.tell('error', { url, reason, detail, status, attempts, finishedAt: finished_at.toISOString() });
  }

  line({ at, ...line }: StoredLogLine): void {
    this.#place.logs = line.n + 1;
    this.tell('log', { ...line, at: at.toISOString() });
  }

  /** Never back: the reader may come from a node that looked later. */
  pass(kind: keyof EventPlace, to: number): void {
    this.#place[kind] = Math.max(this.#place[kind], to);
  }

  tell(event: string, data: object): void {
    this.#text += sseEvent(event, JSON.stringify(data), placeText(this.#place));
  }

  piece(go: EventPiece['go']): EventPiece {
    return { text: this.#text, place: { ...this.#place }, go };
  }
}
