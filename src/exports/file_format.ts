import { type ColumnSources, tableShape } from '../formats/columns.ts';
import { CsvEncoder } from '../formats/csv.ts';
import type { Encoder } from '../formats/encoder.ts';
import { NdjsonEncoder } from '../formats/json_encoders.ts';
import type { TableShape } from '../formats/table.ts';
import type { Export, FileTarget } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';

const GIB = 1024 ** 3;

/** How an export's files or objects are written. */
export interface FileFormat {
  /** Without the leading dot. */
  extension: string;
  contentType: string;
  gzip: boolean;
  /** One that has so many bytes is ended, and a new one begun. */
  maxBytes: number;
  /** Whether one that was begun can be gone on with by another encoder of the same shape, which then does not `begin`. */
  appendable: boolean;
  /** The columns of all files of the export, found with the first items; null where there are none. To be kept. */
  shape(first: readonly StoredItem[]): Promise<TableShape | null>;
  encoder(shape: TableShape | null): Encoder;
}

const CONTENT_TYPES = {
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8; header=present',
  parquet: 'application/vnd.apache.parquet',
} as const satisfies Record<FileTarget['format'], string>;

/** @param sources asked for once, where there are columns to be found */
export function fileFormat(
  { format, gzip = false, maxBytes = GIB }: Pick<FileTarget, 'format' | 'gzip' | 'maxBytes'>,
  { type, fields, flatten = false }: Pick<Export, 'type' | 'fields' | 'flatten'>,
  sources: () => Promise<Omit<ColumnSources, 'first'>>,
): FileFormat {
  const isPacked = gzip && format !== 'parquet';
  return {
    extension: isPacked ? `${format}.gz` : format,
    contentType: isPacked ? 'application/gzip' : CONTENT_TYPES[format],
    gzip: isPacked,
    maxBytes,
    appendable: format !== 'parquet',
    shape: async (first) =>
      format === 'ndjson'
        ? null
        : tableShape({ ...(await sources()), first }, { type, fields: fields ?? null, flatten }),
    encoder: (shape) => {
      if (shape === null) return new NdjsonEncoder({ fields: fields === undefined ? null : new Set(fields), flatten });
      return new CsvEncoder(shape);
    },
  };
}
