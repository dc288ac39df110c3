import { constants, createZstdCompress, type ZstdCompress } from 'node:zlib';
import type { Body } from './body.ts';

/** So many at once: each holds a compressor of 0.4 MB. */
const MAX_STREAMS = 64;
const OPTIONS = {
  params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_windowLog]: 17 },
};

let streams = 0;

/** Whether another one may be made. */
export function hasRoomForZstd(): boolean {
  return streams < MAX_STREAMS;
}

/**
 * One zstd frame (RFC 8878). Pieces that depend on nothing would have to be frames of their own, and there are readers that
 * take the first frame for the whole, Node's among them. So there is a compressor for each reader.
 */
export class ZstdBody implements Body {
  readonly #stream: ZstdCompress = createZstdCompress(OPTIONS);
  #pieces: Uint8Array[] = [];
  #isClosed = false;

  constructor() {
    streams += 1;
    this.#stream.on('data', (piece: Uint8Array) => this.#pieces.push(piece));
    this.#stream.on('error', () => {}); // the write or flush under way fails with it
  }

  async add(piece: Uint8Array): Promise<Uint8Array> {
    await settled((done) => this.#stream.write(piece, done));
    await settled((done) => this.#stream.flush(constants.ZSTD_e_flush, () => done()));
    return this.#take();
  }

  async end(): Promise<Uint8Array> {
    await new Promise<void>((resolve, reject) => {
      this.#stream.once('error', reject).once('end', resolve);
      this.#stream.end();
    });
    return this.#take();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    streams -= 1;
    this.#stream.destroy();
  }

  #take(): Uint8Array {
    const pieces = this.#pieces;
    this.#pieces = [];
    return Buffer.concat(pieces);
  }
}

function settled(act: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => act((error) => (error ? reject(error) : resolve())));
}
