import type { EgressGuard, Way } from './egress.ts';
import { OriginPools } from './origin_pools.ts';

const KEEP_ALIVE_MS = 15_000;
const MAX_HEADER_BYTES = 32 * 1024;
/** Beyond so many ways, the least recently used is closed. Its idle connections have long been closed by then. */
const MAX_WAYS = 500;
/** Origins with connections through one proxy. */
const MAX_PROXIED_ORIGINS = 300;

/** Connections by how they were opened, and for each way by origin. */
export class Connections {
  readonly #egress: EgressGuard;
  readonly #maxSockets: number | null;
  readonly #closing = new AbortController();
  /** In order of use. */
  readonly #ways = new Map<string, OriginPools>();
  /** No longer used; what is under way in them goes on. */
  readonly #leaving = new Set<OriginPools>();

  /** @param maxSockets connections to one origin by one way; null: as many as there are fetches */
  constructor(egress: EgressGuard, maxSockets: number | null) {
    this.#egress = egress;
    this.#maxSockets = maxSockets;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  by(way: Way): OriginPools {
    const key = `${way.verifyTls} ${way.connectTimeoutMs} ${way.proxy?.key ?? ''}`;
    const known = this.#ways.get(key);
    const pools = known ?? this.#open(way);
    if (this.#ways.size > 1) this.#ways.delete(key);
    this.#ways.set(key, pools);
    if (known === undefined && this.#ways.size > MAX_WAYS) this.#dropOldest();
    return pools;
  }

  /** Ends what is under way, and closes every connection. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#ways.values(), ...this.#leaving].map((pools) => pools.destroy()));
  }

  #dropOldest(): void {
    const [key, pools] = this.#ways.entries().next().value!;
    this.#ways.delete(key);
    this.#leaving.add(pools);
    void pools.close().then(() => this.#leaving.delete(pools));
  }

  #open(way: Way): OriginPools {
    const options = {
      connect: this.#egress.connector(way, this.#closing.signal),
      connections: this.#maxSockets,
      pipelining: 1,
      // HTTP/2 stays off: undici 8.12.4 over Node 24 takes a body that the server cuts by RST_STREAM with NO_ERROR or CANCEL
      // for a whole one where it has no Content-Length (tried with raw frames: 4 bytes, `onResponseEnd`), and no event tells
      // the difference: nodejs/node #35209 and #56627, nghttp2 #1508, open in November 2026. Half a page would be `done`.
      // What else was tried held: GOAWAY, REFUSED_STREAM, lengths that differ, a server that ends the session after a hundred
      // streams, floods of CONTINUATION, HPACK and empty DATA frames, aborts at any stage.
      allowH2: false,
      useMilo: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // each exchange has deadlines of its own; these begin anew at each chunk
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    return new OriginPools(options, way.proxy === null ? undefined : MAX_PROXIED_ORIGINS);
  }
}
