import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { UsageError } from './command.ts';
import { plain } from './terminal.ts';

/** What items are written as; the value is the service's `format`. */
const FORMATS = { ndjson: 'ndjson', csv: 'csv', json: 'json-array', parquet: 'parquet' } as const;
export type Format = keyof typeof FORMATS;

const EXTENSIONS: Readonly<Record<string, Format>> = {
  '.ndjson': 'ndjson',
  '.jsonl': 'ndjson',
  '.csv': 'csv',
  '.json': 'json',
  '.parquet': 'parquet',
};
const BUFFERED = 64 * 1024;

/** Where items go. */
export interface Sink {
  readonly isStdout: boolean;
  write(piece: string | Uint8Array): Promise<void>;
  /** All is there. Without it nothing of a file stays. */
  finish(): Promise<void>;
  /** Whether what was written can be taken back. */
  readonly canRestart: boolean;
  /** Forgets what was written, to begin anew. */
  restart(): Promise<void>;
}

/** Who read our stdout has gone. */
export class PipeClosed extends Error {}

/** @param file as given to `-o`; undefined and `-`: stdout */
export function formatOf(file: string | undefined, format: string | undefined): Format {
  const known = Object.keys(FORMATS).join(', ');
  if (format !== undefined) {
    if (!Object.hasOwn(FORMATS, format)) throw new UsageError(`--format is "${format}"; expected one of ${known}`);
    return format as Format;
  }
  if (isStdout(file)) return 'ndjson';
  const found = EXTENSIONS[extname(file).toLowerCase()];
  if (found === undefined)
    throw new UsageError(`-o ${file}: its ending names no format; give --format, one of ${known}`);
  return found;
}

/** The service's word for a format that is a file. */
export const parameterOf = (format: Exclude<Format, 'ndjson'>) => FORMATS[format];

const isStdout = (file: string | undefined): file is undefined | '-' => file === undefined || file === '-';

export function openSink(file: string | undefined): Promise<Sink> {
  return isStdout(file) ? Promise.resolve(new StdoutSink()) : FileSink.open(file);
}

class StdoutSink implements Sink {
  readonly isStdout = true;
  canRestart = true;
  #closed = false;
  #wake: (() => void) | null = null;
  readonly #decoder = new TextDecoder();

  constructor() {
    // EPIPE comes as an event as well, also between two writes.
    process.stdout.on('error', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  async write(piece: string | Uint8Array): Promise<void> {
    if (this.#closed) throw new PipeClosed();
    this.canRestart = false;
    const text = process.stdout.isTTY
      ? plain(typeof piece === 'string' ? piece : this.#decoder.decode(piece, { stream: true }))
      : piece;
    if (process.stdout.write(text)) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      process.stdout.once('drain', resolve);
    });
    if (this.#closed) throw new PipeClosed();
  }

  async finish(): Promise<void> {}

  async restart(): Promise<void> {}
}

/** Written beside its place under another name, and renamed when it is whole: who sees the file sees all of it. */
class FileSink implements Sink {
  readonly isStdout = false;
  readonly canRestart = true;
  readonly #file: string;
  readonly #part: string;
  readonly #handle: FileHandle;
  #pieces: Uint8Array[] = [];
  #buffered = 0;
  readonly #remove = () => rmSync(this.#part, { force: true });

  private constructor(file: string, part: string, handle: FileHandle) {
    this.#file = file;
    this.#part = part;
    this.#handle = handle;
    process.on('exit', this.#remove); // whatever the way out is
  }

  static async open(file: string): Promise<FileSink> {
    const part = join(dirname(file), `.${basename(file)}.${randomBytes(4).toString('hex')}.part`);
    try {
      return new FileSink(file, part, await open(part, 'ax'));
    } catch (error) {
      throw new UsageError(`-o ${file} cannot be written: ${(error as Error).message}`);
    }
  }

  async write(piece: string | Uint8Array): Promise<void> {
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
    this.#pieces.push(bytes);
    this.#buffered += bytes.length;
    if (this.#buffered >= BUFFERED) await this.#flush();
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#buffered = 0;
    await this.#handle.appendFile(bytes);
  }

  async finish(): Promise<void> {
    await this.#flush();
    await this.#handle.sync();
    await this.#handle.close();
    await rename(this.#part, this.#file);
    process.off('exit', this.#remove);
  }

  async restart(): Promise<void> {
    this.#pieces = [];
    this.#buffered = 0;
    await this.#handle.truncate(0);
  }
}
