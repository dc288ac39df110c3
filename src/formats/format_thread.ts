import { Worker } from 'node:worker_threads';
import pLimit from 'p-limit';
import type { StoredItem } from '../model/item.ts';
import type { FormatWork, FromFormatThread, ToFormatThread } from './format_protocol.ts';
import type { Narrowing } from './members.ts';
import type { TableShape } from './table.ts';

/** Parquet files at once: each holds up to a row group of items. */
const MAX_FILES = 8;
/** Of large items, which are copied to the thread. */
const MAX_JOBS = 4;
const MEMORY_MB = 512;
const YOUNG_MB = 24;
const IDLE_MS = 10_000;

interface Waiting {
  resolve: (made: Uint8Array | string) => void;
  reject: (error: Error) => void;
}

/** A Parquet file that is made in the thread. Its methods are called one after another. Close it when done. */
export interface ParquetFile {
  begin(shape: TableShape): Promise<Uint8Array>;
  encode(items: readonly StoredItem[]): Promise<Uint8Array>;
  end(): Promise<Uint8Array>;
  close(): void;
}

/** Makes off the event loop what would hold it up: Parquet files, and large items that must be looked into. Started when needed. */
export class FormatThread {
  #worker: Worker | null = null;
  readonly #jobs = new Map<number, Waiting>();
  readonly #files = new Set<number>();
  readonly #limit = pLimit(MAX_JOBS);
  #number = 0;
  #idle: NodeJS.Timeout | null = null;

  /** @returns the item's data as `narrowing` wants it */
  narrow(data: string, narrowing: Narrowing): Promise<string> {
    return this.#limit(() => this.#ask<string>({ kind: 'narrow', data, narrowing }));
  }

  /** @returns lines of CSV */
  rows(shape: TableShape, items: readonly StoredItem[]): Promise<Uint8Array> {
    return this.#limit(() => this.#ask<Uint8Array>({ kind: 'rows', shape, items }));
  }

  /** Null: there are as many under way as may be. */
  openParquet(): ParquetFile | null {
    if (this.#files.size >= MAX_FILES) return null;
    const file = ++this.#number;
    this.#files.add(file);
    return {
      begin: (shape) => this.#ask({ kind: 'begin', file, shape }),
      encode: (items) => this.#ask({ kind: 'encode', file, items }),
      end: () => this.#ask({ kind: 'end', file }),
      close: () => this.#close(file),
    };
  }

  /** Ends the thread; what is under way fails. */
  async stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === null) return;
    this.#lose(worker, new Error('the service stops'));
    await worker.terminate();
  }

  #ask<T extends Uint8Array | string>(work: FormatWork): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const job = ++this.#number;
    this.#jobs.set(job, { resolve: (made) => resolve(made as T), reject });
    this.#worker ??= this.#start();
    this.#worker.postMessage({ job, work } satisfies ToFormatThread);
    return promise;
  }

  #start(): Worker {
    const worker = new Worker(new URL('./format_worker.js', import.meta.url), {
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB, maxYoungGenerationSizeMb: YOUNG_MB },
    });
    worker.unref();
    worker.on('message', (message: FromFormatThread) => this.#receive(message));
    worker.on('error', (error) => this.#lose(worker, error as Error));
    worker.once('exit', () => this.#lose(worker, new Error('the thread of the formats ended')));
    return worker;
  }

  #receive(message: FromFormatThread): void {
    const waiting = this.#jobs.get(message.job);
    this.#jobs.delete(message.job);
    if ('error' in message) waiting?.reject(new Error(message.error));
    else waiting?.resolve(message.made);
    this.#rest();
  }

  /** Ends a thread that has nothing to do for a while. */
  #rest(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (this.#jobs.size === 0 && this.#files.size === 0) void this.stop();
    }, IDLE_MS).unref();
  }

  /** What is under way is lost with the thread; the next call gets a new one. */
  #lose(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    if (this.#idle !== null) clearTimeout(this.#idle);
    for (const waiting of this.#jobs.values()) waiting.reject(error);
    this.#jobs.clear();
  }

  #close(file: number): void {
    if (!this.#files.delete(file) || this.#worker === null) return;
    this.#ask({ kind: 'drop', file }).catch(() => {});
  }
}
