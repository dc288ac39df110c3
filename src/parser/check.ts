import { MAX_PROBLEMS } from '../model/problems.ts';
import type { Problem, Spider } from '../model/spider.ts';
import { checkFields, type KnownNames } from './check_fields.ts';
import { checkFollow } from './check_follow.ts';
import { checkStepNames } from './check_step_names.ts';
import { checkSteps } from './check_steps.ts';
import {
  checkJsonQuery,
  checkPatterns,
  checkSelector,
  checkXPath,
  hint,
  isRecord,
  type Report,
  recordsOf,
  short,
} from './check_values.ts';
import { schemaMistakes } from './json_schema.ts';

/**
 * What the schema cannot say about a spider: selectors and regexes that do not compile, fields of the wrong shape, names
 * that do not exist, parts that exclude each other. Every mistake at once, up to `MAX_PROBLEMS`; pointers begin at the spider itself.
 *
 * @param spider any JSON: where a part has the wrong type, the schema says so, and the others are checked all the same
 */
export function checkSpider(spider: Spider | unknown): Problem[] {
  const problems: Problem[] = [];
  if (!isRecord(spider)) return problems;
  try {
    checkParts(spider, (pointer, code, message) => {
      problems.push({ pointer, code, message });
      if (problems.length >= MAX_PROBLEMS) throw new Enough();
    });
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
  }
  return problems;
}

/** So many mistakes were found that no more are looked for. */
class Enough extends Error {}

function checkParts(spider: Record<string, unknown>, report: Report): void {
  if (isRecord(spider.params))
    for (const { pointer, message } of schemaMistakes(spider.params))
      report(`/params${pointer}`, 'bad_schema', message);
  if (remembers(spider.settings) && typeof spider.name !== 'string')
    report(
      '/settings/dedup/scope',
      'no_name',
      'what a spider scraped is kept under its name, and this one has none; add "name"',
    );
  if (isRecord(spider.scope)) {
    checkPatterns(spider.scope.allow, '/scope/allow', report);
    checkPatterns(spider.scope.deny, '/scope/deny', report);
  }
  if (spider.script !== undefined && spider.pages !== undefined)
    report('/pages', 'conflict', '"pages" do not go with "script": a spider is one or the other');
  checkPages(spider, report);
  checkSteps(spider, report);
  checkStepNames(spider, report);
}

function remembers(settings: unknown): boolean {
  return isRecord(settings) && isRecord(settings.dedup) && settings.dedup.scope === 'spider';
}

function checkPages(spider: Record<string, unknown>, report: Report): void {
  const pages = recordsOf(spider.pages, '/pages');
  const names: string[] = [];
  for (const { entry, at } of pages) {
    if (typeof entry.name !== 'string') continue;
    if (names.includes(entry.name))
      report(`${at}/name`, 'duplicate_name', `a second page entry has the name "${short(entry.name)}"`);
    names.push(entry.name);
  }
  const known: KnownNames = { params: paramNames(spider.params), passed: passedNames(spider) };
  for (const { entry, at } of pages) checkPage(entry, at, names, known, report);
  // The start URLs of a script name its callbacks, which are not known before it runs.
  if (spider.script !== undefined) return;
  for (const { entry, at } of recordsOf(spider.startUrls, '/startUrls'))
    if (typeof entry.page === 'string' && !names.includes(entry.page))
      report(
        `${at}/page`,
        'unknown_name',
        `no page entry has the name "${short(entry.page)}"${hint(entry.page, names)}`,
      );
}

/** The params that the spider's schema describes; null: it describes none, or lets others be given. */
function paramNames(schema: unknown): string[] | null {
  return isRecord(schema) && isRecord(schema.properties) ? Object.keys(schema.properties) : null;
}

/** What is passed on to pages by any rule; null where only a crawl's own start URLs can pass something. */
function passedNames(spider: Record<string, unknown>): string[] | null {
  const rules = recordsOf(spider.pages, '').flatMap(({ entry }) => recordsOf(entry.follow, ''));
  const passing = [...rules, ...recordsOf(spider.startUrls, '')].map(({ entry }) => entry.pass).filter(isRecord);
  return passing.length === 0 ? null : [...new Set(passing.flatMap((pass) => Object.keys(pass)))];
}

function checkPage(
  page: Record<string, unknown>,
  at: string,
  pages: readonly string[],
  names: KnownNames,
  report: Report,
): void {
  checkPatterns(page.match, `${at}/match`, report);
  if (isRecord(page.render) && page.render.waitFor !== undefined)
    checkWaitFor(page.render.waitFor, `${at}/render/waitFor`, report);
  const types = new Set<unknown>();
  for (const { entry, at: pointer } of recordsOf(page.items, `${at}/items`)) {
    const type = entry.type ?? page.name ?? 'item';
    if (types.has(type)) {
      const message = `a second item of this page has the type "${short(String(type))}"; give each its own type`;
      report(`${pointer}/type`, 'duplicate_type', message);
    }
    types.add(type);
    checkItem(entry, pointer, names, report);
  }
  for (const { entry, at: pointer } of recordsOf(page.follow, `${at}/follow`))
    checkFollow(entry, pointer, pages, names, report);
}

function checkWaitFor(selector: unknown, at: string, report: Report): void {
  if (checkSelector(selector, false, at, report) !== null)
    report(at, 'bad_selector', 'an element is waited for; leave the ::text or ::attr() away');
}

function checkItem(item: Record<string, unknown>, at: string, names: KnownNames, report: Report): void {
  const { each, fields } = item;
  if (each !== undefined) checkEach(each, `${at}/each`, report);
  const json = isRecord(each) && each.json !== undefined;
  if (fields !== undefined) checkFields(fields, { scoped: each !== undefined, json }, `${at}/fields`, names, report);
  if (!isRecord(fields)) return;
  const known = Object.keys(fields);
  for (const list of ['required', 'key'] as const) {
    const wanted: unknown = item[list];
    if (!Array.isArray(wanted)) continue;
    wanted.forEach((name: unknown, i) => {
      if (typeof name === 'string' && !known.includes(name))
        report(
          `${at}/${list}/${i}`,
          'unknown_name',
          `"${short(name)}" is none of the item's fields${hint(name, known)}`,
        );
    });
  }
}

function checkEach(each: unknown, at: string, report: Report): void {
  if (!isRecord(each)) {
    if (checkSelector(each, false, at, report) !== null)
      report(at, 'bad_selector', 'items are made of elements; leave the ::text or ::attr() away');
  } else if (each.xpath !== undefined && each.json !== undefined)
    report(`${at}/json`, 'conflict', '"json" does not go with "xpath": items are made from one source');
  else if (each.json !== undefined) checkJsonQuery(each.json, `${at}/json`, report);
  else if (each.xpath !== undefined) checkXPath(each.xpath, `${at}/xpath`, report);
}
