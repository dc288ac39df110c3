import type { StoredItem } from '../model/item.ts';
import type { Narrowing } from './members.ts';
import type { TableShape } from './table.ts';

/** What the thread does. A Parquet file is begun, encoded into, ended and dropped; the others stand alone. */
export type FormatWork =
  | { kind: 'narrow'; data: string; narrowing: Narrowing }
  | { kind: 'rows'; shape: TableShape; items: readonly StoredItem[] }
  | { kind: 'begin'; file: number; shape: TableShape }
  | { kind: 'encode'; file: number; items: readonly StoredItem[] }
  | { kind: 'end'; file: number }
  | { kind: 'drop'; file: number };

/** To the thread; each is answered under its number. */
export type ToFormatThread = { job: number; work: FormatWork };
export type FromFormatThread = { job: number } & ({ made: Uint8Array | string } | { error: string });
