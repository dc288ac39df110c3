/** One item as stored. */
export interface StoredItem {
  offset: number;
  type: string;
  url: string;
  /** JSON text, exactly as it was produced. */
  data: string;
  /** Bytes of data. */
  size: number;
  scraped_at: Date;
  /** JSON text; null: the item was not compared with earlier crawls. */
  change: string | null;
}
