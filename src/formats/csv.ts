import type { StoredItem } from '../model/item.ts';
import type { Encoder } from './encoder.ts';
import { cellText, othersText, type Row, Table, type TableShape } from './table.ts';

/** What would be read otherwise if it stood bare. */
const SPECIAL = /[",\r\n]/;
/** At the ends they are cut off by some readers. */
const BLANK = /\s/;

/**
 * Items as CSV (RFC 4180) with a header. What is null or absent is an empty cell, an empty text is `""`; lists and objects
 * are JSON; texts are given as they are, so that one may begin with `=`.
 */
export class CsvEncoder implements Encoder {
  readonly #table: Table;
  /** Left out where the fields were named: nothing else is asked for. */
  readonly #hasOthers: boolean;

  constructor(shape: TableShape) {
    this.#table = new Table(shape);
    this.#hasOthers = shape.fields === null;
  }

  begin(): Uint8Array {
    const { columns, change } = this.#table.shape;
    const names = [
      'offset',
      'type',
      'url',
      'scrapedAt',
      ...(change ? ['change'] : []),
      ...columns.map(({ name }) => name),
    ];
    return Buffer.from(line(this.#hasOthers ? [...names, '_other'] : names));
  }

  encode(items: readonly StoredItem[]): Uint8Array {
    return Buffer.from(items.map((item) => line(this.#cells(item, this.#table.row(item)))).join(''));
  }

  end(): Uint8Array {
    return Buffer.alloc(0);
  }

  #cells(item: StoredItem, row: Row): (string | null)[] {
    const cells = [String(item.offset), item.type, item.url, item.scraped_at.toISOString()] as (string | null)[];
    if (this.#table.shape.change) cells.push(item.change);
    for (const json of row.cells) cells.push(cellText(json));
    if (this.#hasOthers) cells.push(othersText(row));
    return cells;
  }
}

function line(cells: readonly (string | null)[]): string {
  return `${cells.map(quoted).join(',')}\r\n`;
}

function quoted(text: string | null): string {
  if (text === null) return '';
  const isBare = text !== '' && !SPECIAL.test(text) && !BLANK.test(text[0]!) && !BLANK.test(text[text.length - 1]!);
  return isBare ? text : `"${text.replaceAll('"', '""')}"`;
}
