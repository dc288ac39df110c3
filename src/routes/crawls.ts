import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { type CrawlFilter, findCrawl, listCrawls, toCrawl } from '../db/crawls.ts';
import {
  cancelCrawl,
  changeCrawl,
  deleteCrawl,
  inputProblems,
  pauseCrawl,
  resumeCrawl,
  type StartOptions,
  startCrawl,
} from '../engine/lifecycle.ts';
import { ApiError } from '../errors.ts';
import {
  CHANGEABLE_SETTINGS,
  type ChangeCrawl,
  CRAWL_STATES,
  type Crawl,
  type StartCrawl,
  StartCrawlSchema,
} from '../model/crawl.ts';
import { DEFAULT_SETTINGS } from '../model/settings.ts';
import type { Problem, Spider } from '../model/spider.ts';
import { Type } from '../model/type.ts';
import { errorResponses, ref } from './components.ts';
import type { App, RouteDeps } from './deps.ts';
import { type Beyond, refuseBody } from './mistakes.ts';
import { invalid } from './schemas.ts';

export const CrawlParams = Type.Object({ id: Type.String({ description: 'Id of the crawl' }) });
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The crawl's id from the path. @throws ApiError `crawl_not_found` where it cannot be one */
export function crawlId(params: { id: string }): string {
  if (!UUID.test(params.id)) throw new ApiError('crawl_not_found', `There is no crawl ${params.id.slice(0, 100)}`);
  return params.id.toLowerCase();
}

const ListQuery = Type.Object(
  {
    state: Type.Optional(Type.Enum([...CRAWL_STATES])),
    spider: Type.Optional(Type.String({ description: 'Name of the spider' })),
    label: Type.Optional(Type.String({ description: '`key:value`' })),
    cursor: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Default 20' })),
  },
  { additionalProperties: false },
);
const CrawlList = Type.Object({
  crawls: Type.Array(ref<Crawl>('Crawl')),
  next: Type.Union([Type.String(), Type.Null()], { description: 'Give it as `cursor` for the next page' }),
});
const IdempotencyHeader = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({ minLength: 1, maxLength: 255, description: 'The same key and body start one crawl, kept for a day' }),
  ),
});

const crawlAnswer = (description: string) => ({ 200: { description, ...ref<Crawl>('Crawl') }, ...errorResponses });

/** `/crawls` and what changes one of them. */
export function crawlRoutes(app: App, deps: RouteDeps): void {
  startRoute(app, deps);
  listRoute(app, deps);
  oneCrawlRoutes(app, deps);
  actionRoutes(app, deps);
}

function startRoute(app: App, deps: RouteDeps): void {
  const beyond: Beyond<StartCrawl> = {
    ofRest: (rest) => inputProblems(deps.sql, rest, { ...deps, checkSpider: async () => [] }),
    ofSpider: (spider) => deps.checkSpider(spider as Spider),
    spiderAt: '/spider',
  };
  app.post(
    '/crawls',
    {
      attachValidation: true,
      schema: {
        summary: 'Start a crawl',
        description:
          'A start URL alone is enough: then each page yields its title, text as Markdown, links and metadata.',
        tags: ['crawls'],
        headers: IdempotencyHeader,
        body: ref<StartCrawl>('StartCrawl'),
        response: { 201: { description: 'It was started', ...ref<Crawl>('Crawl') }, ...errorResponses },
      },
    },
    async (request, reply) => {
      if (request.validationError !== undefined) await refuseBody(request, StartCrawlSchema, beyond);
      const { checkSpider, completeSpider, planStart, proxies, connections, refusesWebhook, checkExports } = deps;
      const idempotency = idempotencyOf(request);
      const planning = { planStart, proxies, connections, refusesWebhook, checkExports };
      const options = { checkSpider, completeSpider, ...planning, idempotency };
      const started = await startCrawl(deps.sql, request.body, options);
      if (started.replayed) reply.header('idempotent-replayed', 'true');
      else deps.onCrawlChanged(started.crawl.id, 'started', hasConsumers(request.body));
      return reply.code(started.status).header('location', started.location).send(started.crawl);
    },
  );
}

function hasConsumers({ exports = [], webhooks = [] }: StartCrawl): boolean {
  return exports.length + webhooks.length > 0;
}

function idempotencyOf(request: FastifyRequest): StartOptions['idempotency'] {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string') return undefined;
  const bodyHash = createHash('sha256').update(JSON.stringify(request.body)).digest('hex');
  return { principal: request.principal, key, bodyHash };
}

