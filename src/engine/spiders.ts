import { inTransaction, retried, type Sql, type Tx } from '../db/client.ts';
import { forgetAll } from '../db/spider_pages.ts';
import {
  deleteSpider as deleteRow,
  findSpider,
  hasDefinition,
  insertVersion,
  lockSpider,
  type SpiderRow,
  similarNames,
} from '../db/spiders.ts';
import { ApiError } from '../errors.ts';
import { NAME_PATTERN } from '../model/name.ts';
import { nearest } from '../model/nearest.ts';
import { hasHidden, withSecretsOf } from '../model/secrets.ts';
import type { Problem, Spider } from '../model/spider.ts';
import { spaceOf } from '../pipeline/dedupe.ts';
import { type Planning, planCrawl, wellFormed } from './crawl_input.ts';

// Stored spiders. A version is never changed, and a crawl keeps a copy of its own, so that nothing here touches a crawl.

/** Checks what a spider's schema cannot say, off the event loop; pointers start at the spider. */
export type CheckSpider = (spider: Spider) => Promise<Problem[]>;
export type SpiderVersion = SpiderRow & { definition: Spider };

const NAME = new RegExp(NAME_PATTERN);
const REFERENCE = /^([^@]+)(?:@([1-9]\d{0,8}))?$/;

/**
 * Stores a new spider as its version 1.
 *
 * @param definition checked
 * @throws ApiError `spider_exists`
 */
export async function createSpider(sql: Sql, name: string, definition: Spider): Promise<SpiderVersion> {
  const text = textOf(name, definition);
  await retried((attempt) =>
    inTransaction(sql, async (tx) => {
      const version = await lockSpider(tx, name);
      if (version === 0) return insertVersion(tx, name, 1, text);
      // An earlier try may have been committed and only its answer was lost.
      if (attempt > 1 && version === 1 && (await hasDefinition(tx, name, 1, text))) return;
      throw new ApiError('spider_exists', `There is a spider ${name}, at version ${version}`);
    }),
  );
  return readSpider(sql, name, 1);
}

/**
 * Stores a definition as the newest version of a spider, which is made where it is new. The newest definition again, to the
 * order of its fields, adds no version.
 *
 * @param definition checked
 * @param madeFrom the version that was changed: a newer one is not overwritten; 0: the spider is new; null: any
 * @throws ApiError `version_conflict`
 */
export async function putSpider(
  sql: Sql,
  name: string,
  definition: Spider,
  madeFrom: number | null,
): Promise<{ spider: SpiderVersion; isNew: boolean }> {
  const text = textOf(name, definition);
  const { version, isNew } = await retried(() => inTransaction(sql, (tx) => addVersion(tx, name, text, madeFrom)));
  return { spider: await readSpider(sql, name, version), isNew };
}

async function addVersion(tx: Tx, name: string, definition: string, madeFrom: number | null) {
  const newest = await lockSpider(tx, name);
  if (newest > 0 && (await hasDefinition(tx, name, newest, definition))) return { version: newest, isNew: false };
  if (madeFrom !== null && madeFrom !== newest) {
    const found = newest === 0 ? `There is no spider ${name}` : `The newest version of ${name} is ${newest}`;
    throw new ApiError('version_conflict', `${found}; this was made from version ${madeFrom}`);
  }
  const version = newest + 1;
  await insertVersion(tx, name, version, definition);
  return { version, isNew: newest === 0 };
}

/**
 * A definition with its secrets that are given as `(hidden)` taken from the newest version, so that what GET shows can be
 * changed and stored again. What is not there stays as it is, to be refused.
 */
export async function keepSecrets(sql: Sql, name: string, definition: Spider): Promise<Spider> {
  if (!hasHidden(definition) || !NAME.test(name)) return definition;
  const row = await retried(() => findSpider(sql, name, null));
  return row === null ? definition : withSecretsOf(definition, row.definition);
}

/** @param version null: the newest @throws ApiError `spider_not_found` */
export async function readSpider(sql: Sql, name: string, version: number | null): Promise<SpiderVersion> {
  const row = NAME.test(name) ? await retried(() => findSpider(sql, name, version)) : null;
  if (row !== null) return row;
  const which = version === null ? '' : ` at version ${version}`;
  throw new ApiError('spider_not_found', `There is no spider ${name.slice(0, 200)}${which}`);
}

/**
 * Deletes a spider with its versions and all that its crawls remember. Crawls that were started with it stay, and go on.
 *
 * @throws ApiError `spider_not_found`
 */
export async function deleteSpider(sql: Sql, name: string): Promise<void> {
  const found = NAME.test(name) && (await retried(async (attempt) => (await deleteRow(sql, name)) || attempt > 1));
  if (!found) throw new ApiError('spider_not_found', `There is no spider ${name.slice(0, 200)}`);
  await forgetSpider(sql, name);
}

/** Forgets what the crawls of a spider have scraped. The spider need not be stored: a posted definition has a name as well. */
export async function forgetSpider(sql: Sql, name: string): Promise<void> {
  if (!NAME.test(name)) throw new ApiError('spider_not_found', `No spider can be called ${name.slice(0, 200)}`);
  await retried(() => forgetAll(sql, spaceOf({ id: '', spiderName: name })));
}

/** The spider that a crawl names, as `name` (its newest version) or `name@version`, or why there is none. */
export async function lookUpSpider(
  sql: Sql,
  reference: string,
): Promise<{ definition: Spider; version: number } | { unknown: string }> {
  const [, name = '', version] = REFERENCE.exec(reference) ?? [];
  if (!NAME.test(name)) return { unknown: `found ${JSON.stringify(reference)}; expected a name, or name@version` };
  const row = await retried(() => findSpider(sql, name, version === undefined ? null : Number(version)));
  if (row !== null) return { definition: row.definition, version: row.version };
  const newest = version === undefined ? null : await findSpider(sql, name, null);
  if (newest !== null)
    return { unknown: `the spider ${name} has no version ${version}; its newest is ${newest.version}` };
  const near = nearest(name, await similarNames(sql, name));
  const hint = near === null ? 'GET /spiders lists those that there are' : `did you mean ${near}?`;
  return { unknown: `there is no spider ${name}; ${hint}` };
}

/**
 * What is wrong with a spider's start URLs, hosts, headers and samples, as if crawls were started with it; pointers start at
 * the spider.
 */
export async function startProblems(spider: Spider, planning: Planning): Promise<Problem[]> {
  const startUrls = (spider.samples ?? []).map(({ url }) => url);
  const [start, samples] = await Promise.all([planCrawl({ spider }, planning), planCrawl({ startUrls }, planning)]);
  return [
    ...below(start.problems, '/spider', ''),
    ...below(samples.problems, '/startUrls', '/samples').map((one) => ({ ...one, pointer: `${one.pointer}/url` })),
  ];
}

/** Those below a pointer, moved below another. */
function below(problems: readonly Problem[], from: string, to: string): Problem[] {
  const those = problems.filter(({ pointer }) => pointer.startsWith(`${from}/`));
  return those.map((problem) => ({ ...problem, pointer: to + problem.pointer.slice(from.length) }));
}

/** As it is stored: whatever its place was, the name comes first. */
function textOf(name: string, definition: Spider): string {
  return JSON.stringify(wellFormed(Object.assign({ name }, definition, { name })));
}
