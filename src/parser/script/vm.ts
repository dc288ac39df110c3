import { readFileSync } from 'node:fs';
import variant from '@jitl/quickjs-ng-wasmfile-release-sync';
import {
  newQuickJSWASMModuleFromVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSRuntime,
  type QuickJSSyncVariant,
} from 'quickjs-emscripten-core';

/** A mistake of the script's author; it is thrown where the script called. Everything else that is thrown here is ours. */
export class ScriptMistake extends Error {}

/** A function of the host. `takes` has a letter for each argument, `n` or `s`; text that it gives has no NUL. */
export interface HostFunction {
  takes: string;
  work: (...args: never[]) => string | number | undefined;
}

/** How a turn went; `unfit`: the virtual machine may be damaged, why. */
export interface TurnEnd {
  cpuMs: number;
  interrupted: boolean;
  unfit: string | null;
}

/** Bytes of QuickJS's own stack; node's `--stack-size` of the child is such that this one ends first. */
const STACK_BYTES = 256 * 1024;
/** What the guest's own modules may take; the script's limit is set with the script. */
const START_MEMORY_MB = 16;
/** After an interruption other pages' jobs still get so much CPU time. */
const REST_MS = 50;
const JOBS_AT_ONCE = 100;
const GUEST = 'orbweaver/';
const MODULES = ['drive.js', 'context.js', 'host.js', 'response.js', 'selection.js', 'values.js'];
const REFUSED = 'refused/';
const SCRIPT = 'script';

