import type { ColumnType, TableTarget } from '../model/export.ts';
import type { StoredItem } from '../model/item.ts';
import { pointerPart } from '../model/pointer.ts';
import type { Problem } from '../model/spider.ts';

type Meta = 'crawl' | 'offset' | 'type' | 'url' | 'scrapedAt' | 'change' | 'data';

/** A column that items are written into. */
export interface Column {
  name: string;
  from: { field: string } | { meta: Meta };
  /** As declared; null: nothing is said, and where it is created it is a text. */
  type: ColumnType | null;
}

/** What a database's column takes; `array` of PostgreSQL alone, `other`: what its text is worth, the database knows. */
export type Family = ColumnType | 'array' | 'other';

/** A table as its database has it. */
export interface TableInfo {
  columns: {
    name: string;
    /** By the database's word. */
    type: string;
    family: Family;
    /** It has no null and no default. */
    isRequired: boolean;
    /** Its value is the database's own affair. */
    isGenerated: boolean;
  }[];
  /** The columns of each unique index. */
  uniques: string[][];
  /** A row replaces what it meets in any unique index, not in that of the key alone. */
  replacesByAny: boolean;
  /** Rows and cursor can be written together or not at all. */
  isTransactional: boolean;
}

/** Without `columns`. */
const DEFAULT_COLUMNS: readonly Column[] = [
  { name: 'crawl', from: { meta: 'crawl' }, type: null },
  { name: 'offset', from: { meta: 'offset' }, type: null },
  { name: 'type', from: { meta: 'type' }, type: null },
  { name: 'url', from: { meta: 'url' }, type: null },
  { name: 'scraped_at', from: { meta: 'scrapedAt' }, type: null },
  { name: 'data', from: { meta: 'data' }, type: null },
];
/** An item of a crawl is one row there, however often it is written. */
const DEFAULT_KEY = ['crawl', 'offset'];

const META_TYPES: Readonly<Record<Meta, ColumnType>> = {
  crawl: 'text',
  offset: 'integer',
  type: 'text',
  url: 'text',
  scrapedAt: 'timestamp',
  change: 'json',
  data: 'json',
};

export function columnsOf({ columns }: TableTarget): readonly Column[] {
  if (columns === undefined) return DEFAULT_COLUMNS;
  return Object.entries(columns).map(([name, given]) => {
    if (typeof given === 'string') return { name, from: { field: given }, type: null };
    const { field, meta, type = null } = given;
    return { name, from: meta === undefined ? { field: field ?? name } : { meta }, type };
  });
}

/** The type that a column is created with. */
export function createdType({ from, type }: Column): ColumnType {
  return type ?? ('meta' in from ? META_TYPES[from.meta] : 'text');
}

/** What identifies a row of a table that is made. */
export function createdKey({ columns, key }: TableTarget): readonly string[] {
  return key ?? (columns === undefined ? DEFAULT_KEY : []);
}

/** What identifies a row; empty: each item is a row of its own. */
export function keyOf({ columns, key }: TableTarget, { uniques }: TableInfo): readonly string[] {
  if (key !== undefined) return key;
  return columns === undefined && hasUnique(uniques, DEFAULT_KEY) ? DEFAULT_KEY : [];
}

function hasUnique(uniques: readonly string[][], key: readonly string[]): boolean {
  return uniques.some((unique) => unique.length === key.length && unique.every((name) => key.includes(name)));
}

/** Why items cannot be written into a table as it is. Pointers start at the export's `postgres` or `mysql`. */
export function tableProblems(target: TableTarget, info: TableInfo): Problem[] {
  const problems: Problem[] = [];
  const columns = columnsOf(target);
  const names = info.columns.map(({ name }) => name);
  for (const column of columns) {
    const pointer = `/columns/${pointerPart(column.name)}`;
    const found = info.columns.find(({ name }) => name === column.name);
    if (found === undefined) {
      const message = `the table has no column "${column.name}"; it has ${names.join(', ').slice(0, 500)}`;
      problems.push({ pointer, code: 'unknown_name', message });
    } else if (found.isGenerated) {
      const message = `the database itself fills the column "${column.name}"; leave it out`;
      problems.push({ pointer, code: 'conflict', message });
    } else if (!canTake(found.family, typeFor(column))) {
      const message = `the column "${column.name}" is ${found.type}, which takes no ${typeFor(column)}`;
      problems.push({ pointer, code: 'bad_value', message });
    }
  }
  for (const { name, isRequired } of info.columns)
    if (isRequired && !columns.some((column) => column.name === name)) {
      const message = `the column "${name}" of the table takes no null and has no default; name what fills it`;
      problems.push({ pointer: '/columns', code: 'required', message });
    }
  if (!info.isTransactional) {
    const message = 'the table has no transactions; alter it to InnoDB';
    problems.push({ pointer: '/table', code: 'bad_value', message });
  }
  if (target.key !== undefined) problems.push(...keyProblems(target.key, columns, info));
  return problems;
}

/** Why a table that is not there is none to write into. */
export function missingTable({ table, create = true }: TableTarget): Problem[] {
  const message = `there is no table ${table}, and \`create\` is false`;
  return create ? [] : [{ pointer: '/table', code: 'unknown_name', message }];
}