function listRoute(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls',
    {
      schema: {
        summary: 'List crawls, newest first',
        tags: ['crawls'],
        querystring: ListQuery,
        response: { 200: { description: 'A page of crawls', ...CrawlList }, ...errorResponses },
      },
    },
    async (request) => {
      const { state, spider, label, cursor, limit = 20 } = request.query;
      const filter: CrawlFilter = {
        state,
        spider,
        label: readLabel(label),
        before: readCursor(cursor),
        limit: limit + 1,
      };
      const rows = await listCrawls(deps.sql, filter).catch((error: { code?: string }) => {
        // A forged cursor may name a day that no calendar has: class 22, data exception.
        throw filter.before !== undefined && error.code?.startsWith('22') ? badCursor() : error;
      });
      const page = rows.slice(0, limit);
      const last = rows.length > limit ? page.at(-1) : undefined;
      return { crawls: page.map(toCrawl), next: last === undefined ? null : writeCursor(last.cursor_at, last.id) };
    },
  );
}

function readLabel(text: string | undefined): CrawlFilter['label'] {
  if (text === undefined) return undefined;
  const colon = text.indexOf(':');
  if (colon < 1) throw invalid([{ pointer: '?label', code: 'bad_format', message: 'expected key:value' }]);
  return { key: text.slice(0, colon), value: text.slice(colon + 1) };
}

function writeCursor(createdAt: string, id: string): string {
  return Buffer.from(`${createdAt}|${id}`).toString('base64url');
}

function readCursor(cursor: string | undefined): CrawlFilter['before'] {
  if (cursor === undefined) return undefined;
  const [createdAt = '', id = ''] = Buffer.from(cursor, 'base64url').toString().split('|');
  if (
    !UUID.test(id) ||
    !/^\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d[\d.:+-]*$/.test(createdAt) ||
    Number.isNaN(Date.parse(createdAt.slice(0, 19)))
  )
    throw badCursor();
  return { createdAt, id };
}

function badCursor(): ApiError {
  return invalid([{ pointer: '?cursor', code: 'bad_format', message: 'expected the `next` of the page before' }]);
}

function oneCrawlRoutes(app: App, deps: RouteDeps): void {
  const common = { tags: ['crawls'], params: CrawlParams };
  app.get(
    '/crawls/:id',
    { schema: { ...common, summary: 'One crawl', response: crawlAnswer('The crawl') } },
    async (request) => {
      const id = crawlId(request.params);
      const row = await findCrawl(deps.sql, id);
      if (row === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      return toCrawl(row);
    },
  );
  app.patch(
    '/crawls/:id',
    {
      attachValidation: true,
      schema: {
        ...common,
        summary: 'Change limits, speed and labels',
        description: 'Settings are merged into the crawl’s; labels replace its labels. Works while it runs.',
        body: ref<ChangeCrawl>('ChangeCrawl'),
        response: crawlAnswer('The crawl, changed'),
      },
    },
    async (request) => {
      if (request.validationError !== undefined) throw explainUnchangeable(request.validationError);
      const crawl = await changeCrawl(deps.sql, crawlId(request.params), request.body, deps.proxies);
      deps.onCrawlChanged(crawl.id, 'changed', false);
      return crawl;
    },
  );
  app.delete(
    '/crawls/:id',
    {
      schema: {
        ...common,
        summary: 'Delete a crawl that has ended, with its items and ledger',
        description:
          'It is gone at once, exports and webhooks that had not caught up included; its rows are deleted in the background.',
        response: { 204: { description: 'It is gone', type: 'null' }, ...errorResponses },
      },
    },
    async (request, reply) => {
      await deleteCrawl(deps.sql, crawlId(request.params));
      deps.onDeleted();
      return reply.code(204).send();
    },
  );
}

/** A setting that there is, but that cannot be changed: not called unknown. */
function explainUnchangeable(error: unknown): unknown {
  if (!(error instanceof ApiError)) return error;
  const changeable = CHANGEABLE_SETTINGS.join(', ');
  const problems = error.problems.map((one): Problem => {
    const name = /^\/settings\/([^/]+)$/.exec(one.pointer)?.[1];
    if (one.code !== 'unknown_field' || name === undefined || !Object.hasOwn(DEFAULT_SETTINGS, name)) return one;
    const message = `\`${name}\` cannot be changed while the crawl is there: start another; these can: ${changeable}`;
    return { ...one, code: 'unchangeable', message };
  });
  return new ApiError(error.code, error.message, problems);
}

const ACTIONS = [
  [
    'pause',
    'paused',
    pauseCrawl,
    'Pause a crawl',
    'Fetches under way are finished and committed first: `pausing`, then `paused`.',
  ],
  [
    'resume',
    'resumed',
    resumeCrawl,
    'Resume a crawl',
    'Also continues one that stopped at a limit, once that has been raised by PATCH.',
  ],
  ['cancel', 'cancelled', cancelCrawl, 'Cancel a crawl', 'Keeps what was committed.'],
] as const;

function actionRoutes(app: App, deps: RouteDeps): void {
  for (const [name, done, act, summary, description] of ACTIONS)
    app.post(
      `/crawls/:id/${name}`,
      { schema: { tags: ['crawls'], params: CrawlParams, summary, description, response: crawlAnswer('The crawl') } },
      async (request) => {
        const crawl = await act(deps.sql, crawlId(request.params));
        deps.onCrawlChanged(crawl.id, done, done !== 'paused');
        return crawl;
      },
    );
}
