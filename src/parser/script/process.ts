import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import type { Launch } from './boundary.ts';
import { encodeFrame, type Frame, FrameReader } from './frames.ts';
import { MAX_FRAME, type ToChild } from './protocol.ts';

/** Of a process that burns: behind the event loop, the database and the other scripts. */
const LOW = 15;
const MAX_STDERR = 4000;
const PAGE_BYTES = 4096;
const TICK_MS = 10;

/** What a child's process tells its owner. */
export interface ChildEvents {
  frame(child: ScriptProcess, frame: Frame): void;
  /** It is gone, with all that it held open. `memory`: it ran out of its heap. */
  gone(child: ScriptProcess, detail: string, memory: boolean): void;
}

/**
 * One process for scripts, seen from the broker: frames go in and come out. It is starting, then ready (its first frame),
 * then gone. Nothing that it writes is believed.
 */
export class ScriptProcess {
  isReady = false;
  isGone = false;
  /** Resolves when it is gone. */
  readonly gone: Promise<void>;
  readonly #child: ChildProcess;
  readonly #reader = new FrameReader(MAX_FRAME);
  readonly #stdin: Writable;
  /** Of node itself, which inside bubblewrap is another than the one that was started; null until it is known. */
  #pid: number | null = null;
  #isLow = false;
  #stderr = '';
  #failure: string | null = null;

  constructor(launch: Launch, events: ChildEvents) {
    const [command, ...args] = launch.command;
    const stdio = launch.kind === 'bubblewrap' ? 4 : 3;
    const pipes = Array<'pipe'>(stdio).fill('pipe');
    this.#child = spawn(command!, args, { stdio: pipes, env: {}, cwd: '/', detached: true });
    this.#stdin = this.#child.stdio[0] as Writable;
    if (launch.kind === 'process') this.#know(this.#child.pid ?? null);
    this.#listen(events);
    this.gone = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        this.isGone = true;
        events.gone(this, this.#detail(code, signal), /heap out of memory|Allocation failed/.test(this.#stderr));
        resolve();
      });
    });
  }

  /** Lets everyone else go first, or no longer; where the system does not allow the latter, it stays as it is. */
  prioritise(isLow: boolean): void {
    if (this.#pid === null || this.#isLow === isLow) return;
    try {
      setPriority(this.#pid, isLow ? LOW : 0);
      this.#isLow = isLow;
    } catch {
      // It is gone already, or only root may raise it.
    }
  }

  /** Sends a message. What a dead process does not take is lost with it. */
  send(message: ToChild, segments: readonly Uint8Array[] = []): void {
    if (this.isGone || !this.#stdin.writable) return;
    this.#stdin.cork();
    for (const piece of encodeFrame(message, segments)) this.#stdin.write(piece);
    this.#stdin.uncork();
  }

  /**
   * Ends it, whatever it is doing, with its group: what bubblewrap has started waits, at first, for a word of bubblewrap,
   * which would never come; it would stay for ever and hold the pipes open. Later it has a session of its own, and ends with
   * bubblewrap.
   */
  kill(): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      this.#child.kill('SIGKILL');
    }
  }

  /**
   * CPU time of the thread that runs the script, in milliseconds, in steps of ten; null where the system does not tell. The
   * compiler's threads are not the script's fault.
   */
  cpuMs(): number | null {
    const text = this.#proc(`task/${this.#pid}/stat`);
    if (text === null) return null;
    // proc(5): the 14th and 15th fields are the clock ticks in user and system mode, a hundred a second.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }

  /** Its memory in bytes; null where the system does not tell. */
  memoryBytes(): number | null {
    const text = this.#proc('statm');
    return text === null ? null : Number(text.split(' ')[1]) * PAGE_BYTES;
  }

  #proc(file: string): string | null {
    if (this.#pid === null || this.isGone) return null;
    try {
      return readFileSync(`/proc/${this.#pid}/${file}`, 'latin1');
    } catch {
      return null;
    }
  }

  #listen(events: ChildEvents): void {
    const [, stdout, stderr, status] = this.#child.stdio as Readable[];
    this.#child.on('error', (error) => {
      this.#failure ??= error.message;
    });
    this.#stdin.on('error', () => undefined);
    stdout!.on('data', (chunk: Buffer) => this.#read(chunk, events));
    stderr!.on('data', (chunk: Buffer) => {
      if (this.#stderr.length < MAX_STDERR) this.#stderr += chunk.toString('latin1').slice(0, MAX_STDERR);
    });
    // Bubblewrap writes it before it lets the program begin.
    status?.once('data', (chunk: Buffer) =>
      this.#know(Number(/"child-pid": (\d+)/.exec(chunk.toString('latin1'))?.[1])),
    );
    status?.on('data', () => undefined);
  }

  #read(chunk: Buffer, events: ChildEvents): void {
    if (this.#failure !== null) return;
    try {
      for (const frame of this.#reader.push(chunk)) events.frame(this, frame);
    } catch (error) {
      this.#failure = `it said what cannot be understood: ${(error as Error).message}`;
      this.kill();
    }
  }

  #know(pid: number | null): void {
    if (pid === null || !Number.isSafeInteger(pid) || pid <= 1) return;
    this.#pid = pid;
  }

  #detail(code: number | null, signal: string | null): string {
    const fatal = /FATAL ERROR: [^\n]*/.exec(this.#stderr)?.[0] ?? this.#stderr.trim().split('\n').at(-1) ?? '';
    return this.#failure ?? `${signal ?? `exit ${code}`} ${fatal}`.trim().slice(0, 300);
  }
}