function keyProblems(
  key: readonly string[],
  columns: readonly Column[],
  { uniques, replacesByAny }: TableInfo,
): Problem[] {
  const list = key.join(', ');
  if (!hasUnique(uniques, key)) {
    const message = `the table has no unique index on (${list}); create one, or leave \`key\` away`;
    return [{ pointer: '/key', code: 'bad_value', message }];
  }
  const written = (unique: readonly string[]) => unique.every((name) => columns.some((column) => column.name === name));
  const other = uniques.find((unique) => written(unique) && !hasUnique([unique], key));
  if (!replacesByAny || other === undefined) return [];
  const message = `the table has another unique index, on (${other.join(', ')}), by which an item would replace the row of another one; drop it, or make it the key`;
  return [{ pointer: '/key', code: 'conflict', message }];
}

/** Null: anything may come. */
function typeFor({ from, type }: Column): ColumnType | null {
  return type ?? ('meta' in from ? META_TYPES[from.meta] : null);
}

function canTake(family: Family, type: ColumnType | null): boolean {
  switch (family) {
    case 'text':
    case 'json':
    case 'other':
      return true;
    case 'array':
      return type === null || type === 'json';
    case 'number':
      return type === null || type === 'number' || type === 'integer';
    case 'integer':
    case 'boolean':
    case 'timestamp':
      return type === null || type === family;
  }
}

/** A value that its column does not take. */
export class Unfit extends Error {}

/** Gives the texts of an item for its columns, null for what is missing. @throws Unfit */
export function rowReader(crawlId: string, columns: readonly Column[], info: TableInfo) {
  const families = columns.map(({ name }) => info.columns.find((one) => one.name === name)!);
  return (item: StoredItem): (string | null)[] => {
    let parsed: unknown;
    return columns.map(({ name, from }, i) => {
      const { family, type } = families[i]!;
      if ('meta' in from) return metaText(from.meta, item, crawlId, family);
      parsed ??= JSON.parse(item.data);
      const text = toText(valueAt(parsed, from.field), family);
      if (text !== undefined) return text;
      const shown = JSON.stringify(valueAt(parsed, from.field)).slice(0, 80);
      throw new Unfit(`column "${name}" is ${type} and does not take ${shown}`);
    });
  };
}

function metaText(meta: Meta, item: StoredItem, crawlId: string, family: Family): string | null {
  switch (meta) {
    case 'crawl':
      return asJsonWhere(family, crawlId);
    case 'offset':
      return String(item.offset);
    case 'type':
    case 'url':
      return asJsonWhere(family, item[meta]);
    case 'scrapedAt':
      return asJsonWhere(family, toTimestamp(item.scraped_at.toISOString())!);
    case 'change':
    case 'data':
      return item[meta];
  }
}

function asJsonWhere(family: Family, text: string): string {
  return family === 'json' ? JSON.stringify(text) : text;
}

/** A field, or else what a path of fields leads to. */
export function valueAt(data: unknown, path: string): unknown {
  if (own(data, path) !== undefined || !path.includes('.')) return own(data, path);
  return path.split('.').reduce(own, data);
}

function own(data: unknown, name: string): unknown {
  return typeof data === 'object' && data !== null && Object.hasOwn(data, name)
    ? (data as Record<string, unknown>)[name]
    : undefined;
}

const INTEGER = /^[+-]?\d{1,40}$/;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/** The text that a database reads as the same value: nothing is rounded or cut. Undefined: there is none. */
function toText(value: unknown, family: Family): string | null | undefined {
  if (value === null || value === undefined) return null;
  switch (family) {
    case 'json':
      return JSON.stringify(value);
    case 'text':
    case 'other':
      return plainText(value);
    case 'integer':
      if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value).toString() : undefined;
      return typeof value === 'string' && INTEGER.test(value.trim()) ? value.trim() : undefined;
    case 'number':
      if (typeof value === 'number') return String(value);
      return typeof value === 'string' && NUMBER.test(value.trim()) ? value.trim() : undefined;
    case 'boolean':
      return toBoolean(value);
    case 'timestamp':
      return typeof value === 'string' ? toTimestamp(value.trim()) : undefined;
    case 'array':
      return Array.isArray(value) ? toArray(value) : undefined;
  }
}

function plainText(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function toBoolean(value: unknown): string | undefined {
  const text = String(value).toLowerCase();
  if (text === 'true' || text === '1') return '1';
  return text === 'false' || text === '0' ? '0' : undefined;
}

const ISO = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?$/i;

/** A time of ISO 8601 in UTC, as every database reads it; without a zone it is UTC. */
function toTimestamp(text: string): string | undefined {
  const [, year, month, day, hour = '00', minute = '00', second = '00', fraction = '', zone = 'Z'] =
    ISO.exec(text) ?? [];
  if (year === undefined) return undefined;
  const [, sign, hours, minutes = '00'] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? [];
  const offset = hours === undefined ? 'Z' : `${sign}${hours}:${minutes}`;
  const local = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const time = Date.parse(local + offset);
  // The 30th of February would be read as a day in March.
  const isDay = Number.isFinite(time) && new Date(Date.parse(`${local}Z`)).toISOString().startsWith(local);
  if (!isDay) return undefined;
  const seconds = new Date(time).toISOString().slice(0, 19).replace('T', ' ');
  return fraction === '' ? seconds : `${seconds}.${fraction.slice(0, 6)}`;
}

/** A literal of PostgreSQL's. */
function toArray(values: readonly unknown[]): string {
  const texts = values.map((value) => {
    if (value === null) return 'null';
    return Array.isArray(value) ? toArray(value) : `"${plainText(value).replace(/["\\]/g, '\\$&')}"`;
  });
  return `{${texts.join(',')}}`;
}
