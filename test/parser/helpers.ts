import { KnownFingerprints } from '../../dist/model/known.js';
import type { ParsedPage } from '../../dist/model/outcome.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import type { Params, ParsePlanInput, Spider } from '../../dist/model/spider.js';
import type { PageInput } from '../../dist/parser/content.js';
import { parseHtml5 } from '../../dist/parser/html5.js';
import { Plan } from '../../dist/parser/plan.js';
import { TargetCache } from '../../dist/parser/targets.js';

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
  kind?: PageInput['kind'];
  headers?: PageInput['headers'];
  extra?: PageInput['extra'];
  params?: Params;
}

/** A page as the parser takes it: HTML unless the options say otherwise. */
export function pageInput(text: string, options: RunOptions = {}): PageInput {
  const { kind = 'html', url = 'http://site.test/dir/page.html', depth = 0, headers = null, extra = null } = options;
  const contentType = { html: 'text/html', xml: 'text/xml', json: 'application/json', text: 'text/plain' }[kind];
  return { kind, text, url, depth, status: 200, fetchedAt: Date.UTC(2026, 0, 2), contentType, headers, extra };
}

/** Runs a spider on a page, on this thread. */
export function run(definition: Spider, html: string, options: RunOptions = {}): ParsedPage {
  const known = options.known ?? new KnownFingerprints(1024);
  const input = { ...planInput(definition, options.settings), params: options.params ?? {} };
  const plan = new Plan(input, known, new TargetCache(), parseHtml5);
  const url = options.url ?? 'http://site.test/dir/page.html';
  return plan.run(pageInput(html, { ...options, url }));
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
