/** Extraction without a tree against the tree, which is the reference. */
import assert from 'node:assert/strict';
import { KnownFingerprints } from '../../dist/model/known.js';
import type { ParsedPage } from '../../dist/model/outcome.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { Params, ParsePlanInput, Spider } from '../../dist/model/spider.js';
import { inputOf, type PageInput, type ParseTree } from '../../dist/parser/content.js';
import { parseHtml5 } from '../../dist/parser/html5.js';
import { type Extraction, Plan } from '../../dist/parser/plan.js';
import { TargetCache } from '../../dist/parser/targets.js';
import { Trace } from '../../dist/parser/trace.js';

export interface PageOptions {
  url?: string;
  depth?: number;
  kind?: PageInput['kind'];
  settings?: Partial<ParsePlanInput['settings']>;
  params?: Params;
}

const URL = 'http://site.test/dir/page.html';
const CRAWL = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b';
const TYPES = { html: 'text/html', xml: 'text/xml', json: 'application/json', text: 'text/plain' } as const;
const known = new KnownFingerprints(1024);

/** @param parse builds the trees; only where the way is `tree` */
export function planFor(definition: Spider, way: Extraction, options: PageOptions = {}, parse?: ParseTree): Plan {
  const settings: ParsePlanInput['settings'] = { ...DEFAULT_SETTINGS, ...options.settings };
  const input: ParsePlanInput = {
    crawlId: CRAWL,
    definition,
    params: options.params ?? {},
    scopeHosts: ['site.test'],
    // The setting by which a plan is given another builder of trees.
    settings: parse === undefined ? settings : { ...settings, parser: 'html5' },
  };
  return new Plan(input, known, new TargetCache(), parse ?? parseHtml5, null, way);
}

/** What of a spider that has one way to read a page needs a tree. */
export function needsTree(definition: Spider) {
  const trace = new Trace();
  const input = { crawlId: CRAWL, definition, params: {}, scopeHosts: [], settings: DEFAULT_SETTINGS };
  new Plan(input, known, new TargetCache(), parseHtml5, trace).run(pageFor('<p>'));
  return trace.tree;
}

/** A page as a plan takes it. */
export function pageFor(text: string, { url = URL, depth = 0, kind = 'html' }: PageOptions = {}): PageInput {
  const contentType = TYPES[kind];
  const fetchedAt = Date.UTC(2026, 0, 2);
  const extra = { pass: { a: 'passed' } };
  return { kind, text, url, depth, status: 200, fetchedAt, contentType, headers: { 'x-a': 'head' }, extra };
}

/** The same page as it comes in pieces. */
export function inPieces(page: PageInput, pieces: readonly string[]): PageInput {
  return { ...page, text: pieces.join(''), parts: () => pieces };
}

/** The same page as the bytes that came for it; null where they are nothing that is read. */
export function fromBytes(page: PageInput, bytes: Uint8Array, contentType: string): PageInput | null {
  const body = new SharedArrayBuffer(bytes.length);
  new Uint8Array(body).set(bytes);
  const { url, depth, status, fetchedAt, extra } = page;
  return inputOf({
    crawlId: CRAWL,
    url,
    depth,
    status,
    fetchedAt,
    extra,
    headers: { ...page.headers },
    body,
    bodyBytes: bytes.length,
    contentType,
  });
}

/** The same page, decoded from so many bytes at a time. @param size at least those of a character, 4 */
export function inBytes(page: PageInput, size: number): PageInput {
  return page.parts === undefined ? page : { ...page, text: page.text, parts: () => page.parts!(size) };
}

/** A text cut at these places. */
export function cutAt(text: string, places: readonly number[]): string[] {
  return [0, ...places].map((from, i) => text.slice(from, places[i]));
}

/** What the ways must agree in: all of a page but what it took. */
export function essence({ parseMs: _, cpu, ...page }: ParsedPage): unknown {
  return { ...page, entries: Object.keys(cpu ?? {}) };
}

/** Asserts that a spider makes the same of a page both ways, as a whole and cut at `cuts` into pieces. */
export function sameBothWays(
  definition: Spider,
  text: string,
  options: PageOptions = {},
  cuts: readonly number[] = [],
): ParsedPage {
  const page = pageFor(text, options);
  const tree = planFor(definition, 'tree', options).run(page);
  const plan = planFor(definition, 'auto', options);
  assert.deepEqual(essence(plan.run(page)), essence(tree));
  if (cuts.length > 0)
    assert.deepEqual(essence(plan.run(inPieces(page, cutAt(text, cuts)))), essence(tree), `cut at ${cuts}`);
  return tree;
}
