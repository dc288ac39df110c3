import { promisify } from 'node:util';
import { gzip, gzipSync } from 'node:zlib';

const compress = promisify(gzip);
/** Bytes that are compressed as one member (RFC 1952, section 2.2), so that what follows does not need what was before. */
const MEMBER_BYTES = 1024 * 1024;
/** A file of no bytes is no gzip file. */
const EMPTY_MEMBER = gzipSync('');

/** Bytes on their way to a file: packed in whole gzip members, or as they are. */
export class Packing {
  readonly #gzip: boolean;
  readonly #memberBytes: number;
  #raw: Uint8Array[] = [];
  #rawBytes = 0;
  #ready: Uint8Array[] = [];
  #readyBytes = 0;

  /** @param mostBytes members are made no larger, as far as they are added piece by piece */
  constructor({ gzip: isPacked, mostBytes }: { gzip: boolean; mostBytes: number }) {
    this.#gzip = isPacked;
    this.#memberBytes = Math.min(MEMBER_BYTES, mostBytes);
  }

  /** Bytes that are ready: with gzip, whole members. */
  get readyBytes(): number {
    return this.#readyBytes;
  }

  /** Whether nothing waits, ready or not. */
  get isEmpty(): boolean {
    return this.#rawBytes === 0 && this.#readyBytes === 0;
  }

  async add(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    this.#raw.push(bytes);
    this.#rawBytes += bytes.length;
    if (!this.#gzip || this.#rawBytes >= this.#memberBytes) await this.#settle();
  }

  /** Everything that was added, and forgets it. */
  async take(): Promise<Uint8Array> {
    await this.#settle();
    const all = this.#ready.length === 1 ? this.#ready[0]! : Buffer.concat(this.#ready);
    this.#ready = [];
    this.#readyBytes = 0;
    return all;
  }

  /** The rest of a file that has so many bytes already. */
  async takeLast(bytesBefore: number): Promise<Uint8Array> {
    const rest = await this.take();
    return this.#gzip && bytesBefore === 0 && rest.length === 0 ? EMPTY_MEMBER : rest;
  }

  async #settle(): Promise<void> {
    if (this.#rawBytes === 0) return;
    const raw = this.#raw;
    this.#raw = [];
    this.#rawBytes = 0;
    for (const bytes of this.#gzip ? [await compress(Buffer.concat(raw))] : raw) {
      this.#ready.push(bytes);
      this.#readyBytes += bytes.length;
    }
  }
}
