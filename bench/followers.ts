/**
 * Followers of a crawl's item stream, as a process of their own: `node followers.ts URL COUNT CODING`. Prints `open` when all have
 * their headers, and at the end one line of JSON, `Followed`. It takes as little of the machine as it can, which the service
 * shares with it: bare sockets that read into one buffer. Of each body it keeps a checksum; of the first the lines.
 */
import { connect } from 'node:net';
import { crc32, gunzipSync } from 'node:zlib';

/** What came of the followers. */
export interface Followed {
  /** Streams that ended properly, with the very bytes of the first. */
  whole: number;
  /** Of all bodies together. */
  bytes: number;
  reads: number;
  /** That the process has used since they were open, in seconds. */
  cpu: number;
  /** Of the first stream: offsets of its items, and when each had come, in milliseconds since the epoch; not of gzip. */
  offsets: number[];
  arrivals: number[];
}

const [address, count, coding] = process.argv.slice(2);
const url = new URL(address!);
const buffer = Buffer.allocUnsafe(1024 * 1024);
let reads = 0;
let atOpen = process.cpuUsage();

/** Reads a chunked body as it comes. */
class Follower {
  bytes = 0;
  crc = 0;
  isWhole = false;
  isOpen = false;
  /** Of the line that is being read: the head's, then each chunk's first. */
  #line = '';
  /** Bytes of the chunk, and of the line break after it, that are still to come. */
  #left = 0;
  readonly #onData: ((data: Buffer) => void) | null;

  constructor(onData: ((data: Buffer) => void) | null) {
    this.#onData = onData;
  }

  read(data: Buffer): void {
    for (let at = 0; at < data.length && !this.isWhole; )
      if (this.#left > 0) {
        const end = Math.min(data.length, at + this.#left);
        this.#take(data.subarray(at, Math.min(end, at + Math.max(0, this.#left - 2))));
        this.#left -= end - at;
        at = end;
      } else {
        const end = data.indexOf(10, at);
        this.#line += data.toString('latin1', at, end < 0 ? data.length : end + 1);
        if (end < 0) return;
        at = end + 1;
        this.#takeLine();
      }
  }

  #takeLine(): void {
    const line = this.#line;
    if (this.isOpen) {
      this.#left = Number.parseInt(line, 16) + 2;
      this.isWhole = this.#left === 2;
    } else if (!line.endsWith('\r\n\r\n')) return;
    else if (!line.startsWith('HTTP/1.1 200')) throw new Error(line);
    else this.isOpen = true;
    this.#line = '';
  }

  #take(body: Buffer): void {
    this.bytes += body.length;
    this.crc = crc32(body, this.crc);
    this.#onData?.(body);
  }
}

const pieces: Buffer[] = [];
const arrivals: number[] = [];
const keep = (data: Buffer) => {
  pieces.push(Buffer.from(data));
  if (coding !== 'identity') return;
  for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, at + 1)) arrivals.push(Date.now());
};
const followers = Array.from({ length: Number(count) }, (_, i) => new Follower(i === 0 ? keep : null));
let open = 0;

function begin(): void {
  atOpen = process.cpuUsage();
  console.log('open');
}

function follow(follower: Follower): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({
    host: url.hostname,
    port: Number(url.port),
    onread: {
      buffer,
      callback: (n) => {
        reads++;
        const wasOpen = follower.isOpen;
        follower.read(buffer.subarray(0, n));
        if (!wasOpen && follower.isOpen && ++open === followers.length) begin();
        return true;
      },
    },
  });
  socket.write(
    `GET ${url.pathname} HTTP/1.1\r\nhost: bench\r\naccept: application/x-ndjson\r\n` +
      `accept-encoding: ${coding}\r\nconnection: close\r\n\r\n`,
  );
  socket.on('error', reject);
  socket.on('close', () => resolve());
  return promise;
}

await Promise.all(followers.map(follow));
const { user, system } = process.cpuUsage(atOpen);
const [first] = followers;
const body = Buffer.concat(pieces);
const lines = (coding === 'gzip' ? gunzipSync(body) : body).toString('latin1').split('\n').filter(Boolean);
const followed: Followed = {
  whole: followers.filter((f) => f.isWhole && f.crc === first!.crc && f.bytes === first!.bytes).length,
  bytes: followers.reduce((sum, f) => sum + f.bytes, 0),
  reads,
  cpu: (user + system) / 1e6,
  offsets: lines.map((line) => (JSON.parse(line) as { offset: number }).offset),
  arrivals,
};
console.log(JSON.stringify(followed));
