import { Worker } from 'node:worker_threads';
import type { StoredItem } from '../model/item.ts';
import type { FromParquetThread, ToParquetThread } from './parquet_protocol.ts';
import type { TableShape } from './table.ts';

/** Each holds up to a row group of items. */
const MAX_FILES = 8;
const MEMORY_MB = 512;

interface Waiting {
  resolve: (bytes: Uint8Array) => void;
  reject: (error: Error) => void;
}

/** A Parquet file that is made in the thread. Its methods are called one after another. Close it when done. */
export interface ParquetFile {
  begin(shape: TableShape): Promise<Uint8Array>;
  encode(items: readonly StoredItem[]): Promise<Uint8Array>;
  end(): Promise<Uint8Array>;
  close(): void;
}

/** Makes Parquet files off the event loop, in a thread that is there while a file is open. */
export class ParquetThread {
  #worker: Worker | null = null;
  readonly #files = new Map<number, Waiting | null>();
  #number = 0;

  /** Null: there are as many under way as may be. */
  open(): ParquetFile | null {
    if (this.#files.size >= MAX_FILES) return null;
    const file = ++this.#number;
    this.#files.set(file, null);
    return {
      begin: (shape) => this.#ask({ kind: 'begin', file, shape }),
      encode: (items) => this.#ask({ kind: 'encode', file, items }),
      end: () => this.#ask({ kind: 'end', file }),
      close: () => this.#close(file),
    };
  }

  #ask(message: ToParquetThread): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#files.set(message.file, { resolve, reject });
    this.#worker ??= this.#start();
    this.#worker.postMessage(message);
    return promise;
  }

  #start(): Worker {
    const worker = new Worker(new URL('./parquet_worker.js', import.meta.url), {
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB },
    });
    worker.on('message', (message: FromParquetThread) => {
      const waiting = this.#files.get(message.file);
      if ('error' in message) waiting?.reject(new Error(message.error));
      else waiting?.resolve(message.bytes);
    });
    worker.on('error', (error) => this.#lose(worker, error as Error));
    worker.once('exit', () => this.#lose(worker, new Error('the thread that makes Parquet files ended')));
    return worker;
  }

  /** The files under way are lost with the thread; the next one gets a new thread. */
  #lose(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    for (const waiting of this.#files.values()) waiting?.reject(error);
  }

  #close(file: number): void {
    if (!this.#files.delete(file) || this.#worker === null) return;
    const worker = this.#worker;
    if (this.#files.size > 0) {
      worker.postMessage({ kind: 'close', file } satisfies ToParquetThread);
      return;
    }
    this.#worker = null;
    void worker.terminate();
  }
}