/** CPU milliseconds of this thread. */
function cpuNow(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/**
 * A script in QuickJS, compiled to WebAssembly: a wall of its own inside the process. The guest has the language alone and
 * the functions that it is given, which take and give text and numbers, never objects.
 *
 * A host's RangeError (its stack is full), and every exception that is not understood, may have left the machine in the
 * middle of something: it is then unfit, and the process is to be dropped.
 */
export class Vm {
  readonly #runtime: QuickJSRuntime;
  readonly #context: QuickJSContext;
  readonly #entry = new Map<string, QuickJSHandle>();
  #deadline = Number.POSITIVE_INFINITY;
  /** The guest was told to stop, and has not yet been seen to. */
  #over = false;
  #interrupted = false;
  #unfit: string | null = null;

  static async load(functions: Record<string, HostFunction>): Promise<Vm> {
    const module = await newQuickJSWASMModuleFromVariant(variant as unknown as QuickJSSyncVariant);
    return new Vm(module.newRuntime(), functions);
  }

  private constructor(runtime: QuickJSRuntime, functions: Record<string, HostFunction>) {
    this.#runtime = runtime;
    runtime.setMemoryLimit(START_MEMORY_MB * 1024 * 1024);
    runtime.setMaxStackSize(STACK_BYTES);
    runtime.setInterruptHandler(() => this.#isOver());
    runtime.setModuleLoader(loadModule, moduleName);
    this.#context = runtime.newContext();
    this.#offer(functions);
    this.#loadGuest();
  }

  /** Sets what the script may allocate. */
  limitMemory(megabytes: number): void {
    this.#runtime.setMemoryLimit(megabytes * 1024 * 1024);
  }

  /** Bytes that are allocated. */
  get usedBytes(): number {
    const handle = this.#runtime.computeMemoryUsage();
    const usage = this.#context.dump(handle) as { malloc_size?: number };
    handle.dispose();
    return usage.malloc_size ?? 0;
  }

  /**
   * Lets the guest run: `work`, then every job that is due.
   *
   * @param limitMs CPU time, after which it is interrupted
   * @param more what is to be done when no job is due; false: there was nothing
   */
  turn(limitMs: number, work: () => void, more: () => boolean = () => false): TurnEnd {
    const start = cpuNow();
    this.#deadline = start + limitMs;
    this.#over = false;
    this.#interrupted = false;
    try {
      work();
      do this.#runJobs();
      while (this.#unfit === null && more());
    } catch (error) {
      this.#unfit ??= `the host threw ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`;
    }
    this.#deadline = Number.POSITIVE_INFINITY;
    return { cpuMs: cpuNow() - start, interrupted: this.#interrupted || this.#over, unfit: this.#unfit };
  }

  /** Evaluates a script and makes it the one that runs. @returns its description as JSON. @throws ScriptMistake; only inside a turn */
  adopt(source: string): string {
    const result = this.#context.evalCode(source, SCRIPT, { type: 'module' });
    if (result.error) throw this.#mistake(result.error);
    this.#runJobs();
    const exported = this.#defaultOf(result.value);
    const description = this.#call('adopt', [exported]);
    exported.dispose();
    const text = this.#context.getString(description);
    description.dispose();
    return text;
  }

  /** Calls a function of the guest with text and numbers. Only inside a turn. */
  call(name: 'begin' | 'settle' | 'drop', ...args: (string | number)[]): void {
    const handles = args.map((arg) => this.#handle(arg));
    const result = this.#context.callFunction(this.#entry.get(name)!, this.#context.undefined, ...handles);
    for (const handle of handles) handle.dispose();
    if (!result.error) result.value.dispose();
    else if (this.#over) result.error.dispose();
    else throw new Error(`the guest failed: ${this.#mistake(result.error).message}`);
  }

  #isOver(): boolean {
    if (this.#unfit === null && cpuNow() <= this.#deadline) return false;
    this.#over = true;
    return true;
  }

  /** Runs what is due. Once the time is over the page of this turn is lost, and what else is due gets a rest. */
  #runJobs(): void {
    while (this.#unfit === null && this.#runtime.hasPendingJob()) {
      this.#runtime.executePendingJobs(JOBS_AT_ONCE).dispose();
      if (!this.#over && cpuNow() <= this.#deadline) continue;
      if (this.#interrupted) this.#unfit = 'it did not stop when it was interrupted';
      this.#interrupted = true;
      this.#over = false;
      this.#deadline = cpuNow() + REST_MS;
    }
  }

  /** @throws ScriptMistake */
  #defaultOf(namespace: QuickJSHandle): QuickJSHandle {
    const state = this.#context.getPromiseState(namespace);
    if (state.type === 'pending')
      throw new ScriptMistake('the script waits, at its top level, for a promise that nothing settles');
    if (state.type === 'rejected') throw this.#mistake(state.error);
    const exported = this.#context.getProp(state.value, 'default');
    if (state.value !== namespace) state.value.dispose();
    namespace.dispose();
    return exported;
  }

  /** What a function of the guest gives. @throws ScriptMistake */
  #call(name: 'adopt' | 'describe', args: QuickJSHandle[]): QuickJSHandle {
    const result = this.#context.callFunction(this.#entry.get(name)!, this.#context.undefined, ...args);
    if (result.error) throw this.#mistake(result.error);
    return result.value;
  }

  #mistake(error: QuickJSHandle): Error {
    const result = this.#over
      ? null
      : this.#context.callFunction(this.#entry.get('describe')!, this.#context.undefined, error);
    error.dispose();
    const text = result === null || result.error ? 'it was interrupted' : this.#context.getString(result.value);
    result?.dispose();
    return new ScriptMistake(text);
  }

  #handle(value: string | number): QuickJSHandle {
    return typeof value === 'string' ? this.#context.newString(value) : this.#context.newNumber(value);
  }

  #offer(functions: Record<string, HostFunction>): void {
    const host = this.#context.newObject();
    for (const [name, work] of Object.entries(functions)) {
      const handle = this.#context.newFunction(name, (...args) => this.#serve(work, args));
      this.#context.setProp(host, name, handle);
      handle.dispose();
    }
    this.#context.setProp(this.#context.global, '__host', host);
    host.dispose();
  }

  /** A call of the guest. It passes what is expected, unless a script tampers: then it is made a text or number all the same. */
  #serve({ takes, work }: HostFunction, args: QuickJSHandle[]): QuickJSHandle | { error: QuickJSHandle } {
    try {
      if (args.length < takes.length) throw new ScriptMistake('a function of the host was given too little');
      const values = Array.from(takes, (type, i) =>
        type === 'n' ? this.#context.getNumber(args[i]!) : this.#context.getString(args[i]!),
      );
      const result = (work as (...args: (string | number)[]) => string | number | undefined)(...values);
      return result === undefined ? this.#context.undefined : this.#handle(result);
    } catch (error) {
      if (!(error instanceof ScriptMistake))
        this.#unfit ??= `the host threw ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`;
      return { error: this.#context.newError({ name: 'Error', message: (error as Error).message }) };
    }
  }

  #loadGuest(): void {
    const loaded = this.#context.evalCode(`import './drive.js';`, `${GUEST}start.js`, { type: 'module' });
    if (loaded.error) throw new Error(`the guest's modules: ${JSON.stringify(this.#context.dump(loaded.error))}`);
    loaded.value.dispose();
    this.#runJobs();
    const entry = this.#context.getProp(this.#context.global, '__entry');
    for (const name of ['adopt', 'begin', 'settle', 'drop', 'describe'])
      this.#entry.set(name, this.#context.getProp(entry, name));
    entry.dispose();
    const removed = this.#context.evalCode('delete globalThis.__entry');
    removed.dispose();
  }
}

/** Our own modules import each other; a script has none. What it asks for gets a name that no module has. */
function moduleName(from: string, name: string): string {
  return from.startsWith(GUEST) ? GUEST + name.slice(2) : `${REFUSED}${name}`;
}

function loadModule(name: string): string | { error: Error } {
  const file = MODULES.find((module) => name === GUEST + module);
  if (file !== undefined) return readFileSync(new URL(`./guest/${file}`, import.meta.url), 'utf8');
  const asked = name.slice(REFUSED.length, REFUSED.length + 100);
  return { error: new Error(`import of "${asked}": modules are not there, a script stands alone`) };
}
