import type { StoredItem } from '../model/item.ts';
import { oneLine } from './item_json.ts';
import { decodeString } from './json_scan.ts';
import { isWanted, type Member, membersOf } from './members.ts';

/** `text` also holds what is no text: numbers as they are written, lists and objects as JSON. */
export type CellType = 'text' | 'integer' | 'number' | 'boolean';

export interface TableColumn {
  /** In the header: the field, or `data.` and the field where a column of ours has that name. */
  name: string;
  /** Of the data; with `flatten` the path to it. */
  field: string;
  /** What all values of the field are by the spider's definition; else text. */
  type: CellType;
}

/** What a table of items looks like. Fixed before its first row; plain JSON, so that it can be kept. */
export interface TableShape {
  columns: TableColumn[];
  /** Whether there is a column `change`: the crawl compares its items with earlier ones. */
  change: boolean;
  flatten: boolean;
  /** Fields that were asked for; null: all, and what has no column goes to `_other`. */
  fields: string[] | null;
}

/** One item's fields: for each column the JSON text of its value, undefined where it has none. */
export interface Row {
  cells: (string | undefined)[];
  /** The members that have no column, as `"name":value`. */
  others: string[];
}

/** Puts the fields of items into the columns of a table. */
export class Table {
  readonly shape: TableShape;
  readonly #places: ReadonlyMap<string, number>;
  /** Paths that columns lie below. */
  readonly #above = new Set<string>();
  readonly #wanted: ReadonlySet<string> | null;

  constructor(shape: TableShape) {
    this.shape = shape;
    this.#places = new Map(shape.columns.map(({ field }, i) => [field, i]));
    this.#wanted = shape.fields === null ? null : new Set(shape.fields);
    for (const { field } of shape.columns)
      for (let dot = field.indexOf('.'); dot !== -1; dot = field.indexOf('.', dot + 1))
        this.#above.add(field.slice(0, dot));
  }

  row(item: StoredItem): Row {
    const row: Row = { cells: new Array<undefined>(this.shape.columns.length).fill(undefined), others: [] };
    const data = oneLine(item.data);
    const members = membersOf(data, this.shape.flatten, this.#staysWhole);
    if (members === null) row.others.push(`"data":${data}`);
    else for (const member of members) this.#put(row, data, member);
    return row;
  }

  /** Takes a value that does not fit its column to the others. */
  displace(row: Row, column: number): void {
    const value = row.cells[column];
    if (value === undefined) return;
    row.others.push(`${JSON.stringify(this.shape.columns[column]!.field)}:${value}`);
    row.cells[column] = undefined;
  }

  #put(row: Row, data: string, { name, start, end }: Member): void {
    const place = this.#places.get(name);
    const value = data.slice(start, end);
    if (place !== undefined) row.cells[place] = value;
    else if (isWanted(name, { fields: this.#wanted, flatten: this.shape.flatten }))
      row.others.push(`${JSON.stringify(name)}:${value}`);
  }

  /** A column that was made for the whole object, while none lies below it. */
  readonly #staysWhole = (path: string): boolean => this.#places.has(path) && !this.#above.has(path);
}

/** A value as text: strings as they are, all else as JSON. Null where it is null or absent. */
export function cellText(json: string | undefined): string | null {
  if (json === undefined || json === 'null') return null;
  return json.startsWith('"') ? decodeString(json, 0, json.length) : json;
}

/** What has no column, as a JSON object; null: there is nothing. */
export function othersText({ others }: Row): string | null {
  return others.length === 0 ? null : `{${others.join(',')}}`;
}
