import type { StoredItem } from '../model/item.ts';

/** How items become bytes. */
export interface PieceFormat {
  /** Readers with one key share their bytes, so it names all that `encode` depends on; null: they are this reader's alone. */
  key: string | null;
  encode(items: readonly StoredItem[]): Uint8Array | Promise<Uint8Array>;
}

/** Items of a crawl that stand next to one another, as bytes. */
export interface Piece {
  bytes: Uint8Array;
  /** Items in it. */
  count: number;
  /** Every offset up to here has been looked at. */
  through: number;
}

/** What an entry takes besides its bytes. */
const OVERHEAD = 500;

/**
 * Pieces that several readers want, each made once. What is longest not asked for goes first; a crawl's pieces go with its
 * last reader.
 */
export class PieceCache {
  readonly #maxBytes: number;
  readonly #pieces = new Map<string, { crawlId: string; piece: Promise<Piece>; bytes: number }>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param keep is asked when the piece is there: whether others may still want it */
  take(crawlId: string, key: string, make: () => Promise<Piece>, keep: () => boolean): Promise<Piece> {
    const known = this.#pieces.get(key);
    if (known !== undefined) {
      this.#pieces.delete(key);
      this.#pieces.set(key, known);
      return known.piece;
    }
    const entry = { crawlId, piece: make(), bytes: 0 };
    this.#pieces.set(key, entry);
    entry.piece.then(
      ({ bytes }) => {
        if (this.#pieces.get(key) !== entry) return;
        if (!keep()) this.#drop(key);
        else this.#count(entry, bytes.length + OVERHEAD);
      },
      () => this.#drop(key),
    );
    return entry.piece;
  }

  /** Lets go of a crawl's pieces. */
  forget(crawlId: string): void {
    for (const [key, entry] of this.#pieces) if (entry.crawlId === crawlId) this.#drop(key);
  }

  #count(entry: { bytes: number }, bytes: number): void {
    entry.bytes = bytes;
    this.#bytes += bytes;
    for (const key of this.#pieces.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#drop(key);
    }
  }

  #drop(key: string): void {
    this.#bytes -= this.#pieces.get(key)?.bytes ?? 0;
    this.#pieces.delete(key);
  }
}
