import { namesIn } from '../model/params.ts';
import { pointerPart } from '../model/pointer.ts';
import { partProblems, type RequestParts } from '../model/request_parts.ts';
import { checkFields, type KnownNames } from './check_fields.ts';
import {
  checkJsonQuery,
  checkPatterns,
  checkRegex,
  checkSelector,
  checkXPath,
  hint,
  isRecord,
  type Report,
  short,
} from './check_values.ts';

const LINK_SOURCES = ['selector', 'xpath', 'json', 'form'] as const;
/** What a form's own controls say. */
const NOT_WITH_FORM = ['value', 'match', 'url', 'request'];

/** @param pages names of the spider's page entries */
export function checkFollow(
  rule: Record<string, unknown>,
  at: string,
  pages: readonly string[],
  names: KnownNames,
  report: Report,
): void {
  const source = checkSource(rule, at, report);
  if (source === 'form') {
    for (const key of NOT_WITH_FORM)
      if (rule[key] !== undefined) report(`${at}/${key}`, 'conflict', `"${key}" does not go with "form"`);
  } else if (rule.values !== undefined) {
    report(`${at}/values`, 'conflict', '"values" are for the fields of a "form"');
  }
  if (typeof rule.match === 'string') checkRegex(rule.match, `${at}/match`, report);
  if (typeof rule.page === 'string' && !pages.includes(rule.page))
    report(`${at}/page`, 'unknown_name', `no page entry has the name "${short(rule.page)}"${hint(rule.page, pages)}`);
  if (rule.pass !== undefined)
    checkFields(rule.pass, { scoped: true, json: source === 'json' }, `${at}/pass`, names, report);
  checkTemplates(rule, at, names, report);
  if (isRecord(rule.request)) checkRequest(rule.request, `${at}/request`, report);
  checkPatterns(rule.allow, `${at}/allow`, report);
  checkPatterns(rule.deny, `${at}/deny`, report);
}

function checkSource(rule: Record<string, unknown>, at: string, report: Report): (typeof LINK_SOURCES)[number] | null {
  const [first = null, ...others] = LINK_SOURCES.filter((source) => rule[source] !== undefined);
  if (first === null) report(at, 'required', `nothing says which links; expected one of ${LINK_SOURCES.join(', ')}`);
  for (const other of others)
    report(`${at}/${other}`, 'conflict', `"${other}" does not go with "${first}": a follow rule has one source`);
  if (rule.selector !== undefined) checkLinkSelector(rule, at, report);
  if (rule.xpath !== undefined) checkXPath(rule.xpath, `${at}/xpath`, report);
  if (rule.json !== undefined) checkJsonQuery(rule.json, `${at}/json`, report);
  if (rule.form !== undefined) checkEndless(rule.form, `${at}/form`, report);
  if (first === 'json' && rule.value !== undefined) checkJsonQuery(rule.value, `${at}/value`, report);
  return first;
}

function checkLinkSelector({ selector, value }: Record<string, unknown>, at: string, report: Report): void {
  const ending = checkSelector(selector, false, `${at}/selector`, report);
  if (ending !== null && value !== undefined)
    report(`${at}/value`, 'conflict', 'the selector ends in ::text or ::attr() already');
}

function checkEndless(selector: unknown, at: string, report: Report): void {
  if (checkSelector(selector, false, at, report) !== null)
    report(at, 'bad_selector', 'a form is an element; leave the ::text or ::attr() away');
}

/** `{value}` and params; other names only where nothing says which params there are. */
function checkTemplates(rule: Record<string, unknown>, at: string, { params }: KnownNames, report: Report): void {
  if (typeof rule.url === 'string' && !namesIn(rule.url).includes('value'))
    report(`${at}/url`, 'bad_url', `"${short(rule.url)}" has no {value}, so that every link would be the same`);
  if (params === null) return;
  const templates: [string, unknown][] = [[`${at}/url`, rule.url]];
  for (const [name, value] of Object.entries(isRecord(rule.values) ? rule.values : {}))
    templates.push([`${at}/values/${pointerPart(name)}`, value]);
  for (const [pointer, text] of templates)
    for (const name of typeof text === 'string' ? namesIn(text) : [])
      if (name !== 'value' && !params.includes(name))
        report(pointer, 'unknown_name', `the spider's params have no "${short(name)}"${hint(name, params)}`);
}

/** Where a part has the wrong type, the schema says so. */
function checkRequest(request: Record<string, unknown>, at: string, report: Report): void {
  const { headers, form, body } = request;
  const isText = (value: unknown) => value === undefined || typeof value === 'string';
  const isTexts = (value: unknown) => value === undefined || (isRecord(value) && Object.values(value).every(isText));
  if (!isTexts(headers) || !isTexts(form) || !isText(body) || !isText(request.method)) return;
  for (const { pointer, code, message } of partProblems(request as RequestParts, at)) report(pointer, code, message);
}
