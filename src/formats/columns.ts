import type { Field, FieldObject, Transform } from '../model/field.ts';
import type { StoredItem } from '../model/item.ts';
import type { Spider } from '../model/spider.ts';
import type { Step } from '../model/step_schema.ts';
import { isWanted, membersOf } from './members.ts';
import type { CellType, TableColumn, TableShape } from './table.ts';

/** What a table's columns are found in. */
export interface ColumnSources {
  /** The spider of the crawl. */
  definition: Pick<Spider, 'name' | 'pages' | 'pipeline'>;
  /** Whether the crawl compares its items with earlier ones: `dedup.scope` is `spider`. */
  compares: boolean;
  /** Item types that were counted in the crawl. */
  types: readonly string[];
  /** Fields that were counted, each as `type.field`. */
  filled: readonly string[];
  /** The first items that go into the table; there may be none. */
  first: readonly StoredItem[];
}

export interface TableWish {
  /** Only items of this type are written. */
  type?: string | undefined;
  /** Only these fields, in this order; null: all. */
  fields: readonly string[] | null;
  flatten: boolean;
}

/** Columns of ours; a field of the same name is called `data.` and its name. */
const OURS = ['offset', 'type', 'url', 'scrapedAt', 'change', '_other'];
/** More are not made: what they would hold is in `_other`. */
const MAX_COLUMNS = 1000;

/**
 * The columns of a table of items: the fields that were asked for; else those that the definition declares, in its order,
 * then those of the first items, then those that were counted so far.
 */
export function tableShape(sources: ColumnSources, wish: TableWish): TableShape {
  const declared = declaredFields(sources.definition, wish);
  const columns =
    wish.fields === null
      ? foundFields(sources, wish, declared)
      : new Map([...new Set(wish.fields)].map((field) => [field, declared.get(field) ?? 'text'] as const));
  return {
    columns: named(columns),
    change: sources.compares,
    flatten: wish.flatten,
    fields: wish.fields === null ? null : [...wish.fields],
  };
}

function foundFields(
  { types, filled, first }: ColumnSources,
  { type, flatten }: TableWish,
  declared: ReadonlyMap<string, CellType>,
): Map<string, CellType> {
  const found = new Map(declared);
  const add = (field: string) => {
    if (found.size < MAX_COLUMNS && !found.has(field)) found.set(field, 'text');
  };
  for (const item of first)
    for (const { name } of membersOf(item.data, flatten, (path) => declared.has(path)) ?? [])
      if (found.size < MAX_COLUMNS) add(name);
  const known = new Set([...found.keys()].map((name) => (flatten ? name.split('.', 1)[0]! : name)));
  const byLength = [...types].sort((a, b) => b.length - a.length);
  for (const key of filled) {
    const of = byLength.find((name) => key.startsWith(`${name}.`));
    const field = of === undefined ? null : key.slice(of.length + 1);
    if (field !== null && (type === undefined || of === type) && !known.has(field)) add(field);
  }
  return found;
}

/** What the definition says of the items' fields behind the pipeline; a script or the default item says nothing. */
export function declaredFields(
  definition: ColumnSources['definition'],
  { type, flatten }: Pick<TableWish, 'type' | 'flatten'>,
): Map<string, CellType> {
  const fields = new Map<string, CellType>();
  for (const { name = 'item', items = [] } of definition.pages ?? [])
    for (const rule of items)
      if (type === undefined || (rule.type ?? name) === type)
        for (const [path, of] of rulePaths(rule.fields, '', flatten)) declare(fields, path, of);
  for (const step of fields.size === 0 ? [] : (definition.pipeline ?? []))
    if (type === undefined || step.type === undefined || step.type === type) passStep(fields, step);
  return new Map([...fields].slice(0, MAX_COLUMNS));
}

/** What two say of the same field is sure only where they agree. */
function declare(fields: Map<string, CellType>, path: string, type: CellType): void {
  const known = fields.get(path);
  fields.set(path, known === undefined || known === type ? type : 'text');
}

function* rulePaths(
  fields: Readonly<Record<string, Field>>,
  prefix: string,
  flatten: boolean,
): Generator<[string, CellType]> {
  for (const [name, field] of Object.entries(fields)) {
    const path = prefix + name;
    const inside = typeof field === 'object' && !isList(field) ? field.value : undefined;
    if (flatten && typeof inside === 'object') yield* rulePaths(inside, `${path}.`, flatten);
    else yield [path, isList(field) || typeof field === 'string' ? 'text' : typeOf(field)];
  }
}

function isList(field: Field): field is readonly [Field] {
  return Array.isArray(field);
}

const TYPES: Partial<Record<Transform, CellType>> = { number: 'number', integer: 'integer', boolean: 'boolean' };

/** A date stays text: it may be a day, a time without a zone, or an instant. */
function typeOf({ as, default: given }: FieldObject): CellType {
  const type = as === undefined ? undefined : TYPES[as];
  if (type === undefined) return 'text';
  const fits =
    given === undefined || given === null || (type === 'integer' ? Number.isSafeInteger(given) : typeof given === type);
  return fits ? type : 'text';
}

/** What a step makes of the fields. One for a type alone takes nothing away: others may have it. */
function passStep(fields: Map<string, CellType>, { type, rename, pick, set, enrich, lookup }: Step): void {
  for (const [from, to] of Object.entries(rename ?? {})) {
    const moved = [...fields].filter(([path]) => path === from || path.startsWith(`${from}.`));
    for (const [path, of] of moved) {
      if (type === undefined) fields.delete(path);
      declare(fields, to + path.slice(from.length), of);
    }
    if (moved.length === 0) declare(fields, to, 'text');
  }
  if (pick !== undefined && type === undefined) {
    const picked = new Set(pick);
    for (const path of [...fields.keys()]) if (!isWanted(path, { fields: picked, flatten: true })) fields.delete(path);
  }
  for (const made of [set, enrich?.set, lookup?.set])
    for (const name of Object.keys(made ?? {})) fields.set(name, 'text');
}

function named(fields: ReadonlyMap<string, CellType>): TableColumn[] {
  const taken = new Set(OURS);
  return [...fields].map(([field, type]) => {
    let name = field;
    while (name === '' || taken.has(name)) name = `data.${name}`;
    taken.add(name);
    return { name, field, type };
  });
}
