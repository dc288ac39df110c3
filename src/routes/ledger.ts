import { type CrawlRow, findCrawl } from '../db/crawls.ts';
import { leftAloneUntil } from '../db/hosts.ts';
import { type LedgerFilter, type LedgerRow, listRequests, readParents } from '../db/ledger.ts';
import { ApiError } from '../errors.ts';
import { REASONS, REQUEST_STATES, STATE, STATE_NAMES, type StateCode } from '../model/request.ts';
import { DEFAULT_SETTINGS } from '../model/settings.ts';
import { type Static, Type } from '../model/type.ts';
import { canonicalize, parseHttpUrl, urlRules } from '../model/url.ts';
import { type Chunks, sendStream } from '../stream/send.ts';
import { errorResponses, type LedgerRequest, ref, type WhySchema } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';
import { explainRequest } from './explain.ts';
import { negotiate } from './negotiate.ts';
import { invalid } from './schemas.ts';

const FORMATS = { json: 'application/json', ndjson: 'application/x-ndjson' } as const;
const PARENTS = 20;
const NDJSON_PAGE = 500;

const LedgerQuery = Type.Object(
  {
    format: Type.Optional(Type.Enum(['json', 'ndjson'], { description: 'Instead of `Accept`' })),
    state: Type.Optional(Type.Enum([...REQUEST_STATES])),
    reason: Type.Optional(Type.Enum([...REASONS])),
    host: Type.Optional(Type.String({ description: 'Host name, with its port where that is not the default' })),
    url: Type.Optional(Type.String({ description: 'One URL; made canonical first' })),
    cursor: Type.Optional(Type.Integer({ minimum: 0, description: '`next` of the page before' })),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1000, description: 'Default 100; NDJSON gives all unless it is set' }),
    ),
  },
  { additionalProperties: false },
);
type LedgerQuery = Static<typeof LedgerQuery>;
const LedgerPage = Type.Object({
  requests: Type.Array(ref<LedgerRequest>('LedgerRequest')),
  next: Type.Union([Type.Integer(), Type.Null()], { description: 'Give it as `cursor` for the next page' }),
});

/** `/crawls/:id/requests`: the ledger, and why one URL is where it is. */
export function ledgerRoutes(app: App, deps: RouteDeps): void {
  listRoute(app, deps);
  whyRoute(app, deps);
}

function listRoute(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/requests',
    {
      schema: {
        summary: 'The ledger: every URL that was ever discovered, in one state each',
        tags: ['requests'],
        params: CrawlParams,
        querystring: LedgerQuery,
        response: { 200: ledgerAnswer(), ...errorResponses },
      },
    },
    async (request, reply) => {
      const format = negotiate(FORMATS, request.query.format, request.headers.accept);
      const crawl = await crawlOr404(deps, request.params);
      const filter = readFilter(request.query, crawl);
      if (format === 'json') return ledgerPage(deps, crawl.id, filter);
      reply.hijack();
      const headers = { ...reply.getHeaders(), 'content-type': FORMATS.ndjson, 'cache-control': 'no-store' };
      const chunks = () => ledgerChunks(deps, crawl.id, filter, request.query.limit);
      const error = await sendStream(reply.raw, { headers, chunks, closing: deps.closing, farewell: null });
      if (error !== null) request.log.warn({ err: error, crawl: crawl.id }, 'a ledger stream was broken off');
      return reply;
    },
  );
}

function ledgerAnswer() {
  return {
    description: 'Requests in order of discovery',
    content: {
      'application/json': { schema: LedgerPage },
      'application/x-ndjson': { schema: { type: 'string', description: 'One LedgerRequest a line' } },
    },
  };
}

