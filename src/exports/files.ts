import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, type FileHandle, lstat, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Encoder } from '../formats/encoder.ts';
import type { TableShape } from '../formats/table.ts';
import type { FileLayout } from './file_layout.ts';
import { Packing } from './packing.ts';
import { type Batch, type BatchLimits, type Cursor, ExportError, type Target } from './target.ts';

const MIB = 1024 * 1024;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR, COPYFILE_EXCL, COPYFILE_FICLONE } = constants;

export interface FileSettings {
  /** Of all exported files of the crawl; absolute. */
  directory: string;
  /** How the files' names begin. */
  name: string;
  layout: FileLayout;
}

/** What is kept with the cursor. All items before the file's first are in files that are finished. */
interface Position {
  /** The file that is being written, from 1. */
  file: number;
  /** Offset that it begins at. */
  first: number;
  /** Name of its part: what its holder calls it. Null: nothing is written of it. */
  part: string | null;
  /** So much of the part counts. */
  bytes: number;
  /** The part is whole; it remains to be given its name. */
  sealed: boolean;
  shape: TableShape | null;
}

/**
 * Writes files `<name>-00001.ndjson` … into a directory, each as a part that gets the file's name when it is whole.
 *
 * The cursor moves with what is on the disk (fdatasync). A part that is full, or the last, is *sealed*, and that it is so is
 * stored with the cursor; only in a later call is it renamed. So a file that is there is whole, and no holder that has lost the
 * export makes one. Each holder writes a part of its own: it takes the one that was left in order (`.free`), and copies one
 * that was not, whose holder may yet wake up, as far as it counts. Where there is none (another node's disk), or it cannot
 * be gone on with (Parquet), the file begins anew with its first item.
 */
export class FileExport implements Target {
  readonly limits: BatchLimits;
  readonly #settings: FileSettings;
  #position: Position = { file: 1, first: 0, part: null, bytes: 0, sealed: false, shape: null };
  /** Every item before it is on the disk. */
  #durable = 0;
  /** Every item before it was given. */
  #next = 0;
  #handle: FileHandle | null = null;
  #encoder: Encoder | null = null;
  #packing: Packing;
  /** A former holder's part, of no use once our cursor is stored. */
  #former: string | null = null;

  constructor(settings: FileSettings) {
    this.#settings = settings;
    this.limits = { items: 10_000, bytes: Math.min(MIB, settings.layout.maxBytes), lingerMs: 1000 };
    this.#packing = this.#newPacking();
  }

  open(stored: Cursor): Promise<Cursor> {
    return this.#guarded(async () => {
      this.#next = this.#durable = stored.next;
      if (stored.position === null) this.#position.first = stored.next;
      else this.#position = stored.position as Position;
      await this.#makeDirectory();
      const { sealed, part, bytes } = this.#position;
      const canGoOn = sealed || (this.#settings.layout.appendable && bytes > 0);
      if (sealed && (await this.#isFinished())) this.#beginNext();
      else if (part !== null && canGoOn) await this.#takeOver(part);
      else if (part !== null) this.#beginAnew();
      return this.#cursor();
    });
  }

  write({ items, next }: Batch): Promise<Cursor | null> {
    return this.#guarded(async () => {
      const before = this.#cursor();
      await this.#settle();
      if (items.length > 0) {
        const encoder = await this.#begun(items);
        await this.#packing.add(encoder.encode(items));
      }
      this.#next = next;
      const { maxBytes } = this.#settings.layout;
      if (this.#position.bytes + this.#packing.readyBytes >= maxBytes) await this.#seal();
      else if (this.#packing.readyBytes >= MIB) await this.#append(await this.#packing.take());
      if (this.#packing.isEmpty) this.#countDurable();
      return this.#since(before);
    });
  }

  flush(_signal: AbortSignal, isLast: boolean): Promise<Cursor | null> {
    return this.#guarded(async () => {
      const before = this.#cursor();
      await this.#settle();
      // A crawl without items gets a file, too.
      if (isLast && !this.#position.sealed && (this.#position.part !== null || this.#position.file === 1))
        await this.#seal();
      else if (this.#settings.layout.appendable && !this.#packing.isEmpty)
        await this.#append(await this.#packing.take());
      if (this.#packing.isEmpty) this.#countDurable();
      return this.#since(before);
    });
  }

  finish(): Promise<Cursor> {
    return this.#guarded(async () => {
      await this.#settle();
      return this.#cursor();
    });
  }

  /** Leaves the part to the next holder, unless another has taken it. */
  async close(): Promise<void> {
    await this.#closeHandle().catch(() => {});
    const { part } = this.#position;
    if (part !== null) await rename(this.#partPath(part), this.#freePath(part)).catch(() => {});
  }

  get #base(): string {
    const { name, layout } = this.#settings;
    return `${name}-${String(this.#position.file).padStart(5, '0')}.${layout.extension}`;
  }

  get #path(): string {
    return join(this.#settings.directory, this.#base);
  }

  #partPath(part: string): string {
    return `${this.#path}.${part}.part`;
  }

