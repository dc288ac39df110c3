import { listSpiders, listVersions, type SpiderRow } from '../db/spiders.ts';
import {
  createSpider,
  deleteSpider,
  forgetSpider,
  keepSecrets,
  putSpider,
  readSpider,
  type SpiderVersion,
  startProblems,
} from '../engine/spiders.ts';
import { refuse } from '../errors.ts';
import { NAME_PATTERN } from '../model/name.ts';
import { shownSpider } from '../model/secrets.ts';
import { type Problem, type Spider, SpiderSchema } from '../model/spider.ts';
import { type Static, Type } from '../model/type.ts';
import { errorResponses, ref, type SpiderSummary, type StoredSpider } from './components.ts';
import type { App, RouteDeps } from './deps.ts';
import { type Beyond, refuseBody } from './mistakes.ts';

const NAME = new RegExp(NAME_PATTERN);
export const SpiderParams = Type.Object({ name: Type.String({ description: 'Name of the spider' }) });
const limit = Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Default 20' }));
const version = (description: string, minimum = 1) =>
  Type.Optional(Type.Integer({ minimum, maximum: 2_147_483_647, description }));

const ListQuery = Type.Object(
  {
    q: Type.Optional(Type.String({ description: 'What the names begin with' })),
    cursor: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit,
  },
  { additionalProperties: false },
);
const SpiderList = Type.Object({
  spiders: Type.Array(ref<SpiderSummary>('SpiderSummary')),
  next: Type.Union([Type.String(), Type.Null()], { description: 'Give it as `cursor` for the next page' }),
});
const VersionsQuery = Type.Object(
  { cursor: version('`next` of the page before'), limit },
  { additionalProperties: false },
);
const VersionList = Type.Object({
  versions: Type.Array(
    Type.Object({ version: Type.Integer({ minimum: 1 }), createdAt: Type.String({ format: 'date-time' }) }),
  ),
  next: Type.Union([Type.Integer(), Type.Null()], { description: 'Give it as `cursor` for the next page' }),
});
export const VersionQuery = Type.Object({ version: version('Absent: the newest') }, { additionalProperties: false });

/** Not by the schema, which would put a definition's fields in another order. */
const serializerCompiler = () => (body: unknown) => JSON.stringify(body);
const stored = (description: string) => ({ description, ...ref<StoredSpider>('StoredSpider') });

/** `/spiders`: stored definitions and their versions. */
export function spiderRoutes(app: App, deps: RouteDeps): void {
  createRoute(app, deps);
  putRoute(app, deps);
  readRoutes(app, deps);
  deleteRoute(app, deps);
  forgetRoute(app, deps);
}

/** @param name under which it is stored, where the body need not say it */
function beyondSchema(
  deps: RouteDeps,
  nameProblems: (spider: Partial<Spider>) => Problem[],
  name?: string,
): Beyond<Spider> {
  const named = (spider: unknown) => ({ ...(name === undefined ? {} : { name }), ...(spider as Spider) });
  return {
    ofRest: async (rest) => [...nameProblems(rest), ...(await startProblems(rest, deps))],
    ofSpider: (spider) => deps.checkSpider(named(spider)),
    spiderAt: '',
  };
}

async function refuseWrong(spider: Spider, { ofRest, ofSpider }: Beyond<Spider>): Promise<void> {
  refuse([...(await ofRest(spider)), ...(await ofSpider(spider))], '');
}

function createRoute(app: App, deps: RouteDeps): void {
  const beyond = beyondSchema(deps, ({ name, script }) => {
    const where = script === undefined ? '' : '; it stands beside `script`, one within it names no stored spider';
    return name === undefined ? [{ pointer: '/name', code: 'required', message: `\`name\` is missing${where}` }] : [];
  });
  app.post(
    '/spiders',
    {
      attachValidation: true,
      serializerCompiler,
      schema: {
        summary: 'Store a spider',
        description:
          'The definition with its `name`, checked whole. `POST /crawls` takes the name instead of a definition.',
        tags: ['spiders'],
        body: ref<Spider>('Spider'),
        response: { 201: stored('It was stored, as version 1'), ...errorResponses },
      },
    },
    async (request, reply) => {
      if (request.validationError !== undefined) await refuseBody(request, SpiderSchema, beyond);
      await refuseWrong(request.body, beyond);
      const spider = await createSpider(deps.sql, request.body.name!, request.body);
      return reply.code(201).header('location', `/spiders/${spider.name}`).send(toStored(spider));
    },
  );
}

