import type { StoredItem } from '../model/item.ts';

/**
 * Items as the bytes of one file, stream or download: `begin`, then any number of `encode`, then `end`, joined. Each gives
 * what may be written at once, which may be nothing.
 */
export interface Encoder {
  begin(): Uint8Array;
  encode(items: readonly StoredItem[]): Uint8Array;
  end(): Uint8Array;
}