  #freePath(part: string): string {
    return `${this.#path}.${part}.free`;
  }

  #cursor(): Cursor {
    return { next: this.#durable, position: { ...this.#position } };
  }

  /** Null: nothing is to be stored. */
  #since(before: Cursor): Cursor | null {
    const now = this.#cursor();
    return JSON.stringify(now) === JSON.stringify(before) ? null : now;
  }

  #newPacking(): Packing {
    const { gzip, maxBytes } = this.#settings.layout;
    return new Packing({ gzip, mostBytes: maxBytes });
  }

  /** All that was given is on the disk, or is nothing: then the file that is to come begins behind it. */
  #countDurable(): void {
    if (this.#position.part === null) this.#position.first = this.#next;
    else if (!this.#settings.layout.appendable && !this.#position.sealed) return;
    this.#durable = this.#next;
  }

  /** @throws ExportError where it is no directory of its own */
  async #makeDirectory(): Promise<void> {
    const { directory } = this.#settings;
    await mkdir(directory, { recursive: true });
    if (!(await lstat(directory)).isDirectory())
      throw new ExportError('refused', 'the directory of the crawl’s exports is a link, which is not followed', {
        permanent: true,
      });
  }

  async #isFinished(): Promise<boolean> {
    const found = await unlessMissing(lstat(this.#path));
    return found?.isFile() === true && found.size === this.#position.bytes;
  }

  #beginNext(): void {
    const { file, shape } = this.#position;
    this.#position = { file: file + 1, first: this.#next, part: null, bytes: 0, sealed: false, shape };
    this.#encoder = null;
  }

  /** The cursor goes back to the file's first item. */
  #beginAnew(): void {
    const { file, first, part, shape } = this.#position;
    this.#former = part;
    this.#position = { file, first, part: null, bytes: 0, sealed: false, shape };
    this.#next = this.#durable = first;
  }

  async #takeOver(former: string): Promise<void> {
    const { bytes, sealed } = this.#position;
    const part = newName();
    const path = this.#partPath(part);
    const isFree = await unlessMissing(rename(this.#freePath(former), path).then(() => true));
    const isCopied =
      isFree ?? (await unlessMissing(copyFile(this.#partPath(former), path, COPYFILE_EXCL | COPYFILE_FICLONE)));
    if (isCopied === null) return this.#beginAnew();
    this.#handle = await open(path, O_RDWR | O_NOFOLLOW);
    if ((await this.#handle.stat()).size < bytes) {
      await this.#closeHandle();
      await unlink(path);
      return this.#beginAnew();
    }
    await this.#handle.truncate(bytes);
    await this.#handle.sync();
    await this.#syncDirectory();
    this.#former = former;
    this.#position = { ...this.#position, part };
    if (!sealed) this.#encoder = await this.#settings.layout.encoder(this.#position.shape!);
  }

  /** What was decided with the cursor that is stored by now: a sealed part gets its name, a former one goes. */
  async #settle(): Promise<void> {
    if (this.#former !== null) {
      await unlessMissing(unlink(this.#partPath(this.#former)));
      await unlessMissing(unlink(this.#freePath(this.#former)));
      this.#former = null;
    }
    const { sealed, part } = this.#position;
    if (!sealed || part === null) return;
    await this.#closeHandle();
    const isRenamed = await unlessMissing(rename(this.#partPath(part), this.#path).then(() => true));
    if (isRenamed === null && !(await this.#isFinished())) throw gone();
    await this.#syncDirectory();
    await this.#removeParts();
    this.#beginNext();
  }

  /** Of the file that is whole now, whoever left them. */
  async #removeParts(): Promise<void> {
    const { directory } = this.#settings;
    const isPart = /^\.[0-9a-f]{16}\.(part|free)$/;
    for (const name of await readdir(directory))
      if (name.startsWith(this.#base) && isPart.test(name.slice(this.#base.length)))
        await unlessMissing(unlink(join(directory, name)));
  }

  async #begun(first: Batch['items']): Promise<Encoder> {
    if (this.#encoder !== null) return this.#encoder;
    const { layout } = this.#settings;
    const position = this.#position;
    position.shape ??= await layout.shape(first);
    this.#encoder = await layout.encoder(position.shape);
    this.#packing = this.#newPacking();
    position.part = newName();
    this.#handle = await open(this.#partPath(position.part), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);
    await this.#syncDirectory();
    await this.#packing.add(this.#encoder.begin());
    return this.#encoder;
  }

  async #append(bytes: Uint8Array): Promise<void> {
    const handle = this.#handle;
    if (handle === null) throw gone();
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, this.#position.bytes + done);
      done += bytesWritten;
    }
    this.#position = { ...this.#position, bytes: this.#position.bytes + bytes.length };
    await handle.datasync();
  }

  async #seal(): Promise<void> {
    const encoder = await this.#begun([]);
    await this.#packing.add(encoder.end());
    await this.#append(await this.#packing.takeLast(this.#position.bytes));
    this.#position.sealed = true;
  }

  async #syncDirectory(): Promise<void> {
    const handle = await open(this.#settings.directory, constants.O_RDONLY);
    await handle.sync().finally(() => handle.close());
  }

  async #closeHandle(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close();
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw error instanceof ExportError ? error : failureOf(error);
    }
  }
}

function newName(): string {
  return randomBytes(8).toString('hex');
}

/** Null: there is no such file. */
async function unlessMissing<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function gone(): ExportError {
  return new ExportError('gone', 'the directory of the crawl’s exports was removed or changed while it was written');
}

/** Names no path: that is the operator's. */
function failureOf(error: unknown): unknown {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new ExportError('full', 'the disk that DATA_DIR is on is full');
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new ExportError('refused', 'DATA_DIR/exports cannot be written to: permission denied, or read-only');
    case 'ENOENT':
    case 'ESTALE':
      return gone();
    case 'ENOTDIR':
    case 'EEXIST':
      return new ExportError('refused', 'DATA_DIR/exports, or the crawl’s directory in it, is no directory');
    case 'EIO':
      return new ExportError('other', 'the disk that DATA_DIR is on has failed');
    default:
      return error;
  }
}
