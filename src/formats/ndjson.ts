import type { StoredItem } from '../model/item.ts';
import type { Encoder } from './encoder.ts';
import { itemJson } from './item_json.ts';
import type { Narrowing } from './members.ts';

const NOTHING = Buffer.alloc(0);

/** One item a line. What it makes of an item depends on nothing else, so that pieces may be shared by readers. */
export class NdjsonEncoder implements Encoder {
  readonly #narrowing: Narrowing;

  constructor(narrowing: Narrowing) {
    this.#narrowing = narrowing;
  }

  begin(): Uint8Array {
    return NOTHING;
  }

  encode(items: readonly StoredItem[]): Uint8Array {
    return Buffer.from(items.map((item) => `${itemJson(item, this.#narrowing)}\n`).join(''));
  }

  end(): Uint8Array {
    return NOTHING;
  }
}
