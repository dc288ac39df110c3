import { KnownFingerprints } from '../../../dist/model/known.js';
import type { RequestExtra } from '../../../dist/model/request.js';
import { DEFAULT_SETTINGS } from '../../../dist/model/settings.js';
import type { ParsePlanInput, Spider } from '../../../dist/model/spider.js';
import type { FetchCall, FetchedCall, ScriptCalls } from '../../../dist/parser/script/calls.js';
import { ScriptPool } from '../../../dist/parser/script/pool.js';
import { shared } from '../helpers.ts';

/** An id for a crawl of the test's own. */
export function crawlId(n: number): string {
  return `0190a1b2-c3d4-7e5f-8a9b-${String(n).padStart(12, '0')}`;
}

/** A script whose default export has these members. */
export function spider(members: string): string {
  return `export default {\n${members}\n};`;
}

/** A plan for the host site.test. */
export function scriptPlan(
  script: string,
  settings: Partial<ParsePlanInput['settings']> = {},
  more: Partial<ParsePlanInput> & { scope?: Spider['scope'] } = {},
): ParsePlanInput {
  const { scope, ...rest } = more;
  return {
    crawlId: crawlId(1),
    definition: { script, ...(scope === undefined ? {} : { scope }) },
    params: {},
    scopeHosts: ['site.test'],
    settings: { ...DEFAULT_SETTINGS, ...settings },
    ...rest,
  };
}

export interface PageOptions {
  url?: string;
  status?: number;
  depth?: number;
  contentType?: string | null;
  headers?: Record<string, string | string[] | undefined>;
  extra?: RequestExtra | null;
}

/** A page as the engine hands it over. */
export function pageJob(html: string | Uint8Array, options: PageOptions = {}, crawl = crawlId(1)) {
  return {
    crawlId: crawl,
    url: options.url ?? 'http://site.test/dir/page.html',
    status: options.status ?? 200,
    depth: options.depth ?? 0,
    contentType: options.contentType === undefined ? 'text/html' : options.contentType,
    extra: options.extra ?? null,
    fetchedAt: Date.UTC(2026, 0, 2),
    ...(options.headers === undefined ? {} : { headers: options.headers }),
    ...shared(html),
  };
}

/** Calls that no test of ours makes. */
export const NO_CALLS: ScriptCalls = {
  fetch: () => Promise.reject(new Error('not expected')),
  lookup: () => Promise.reject(new Error('not expected')),
  readState: () => Promise.resolve(null),
};

/** What `ctx.fetch` gets. */
export function fetched(text: string, more: Partial<FetchedCall> = {}): FetchedCall {
  return { status: 200, headers: { 'content-type': 'text/html' }, ...shared(text), ...more };
}

/** Calls whose fetches are answered by a function; it is given the call and the page's signal. */
export function fetchCalls(answer: (call: FetchCall, signal: AbortSignal) => Promise<FetchedCall>): ScriptCalls {
  return { ...NO_CALLS, fetch: answer };
}

/** A started pool; `known` is its own. */
export async function startPool(
  options: Partial<ConstructorParameters<typeof ScriptPool>[0]> = {},
): Promise<ScriptPool> {
  const pool = new ScriptPool({ processes: 1, known: new KnownFingerprints(1024).buffer, ...options });
  await pool.start();
  return pool;
}
