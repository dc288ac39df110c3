import type { RedisTarget } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';
import { type Batch, type Cursor, ExportError, type ExportJob, type Target } from './target.ts';
import { within } from './within.ts';

const CONNECT_MS = 5000;
const TIMEOUT_MS = 60_000;

/**
 * Adds the entries and moves the cursor, both or neither: nothing else runs meanwhile, and what can fail fails at the first
 * entry. Entries below the cursor are there already.
 *
 * KEYS: stream, cursor. ARGV: the cursor that the caller knows, the one behind this batch, the stream's length or nothing,
 * the crawl; then offset, type, url, scrapedAt and data of each item. Returns 0 where the cursor has gone back.
 */
const ADD = `
local at = tonumber(redis.call('get', KEYS[2]) or -1)
if at < tonumber(ARGV[1]) then return 0 end
for i = 5, #ARGV, 5 do
  if tonumber(ARGV[i]) >= at then
    local item = { 'crawl', ARGV[4], 'offset', ARGV[i], 'type', ARGV[i + 1], 'url', ARGV[i + 2],
      'scrapedAt', ARGV[i + 3], 'data', ARGV[i + 4] }
    if ARGV[3] == '' then redis.call('xadd', KEYS[1], '*', unpack(item))
    else redis.call('xadd', KEYS[1], 'maxlen', '~', ARGV[3], '*', unpack(item)) end
  end
end
if tonumber(ARGV[2]) > at then redis.call('set', KEYS[2], ARGV[2]) end
return 1`;

/** What is used of a client. */
interface Client {
  connect(): Promise<unknown>;
  sendCommand<T>(args: string[]): Promise<T>;
  destroy(): void;
}

/**
 * Items as entries of a Redis stream. The cursor is a key beside it, `<stream>:orbweaver:<crawl>:<n>`, which a script moves
 * together with the entries: so each is added exactly once, as far as Redis itself loses nothing.
 *
 * @param url of the connection
 */
export function redisTarget(job: ExportJob, target: RedisTarget, url: string): Target {
  return new RedisExport(job, target, url);
}

class RedisExport implements Target {
  readonly limits = { items: 500, bytes: 1024 * 1024, lingerMs: 200 };
  readonly #job: ExportJob;
  readonly #target: RedisTarget;
  readonly #url: string;
  readonly #cursorKey: string;
  #client: Client | null = null;
  #closed = false;
  #cursor: Cursor = { next: 0, position: null };

  constructor(job: ExportJob, target: RedisTarget, url: string) {
    this.#job = job;
    this.#target = target;
    this.#url = url;
    this.#cursorKey = `${target.stream}:orbweaver:${job.crawlId}:${job.n}`;
  }

  /** Without its cursor Redis has lost the entries, too, or nobody knows which: they are added again. */
  open(_stored: Cursor, signal: AbortSignal): Promise<Cursor> {
    return this.#within(signal, async () => {
      const client = await this.#connect();
      const type = await client.sendCommand<string>(['TYPE', this.#target.stream]);
      if (type !== 'none' && type !== 'stream')
        throw new ExportError('schema', `the key ${this.#target.stream} is a ${type}, not a stream`, {
          permanent: true,
        });
      await client.sendCommand(['SET', this.#cursorKey, '0', 'NX']);
      const at = Number(await client.sendCommand<string | null>(['GET', this.#cursorKey]));
      if (!Number.isSafeInteger(at) || at < 0)
        throw new ExportError('schema', `the key ${this.#cursorKey} is no cursor`, { permanent: true });
      return { next: at, position: null };
    });
  }

  write(batch: Batch, signal: AbortSignal): Promise<Cursor> {
    return this.#within(signal, async () => {
      const { stream, maxLength = '' } = this.#target;
      const head = [this.#cursor.next, batch.next, maxLength, this.#job.crawlId];
      const args = [...head.map(String), ...batch.items.flatMap(entryOf)];
      const done = await this.#client!.sendCommand<number>(['EVAL', ADD, '2', stream, this.#cursorKey, ...args]);
      if (done !== 1)
        throw new ExportError('gone', 'the cursor of the target has gone back: what was written is not there any more');
      return { next: batch.next, position: null };
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
    discard(this.#client);
    this.#client = null;
  }

  async #connect(): Promise<Client> {
    const { createClient } = await import('@redis/client');
    const client: Client & { on(event: 'error', listener: () => void): unknown } = createClient({
      url: this.#url,
      name: 'orbweaver',
      RESP: 2,
      disableOfflineQueue: true,
      disableClientInfo: true,
      maintNotifications: 'disabled',
      socket: { connectTimeout: CONNECT_MS, reconnectStrategy: false },
    });
    // What is lost between two commands is seen at the next.
    client.on('error', () => {});
    this.#client = client;
    await client.connect();
    if (this.#closed) discard(client);
    return client;
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

function entryOf({ offset, type, url, scraped_at, data }: StoredItem): string[] {
  return [String(offset), type, url, scraped_at.toISOString(), data];
}

/** A client that is closed already says so by throwing. */
function discard(client: Client | null): void {
  try {
    client?.destroy();
  } catch {}
}

const ERRORS =
  /\b(WRONGTYPE|OOM|MISCONF|READONLY|NOAUTH|WRONGPASS|NOPERM|MOVED|ASK|CROSSSLOT|LOADING|MASTERDOWN|BUSY|NOREPLICAS)\b/;

function failureOf(error: unknown): ExportError {
  if (error instanceof ExportError) return error;
  const { message, code } = error as Error & { code?: string };
  // An error inside of a script is named in its text, before Redis 7 behind other words.
  const word = ERRORS.exec(message)?.[1];
  switch (word) {
    case 'WRONGTYPE':
      return new ExportError('schema', 'the key is no stream (WRONGTYPE)', { permanent: true });
    case 'OOM':
    case 'MISCONF':
      return new ExportError('full', `Redis has no room, or cannot save what it has (${word})`);
    case 'MOVED':
    case 'ASK':
    case 'CROSSSLOT':
      return new ExportError('refused', `Redis Cluster is not supported (${word}); name one server`, {
        permanent: true,
      });
    case undefined:
      break;
    default:
      return new ExportError('refused', `Redis refuses (${word})`);
  }
  const isAnswer = /^[A-Z]+ /.test(message) && code === undefined;
  return isAnswer
    ? new ExportError('other', message.slice(0, 300))
    : new ExportError('connect', `Redis cannot be reached (${code ?? 'closed'})`);
}
