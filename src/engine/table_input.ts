import { columnsOf, createdType } from '../exports/columns.ts';
import type { Export, MongoTarget, TableTarget } from '../model/export.ts';
import { pointerPart } from '../model/pointer.ts';
import type { Problem } from '../model/spider.ts';

/** What names may be long: PostgreSQL cuts what is longer, MySQL refuses it. */
const MAX_NAME = {
  postgres: { size: (name: string) => Buffer.byteLength(name), limit: 63, unit: 'bytes' },
  mysql: { size: (name: string) => name.length, limit: 64, unit: 'characters' },
} as const;
type TableKind = keyof typeof MAX_NAME;

/** What a schema cannot say of a table that items are written into. @param at pointer of the target */
export function tableInputProblems(
  kind: TableKind,
  target: TableTarget,
  { fields }: Pick<Export, 'fields'>,
  at: string,
): Problem[] {
  const columns = Object.entries(target.columns ?? {});
  if (target.columns !== undefined && columns.length === 0)
    return [{ pointer: `${at}/columns`, code: 'required', message: 'name at least one column, or leave it out' }];
  return [
    ...tableNameProblems(kind, target.table, `${at}/table`),
    ...columns.flatMap(([name, given]): Problem[] => {
      const pointer = `${at}/columns/${pointerPart(name)}`;
      const fault = nameFault(kind, name) ?? sourceFault(given, fields);
      return fault === null ? [] : [{ pointer, code: 'bad_value', message: fault }];
    }),
    ...sameNames(kind, target, at),
    ...keyProblems(target, at),
  ];
}

function tableNameProblems(kind: TableKind, table: string, pointer: string): Problem[] {
  const parts = table.split('.');
  const fault =
    parts.length > 2
      ? 'expected `table` or `schema.table`'
      : (parts.map((part) => nameFault(kind, part)).find((one) => one !== null) ?? null);
  return fault === null ? [] : [{ pointer, code: 'bad_value', message: fault }];
}

function nameFault(kind: TableKind, name: string): string | null {
  const { size, limit, unit } = MAX_NAME[kind];
  if (name === '') return 'a name is empty';
  if (size(name) > limit) return `the name has ${size(name)} ${unit}; expected at most ${limit}`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (/[\x00-\x1f\x7f]/.test(name)) return 'the name has a control character';
  return kind === 'mysql' && name.endsWith(' ') ? 'the name ends with a space, which MySQL does not take' : null;
}

type Given = NonNullable<TableTarget['columns']>[string];

function sourceFault(given: Given, fields: readonly string[] | undefined): string | null {
  if (typeof given === 'object' && given.field !== undefined && given.meta !== undefined)
    return 'expected one of `field` and `meta`; found both';
  const field = typeof given === 'string' ? given : given.field;
  if (field === undefined || fields === undefined) return null;
  // They narrow by whole fields: of a path there, nothing would come.
  const whole = field.split('.')[0]!;
  return fields.includes(whole)
    ? null
    : `the field ${whole} is left out by \`fields\`; add it there, or leave \`fields\` away`;
}

/** MySQL does not tell `sku` from `SKU`. */
function sameNames(kind: TableKind, { columns = {} }: TableTarget, at: string): Problem[] {
  const seen = new Set<string>();
  return Object.keys(columns).flatMap((name) => {
    const lower = name.toLowerCase();
    const isTwice = kind === 'mysql' && seen.has(lower);
    seen.add(lower);
    const message = 'MySQL does not tell column names by their case; another one is called so already';
    return isTwice ? [{ pointer: `${at}/columns/${pointerPart(name)}`, code: 'duplicate_name', message }] : [];
  });
}

function keyProblems(target: TableTarget, at: string): Problem[] {
  const { key = [] } = target;
  const columns = columnsOf(target);
  return key.flatMap((name, i): Problem[] => {
    const pointer = `${at}/key/${i}`;
    const column = columns.find((one) => one.name === name);
    if (key.indexOf(name) < i) return [{ pointer, code: 'duplicate_name', message: `"${name}" is there twice` }];
    if (column === undefined) {
      const message = `there is no column "${name}"; known: ${columns.map((one) => one.name).join(', ')}`;
      return [{ pointer, code: 'unknown_name', message }];
    }
    const message = 'a column of JSON cannot be part of a key';
    return createdType(column) === 'json' ? [{ pointer, code: 'bad_value', message }] : [];
  });
}

/** What a schema cannot say of a collection. @param at pointer of the target */
export function collectionProblems(
  { collection, key = [] }: MongoTarget,
  { fields }: Pick<Export, 'fields'>,
  at: string,
): Problem[] {
  const problems = key.flatMap((field, i): Problem[] => {
    const fault = sourceFault(field, fields);
    return fault === null ? [] : [{ pointer: `${at}/key/${i}`, code: 'bad_value', message: fault }];
  });
  // https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
  const isName = !/[$\0]|^system\.|^\.|\.$|\.\./.test(collection);
  if (isName) return problems;
  const message = 'not a name of a collection: without `$`, not below `system.`, no empty part between dots';
  return [{ pointer: `${at}/collection`, code: 'bad_value', message }, ...problems];
}
