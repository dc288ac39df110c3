import { connect, isIP, type Socket } from 'node:net';
import { buildConnector } from 'undici';
import { type Cidr, isGlobal, isInside, isSameAddress, parseCidrs } from './address.ts';
import { DnsCache, type Resolver } from './dns.ts';
import { codeOf, FetchError } from './failure.ts';
import type { TunnelProxy } from './proxies.ts';
import { openTunnel } from './tunnel.ts';

/**
 * Opens a TCP connection; rejects with the system's error.
 *
 * @param address the literal that was judged, never a name; only an operator's proxy is dialled as it is named
 */
export type Dial = (address: string, port: number, timeoutMs: number, signal: AbortSignal) => Promise<Socket>;

/** How a connection is opened. */
export interface Way {
  verifyTls: boolean;
  /** For each of: dialling, a proxy's answer, the TLS handshake. The exchange bounds their sum. */
  connectTimeoutMs: number;
  /** Null: straight. */
  proxy: TunnelProxy | null;
}

const STRAIGHT: Way = { verifyTls: true, connectTimeoutMs: 10_000, proxy: null };
/** Of a name's addresses, so many are tried. */
const MAX_ATTEMPTS = 4;
/** The port blocking list of the Fetch standard: services that would take an HTTP request for their own language. */
const BAD_PORTS = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
  540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
  6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);
const LOCALHOST = /(^|\.)localhost$/;
/** Names that only an inside network answers: special suffixes, and single labels. */
const INSIDE_NAME = /^[^.]*$|(^|\.)(localhost|internal|local|home\.arpa)$/;
/** A host whose last label is a number is an address in an odd spelling; URL parsing leaves none. */
const NUMERIC = /(^|\.)(\d+|0x[\da-f]*)$/i;
/** One text for every address, so that a refusal tells nothing of the inside. */
const REFUSED =
  'this address is neither public nor one that the operator has added (EGRESS_ALLOW; for enrich ENRICH_EGRESS_ALLOW; ' +
  'for webhooks WEBHOOK_EGRESS_ALLOW)';

interface Target {
  protocol: string;
  /** Lower case, IPv6 without brackets, no trailing dot. */
  host: string;
  port: number;
}

