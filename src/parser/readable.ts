import type { Field, FieldObject } from '../model/field.ts';
import type { ItemRule, PageRule, Spider } from '../model/spider.ts';
import type { PageKind } from './content.ts';
import { sourceOf } from './sources.ts';

/**
 * The kinds of pages that something in a spider could read. HTML always; without `pages` nothing else. XML, which is
 * selected from as HTML is, for every other spider. JSON only where `json` is read of it; text where a field without a
 * source reads the whole of it; both where an item says nothing but facts of the response.
 */
export function readableKinds({ pages }: Pick<Spider, 'pages'>): ReadonlySet<PageKind> {
  const kinds = new Set<PageKind>(['html']);
  if (pages === undefined) return kinds;
  kinds.add('xml');
  if (pages.some(readsJson)) kinds.add('json');
  if (pages.some(({ items = [] }) => items.some(readsText))) kinds.add('text');
  if (pages.some(({ items = [] }) => items.some(isOnlyMeta))) kinds.add('json').add('text');
  return kinds;
}

function readsJson({ items = [], follow = [] }: PageRule): boolean {
  return (
    follow.some(({ json, pass }) => json !== undefined || fieldsOf(pass).some(isJson)) ||
    items.some(
      ({ each, fields }) => (typeof each === 'object' ? 'json' in each : false) || fieldsOf(fields).some(isJson),
    )
  );
}

function isJson(field: FieldObject): boolean {
  return sourceOf(field) === 'json';
}

function readsText({ each, fields }: ItemRule): boolean {
  return each === undefined && fieldsOf(fields).some((field) => sourceOf(field) === null);
}

function isOnlyMeta({ each, fields }: ItemRule): boolean {
  return each === undefined && fieldsOf(fields).every((field) => field.meta !== undefined);
}

/** The fields at the top, lists opened. */
function fieldsOf(fields: Record<string, Field> | undefined): FieldObject[] {
  return Object.values(fields ?? {}).map(function open(field: Field): FieldObject {
    if (typeof field === 'string') return { selector: field };
    return 'length' in field ? open(field[0]) : field;
  });
}
