import type { StoredItem } from '../model/item.ts';
import type { TableShape } from './table.ts';

/** To the thread that makes Parquet files. Each but `close` is answered, in order for one file. */
export type ToParquetThread =
  | { kind: 'begin'; file: number; shape: TableShape }
  | { kind: 'encode'; file: number; items: readonly StoredItem[] }
  | { kind: 'end'; file: number }
  | { kind: 'close'; file: number };

export type FromParquetThread = { file: number } & ({ bytes: Uint8Array } | { error: string });
