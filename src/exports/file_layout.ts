import { type ColumnSources, tableShape } from '../formats/columns.ts';
import type { Encoder } from '../formats/encoder.ts';
import { makeEncoder } from '../formats/make_encoder.ts';
import type { TableShape } from '../formats/table.ts';
import type { Export, FileTarget } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';

const GIB = 1024 ** 3;

/** What the files or objects of an export are like. */
export interface FileLayout {
  /** Without the leading dot. */
  extension: string;
  contentType: string;
  gzip: boolean;
  /** One that has so many bytes is ended, and a new one begun. */
  maxBytes: number;
  /** Whether one that was begun can be gone on with by another encoder of the same shape, which then does not `begin`. */
  appendable: boolean;
  /** The columns of all files of the export, found with the first items. To be kept. */
  shape(first: readonly StoredItem[]): Promise<TableShape>;
  encoder(shape: TableShape): Promise<Encoder>;
}

const CONTENT_TYPES = {
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8; header=present',
  parquet: 'application/vnd.apache.parquet',
} as const satisfies Record<FileTarget['format'], string>;

/** @param sources asked for once, where there are columns to be found */
export function fileLayout(
  { format, gzip = false, maxBytes = GIB }: Pick<FileTarget, 'format' | 'gzip' | 'maxBytes'>,
  { type, fields, flatten = false }: Pick<Export, 'type' | 'fields' | 'flatten'>,
  sources: () => Promise<Omit<ColumnSources, 'first'>>,
): FileLayout {
  const isPacked = gzip && format !== 'parquet';
  return {
    extension: isPacked ? `${format}.gz` : format,
    contentType: isPacked ? 'application/gzip' : CONTENT_TYPES[format],
    gzip: isPacked,
    maxBytes,
    appendable: format !== 'parquet',
    shape: async (first) =>
      format === 'ndjson'
        ? { columns: [], change: false, flatten, fields: fields ?? null }
        : tableShape({ ...(await sources()), first }, { type, fields: fields ?? null, flatten }),
    encoder: (shape) => makeEncoder(format, shape),
  };
}
