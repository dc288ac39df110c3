import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(new URL('../../dist/server.js', import.meta.url));

/** A node of the service: a process of its own, running what ships. */
export interface Service {
  url: string;
  pid: number;
  /** What it wrote on stderr, and its log lines. */
  output: () => string;
  /** Sends the signal; for SIGKILL and SIGTERM resolves when the process is gone. */
  signal(signal: NodeJS.Signals): Promise<void>;
  /** SIGTERM, and SIGKILL where that does not help within 60 s. */
  stop(): Promise<void>;
}

/** Starts a node on a free port; fetching from loopback is allowed, and calling it by webhooks. */
export async function startService(env: Record<string, string>): Promise<Service> {
  const child = spawn(process.execPath, [SERVER], {
    env: {
      ...process.env,
      PORT: '0',
      EGRESS_ALLOW: '127.0.0.0/8',
      WEBHOOK_EGRESS_ALLOW: '127.0.0.0/8',
      LOG_LEVEL: 'info',
      // A start costs a third less without what few tests need; those name it.
      PARSER_THREADS: '1',
      SCRIPTS: 'off',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk;
      const match = /(?:listens|works) on (\S+)/.exec(output);
      if (match) resolve(match[1]!);
    });
    child.once('exit', (code) => reject(new Error(`the service ended with ${code}:\n${output}`)));
  });
  return {
    url,
    pid: child.pid!,
    output: () => output,
    signal: (signal) => sendSignal(child, signal),
    stop: async () => {
      const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
      await sendSignal(child, 'SIGTERM');
      clearTimeout(timer);
    },
  };
}

async function sendSignal(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = signal === 'SIGKILL' || signal === 'SIGTERM' ? once(child, 'exit') : null;
  child.kill(signal);
  await gone;
}
