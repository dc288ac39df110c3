import type { FastifyReply } from 'fastify';
import { previewProblems } from '../engine/preview.ts';
import { ApiError } from '../errors.ts';
import { type Preview, type PreviewInput, PreviewSchema } from '../model/preview.ts';
import { recordOf } from '../model/record.ts';
import type { Spider } from '../model/spider.ts';
import { type Static, Type } from '../model/type.ts';
import { errorResponses, ref } from './components.ts';
import type { App, RouteDeps } from './deps.ts';
import { type Beyond, refuseBody } from './mistakes.ts';
import { SpiderParams, VersionQuery } from './spiders.ts';

/** Of a preview, so many items and links of each kind are shown; `counts` has all. */
const SHOWN = 1000;
/** Characters of the items that are shown. */
const SHOWN_ITEMS = 2 * 1024 * 1024;

const CheckSchema = Type.Object(
  {
    params: Type.Optional(recordOf(Type.Unsafe<unknown>({}), { description: 'Below each sample’s own' })),
  },
  { additionalProperties: false },
);

/** What a spider makes of a page, and whether it still makes of its samples what it should. */
export function previewRoutes(app: App, deps: RouteDeps): void {
  previewRoute(app, deps);
  checkRoute(app, deps);
}

function previewRoute(app: App, deps: RouteDeps): void {
  const beyond: Beyond<PreviewInput> = {
    ofRest: ({ url = 'http://none.example/', ...rest }) =>
      previewProblems(deps.sql, { ...rest, url }, { ...deps, checkSpider: async () => [] }),
    ofSpider: (spider) => deps.checkSpider(spider as Spider),
    spiderAt: '/spider',
  };
  app.post(
    '/spiders/preview',
    {
      attachValidation: true,
      schema: {
        summary: 'What a spider makes of one page, and why',
        description:
          'Fetches the URL as a crawl would (robots.txt, politeness, scope, limits), or takes the page that is given, and runs ' +
          'the spider on it. Nothing is stored. A page that a crawl would skip or fail is an answer as well: see `outcome`.',
        tags: ['spiders'],
        body: ref<PreviewInput>('PreviewRequest'),
        response: { 200: { description: 'What it makes of it', ...ref('Preview') }, ...errorResponses },
      },
    },
    async (request, reply) => {
      if (request.validationError !== undefined) await refuseBody(request, PreviewSchema, beyond);
      const preview = await inTurn(reply, deps, (signal) => deps.previews.preview(request.body, signal));
      return reply.type('application/json; charset=utf-8').serializer(String).send(previewJson(preview));
    },
  );
}

function checkRoute(app: App, deps: RouteDeps): void {
  app.post(
    '/spiders/:name/check',
    {
      schema: {
        summary: 'Whether a stored spider makes of its samples what they expect',
        description: 'Each of `samples` is previewed, one after another, and compared with what it expects.',
        tags: ['spiders'],
        params: SpiderParams,
        querystring: VersionQuery,
        body: Type.Union([CheckSchema, Type.Null()]),
        response: { 200: { description: 'The differences', ...ref('Check') }, ...errorResponses },
      },
    },
    async (request, reply) => {
      const { params = {} } = (request.body ?? {}) as Static<typeof CheckSchema>;
      const { name } = request.params;
      const spider = { name, version: request.query.version ?? null, params };
      const check = await inTurn(reply, deps, (signal) => deps.previews.check(spider, signal));
      return reply.serializer(JSON.stringify).send(check);
    },
  );
}

/** Fires when the client is gone or the service stops: nobody waits for the answer any more. */
function whileConnected(reply: FastifyReply, closing: AbortSignal): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  return AbortSignal.any([gone.signal, closing]);
}

/** @param work ends when the client is gone, or the service stops */
async function inTurn<T>(reply: FastifyReply, deps: RouteDeps, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const signal = whileConnected(reply, deps.closing);
  try {
    return await deps.previews.inTurn(() => work(signal));
  } catch (error) {
    throw signal.aborted ? new ApiError('not_ready', 'It was given up: the service stops') : error;
  }
}

/** Items go as the text that they are: parsing megabytes only to write them again would hold the event loop. */
function previewJson({ items, links, state, ...rest }: Preview): string {
  const shown: string[] = [];
  let length = 0;
  for (const { type, data } of items) {
    length += data.length;
    if (shown.length === SHOWN || length > SHOWN_ITEMS) break;
    shown.push(`{"type":${JSON.stringify(type)},"data":${data}}`);
  }
  const kept = links.kept.slice(0, SHOWN);
  const dropped = links.dropped.slice(0, SHOWN);
  const counts = { items: items.length, linksKept: links.kept.length, linksDropped: links.dropped.length };
  const states = Object.entries(state).map(([key, value]) => `${JSON.stringify(key)}:${value}`);
  const others = JSON.stringify({ ...rest, counts, links: { kept, dropped } });
  return `${others.slice(0, -1)},"items":[${shown.join(',')}],"state":{${states.join(',')}}}`;
}
