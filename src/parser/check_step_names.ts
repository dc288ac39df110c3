import { pointerPart } from '../model/pointer.ts';
import { hint, isRecord, type Report, recordsOf, short } from './check_values.ts';
import { placesOf } from './step_questions.ts';

type Part = Record<string, unknown>;

/**
 * Item types and fields that a pipeline names and nothing makes: a step for a type that no item has does nothing, and one that
 * drops what lacks a misspelt field drops everything. Of scripts and the default item it is not known what they give.
 *
 * @param spider any JSON object
 */
export function checkStepNames(spider: Part, report: Report): void {
  if (spider.script !== undefined) return;
  const rules = recordsOf(spider.pages, '').flatMap(({ entry: page }) =>
    recordsOf(page.items, '').map(({ entry }) => ({ type: entry.type ?? page.name ?? 'item', fields: entry.fields })),
  );
  if (rules.length === 0) return;
  const types = [...new Set(rules.map(({ type }) => String(type)))];
  const fields = new Set(rules.flatMap(({ fields }) => (isRecord(fields) ? Object.keys(fields) : [])));
  for (const { entry: step, at } of recordsOf(spider.pipeline, '/pipeline')) {
    if (typeof step.type === 'string' && !types.includes(step.type))
      report(`${at}/type`, 'unknown_name', `no item has the type "${short(step.type)}"${hint(step.type, types)}`);
    for (const { name, pointer } of namesRead(step, at))
      if (!fields.has(name))
        report(
          pointer,
          'unknown_name',
          `"${short(name)}" is no field of the items at this step${hint(name, [...fields].slice(0, 1000))}`,
        );
    for (const name of namesMade(step)) fields.add(name);
  }
}

/** The fields that a step reads. Those it drops of an item are not told apart: an earlier step is for some types alone. */
function namesRead({ dedupe, drop, rename, pick, enrich, lookup }: Part, at: string) {
  return [
    ...(isRecord(dedupe) ? listed(dedupe.key, `${at}/dedupe/key`) : []),
    ...(isRecord(drop) && typeof drop.field === 'string' ? [{ name: drop.field, pointer: `${at}/drop/field` }] : []),
    ...(isRecord(rename) ? keyed(rename, `${at}/rename`) : []),
    ...listed(pick, `${at}/pick`),
    ...(isRecord(enrich) ? namesAsked(enrich, `${at}/enrich`) : []),
    ...(isRecord(lookup) ? listed(lookup.params, `${at}/lookup/params`) : []),
  ];
}

function namesAsked({ url, send }: Part, at: string) {
  const places = typeof url === 'string' ? placesOf(url).filter((name) => name !== '') : [];
  const sent = isRecord(send) ? Object.entries(send) : [];
  return [
    ...places.map((name) => ({ name, pointer: `${at}/url` })),
    ...sent.flatMap(([key, name]) =>
      typeof name === 'string' ? [{ name, pointer: `${at}/send/${pointerPart(key)}` }] : [],
    ),
  ];
}

function listed(names: unknown, at: string) {
  if (!Array.isArray(names)) return [];
  return names.flatMap((name: unknown, i) => (typeof name === 'string' ? [{ name, pointer: `${at}/${i}` }] : []));
}

function keyed(record: Part, at: string) {
  return Object.keys(record).map((name) => ({ name, pointer: `${at}/${pointerPart(name)}` }));
}

function namesMade({ rename, set, enrich, lookup }: Part): string[] {
  const news = isRecord(rename) ? Object.values(rename).filter((name) => typeof name === 'string') : [];
  const asked = [enrich, lookup].filter(isRecord).map((step) => step.set);
  return [...news, ...[set, ...asked].filter(isRecord).flatMap((made) => Object.keys(made))];
}
