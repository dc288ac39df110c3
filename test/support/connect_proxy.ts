import { connect, createServer, type Socket } from 'node:net';

/** A proxy that takes CONNECT, and misbehaves where a test asks for it. */
export interface ConnectProxy {
  /** `host:port` */
  address: string;
  port: number;
  /** Of each CONNECT: its target and its Proxy-Authorization, if any. */
  asked: { authority: string; authorization: string | null }[];
  /** What it says instead of opening a tunnel: raw bytes; `hang`: nothing; `drop`: it closes. Null: it behaves. */
  answer: string | 'hang' | 'drop' | null;
  /** TCP connections accepted so far, and those that are open. */
  readonly connections: number;
  readonly open: number;
  close(): Promise<void>;
}

export async function startConnectProxy(options: { host?: string; answer?: string } = {}): Promise<ConnectProxy> {
  const { host = '127.0.0.1', answer = null } = options;
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => {}).once('close', () => sockets.delete(socket));
    socket.once('data', (data) => take(proxy, socket, data.toString('latin1')));
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as { port: number };
  const proxy: ConnectProxy = {
    address: `${host}:${port}`,
    port,
    asked: [],
    answer,
    get connections() {
      return connections;
    },
    get open() {
      return sockets.size;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  return proxy;
}

function take(proxy: ConnectProxy, socket: Socket, head: string): void {
  const authority = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head)?.[1] ?? '';
  const authorization = /^Proxy-Authorization: (.*)\r$/m.exec(head)?.[1] ?? null;
  proxy.asked.push({ authority, authorization });
  if (proxy.answer === 'hang') return;
  if (proxy.answer === 'drop') socket.end();
  else if (proxy.answer !== null) socket.end(proxy.answer, 'latin1');
  else pipe(socket, authority);
}

function pipe(socket: Socket, authority: string): void {
  const at = authority.lastIndexOf(':');
  const target = connect({ host: authority.slice(0, at).replace(/[[\]]/g, ''), port: Number(authority.slice(at + 1)) });
  const refuse = () => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  target.once('connect', () => {
    target.off('error', refuse).on('error', () => {});
    // In two pieces: its end is no packet's end.
    socket.write('HTTP/1.1 200 Connection est');
    setImmediate(() => {
      socket.write('ablished\r\nVia: 1.1 test\r\n\r\n');
      socket.pipe(target).pipe(socket);
    });
  });
  target.on('error', refuse);
  target.once('close', () => socket.destroy());
  socket.once('close', () => target.destroy());
}
