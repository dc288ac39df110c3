import type { Encoder } from '../formats/encoder.ts';
import type { TableShape } from '../formats/table.ts';
import { keyPrefix, type S3Target } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';
import type { FileLayout } from './file_layout.ts';
import { Packing } from './packing.ts';
import { S3Bucket, type Upload } from './s3_bucket.ts';
import { type Batch, type BatchLimits, type Cursor, ExportError, type ExportJob, type Target } from './target.ts';

const MIB = 1024 * 1024;
/** Every part but the last has at least so many bytes: a rule of S3. */
const PART_BYTES = 5 * MIB;
/** Of an object; Amazon takes 10,000, others no more than this. */
const MAX_PARTS = 1000;

export interface S3Settings extends Pick<S3Target, 'prefix'> {
  /** Of the connection. */
  url: string;
  layout: FileLayout;
  /** For servers that take smaller parts. */
  partBytes?: number;
}

/** What is kept with the cursor. All items before the object's first are in objects that are complete. */
interface Position {
  /** The object that is being written, from 1. */
  object: number;
  /** Offset that it begins at. */
  first: number;
  /** Null: none of it is on the server. */
  upload: Upload | null;
  /** Nothing is added to it any more; it remains to be completed. */
  sealed: boolean;
  shape: TableShape | null;
}

/**
 * Writes objects `<prefix>-00001.ndjson` … to a bucket, each as an upload in parts.
 *
 * The cursor moves with each part that is on the server. An object that is full is *sealed*: its last part is there, and
 * that it is the last is stored with the cursor. Only after that, in a later call, is it completed, and always of exactly
 * the parts that were stored. So a holder that has lost the export completes nothing of its own, and what was completed
 * without our knowing is completed again to the same effect. Where an upload is gone, or holds a part of somebody else, its
 * object begins anew with its first item.
 */
export class S3Export implements Target {
  readonly limits: BatchLimits;
  readonly #settings: S3Settings;
  readonly #prefix: string;
  readonly #partBytes: number;
  #bucket: S3Bucket | null = null;
  #position: Position = { object: 1, first: 0, upload: null, sealed: false, shape: null };
  /** Every item before it is on the server. */
  #durable = 0;
  /** Every item before it was given. */
  #next = 0;
  /** Of the object that is being written; null: nothing was added to it since it was opened. */
  #encoder: Encoder | null = null;
  #packing: Packing;

  constructor(settings: S3Settings, { crawlId, spider }: ExportJob) {
    const { layout, prefix, partBytes = PART_BYTES } = settings;
    this.#settings = settings;
    this.#prefix = keyPrefix(prefix, crawlId, spider);
    this.#partBytes = partBytes;
    this.limits = { items: 10_000, bytes: Math.min(MIB, layout.maxBytes), lingerMs: 1000 };
    this.#packing = this.#newPacking();
  }