function targetOf(protocol: string, hostname: string, port: string): Target {
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname.toLowerCase().replace(/\.$/, '');
  return { protocol, host, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

function authorityOf(address: string, port: number): string {
  return isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * Decides which addresses may be dialled, and dials them: the address that was judged is the one that is connected to.
 * Every connection of the service to an address that a user or a page named is opened here.
 *
 * Allowed are global unicast addresses and `allow`. A name is resolved once; it is refused when any of its addresses is
 * (so a mix of good and bad answers gains nothing), and names of the inside need all of theirs in `allow`.
 */
export class EgressGuard {
  readonly #allow: readonly Cidr[];
  readonly #dns: DnsCache;
  readonly #dial: Dial;

  /**
   * @param options.allow CIDRs that may be dialled besides public addresses
   * @param options.resolver in place of the system's name servers
   * @param options.dial in place of TCP
   */
  constructor(options: { allow: readonly string[]; resolver?: Resolver; dial?: Dial }) {
    this.#allow = parseCidrs(options.allow);
    this.#dns = new DnsCache(options.resolver);
    this.#dial = options.dial ?? dialTcp;
  }

  /**
   * What can be said without asking a name server: scheme, port, literals, names of the inside.
   *
   * @returns why the URL is refused, for the ledger; null where only connecting will tell
   */
  refuses(url: URL): string | null {
    return this.#refusal(targetOf(url.protocol, url.hostname, url.port));
  }

  /**
   * A `connect` for undici. It reports a FetchError: `scheme`, `egress`, `dns`, `connect`, `proxy`, `tls`, `reset`.
   *
   * @param signal gives up what is being connected
   */
  connector(way: Way, signal: AbortSignal): buildConnector.connector {
    const { verifyTls, connectTimeoutMs } = way;
    const secure = buildConnector({ allowH2: false, rejectUnauthorized: verifyTls, timeout: connectTimeoutMs });
    return (options, callback) => {
      this.#open(options, way, secure, signal).then(
        (socket) => callback(null, socket),
        (error: Error) => callback(error, null),
      );
    };
  }

  /**
   * A plain connection to where a URL leads, judged as every other; what is spoken over it is the caller's.
   *
   * @throws FetchError
   */
  dial(url: URL, signal: AbortSignal, proxy: TunnelProxy | null = null): Promise<Socket> {
    return this.#dialTarget(targetOf(url.protocol, url.hostname, url.port), { ...STRAIGHT, proxy }, signal);
  }

  /**
   * One name for where a host is reached: of its addresses the first in the order of their text, so that it does not change
   * with the order of a name server's answers. Null: nothing there may be dialled.
   */
  async addressOf(url: URL): Promise<string | null> {
    const target = targetOf(url.protocol, url.hostname, url.port);
    if (this.#refusal(target) !== null) return null;
    const addresses = await this.#addresses(target.host).catch(() => []);
    return addresses.toSorted()[0] ?? null;
  }

  async #open(
    options: buildConnector.Options,
    way: Way,
    secure: buildConnector.connector,
    signal: AbortSignal,
  ): Promise<Socket> {
    const target = targetOf(options.protocol, options.hostname, options.port);
    const socket = await this.#dialTarget(target, way, signal);
    return target.protocol === 'https:' ? secureSocket(socket, target, secure) : socket;
  }

  async #dialTarget(target: Target, way: Way, signal: AbortSignal): Promise<Socket> {
    const refusal = this.#refusal(target);
    if (refusal !== null) throw new FetchError('egress', refusal);
    const addresses = await this.#addresses(target.host);
    const { proxy, connectTimeoutMs } = way;
    return proxy === null
      ? this.#connect(addresses, target.port, connectTimeoutMs, signal)
      : this.#tunnel(proxy, authorityOf(addresses[0]!, target.port), connectTimeoutMs, signal);
  }

  #refusal({ protocol, host, port }: Target): string | null {
    if (protocol !== 'http:' && protocol !== 'https:') return 'only http and https are fetched';
    if (BAD_PORTS.has(port)) return `port ${port} is never fetched from`;
    if (isIP(host) !== 0) return this.#allows(host) ? null : REFUSED;
    if (host === '' || NUMERIC.test(host)) return REFUSED;
    if (LOCALHOST.test(host)) return isInside('127.0.0.1', this.#allow) ? null : REFUSED;
    return INSIDE_NAME.test(host) && this.#allow.length === 0 ? REFUSED : null;
  }

  #allows(address: string): boolean {
    return isGlobal(address) || isInside(address, this.#allow);
  }

  /** The addresses to dial, each judged. The host itself has passed `#refusal`. */
  async #addresses(host: string): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    if (LOCALHOST.test(host)) return ['127.0.0.1'];
    const addresses = await this.#dns.lookup(host);
    const isInsideName = INSIDE_NAME.test(host);
    const good = (address: string) => (isInsideName ? isInside(address, this.#allow) : this.#allows(address));
    if (!addresses.every(good)) throw new FetchError('egress', REFUSED);
    return addresses;
  }

  async #connect(all: readonly string[], port: number, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
    let failure = 'no address';
    const addresses = all.slice(0, MAX_ATTEMPTS);
    for (const address of addresses) {
      const dialled = this.#dial(address, port, timeoutMs / addresses.length, signal);
      const socket = await dialled.catch((error: Error) => {
        failure = codeOf(error) || error.name;
        return null;
      });
      if (socket === null) continue;
      if (isSameAddress(socket.remoteAddress ?? '', address)) return socket;
      socket.destroy();
      throw new FetchError('egress', REFUSED);
    }
    throw new FetchError('connect', `no connection (${failure})`);
  }

  /**
   * A connection to an address that was judged, through a proxy: it is told the address, never the name, so that it cannot
   * resolve that to another one.
   */
  async #tunnel(proxy: TunnelProxy, authority: string, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
    const socket = await this.#dialProxy(proxy, timeoutMs, signal).catch((error: Error) => {
      throw new FetchError('proxy', `${proxy.label}: ${error.message}`);
    });
    await openTunnel(socket, authority, proxy.authorization, timeoutMs, signal).catch((error: Error) => {
      socket.destroy();
      throw new FetchError('proxy', `${proxy.label} ${error.message}`);
    });
    return socket;
  }

  async #dialProxy(
    { hostname, port, isOperators }: TunnelProxy,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Socket> {
    const target = targetOf('http:', hostname, port);
    if (isOperators)
      return this.#dial(target.host, target.port, timeoutMs, signal).catch((error: Error) => {
        throw new Error(`no connection (${codeOf(error) || error.name})`);
      });
    const refusal = this.#refusal(target);
    if (refusal !== null) throw new Error(refusal);
    return this.#connect(await this.#addresses(target.host), target.port, timeoutMs, signal);
  }
}

/**
 * The plain dialler. Its `error` listener stays, so that a socket nobody reads yet cannot bring the process down.
 *
 * The signal counts until the connection is there: as an option of `connect` it would keep a listener for as long as the
 * connection lives, and each new one is compared with all before it.
 */
function dialTcp(address: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: address,
      port,
      autoSelectFamily: false,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    });
    const giveUp = () => socket.destroy(signal.reason as Error);
    const timer = setTimeout(
      () => socket.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })),
      timeoutMs,
    );
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp);
    socket.on('error', (error) => {
      settle();
      reject(error);
    });
    socket.once('connect', () => {
      settle();
      resolve(socket);
    });
  });
}

/** TLS over a connection that was already judged; names are verified by the name, literals by the address. */
function secureSocket(tcp: Socket, { host, port }: Target, secure: buildConnector.connector): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const options: buildConnector.Options = {
      hostname: host,
      host,
      protocol: 'https:',
      port: String(port),
      servername: isIP(host) === 0 ? host : '',
      httpSocket: tcp,
    };
    secure(options, (error, socket) => {
      if (error === null) return resolve(socket);
      tcp.destroy();
      reject(tlsFailure(error));
    });
  });
}

const DROPPED = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT']);

/** A dropped handshake may go better the next time; a certificate will not. */
function tlsFailure(error: Error): FetchError {
  const code = codeOf(error);
  if (DROPPED.has(code)) return new FetchError('reset', `the connection was dropped in the TLS handshake (${code})`);
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return new FetchError('connect', 'the TLS handshake took too long');
  return new FetchError('tls', `TLS failed (${code || error.message})`);
}
