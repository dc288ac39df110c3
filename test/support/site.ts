import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as the site saw it. */
export interface Hit {
  method: string;
  /** Path and query. */
  url: string;
  headers: IncomingHttpHeaders;
  /** The site's own clock: milliseconds since the epoch, with fractions. */
  at: number;
}

export interface Site {
  /** `http://host:port`, without a slash at the end. */
  url: string;
  port: number;
  hits: Hit[];
  /** TCP connections accepted so far. */
  readonly connections: number;
  /** Cuts every connection and frees the port. */
  close(): Promise<void>;
}

/**
 * Starts a web site on a free port of a loopback address.
 *
 * @param handler answers, or misbehaves on `req.socket`
 * @param options.host 127.0.0.1 unless told
 */
export async function startSite(
  handler: (req: IncomingMessage, res: ServerResponse) => void,
  options: { host?: string } = {},
): Promise<Site> {
  const host = options.host ?? '127.0.0.1';
  const hits: Hit[] = [];
  let connections = 0;
  const server = createServer((req, res) => {
    const at = performance.timeOrigin + performance.now();
    hits.push({ method: req.method ?? '', url: req.url ?? '', headers: req.headers, at });
    handler(req, res);
  });
  server.on('connection', (socket) => {
    connections++;
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    hits,
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
