import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Debian's own, that its Python packages belong to. */
const PYTHON = '/usr/bin/python3';
const hasSwift =
  existsSync(PYTHON) && spawnSync(PYTHON, ['-c', 'import swift.proxy, swift.obj, swift.container']).status === 0;

/** For tests that need OpenStack Swift: without it they are skipped, but where CI_SERVERS is 1 they fail. */
export const needsSwift = {
  skip: hasSwift || process.env.CI_SERVERS === '1' ? (false as const) : 'no OpenStack Swift: apt install swift-proxy …',
};

/** What is done to a request instead of answering it: its answer is lost, or is this one. */
export type Fault = 'lose' | { status: number; code: string; headers?: Record<string, string> } | 'hang' | null;

/** A real OpenStack Swift with its S3 API, and what stands before it to do to requests what networks do. */
export interface Swift {
  /** Of a connection to the bucket. */
  url(bucket: string, user?: 'tests' | 'guest', secret?: string): string;
  /** Of itself, with nothing before it. */
  endpoint: string;
  /** Asked at each request. */
  fault: (method: string, path: string) => Fault;
  /** Requests so far, as `PUT /bucket/key?query`. */
  readonly seen: string[];
  /** Connections that are open to what stands before it, once those that were closed are gone. */
  open(): Promise<number>;
  away: boolean;
  stop(): Promise<void>;
}

export const SECRET = 'secret/with+signs';

/** Starts one with its data in a new directory. */
export async function startSwift({ smallestPart }: { smallestPart: number }): Promise<Swift> {
  const home = await mkdtemp(join(tmpdir(), 'orbweaver-swift-'));
  const script = join(import.meta.dirname, 'swift_server.py');
  const child = spawn(PYTHON, [script, home, String(smallestPart)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(child, 'exit');
  const port = await Promise.race([
    once(child.stdout, 'data').then(([text]) => Number(String(text))),
    gone.then(() => Promise.reject(new Error('Swift did not start'))),
  ]);
  const sockets = new Set<Socket>();
  const server = createServer((asked, answer) => void passOn(asked, answer));
  server.on('connection', (socket) => {
    if (swift.away) return void socket.destroy();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function passOn(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    asked.on('error', () => {});
    const path = asked.url!;
    swift.seen.push(`${asked.method} ${path}`);
    if (swift.away) return void asked.socket.destroy();
    const fault = swift.fault(asked.method!, path);
    if (fault === 'hang') return;
    if (fault !== null && fault !== 'lose') {
      asked.resume();
      await once(asked, 'end');
      const body = `<?xml version="1.0"?><Error><Code>${fault.code}</Code><Message>of ${host}</Message></Error>`;
      return void answer.writeHead(fault.status, { 'content-type': 'application/xml', ...fault.headers }).end(body);
    }
    const onward = request({ host: '127.0.0.1', port, method: asked.method!, path, headers: asked.headers });
    onward.on('error', () => answer.headersSent || asked.socket.destroy());
    onward.on('response', (got) => {
      if (fault === 'lose' || swift.away) {
        got.resume().on('end', () => asked.socket.destroy());
        return;
      }
      answer.writeHead(got.statusCode!, got.headers);
      // Swift's errors have a body even there, which is none of HTTP's.
      if (asked.method === 'HEAD') answer.end();
      else got.pipe(answer);
    });
    asked.pipe(onward);
  }

  const swift: Swift = {
    url: (bucket, user = 'tests', secret = SECRET) =>
      `s3+http://crawler%3A${user}:${encodeURIComponent(secret)}@${host}/${bucket}`,
    endpoint: `http://127.0.0.1:${port}`,
    fault: () => null,
    seen: [],
    open: async () => {
      for (let tries = 0; sockets.size > 0 && tries < 500; tries++) await sleep(10);
      return sockets.size;
    },
    away: false,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      child.stdin.end();
      child.kill('SIGKILL');
      await gone;
      await rm(home, { recursive: true, force: true });
    },
  };
  return swift;
}
