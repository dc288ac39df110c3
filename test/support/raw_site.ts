import { createServer, type Socket } from 'node:net';

/** A server that says on its sockets whatever a test wants. */
export interface RawSite {
  /** `http://host:port` */
  url: string;
  port: number;
  /** Requests so far, by path. */
  hits: Map<string, number>;
  /** TCP connections accepted so far. */
  readonly connections: number;
  /** Cuts every connection and frees the port. */
  close(): Promise<void>;
}

/** Starts it on a free port. @param answer gets each request's text, whose headers came whole */
export async function startRaw(
  answer: (socket: Socket, request: string, path: string) => void,
  host = '127.0.0.1',
): Promise<RawSite> {
  const sockets = new Set<Socket>();
  const hits = new Map<string, number>();
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    socket.on('data', (data) => {
      const request = data.toString('latin1');
      const path = request.split(' ', 2)[1] ?? '';
      hits.set(path, (hits.get(path) ?? 0) + 1);
      answer(socket, request, path);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://${host}:${port}`,
    port,
    hits,
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
