import { KnownFingerprints } from '../../dist/model/known.js';
import type { ParsedPage } from '../../dist/model/outcome.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { ParsePlanInput, Spider } from '../../dist/model/spider.js';
import { parseHtml5 } from '../../dist/parser/html5.js';
import { TargetCache } from '../../dist/parser/links.js';
import { Plan } from '../../dist/parser/plan.js';

export const CRAWL = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b';

/** A plan for the host site.test. */
export function planInput(
  definition: Spider,
  settings: Partial<ParsePlanInput['settings']> = {},
  crawlId = CRAWL,
): ParsePlanInput {
  return { crawlId, definition, params: {}, scopeHosts: ['site.test'], settings: { ...DEFAULT_SETTINGS, ...settings } };
}

export interface RunOptions {
  url?: string;
  depth?: number;
  settings?: Partial<ParsePlanInput['settings']>;
  known?: KnownFingerprints;
}

/** Runs a spider on a page, on this thread. */
export function run(definition: Spider, html: string, options: RunOptions = {}): ParsedPage {
  const known = options.known ?? new KnownFingerprints(1024);
  const plan = new Plan(planInput(definition, options.settings), known, new TargetCache(), parseHtml5);
  const url = options.url ?? 'http://site.test/dir/page.html';
  return plan.run({ html, url, depth: options.depth ?? 0, status: 200, fetchedAt: Date.UTC(2026, 0, 2) });
}

/** The data of the items of one rule, parsed. */
export function extract(fields: object, html: string, rule: object = {}, options: RunOptions = {}): unknown[] {
  const page = run({ pages: [{ items: [{ fields: fields as Record<string, string>, ...rule }] }] }, html, options);
  return page.items.map(({ data }) => JSON.parse(data));
}

export function shared(text: string | Uint8Array): { body: SharedArrayBuffer; bodyBytes: number } {
  const bytes = Buffer.from(text as string);
  const body = new SharedArrayBuffer(bytes.length);
  new Uint8Array(body).set(bytes);
  return { body, bodyBytes: bytes.length };
}
