import { isProxyName, type ProxyAddress, parseProxy } from '../model/proxy.ts';
import { FetchError } from './failure.ts';

/** A proxy that takes CONNECT. */
export interface TunnelProxy extends ProxyAddress {
  /** What users are told: a name, or host and port. Never a password, and of the operator's never an address. */
  label: string;
  /** Dialled as it is named. Others are strangers' addresses: judged and dialled as a target is. */
  isOperators: boolean;
  /** Same connections, same key: credentials count. */
  key: string;
}

/** A proxy that failed is left alone for so long, where there are others. */
const REST_MS = 30_000;

/** The proxies of one crawl, in turn. */
class Rotation {
  readonly #proxies: readonly TunnelProxy[];
  /** When a proxy that failed may be used again, in milliseconds since the epoch. */
  readonly #restsUntil = new Map<TunnelProxy, number>();
  #turn = 0;

  constructor(proxies: readonly TunnelProxy[]) {
    this.#proxies = proxies;
  }

  /** The next one that does not rest; where all rest, the next one. */
  next(now: number): TunnelProxy {
    for (let i = 0; i < this.#proxies.length; i++) {
      const proxy = this.#proxies[this.#turn++ % this.#proxies.length]!;
      if ((this.#restsUntil.get(proxy) ?? 0) <= now) return proxy;
    }
    return this.#proxies[this.#turn++ % this.#proxies.length]!;
  }

  failed(proxy: TunnelProxy, now: number): void {
    this.#restsUntil.set(proxy, now + REST_MS);
  }
}

/** Finds the proxy of a fetch by its crawl's setting. */
export class Proxies {
  readonly #named: ReadonlyMap<string, string>;
  /** By the setting's list, which each crawl has of its own: what fails for one crawl may work for another. */
  readonly #rotations = new WeakMap<readonly string[], Rotation>();

  /** @param named the operator's: URLs by name */
  constructor(named: ReadonlyMap<string, string>) {
    this.#named = named;
  }

  /** The next proxy of a setting. @throws FetchError `proxy` where there is no such proxy */
  next(setting: string | readonly string[], now: number): TunnelProxy {
    return typeof setting === 'string' ? this.#find(setting) : this.#rotationOf(setting).next(now);
  }

  /** It could not be reached, or gave no tunnel. */
  failed(setting: string | readonly string[], proxy: TunnelProxy, now: number): void {
    if (typeof setting !== 'string') this.#rotationOf(setting).failed(proxy, now);
  }

  #rotationOf(list: readonly string[]): Rotation {
    let rotation = this.#rotations.get(list);
    if (rotation === undefined) {
      rotation = new Rotation(list.map((text) => this.#find(text)));
      this.#rotations.set(list, rotation);
    }
    return rotation;
  }

  #find(text: string): TunnelProxy {
    const isOperators = isProxyName(text);
    const url = isOperators ? this.#named.get(text) : text;
    const address = url === undefined ? null : parseProxy(url);
    if (url === undefined || address === null)
      throw new FetchError('proxy', 'this node does not know the proxy (PROXIES names others, or none)');
    const label = isOperators ? `the proxy ${text}` : `the proxy ${address.hostname}:${address.port || '80'}`;
    return { ...address, label, isOperators, key: `${isOperators} ${url}` };
  }
}
