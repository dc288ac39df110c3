import { headerProblems } from '../model/headers.ts';
import { pointerPart } from '../model/pointer.ts';
import { readSql } from '../model/sql_text.ts';
import { enrichMethod, STEP_KINDS, type StepKind } from '../model/step.ts';
import type { EnrichStep } from '../model/step_schema.ts';
import { parseHttpUrl } from '../model/url.ts';
import { checkJsonQuery, checkRegex, found, isRecord, type Report, recordsOf, short } from './check_values.ts';
import { schemaMistakes } from './json_schema.ts';
import { placesOf } from './step_questions.ts';

type Part = Record<string, unknown>;

const CONDITIONS = ['missing', 'equals', 'match', 'below', 'above'];

/** What the schema cannot say about a pipeline. @param spider any JSON object */
export function checkSteps(spider: Part, report: Report): void {
  for (const { entry, at } of recordsOf(spider.pipeline, '/pipeline')) {
    const kinds = STEP_KINDS.filter((kind) => entry[kind] !== undefined);
    if (kinds.length === 0 && isKnown(entry))
      report(at, 'no_kind', `nothing says what to do; expected exactly one of ${STEP_KINDS.join(', ')}`);
    for (const kind of kinds.slice(1))
      report(`${at}/${kind}`, 'conflict', `"${kind}" does not go with "${kinds[0]}": a step does one thing`);
    for (const kind of kinds) checkStep(kind, entry[kind], `${at}/${kind}`, spider, report);
  }
}

/** Of a key that is not known the schema says what was probably meant. */
function isKnown(step: Part): boolean {
  return Object.keys(step).every((key) => key === 'type');
}

function checkStep(kind: StepKind, step: unknown, at: string, spider: Part, report: Report): void {
  switch (kind) {
    case 'validate':
      if (!isRecord(step)) return;
      for (const { pointer, message } of schemaMistakes(step)) report(at + pointer, 'bad_schema', message);
      return;
    case 'dedupe':
      if (isRecord(step) && step.scope === 'spider' && typeof spider.name !== 'string')
        report(`${at}/scope`, 'no_name', 'keys of a spider are kept under its name, and this one has none; add "name"');
      return;
    case 'enrich':
      if (isRecord(step)) checkEnrich(step, at, report);
      return;
    case 'lookup':
      if (isRecord(step)) checkLookup(step, at, report);
      return;
    case 'drop':
      if (isRecord(step)) checkDrop(step, at, report);
      return;
    case 'rename':
      if (isRecord(step)) checkRename(step, at, report);
      return;
    case 'pick':
    case 'set':
      return;
  }
}

function checkEnrich(step: Part, at: string, report: Report): void {
  const { url, send, set, headers, batch } = step;
  // A method of the wrong kind is the schema's to refuse.
  const method = enrichMethod(step as EnrichStep);
  if (method === 'GET' && send !== undefined)
    report(`${at}/send`, 'conflict', '"send" does not go with GET, which has no body; put {field} into the URL');
  if (method === 'GET' && batch !== undefined)
    report(`${at}/batch`, 'conflict', '"batch" does not go with GET: a batch is the body of a POST');
  if (typeof url === 'string') checkUrl(url, batch !== undefined, `${at}/url`, report);
  if (isRecord(headers)) {
    const texts = Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
    for (const { pointer, code, message } of headerProblems(Object.fromEntries(texts), `${at}/headers`))
      report(pointer, code, message);
  }
  if (!isRecord(set)) return;
  for (const [name, expression] of Object.entries(set))
    checkJsonQuery(expression, `${at}/set/${pointerPart(name)}`, report);
}

function checkUrl(url: string, isBatch: boolean, at: string, report: Report): void {
  const places = placesOf(url);
  const filled = url.replaceAll(/\{[^{}]+\}/g, 'x');
  const parsed = parseHttpUrl(filled);
  if (places.includes('') || /[{}]/.test(filled))
    report(at, 'bad_url', `${found(url)}; expected {field} with the name of a field, and %7B and %7D for braces`);
  else if (isBatch && places.length > 0)
    report(at, 'conflict', `"batch" does not go with {${short(places[0]!)}}: all items of a batch are sent to one URL`);
  else if (parsed === null || /^\w+:\/*[^/?#]*\{/.test(url))
    report(at, 'bad_url', `${found(url)}; expected an absolute http(s) URL whose host is fixed`);
  else if (parsed.username !== '' || parsed.password !== '')
    report(at, 'bad_url', `${found(url)}; expected no user name or password: send an Authorization header`);
}

function checkLookup({ query, params }: Part, at: string, report: Report): void {
  if (typeof query !== 'string') return;
  const wanted = paramsOf(query);
  if (typeof wanted === 'string') report(`${at}/query`, 'bad_query', `${found(query)}; ${wanted}`);
  else if (Array.isArray(params) && params.length !== wanted) {
    const given = params.length === 1 ? '1 field' : `${params.length} fields`;
    const expected = wanted === 0 ? 'none, since the query has no parameter' : `one for each of $1 to $${wanted}`;
    report(`${at}/params`, 'bad_params', `found ${given}; expected ${expected}`);
  }
}

/** How many parameters a query has, or why it is none. */
function paramsOf(query: string): number | string {
  try {
    return readSql(query).params;
  } catch (error) {
    return (error as Error).message;
  }
}

function checkDrop(step: Part, at: string, report: Report): void {
  const given = CONDITIONS.filter((condition) => step[condition] !== undefined);
  if (given.length === 0) report(at, 'no_condition', `nothing says when; expected one of ${CONDITIONS.join(', ')}`);
  for (const condition of given.slice(1))
    report(
      `${at}/${condition}`,
      'conflict',
      `"${condition}" does not go with "${given[0]}"; make it a step of its own`,
    );
  if (step.match !== undefined) checkRegex(step.match, `${at}/match`, report);
}

function checkRename(step: Part, at: string, report: Report): void {
  const taken = new Set<unknown>();
  for (const [from, to] of Object.entries(step)) {
    if (taken.has(to))
      report(`${at}/${pointerPart(from)}`, 'conflict', `two fields would be called "${short(String(to))}"`);
    taken.add(to);
  }
}
