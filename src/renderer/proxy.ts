import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Settings } from '../model/settings.ts';
import { KNOCK_HOST, MAX_BYTES, MAX_REQUESTS } from './protocol.ts';

/**
 * Opens a connection to where a URL leads, judged by the egress guard, and by the crawl's proxy where it has one; TLS is the
 * browser's.
 *
 * @throws an error whose `reason` is `egress` where it may not be
 */
export type OpenSocket = (url: URL, proxy: Settings['proxy'], signal: AbortSignal) => Promise<Socket>;

/** What one context may do while a page of it is under way, and what it did. */
interface Pass {
  /** Of the crawl's settings. */
  readonly proxy: Settings['proxy'];
  requests: number;
  refused: number;
  bytes: number;
  readonly sockets: Set<Duplex>;
  readonly ending: AbortController;
}

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const DENIED = 'HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n';
const FAILED = 'HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n';
const UNKNOWN =
  'HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm="orbweaver"\r\ncontent-length: 0\r\n\r\n';

/**
 * The browser's only way out: a forward proxy on loopback that dials through the egress guard. A context proves itself with
 * its secret, which only its pages' thread knows, and only while a page of it is under way. So neither the browser's own
 * traffic nor other programs of this machine get through, and what a page left behind stops with it.
 */
export class RenderProxy {
  readonly #open: OpenSocket;
  readonly #server: Server;
  readonly #passes = new Map<string, Pass>();

  constructor(open: OpenSocket) {
    this.#open = open;
    this.#server = createServer((req, res) => void this.#forward(req, res));
    this.#server.on('connect', (req: IncomingMessage, socket: Duplex) => void this.#tunnel(req, socket));
    this.#server.on('upgrade', (_req, socket: Duplex) => socket.destroy());
    this.#server.on('clientError', (_error, socket: Duplex) => socket.destroy());
    this.#server.unref();
  }

  /** @returns its port on 127.0.0.1 */
  async start(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** Lets a context through until `close`; what it did before is not counted. */
  admit(context: string, proxy: Settings['proxy']): void {
    this.close(context);
    const ending = new AbortController();
    this.#passes.set(context, { proxy, requests: 0, refused: 0, bytes: 0, sockets: new Set(), ending });
  }

  /** Cuts its connections and lets it through no more. @returns what it did */
  close(context: string): Pick<Pass, 'refused' | 'bytes'> {
    const pass = this.#passes.get(context);
    if (pass === undefined) return { refused: 0, bytes: 0 };
    this.#passes.delete(context);
    cut(pass);
    return { refused: pass.refused, bytes: pass.bytes };
  }

  stop(): void {
    for (const context of [...this.#passes.keys()]) this.close(context);
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** HTTPS and WebSockets. */
  async #tunnel(req: IncomingMessage, client: Duplex): Promise<void> {
    client.on('error', () => client.destroy());
    const pass = this.#passOf(req);
    const url = URL.parse(`http://${req.url ?? ''}/`);
    if (pass === null || url === null) return void client.end(pass === null ? UNKNOWN : FAILED);
    if (!mayGo(pass)) return void client.end(DENIED);
    const socket = await this.#dial(url, pass, () => client.end(FAILED));
    if (socket === null) return;
    hold(pass, client);
    client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    this.#count(socket, pass);
    socket.pipe(client).pipe(socket);
    socket.on('close', () => client.destroy());
    client.on('close', () => socket.destroy());
  }

  /** Plain HTTP, one connection for each request: a proxy that keeps none has none to confuse. */
  async #forward(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const answer = (status: number) => {
      if (res.headersSent) res.destroy();
      else res.writeHead(status, status === 407 ? { 'proxy-authenticate': 'Basic realm="orbweaver"' } : {}).end();
    };
    const pass = this.#passOf(req);
    if (pass === null) return answer(407);
    const url = URL.parse(req.url ?? '');
    if (url?.protocol !== 'http:') return answer(400);
    if (url.hostname === KNOCK_HOST) return answer(204);
    if (!mayGo(pass)) return answer(403);
    const socket = await this.#dial(url, pass, () => answer(502));
    if (socket === null) return;
    this.#count(socket, pass);
    const path = url.pathname + url.search;
    const headers = [...kept(req.rawHeaders), 'connection', 'close'];
    const sent = request({
      createConnection: () => socket,
      setHost: false,
      method: req.method ?? 'GET',
      path,
      headers,
    });
    sent.on('error', () => answer(502));
    sent.on('response', (response) => relay(response, res));
    req.pipe(sent);
    res.on('close', () => socket.destroy());
  }

  #passOf(req: IncomingMessage): Pass | null {
    const [, encoded = ''] = /^Basic ([\w+/=]{1,200})$/.exec(req.headers['proxy-authorization'] ?? '') ?? [];
    const given = Buffer.from(encoded, 'base64');
    for (const [context, pass] of this.#passes) {
      const expected = Buffer.from(`${context}:`);
      if (given.length === expected.length && timingSafeEqual(given, expected)) return pass;
    }
    return null;
  }

  /** Null: it was refused or failed, and `fail` has said so. */
  async #dial(url: URL, pass: Pass, fail: () => void): Promise<Socket | null> {
    try {
      const socket = await this.#open(url, pass.proxy, pass.ending.signal);
      hold(pass, socket);
      return socket.destroyed ? null : socket;
    } catch (error) {
      if ((error as { reason?: unknown }).reason === 'egress') pass.refused++;
      fail();
      return null;
    }
  }

  #count(socket: Socket, pass: Pass): void {
    socket.on('data', (chunk: Buffer) => {
      pass.bytes += chunk.length;
      if (pass.bytes > MAX_BYTES) cut(pass);
    });
  }
}

function mayGo(pass: Pass): boolean {
  return ++pass.requests <= MAX_REQUESTS && pass.bytes <= MAX_BYTES;
}

function hold(pass: Pass, socket: Duplex): void {
  socket.on('error', () => socket.destroy());
  if (pass.ending.signal.aborted) socket.destroy();
  pass.sockets.add(socket);
  socket.once('close', () => pass.sockets.delete(socket));
}

function cut(pass: Pass): void {
  pass.ending.abort();
  for (const socket of pass.sockets) socket.destroy();
}

function kept(raw: readonly string[]): string[] {
  const headers: string[] = [];
  for (let i = 0; i < raw.length; i += 2)
    if (!HOP_BY_HOP.has(raw[i]!.toLowerCase())) headers.push(raw[i]!, raw[i + 1]!);
  return headers;
}

/** A stranger's headers may be such as Node does not send. */
function relay(response: IncomingMessage, res: ServerResponse): void {
  response.on('error', () => res.destroy());
  try {
    res.writeHead(response.statusCode ?? 502, kept(response.rawHeaders));
    response.pipe(res);
  } catch {
    response.destroy();
    res.destroy();
  }
}
