/**
 * A frame is a length, a header as JSON, and segments of bytes: `u32 rest, u32 header, header, (u32 length, bytes)*`, little
 * endian. Bodies and items travel as segments, so that nothing is escaped twice and a damaged item damages nothing else.
 */
export interface Frame {
  header: unknown;
  segments: Uint8Array[];
}

const LENGTH = 4;

/** A frame's bytes, in pieces that are to be written in this order. */
export function encodeFrame(header: object, segments: readonly Uint8Array[]): Uint8Array[] {
  const text = Buffer.from(JSON.stringify(header));
  const rest = LENGTH + text.length + segments.reduce((sum, { length }) => sum + LENGTH + length, 0);
  const head = Buffer.allocUnsafe(2 * LENGTH);
  head.writeUInt32LE(rest, 0);
  head.writeUInt32LE(text.length, LENGTH);
  const pieces: Uint8Array[] = [head, text];
  for (const segment of segments) {
    const length = Buffer.allocUnsafe(LENGTH);
    length.writeUInt32LE(segment.length, 0);
    pieces.push(length, segment);
  }
  return pieces;
}

/** Bytes that a frame has behind its first length, by those first four bytes. */
function restOf(first: Buffer): number {
  return first.readUInt32LE(0);
}

/** Reads a whole frame without its first length. @throws where the lengths do not fit, or the header is no JSON */
function decodeFrame(bytes: Buffer): Frame {
  let at = LENGTH + bytes.readUInt32LE(0);
  const header = JSON.parse(bytes.toString('utf8', LENGTH, at)) as unknown;
  const segments: Uint8Array[] = [];
  while (at < bytes.length) {
    const from = at + LENGTH;
    at = from + bytes.readUInt32LE(at);
    if (at > bytes.length) throw new Error('a segment is longer than its frame');
    segments.push(bytes.subarray(from, at));
  }
  return { header, segments };
}

/** Puts frames together from a stream's chunks. */
export class FrameReader {
  readonly #maxBytes: number;
  /** The frame's first length, until it is whole. */
  readonly #first = Buffer.alloc(LENGTH);
  /** The frame without it; null: that is not known yet. One piece of its size, so that a frame which drips costs no more. */
  #frame: Buffer | null = null;
  /** Bytes that are there, of the one or the other. */
  #bytes = 0;

  /** @param maxBytes a longer frame is an error */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The frames that a chunk completes. @throws where a frame is too long or damaged; the stream is then of no use */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    for (let at = 0; at < chunk.length; ) {
      const to = this.#frame ?? this.#first;
      const taken = chunk.copy(to, this.#bytes, at, at + to.length - this.#bytes);
      at += taken;
      this.#bytes += taken;
      if (this.#bytes < to.length) break;
      this.#bytes = 0;
      if (this.#frame !== null) frames.push(decodeFrame(this.#frame));
      this.#frame = this.#frame === null ? this.#begin() : null;
    }
    return frames;
  }

  #begin(): Buffer {
    const rest = restOf(this.#first);
    if (rest > this.#maxBytes || rest < LENGTH) throw new Error(`a frame of ${rest} bytes; at most ${this.#maxBytes}`);
    return Buffer.allocUnsafe(rest);
  }
}
