import type { FileTarget } from '../model/export.ts';
import { CsvEncoder } from './csv.ts';
import type { Encoder } from './encoder.ts';
import { NdjsonEncoder } from './ndjson.ts';
import { parquetEncoder } from './parquet.ts';
import type { TableShape } from './table.ts';

/** The encoder of a file, begun anew. @param shape of a table; of the others, `fields` and `flatten` count */
export async function makeEncoder(format: FileTarget['format'], shape: TableShape): Promise<Encoder> {
  const narrowing = { fields: shape.fields === null ? null : new Set(shape.fields), flatten: shape.flatten };
  switch (format) {
    case 'ndjson':
      return new NdjsonEncoder(narrowing);
    case 'csv':
      return new CsvEncoder(shape);
    case 'parquet':
      return parquetEncoder(shape);
  }
}
