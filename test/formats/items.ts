import type { StoredItem } from '../../dist/model/item.js';

/** An item as the database gives it. */
export function storedItem(offset: number, data: unknown, parts: Partial<StoredItem> = {}): StoredItem {
  const json = JSON.stringify(data);
  return {
    offset,
    type: 'book',
    url: `https://books.example/${offset}`,
    data: json,
    size: Buffer.byteLength(json),
    scraped_at: new Date(Date.UTC(2026, 10, 23, 9, 30, 0, offset % 1000)),
    change: null,
    ...parts,
  };
}
