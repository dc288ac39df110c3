import { declaredFields } from '../formats/columns.ts';
import type { Export, Webhook } from '../model/export.ts';
import { nearest } from '../model/nearest.ts';
import type { Spider } from '../model/spider.ts';

/** The nearest name is looked for in all of them, on the event loop. */
const MAX_WARNINGS = 20;

type Declaring = Pick<Spider, 'pages' | 'pipeline' | 'name'>;

/**
 * Item types and fields that exports and webhooks name, and that no page entry declares: what they would write is empty. A
 * spider that declares no items, as a script, makes what it likes.
 */
export function exportWarnings(
  definition: Declaring,
  { exports = [], webhooks = [] }: { exports?: readonly Export[]; webhooks?: readonly Webhook[] },
): string[] {
  const types = new Set(
    (definition.pages ?? []).flatMap(({ name = 'item', items = [] }) => items.map((rule) => rule.type ?? name)),
  );
  if (types.size === 0) return [];
  const warnings: string[] = [];
  const consumers = [
    ...exports.map((one, i) => ({ at: `/exports/${i}`, type: one.type, fields: fieldsOf(one) })),
    ...webhooks.map((one, i) => ({ at: `/webhooks/${i}`, type: one.type, fields: one.fields ?? [] })),
  ];
  for (const { at, type, fields } of consumers) {
    if (type !== undefined && !types.has(type)) {
      warnings.push(`${at}/type: no page entry makes items of the type "${type}"${hint(type, types)}`);
      continue;
    }
    if (fields.length === 0) continue;
    const declared = new Set([...declaredFields(definition, { type, flatten: false }).keys()].flatMap(withTop));
    for (const field of new Set(fields)) {
      if (warnings.length >= MAX_WARNINGS) return warnings;
      if (withTop(field).some((name) => declared.has(name))) continue;
      warnings.push(`${at}: the spider declares no field "${field}"${hint(field, declared)}`);
    }
  }
  return warnings;
}

/** A field, and the one at the top of the item where it is a path. */
function withTop(field: string): string[] {
  return [field, field.split('.', 1)[0]!];
}

function fieldsOf({ fields = [], postgres, mysql, mongodb }: Export): string[] {
  const columns = Object.values((postgres ?? mysql)?.columns ?? {});
  const read = columns.flatMap((given) => (typeof given === 'string' ? given : (given.field ?? [])));
  return [...fields, ...read, ...(mongodb?.key ?? [])];
}

function hint(word: string, known: ReadonlySet<string>): string {
  const near = nearest(word, known);
  return near === null ? '' : `; did you mean "${near}"?`;
}
