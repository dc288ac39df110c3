import type { BasicType, ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { StoredItem } from '../model/item.ts';
import type { Encoder } from './encoder.ts';
import { type CellType, cellText, othersText, type Row, Table, type TableShape } from './table.ts';

/** Of data that are gathered for a row group, which is written whole: about so much is held, and so much is one piece. */
const GROUP_BYTES = 4 * 1024 * 1024;
const GROUP_ROWS = 50_000;
/** What an item is besides its data, about. */
const ROW_BYTES = 150;

/** Columns by what they hold; null: any value may be missing. */
const BASIC_TYPES: Readonly<Record<CellType, BasicType>> = {
  text: 'STRING',
  integer: 'INT64',
  number: 'DOUBLE',
  boolean: 'BOOLEAN',
};

/**
 * Items as an Apache Parquet file: columns as in CSV, typed where the definition is sure, with null for what is null or
 * absent. A value that is not of its column's type goes to `_other`. Works for some tens of milliseconds at a row group's end, so
 * it belongs on a thread of its own.
 *
 * @returns a function, as the library is loaded by those alone who need it
 */
export async function parquetEncoder(shape: TableShape): Promise<Encoder> {
  const library = await import('hyparquet-writer');
  const columns = columnsOf(shape);
  const bytes = new library.ByteWriter();
  const schema = library.schemaFromColumnData({ columnData: columns.map((column) => ({ ...column, data: [] })) });
  const names = columns.map(({ name }) => name);
  return new ParquetEncoder(new Table(shape), new library.ParquetWriter({ writer: bytes, schema }), bytes, names);
}

function columnsOf({ columns, change }: TableShape): { name: string; type: BasicType; nullable: boolean }[] {
  return [
    { name: 'offset', type: 'INT64', nullable: false },
    { name: 'type', type: 'STRING', nullable: false },
    { name: 'url', type: 'STRING', nullable: false },
    { name: 'scrapedAt', type: 'TIMESTAMP', nullable: false },
    ...(change ? [{ name: 'change', type: 'STRING', nullable: true } as const] : []),
    ...columns.map(({ name, type }) => ({ name, type: BASIC_TYPES[type], nullable: true })),
    { name: '_other', type: 'STRING', nullable: true },
  ];
}

class ParquetEncoder implements Encoder {
  readonly #table: Table;
  readonly #file: ParquetWriter;
  readonly #bytes: ByteWriter;
  readonly #names: readonly string[];
  /** Values of the row group under way, by column. */
  #data: unknown[][];
  #size = 0;

  constructor(table: Table, file: ParquetWriter, bytes: ByteWriter, names: readonly string[]) {
    this.#table = table;
    this.#file = file;
    this.#bytes = bytes;
    this.#names = names;
    this.#data = names.map(() => []);
  }

  begin(): Uint8Array {
    return this.#take();
  }

  encode(items: readonly StoredItem[]): Uint8Array {
    for (const item of items) {
      const values = this.#values(item);
      for (const [i, value] of values.entries()) this.#data[i]!.push(value);
      this.#size += item.size + ROW_BYTES;
      if (this.#size >= GROUP_BYTES || this.#data[0]!.length >= GROUP_ROWS) this.#writeGroup();
    }
    return this.#take();
  }

  end(): Uint8Array {
    this.#writeGroup();
    void this.#file.finish(); // writes into memory: it is done when it returns
    return this.#take();
  }

  #values(item: StoredItem): unknown[] {
    const { columns, change } = this.#table.shape;
    const row = this.#table.row(item);
    const cells = columns.map(({ type }, i) => this.#cell(row, i, type));
    const head = [BigInt(item.offset), item.type, item.url, item.scraped_at, ...(change ? [item.change] : [])];
    return [...head, ...cells, othersText(row)];
  }

  #cell(row: Row, column: number, type: CellType): unknown {
    const json = row.cells[column];
    if (json === undefined || json === 'null') return null;
    const value = cellValue(json, type);
    if (value === undefined) this.#table.displace(row, column);
    return value ?? null;
  }

  #writeGroup(): void {
    const rowGroupSize = this.#data[0]!.length;
    if (rowGroupSize === 0) return;
    const columnData = this.#data.map((data, i) => ({ name: this.#names[i]!, data }));
    void this.#file.write({ columnData, rowGroupSize });
    this.#data = this.#names.map(() => []);
    this.#size = 0;
  }

  #take(): Uint8Array {
    const piece = this.#bytes.getBytes().slice();
    this.#bytes.index = 0;
    return piece;
  }
}

/** A value as its column holds it. Undefined: it is no such value, or the column would change it. */
function cellValue(json: string, type: CellType): unknown {
  switch (type) {
    case 'text':
      return cellText(json);
    case 'boolean':
      return json === 'true' ? true : json === 'false' ? false : undefined;
    case 'integer':
      return integerOf(json);
    case 'number':
      return numberOf(json);
  }
}

function integerOf(json: string): bigint | undefined {
  if (!/^-?\d{1,19}$/.test(json)) return undefined;
  const value = BigInt(json);
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

function numberOf(json: string): number | undefined {
  if (!/^[-\d]/.test(json)) return undefined;
  const value = Number(json);
  const isExact = !/^-?\d+$/.test(json) || Number.isSafeInteger(value);
  return Number.isFinite(value) && isExact ? value : undefined;
}
