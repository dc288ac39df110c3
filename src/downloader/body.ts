const FIRST_BYTES = 16_384;

/**
 * Collects chunks into one block of shared memory that doubles as it fills. Not a list of chunks: a body sent as ten
 * million chunks of one byte would cost a gigabyte of list.
 */
export class ByteSink {
  #buffer: SharedArrayBuffer;
  #view: Uint8Array;
  #length = 0;

  /** @param expected bytes, where known; the memory is then taken once */
  constructor(expected: number = FIRST_BYTES) {
    this.#buffer = new SharedArrayBuffer(expected);
    this.#view = new Uint8Array(this.#buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** The memory; its first `length` bytes are in use. */
  get buffer(): SharedArrayBuffer {
    return this.#buffer;
  }

  /** What was collected: a view, not a copy. */
  get bytes(): Uint8Array {
    return this.#view.subarray(0, this.#length);
  }

  append(chunk: Uint8Array): void {
    const end = this.#length + chunk.length;
    if (end > this.#view.length) this.#grow(Math.max(end, this.#view.length * 2));
    this.#view.set(chunk, this.#length);
    this.#length = end;
  }

  #grow(bytes: number): void {
    const buffer = new SharedArrayBuffer(bytes);
    const view = new Uint8Array(buffer);
    view.set(this.bytes);
    this.#buffer = buffer;
    this.#view = view;
  }
}
