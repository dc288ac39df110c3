import type { StoredItem } from '../model/item.ts';

/**
 * Items as the bytes of one file, stream or download: `begin`, then any number of `encode`, then `end`, joined. Each gives
 * what may be written at once, which may be nothing. All are synchronous and look into the data only where they must; on the event
 * loop, give them no more than a slice at a time.
 */
export interface Encoder {
  begin(): Uint8Array;
  encode(items: readonly StoredItem[]): Uint8Array;
  end(): Uint8Array;
}
