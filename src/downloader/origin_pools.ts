import { type Dispatcher, Pool } from 'undici';

/** Of the least recently used beyond these, idle ones are closed: each is a file descriptor and tens of KiB. */
const MAX_ORIGINS = 3000;
/** So many of the least recently used are looked at for an idle one. */
const MAX_LOOKED_AT = 8;

/**
 * Kept-alive connections by origin. In place of undici's Agent, which keeps as many as there are, and at each connection that
 * closes compares the names of all origins: of ten thousand that close together, a second of the event loop.
 */
export class OriginPools {
  readonly #options: Pool.Options;
  readonly #maxOrigins: number;
  /** In order of use. */
  readonly #pools = new Map<string, Pool>();
  #closing: readonly Pool[] = [];

  constructor(options: Pool.Options, maxOrigins = MAX_ORIGINS) {
    this.#options = options;
    this.#maxOrigins = maxOrigins;
  }

  /** Origins that have connections, or requests that wait for one. */
  get size(): number {
    return this.#pools.size;
  }

  dispatch(request: Dispatcher.DispatchOptions & { origin: string }, handler: Dispatcher.DispatchHandler): void {
    const { origin } = request;
    let pool = this.#pools.get(origin);
    if (pool === undefined) {
      this.#makeRoom();
      pool = this.#open(origin);
    } else if (this.#pools.size > 1) this.#pools.delete(origin);
    this.#pools.set(origin, pool);
    pool.dispatch(request, handler);
  }

  /** Lets what is under way end, and closes every connection. */
  async close(): Promise<void> {
    this.#closing = this.#takeAll();
    await Promise.all(this.#closing.map((pool) => pool.close()));
  }

  /** Ends what is under way, and closes every connection; also while it is closing. */
  async destroy(): Promise<void> {
    await Promise.all([...this.#takeAll(), ...this.#closing].map((pool) => pool.destroy()));
  }

  #takeAll(): Pool[] {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    return pools;
  }

  #open(origin: string): Pool {
    const pool = new Pool(origin, this.#options);
    const forgetUnused = () => {
      const { connected, size } = pool.stats;
      if (connected === 0 && size === 0) this.#drop(origin, pool);
    };
    pool.on('disconnect', forgetUnused);
    pool.on('connectionError', forgetUnused);
    return pool;
  }

  #drop(origin: string, pool: Pool): void {
    if (this.#pools.get(origin) !== pool) return;
    this.#pools.delete(origin);
    void pool.close();
  }

  /** Those that are in use go to the end: for a while there may be more than the bound. */
  #makeRoom(): void {
    for (let looked = 0; this.#pools.size >= this.#maxOrigins && looked < MAX_LOOKED_AT; looked++) {
      const [origin, pool] = this.#pools.entries().next().value!;
      if (pool.stats.size === 0) this.#drop(origin, pool);
      else {
        this.#pools.delete(origin);
        this.#pools.set(origin, pool);
      }
    }
  }
}
