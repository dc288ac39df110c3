import { setTimeout as sleep } from 'node:timers/promises';
import type { AnyBulkWriteOperation, Collection, MongoClient, WriteError } from 'mongodb';
import type { MongoTarget } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';
import { valueAt } from './columns.ts';
import { addRejected, positionOf, type Rejected, readRejected } from './rejected.ts';
import { type Batch, type Cursor, ExportError, type ExportJob, type Target } from './target.ts';
import { within } from './within.ts';

const TIMEOUT_MS = 60_000;
/** Unless the URL says otherwise, as to a set of servers far away. */
const TIMEOUTS = { connectTimeoutMS: 5000, serverSelectionTimeoutMS: 5000, socketTimeoutMS: 30_000 };
const WRITE_TIMEOUT_MS = 30_000;
const CLOSE_MS = 1000;
/** A document that another writer makes at the same moment is tried again. */
const TRIES = 5;

type Id = string | number | boolean;

interface Stored {
  _id: Id;
  crawl: string;
  offset: number;
  type: string;
  url: string;
  scrapedAt: Date;
  change?: unknown;
  data: unknown;
}

/**
 * Items as documents. Without a `key` one for each, whose `_id` is the crawl and the offset; with a key one for each of its
 * values, the last item winning. Writing twice is writing once, so the cursor is the one that we store.
 *
 * @param url of the connection
 */
export function mongoTarget(job: ExportJob, target: MongoTarget, url: string): Target {
  return new MongoExport(job, target, url);
}

class MongoExport implements Target {
  readonly limits = { items: 1000, bytes: 4 * 1024 * 1024, lingerMs: 1000 };
  readonly #job: ExportJob;
  readonly #target: MongoTarget;
  readonly #url: string;
  #client: MongoClient | null = null;
  #closed = false;
  #collection: Collection<Stored> | null = null;
  #cursor: Cursor = { next: 0, position: null };

  constructor(job: ExportJob, target: MongoTarget, url: string) {
    this.#job = job;
    this.#target = target;
    this.#url = url;
  }

  open(stored: Cursor, signal: AbortSignal): Promise<Cursor> {
    return this.#within(signal, async () => {
      const client = await makeClient(this.#url);
      this.#client = client;
      await client.connect();
      if (this.#closed) void client.close(true).catch(() => {});
      const database = client.db();
      // Says whether the login is right; connecting alone may not.
      await database.command({ ping: 1 });
      this.#collection = database.collection<Stored>(this.#target.collection);
      return stored;
    });
  }

  write(batch: Batch, signal: AbortSignal): Promise<Cursor> {
    return this.#within(signal, async () => {
      const documents = new Map<Id, Stored>();
      for (const item of batch.items) {
        const document = this.#document(item);
        // The last one wins, whatever order the server takes them in.
        documents.set(document._id, document);
      }
      let rejected = readRejected(this.#cursor.position);
      await this.#store([...documents.values()], (offset, reason) => {
        rejected = addRejected(rejected, offset, reason);
      });
      return this.#at(batch.next, rejected);
    });
  }

  async flush(): Promise<Cursor> {
    return this.#cursor;
  }

  async finish(): Promise<Cursor> {
    return this.#cursor;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const closing = this.#client?.close(true).catch(() => {});
    // It says goodbye, to a server that may not answer any more.
    await Promise.race([closing, sleep(CLOSE_MS, undefined, { ref: false })]);
    this.#client = null;
  }

  #at(next: number, rejected: Rejected): Cursor {
    return { next, position: positionOf(rejected) };
  }

  #document({ offset, type, url, data, scraped_at, change }: StoredItem): Stored {
    const { crawlId } = this.#job;
    const parsed: unknown = JSON.parse(data);
    return {
      _id: idOf(this.#target.key, parsed) ?? `${crawlId}:${offset}`,
      crawl: crawlId,
      offset,
      type,
      url,
      scrapedAt: scraped_at,
      ...(change === null ? {} : { change: JSON.parse(change) as unknown }),
      data: parsed,
    };
  }

  /** What the server does not take is set aside; what makes the whole command fail is found by halves. */
  async #store(documents: readonly Stored[], reject: (offset: number, reason: string) => void): Promise<void> {
    if (documents.length === 0) return;
    try {
      for (let left = documents, tries = 0; left.length > 0; tries++) {
        if (tries === TRIES) throw new ExportError('other', 'others write the same documents at the same time');
        left = await this.#replace(left, reject);
      }
    } catch (error) {
      const reason = valueFault(error);
      if (reason === null) throw error;
      if (documents.length === 1) return reject(documents[0]!.offset, reason);
      const half = Math.ceil(documents.length / 2);
      await this.#store(documents.slice(0, half), reject);
      await this.#store(documents.slice(half), reject);
    }
  }

  /** @returns the ones that are to be tried again */
  async #replace(documents: readonly Stored[], reject: (offset: number, reason: string) => void): Promise<Stored[]> {
    const { crawlId } = this.#job;
    const operations: AnyBulkWriteOperation<Stored>[] = documents.map(({ _id, ...replacement }) => ({
      replaceOne: {
        // A late writer's older item does not match, is inserted, and meets its key.
        filter: { _id, $nor: [{ crawl: crawlId, offset: { $gt: replacement.offset } }] },
        replacement,
        upsert: true,
      },
    }));
    try {
      await this.#collection!.bulkWrite(operations, { ordered: false });
      return [];
    } catch (error) {
      const met: Stored[] = [];
      for (const { index, code, errmsg } of writeErrors(error)) {
        const document = documents[index]!;
        // Another unique index is the user's own rule.
        if (code === DUPLICATE && (errmsg === undefined || / index: _id_ /.test(errmsg))) met.push(document);
        else reject(document.offset, errmsg ?? `error ${code}`);
      }
      return this.#older(met);
    }
  }

  /** Of documents whose key was met: those that are not there in a newer form. */
  async #older(met: readonly Stored[]): Promise<Stored[]> {
    if (met.length === 0) return [];
    const found = await this.#collection!.find(
      { _id: { $in: met.map(({ _id }) => _id) } },
      { projection: { crawl: 1, offset: 1 } },
    ).toArray();
    const known = new Map(found.map((one) => [one._id, one]));
    return met.filter(({ _id, crawl, offset }) => {
      const there = known.get(_id);
      return there === undefined || there.crawl !== crawl || there.offset < offset;
    });
  }

  async #within(signal: AbortSignal, work: () => Promise<Cursor>): Promise<Cursor> {
    try {
      this.#cursor = await within(work(), TIMEOUT_MS, signal);
      return this.#cursor;
    } catch (error) {
      throw failureOf(error);
    }
  }
}

