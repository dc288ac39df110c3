import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../clients/typescript/src/cli.ts', import.meta.url));

/** A run of the command line. */
export interface CliRun {
  readonly out: string;
  readonly err: string;
  signal(signal: NodeJS.Signals): void;
  /** Stops reading its stdout, as `head` does. */
  closeStdout(): void;
  /** Resolves once stderr has it. */
  says(pattern: RegExp): Promise<void>;
  /** The exit code. */
  ended: Promise<number | null>;
}

export function startCli(url: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): CliRun {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, ORBWEAVER_URL: url, ORBWEAVER_API_KEY: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const seen = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    seen.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    seen.err += text;
  });
  return {
    get out() {
      return seen.out;
    },
    get err() {
      return seen.err;
    },
    signal: (signal) => void child.kill(signal),
    closeStdout: () => void child.stdout.destroy(),
    says: async (pattern) => {
      while (!pattern.test(seen.err)) await once(child.stderr, 'data');
    },
    ended: once(child, 'close').then(([code]) => code as number | null),
  };
}

export async function runCli(url: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const run = startCli(url, args, env);
  const code = await run.ended;
  return { code, out: run.out, err: run.err };
}
