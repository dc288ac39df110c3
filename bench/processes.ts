import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Absolute path of a file beside this one. */
export function besides(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** What one contender is, to the machine. */
export interface Running {
  child: ChildProcess;
  /** Highest resident memory so far, in MiB, of the process and its children, threads included. */
  peakMb(): number;
  /** SIGTERM, then waits for its end. */
  stop(): Promise<void>;
}

const started = new Set<Running>();

/** Stops whatever still runs. */
export async function stopAll(): Promise<void> {
  await Promise.all([...started].map((running) => running.stop()));
}

/** Starts a process whose errors show on the terminal, and watches its memory. */
export function start(command: string, args: string[], env: Record<string, string> = {}): Running {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } });
  const ended = once(child, 'exit');
  let peak = 0;
  const sample = () => {
    peak = Math.max(peak, residentMb(child.pid!, 'VmHWM'));
    return peak;
  };
  const timer = setInterval(sample, 100);
  const running: Running = {
    child,
    peakMb: sample,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
  const forget = () => {
    clearInterval(timer);
    started.delete(running);
  };
  started.add(running);
  ended.then(forget, forget);
  return running;
}

/** MiB that a process and its descendants hold (`VmRSS`) or have held (`VmHWM`); 0 where it is gone. */
export function residentMb(pid: number, kind: 'VmRSS' | 'VmHWM'): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kb = Number(new RegExp(`^${kind}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
    return childrenOf(pid).reduce((sum, child) => sum + residentMb(child, kind), kb / 1024);
  } catch {
    return 0;
  }
}

/** Seconds of CPU, user and system, that a process and its descendants have used, those that have ended included. */
export function cpuSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ticks = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 15);
    return childrenOf(pid).reduce(
      (sum, child) => sum + cpuSeconds(child),
      ticks.reduce((a, b) => a + Number(b), 0) / 100,
    );
  } catch {
    return 0;
  }
}

function childrenOf(pid: number): number[] {
  const lists = readdirSync(`/proc/${pid}/task`).map((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8'),
  );
  return lists.flatMap((list) => list.trim().split(' ').filter(Boolean).map(Number));
}

/** All that a process prints, when it has ended. @throws Error where it ended with a failure */
export async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${child.spawnargs.join(' ')} ended with ${code}`);
  return text;
}

/** Starts the site server in one of its modes. */
export async function startSite(
  mode: 'small' | 'large' | 'burn' | 'tree' | 'slow' | 'broad',
): Promise<{ origin: string; pid: number; stop(): Promise<void> }> {
  const site = start(process.execPath, [besides('site.ts'), mode]);
  const [port] = await once(site.child.stdout!, 'data');
  return { origin: `http://127.0.0.1:${String(port).trim()}`, pid: site.child.pid!, stop: site.stop };
}