/** One value as it is, several as JSON. Null: one is missing. */
function idOf(key: readonly string[] | undefined, data: unknown): Id | null {
  const values = key?.map((path) => valueAt(data, path)) ?? [];
  if (values.length === 0 || values.some((value) => value === undefined || value === null)) return null;
  const [value] = values;
  return values.length === 1 && typeof value !== 'object' ? (value as Id) : JSON.stringify(values);
}

async function makeClient(url: string): Promise<MongoClient> {
  const driver = await import('mongodb');
  try {
    return new driver.MongoClient(driverUrl(url), {
      appName: 'orbweaver',
      maxPoolSize: 1,
      serverMonitoringMode: 'poll',
      // Also where the URL asks for less: what one server alone has may be taken back.
      writeConcern: { w: 'majority', wtimeoutMS: WRITE_TIMEOUT_MS },
    });
  } catch {
    throw new ExportError('refused', 'the URL of the connection is none of MongoDB', { permanent: true });
  }
}

/** Several hosts are separated by %2C in CONNECTIONS, where a comma ends an entry. */
function driverUrl(url: string): string {
  const [, scheme = '', login = '', hosts = '', path = '', query = ''] =
    /^([^/]+\/\/)([^/?]*@)?([^/?]*)([^?]*)\??(.*)$/s.exec(url) ?? [];
  const given = new URLSearchParams(query);
  const missing = Object.entries(TIMEOUTS).filter(([name]) => !given.has(name));
  const settings = [query, ...missing.map(([name, ms]) => `${name}=${ms}`)].filter((one) => one !== '');
  return `${scheme}${login}${hosts.replaceAll(/%2c/gi, ',')}${path || '/'}?${settings.join('&')}`;
}

const DUPLICATE = 11000;
/** Of the server's state or the user's rights, and not of a document: tried again. */
const STATE_ERRORS: ReadonlySet<number> = new Set([
  ...[6, 7, 13, 18, 50, 63, 64, 89, 91, 112, 133, 134, 150, 189, 202, 234, 262, 317],
  ...[8000, 9001, 10058, 10107, 11600, 11602, 13388, 13435, 13436, 14031],
]);
/** Of a command as a whole, and of a document in it: nested too deeply, not BSON, too large. */
const DOCUMENT_ERRORS: ReadonlySet<number> = new Set([2, 15, 22, 10334, 17419, 17420]);

/** Which documents of a bulk were refused. @throws the error where it is not of documents alone */
function writeErrors(error: unknown): WriteError[] {
  const {
    name,
    writeErrors: given,
    result,
  } = error as Error & {
    writeErrors?: WriteError | WriteError[];
    result?: { getWriteConcernError(): unknown };
  };
  const errors = [given ?? []].flat();
  if (name !== 'MongoBulkWriteError' || errors.length === 0 || result?.getWriteConcernError()) throw error;
  if (errors.some(({ code }) => STATE_ERRORS.has(code))) throw error;
  return errors;
}

/** Why a document cannot be written, where an error of the whole command is about that; null: it is not. */
function valueFault(error: unknown): string | null {
  const { name, code, message } = error as Error & { code?: number };
  if (/^BSON|^RangeError$|^MongoInvalidArgumentError$/.test(name)) return message;
  return /^MongoServerError$|^MongoBulkWriteError$/.test(name) && DOCUMENT_ERRORS.has(code ?? 0) ? message : null;
}

/** Addresses are part of the driver's messages, and are not shown. */
function failureOf(error: unknown): ExportError {
  if (error instanceof ExportError) return error;
  const { name, code, codeName, message } = error as Error & { code?: number; codeName?: string };
  if (typeof code !== 'number') return new ExportError('connect', `MongoDB cannot be reached (${name})`);
  switch (code) {
    case 13:
      return new ExportError('refused', 'the user of the connection has no right to this', { permanent: true });
    case 18:
    case 8000:
      return new ExportError('refused', `MongoDB refuses the login (${code})`);
    case 14031:
      return new ExportError('full', 'MongoDB has no room');
    case 50:
    case 64:
    case 262:
      return new ExportError('timeout', 'MongoDB took too long');
    case 10107:
    case 13435:
    case 13436:
      return new ExportError('refused', `the server does not take writes now (${code})`);
    default:
      return new ExportError('other', `${codeName ?? message.slice(0, 300)} (${code})`);
  }
}