function putRoute(app: App, deps: RouteDeps): void {
  app.put(
    '/spiders/:name',
    {
      attachValidation: true,
      serializerCompiler,
      schema: {
        summary: 'Store a version of a spider',
        description:
          'Makes the spider where it is new. The newest definition again adds no version. Crawls keep the version that ' +
          'they were started with. Secrets given as `(hidden)`, as GET shows them, are kept.',
        tags: ['spiders'],
        params: SpiderParams,
        querystring: Type.Object(
          {
            version: version(
              'The version that was changed; refused where there is a newer one. 0: the spider is new',
              0,
            ),
          },
          { additionalProperties: false },
        ),
        body: ref<Spider>('Spider'),
        response: {
          200: stored('The newest version: this one'),
          201: stored('The spider was new: version 1'),
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      request.body = await keepSecrets(deps.sql, name, request.body);
      const beyond = beyondSchema(deps, (spider) => nameProblems(name, spider.name), name);
      if (request.validationError !== undefined) await refuseBody(request, SpiderSchema, beyond);
      await refuseWrong(request.body, beyond);
      const { spider, isNew } = await putSpider(deps.sql, name, request.body, request.query.version ?? null);
      if (isNew) reply.header('location', `/spiders/${name}`);
      return reply.code(isNew ? 201 : 200).send(toStored(spider));
    },
  );
}

/** What is wrong with the name in the path, or with the body's beside it. */
function nameProblems(path: string, body: string | undefined): Problem[] {
  const found = JSON.stringify(path.slice(0, 200));
  if (!NAME.test(path))
    return [
      { pointer: '/name', code: 'bad_format', message: `found ${found} in the path; expected a name: ${NAME_PATTERN}` },
    ];
  if (body === undefined || body === path) return [];
  const message = `found ${JSON.stringify(body)}; expected ${found} as in the path, or none`;
  return [{ pointer: '/name', code: 'bad_value', message }];
}

function readRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/spiders',
    {
      schema: {
        summary: 'List the stored spiders by name',
        tags: ['spiders'],
        querystring: ListQuery,
        response: { 200: { description: 'A page of spiders', ...SpiderList }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof SpiderList>> => {
      const { q = '', cursor = null, limit: most = 20 } = request.query;
      const rows = await listSpiders(deps.sql, { after: cursor, prefix: q, limit: most + 1 });
      const page = rows.slice(0, most);
      return { spiders: page.map(toSummary), next: rows.length > most ? (page.at(-1)?.name ?? null) : null };
    },
  );
  app.get(
    '/spiders/:name',
    {
      serializerCompiler,
      schema: {
        summary: 'A stored spider with its definition',
        tags: ['spiders'],
        params: SpiderParams,
        querystring: VersionQuery,
        response: { 200: stored('The spider'), ...errorResponses },
      },
    },
    async (request) => toStored(await readSpider(deps.sql, request.params.name, request.query.version ?? null)),
  );
  versionsRoute(app, deps);
}

function versionsRoute(app: App, deps: RouteDeps): void {
  app.get(
    '/spiders/:name/versions',
    {
      schema: {
        summary: 'The versions of a spider, newest first',
        tags: ['spiders'],
        params: SpiderParams,
        querystring: VersionsQuery,
        response: { 200: { description: 'A page of versions', ...VersionList }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof VersionList>> => {
      const { cursor = null, limit: most = 20 } = request.query;
      const { name } = await readSpider(deps.sql, request.params.name, null);
      const rows = await listVersions(deps.sql, name, { before: cursor, limit: most + 1 });
      const page = rows.slice(0, most);
      return {
        versions: page.map((row) => ({ version: row.version, createdAt: row.created_at.toISOString() })),
        next: rows.length > most ? (page.at(-1)?.version ?? null) : null,
      };
    },
  );
}

function deleteRoute(app: App, deps: RouteDeps): void {
  app.delete(
    '/spiders/:name',
    {
      schema: {
        summary: 'Delete a spider with all its versions',
        description: 'Crawls that were started with it keep their own copy. What they remember is forgotten.',
        tags: ['spiders'],
        params: SpiderParams,
        response: { 204: { description: 'It is gone', type: 'null' }, ...errorResponses },
      },
    },
    async (request, reply) => {
      await deleteSpider(deps.sql, request.params.name);
      return reply.code(204).send();
    },
  );
}

function forgetRoute(app: App, deps: RouteDeps): void {
  app.delete(
    '/spiders/:name/memory',
    {
      schema: {
        summary: 'Forget what the crawls of a spider have scraped',
        description:
          'Pages, items and keys of `dedupe` steps that are kept over its crawls: the next one scrapes everything, and all is ' +
          'new to it. Also for a spider that is not stored, by the name in its definition. Crawls and their items stay.',
        tags: ['spiders'],
        params: SpiderParams,
        response: { 204: { description: 'It is forgotten', type: 'null' }, ...errorResponses },
      },
    },
    async (request, reply) => {
      await forgetSpider(deps.sql, request.params.name);
      return reply.code(204).send();
    },
  );
}

function toSummary(row: SpiderRow): SpiderSummary {
  return {
    name: row.name,
    version: row.version,
    description: row.description,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

function toStored(row: SpiderVersion): StoredSpider {
  return { ...toSummary(row), definition: shownSpider(row.definition) };
}