  async open(stored: Cursor, signal: AbortSignal): Promise<Cursor> {
    this.#bucket = await S3Bucket.of(this.#settings.url);
    this.#durable = this.#next = stored.next;
    if (stored.position === null) this.#position.first = stored.next;
    else this.#position = stored.position as Position;
    await this.#bucket.check(this.#prefix, signal);
    if (this.#position.sealed) {
      if (await this.#complete(signal)) this.#beginObject();
      else await this.#beginAnew();
    } else if (this.#position.upload !== null && !(await this.#canGoOn(this.#position.upload, signal)))
      await this.#beginAnew();
    return this.#cursor();
  }

  async write({ items, next }: Batch, signal: AbortSignal): Promise<Cursor | null> {
    const before = this.#cursor();
    await this.#completeSealed(signal);
    if (items.length > 0) await this.#packing.add((await this.#begun(items)).encode(items));
    this.#next = next;
    const { maxBytes, appendable } = this.#settings.layout;
    const bytes = this.#sentBytes + this.#packing.readyBytes;
    if (bytes >= maxBytes || (this.#position.upload?.parts.length ?? 0) >= MAX_PARTS - 1) await this.#seal(signal);
    else if (this.#packing.readyBytes >= this.#partBytes) await this.#send(await this.#packing.take(), signal);
    if (!this.#isBegun) this.#position = { ...this.#position, first: next };
    if (!this.#isBegun || (appendable && this.#packing.isEmpty)) this.#durable = next;
    return this.#since(before);
  }

  /** What is too little for a part stays in memory, and in the log. */
  async flush(signal: AbortSignal, isLast: boolean): Promise<Cursor | null> {
    const before = this.#cursor();
    await this.#completeSealed(signal);
    // A crawl without items gets an object, too.
    if (isLast && (this.#isBegun || this.#position.object === 1)) await this.#seal(signal);
    return this.#since(before);
  }

  async finish(signal: AbortSignal): Promise<Cursor> {
    await this.#completeSealed(signal);
    return this.#cursor();
  }

  async discard({ position }: Cursor): Promise<void> {
    if (position !== null) this.#position = position as Position;
    const { upload } = this.#position;
    if (upload === null) return;
    this.#bucket ??= await S3Bucket.of(this.#settings.url);
    await this.#bucket.abort(this.#key(), upload);
  }

  async close(): Promise<void> {
    this.#bucket?.close();
    this.#packing = this.#newPacking();
  }

  /** Whether something of the present object is on the server or waits here. */
  get #isBegun(): boolean {
    return this.#encoder !== null || this.#position.upload !== null || this.#position.sealed;
  }

  #cursor(): Cursor {
    return { next: this.#durable, position: this.#position };
  }

  /** The cursor, where it has moved. */
  #since(before: Cursor): Cursor | null {
    const now = this.#cursor();
    return now.next === before.next && now.position === before.position ? null : now;
  }

  /** The encoder of the present object, which is begun where it was not. */
  async #begun(first: readonly StoredItem[]): Promise<Encoder> {
    if (this.#encoder !== null) return this.#encoder;
    const { layout } = this.#settings;
    const shape = this.#position.shape ?? (await layout.shape(first));
    if (shape !== this.#position.shape) this.#position = { ...this.#position, shape };
    const encoder = await layout.encoder(shape);
    if (this.#position.upload === null) await this.#packing.add(encoder.begin());
    this.#encoder = encoder;
    return encoder;
  }

  /** Of the present object. */
  get #sentBytes(): number {
    return (this.#position.upload?.parts ?? []).reduce((sum, part) => sum + part.bytes, 0);
  }

  /** Sends a part. */
  async #send(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const { upload } = this.#position;
    const key = this.#key();
    const begun = upload ?? (await this.#opened.begin(key, this.#settings.layout.contentType, signal));
    try {
      const grown = await this.#opened.add(key, begun, bytes, signal);
      this.#position = { ...this.#position, upload: grown };
    } catch (error) {
      if (upload === null) await this.#opened.abort(key, begun);
      throw error;
    }
    if (this.#settings.layout.appendable) this.#durable = this.#next;
  }

  async #seal(signal: AbortSignal): Promise<void> {
    await this.#packing.add((await this.#begun([])).end());
    const rest = await this.#packing.takeLast(this.#sentBytes);
    if (rest.length > 0) await this.#send(rest, signal);
    this.#position = { ...this.#position, sealed: true };
    this.#durable = this.#next;
  }

  async #completeSealed(signal: AbortSignal): Promise<void> {
    if (!this.#position.sealed) return;
    if (!(await this.#complete(signal)))
      throw new ExportError('gone', `the upload of object ${this.#position.object} is gone; the object is begun anew`);
    this.#beginObject();
  }

  /** Makes the object of a sealed one. @returns false where that cannot be */
  async #complete(signal: AbortSignal): Promise<boolean> {
    const { upload } = this.#position;
    if (upload !== null) return this.#opened.complete(this.#key(), upload, signal);
    await this.#opened.putEmpty(this.#key(), this.#settings.layout.contentType, signal);
    return true;
  }

  async #canGoOn(upload: Upload, signal: AbortSignal): Promise<boolean> {
    return this.#settings.layout.appendable && this.#opened.has(this.#key(), upload, signal);
  }

  /** Turns to the object behind the present one. */
  #beginObject(): void {
    const { object, shape } = this.#position;
    this.#position = { object: object + 1, first: this.#durable, upload: null, sealed: false, shape };
    this.#encoder = null;
  }

  /** Goes back to the first item of the present object. */
  async #beginAnew(): Promise<void> {
    const { upload, first } = this.#position;
    if (upload !== null) await this.#opened.abort(this.#key(), upload);
    this.#position = { ...this.#position, upload: null, sealed: false };
    this.#durable = this.#next = first;
  }

  get #opened(): S3Bucket {
    if (this.#bucket === null) throw new Error('not opened');
    return this.#bucket;
  }

  #key(): string {
    return `${this.#prefix}${String(this.#position.object).padStart(5, '0')}.${this.#settings.layout.extension}`;
  }

  #newPacking(): Packing {
    const { gzip, maxBytes } = this.#settings.layout;
    return new Packing({ gzip, mostBytes: maxBytes });
  }
}