function whyRoute(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/requests/why',
    {
      schema: {
        summary: 'What happened to one URL, and why',
        tags: ['requests'],
        params: CrawlParams,
        querystring: Type.Object({ url: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
        response: {
          200: { description: 'The request and the pages that led to it', ...ref('Why') },
          ...errorResponses,
        },
      },
    },
    async (request): Promise<Static<typeof WhySchema>> => {
      const crawl = await crawlOr404(deps, request.params);
      const one = canonicalUrl(request.query.url, crawl);
      const find = async (one: LedgerFilter['one']) =>
        (await listRequests(deps.sql, crawl.id, { one, after: -1, limit: 1 }))[0];
      const row = (await find({ fp: one.fp })) ?? (await find(one));
      if (row === undefined) throw new ApiError('request_not_found', `The crawl has never discovered ${one.url}`);
      const discoveredFrom = row.parent === null ? [] : await readParents(deps.sql, crawl.id, row.parent, PARENTS);
      const alone = row.state === STATE.queued ? await leftAloneUntil(deps.sql, new URL(row.url).origin) : null;
      return { request: toRequest(row), explanation: explainRequest(row, crawl.state, alone), discoveredFrom };
    },
  );
}

/** @throws ApiError `crawl_not_found`, `ledger_deleted` */
async function crawlOr404(deps: RouteDeps, params: { id: string }): Promise<CrawlRow> {
  const id = crawlId(params);
  const crawl = await findCrawl(deps.sql, id);
  if (crawl === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
  if (crawl.ledger_deleted_at !== null)
    throw new ApiError('ledger_deleted', `It was deleted at ${crawl.ledger_deleted_at.toISOString()}`);
  return crawl;
}

function canonicalUrl(text: string, crawl: CrawlRow) {
  const parsed = parseHttpUrl(text);
  if (parsed === null)
    throw invalid([{ pointer: '?url', code: 'bad_url', message: 'expected an absolute http or https URL' }]);
  // A crawl that an older version started has no value for settings that came later.
  return canonicalize(parsed, urlRules({ ...DEFAULT_SETTINGS, ...crawl.settings }));
}

function readFilter(query: LedgerQuery, crawl: CrawlRow): LedgerFilter {
  return {
    states: query.state === undefined ? undefined : codesOf(query.state),
    reason: query.reason,
    host: query.host?.toLowerCase(),
    one: query.url === undefined ? undefined : canonicalUrl(query.url, crawl),
    after: query.cursor ?? -1,
    limit: query.limit ?? 100,
  };
}

function codesOf(state: LedgerRequest['state']): StateCode[] {
  return STATE_NAMES.flatMap((name, code) => (name === state ? [code as StateCode] : []));
}

async function ledgerPage(deps: RouteDeps, id: string, filter: LedgerFilter): Promise<Static<typeof LedgerPage>> {
  const rows = await listRequests(deps.sql, id, { ...filter, limit: filter.limit + 1 });
  const page = rows.slice(0, filter.limit);
  return { requests: page.map(toRequest), next: rows.length > filter.limit ? (page.at(-1)?.seq ?? null) : null };
}

async function* ledgerChunks(deps: RouteDeps, id: string, filter: LedgerFilter, limit = Infinity): Chunks {
  let { after } = filter;
  for (let left = limit; left > 0; ) {
    const rows = await listRequests(deps.sql, id, { ...filter, after, limit: Math.min(left, NDJSON_PAGE) });
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.seq;
    left -= rows.length;
    yield { data: rows.map((row) => `${JSON.stringify(toRequest(row))}\n`).join('') };
  }
}

function toRequest(row: LedgerRow): LedgerRequest {
  return {
    seq: row.seq,
    url: row.url,
    ...(row.method === null ? {} : { method: row.method }),
    state: STATE_NAMES[row.state]!,
    reason: row.reason,
    detail: row.detail,
    status: row.status,
    depth: row.depth,
    priority: row.priority,
    attempts: row.attempts,
    redirects: row.redirects,
    parent: row.parent_url,
    retryAt: row.state === 1 ? (row.ready_at?.toISOString() ?? null) : null,
    finishedAt: row.finished_at?.toISOString() ?? null,
    items: row.items,
    bytes: row.bytes,
    fetchMs: row.fetch_ms,
  };
}
