import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** CommandComplete of a COMMIT, as PostgreSQL's protocol has it: type, length, tag. */
const COMMIT_DONE = Buffer.from('C\0\0\0\x0bCOMMIT\0', 'latin1');

/** What stands between a service and its PostgreSQL, to do to it what networks do. */
export interface TcpProxy {
  /** The database's URL, by way of the proxy. */
  url: string;
  /** Added to each answer, in milliseconds. */
  latencyMs: number;
  /** Asked at the answer to each COMMIT, with how many there were before: true loses it, and cuts the connection. */
  loses: (commit: number) => boolean;
  /** COMMITs whose answer was lost. */
  readonly lost: number;
  /** Cuts every connection, and refuses new ones until `restore`. */
  cut(): Promise<void>;
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a proxy on a free port of 127.0.0.1. @param databaseUrl what it leads to */
export async function startTcpProxy(databaseUrl: string): Promise<TcpProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let server = await listen(0, accept);
  const { port } = server.address() as AddressInfo;
  const through = new URL(databaseUrl);
  through.host = `127.0.0.1:${port}`;
  let commits = 0;
  let lost = 0;

  function accept(client: Socket): void {
    const upstream = connect(Number(target.port || 5432), target.hostname);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.once('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (bytes) => upstream.write(bytes));
    // Answers keep their order, also where one is delayed and the next, a moment later, is not any more.
    let before = Promise.resolve();
    upstream.on('data', (bytes) => {
      if (bytes.includes(COMMIT_DONE) && proxy.loses(commits++)) {
        lost++;
        client.destroy();
      } else {
        const delay = proxy.latencyMs > 0 ? sleep(proxy.latencyMs) : null;
        before = before.then(async () => {
          await delay;
          if (!client.destroyed) client.write(bytes);
        });
      }
    });
  }

  async function cut(): Promise<void> {
    const closed = server.listening ? once(server, 'close') : null;
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  const proxy: TcpProxy = {
    url: through.href,
    latencyMs: 0,
    loses: () => false,
    get lost() {
      return lost;
    },
    cut,
    restore: async () => {
      server = await listen(port, accept);
    },
    close: cut,
  };
  return proxy;
}

async function listen(port: number, accept: (socket: Socket) => void): Promise<Server> {
  const server = createServer(accept);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
