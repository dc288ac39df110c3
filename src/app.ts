import { randomUUID } from 'node:crypto';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { Config } from './config.ts';
import { ApiError } from './errors.ts';
import { VERSION } from './model/settings.ts';
import { authenticator } from './routes/auth.ts';
import { cacheRoutes } from './routes/cache.ts';
import { COMPONENTS } from './routes/components.ts';
import { crawlRoutes } from './routes/crawls.ts';
import { deliveryRoutes } from './routes/deliveries.ts';
import type { App, RouteDeps, SchemaTypes } from './routes/deps.ts';
import { engineRoutes } from './routes/engine.ts';
import { eventRoutes } from './routes/events.ts';
import { exportRoutes } from './routes/exports.ts';
import { foldComponents } from './routes/fold.ts';
import { itemRoutes } from './routes/items.ts';
import { ledgerRoutes } from './routes/ledger.ts';
import { logRoutes } from './routes/logs.ts';
import { previewRoutes } from './routes/preview.ts';
import { type KnownRoute, notFound, pathExpression, sendProblem } from './routes/problems.ts';
import { scheduleRoutes } from './routes/schedules.ts';
import { compileSchema, invalid } from './routes/schemas.ts';
import { contractRoutes, serviceRoutes } from './routes/service.ts';
import { spiderRoutes } from './routes/spiders.ts';
import { statsRoutes } from './routes/stats.ts';
import { Turns } from './routes/turns.ts';
import { isTooDeep, tooDeep } from './routes/validate.ts';
import { WEBHOOK_MESSAGES } from './routes/webhook_messages.ts';
import { ItemReader } from './stream/reader.ts';

/** What the API needs of the process around it. */
export interface AppDeps extends Omit<RouteDeps, 'reader'> {
  config: Pick<Config, 'apiKeys'> & Partial<Pick<Config, 'role'>>;
  log: FastifyBaseLogger;
}

/** Characters of a body that is read as it comes. */
const SMALL_BODY = 16 * 1024;
const BODY_LIMIT = 1024 * 1024;
/** For answers under way when the API closes; streams have been told by `closing`. */
const CLOSE_GRACE_MS = 2000;

/**
 * The HTTP API, ready to listen or to be injected into; of a worker only health, readiness and metrics. It opens nothing
 * of its own; closing it closes no dependency.
 */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const app: App = fastify({
    loggerInstance: quieter(deps.log),
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: BODY_LIMIT,
    requestTimeout: 30_000, // for the request to arrive; an answer may stream for days
    keepAliveTimeout: 72_000,
    connectionTimeout: 0, // streams may be silent; they watch their readers themselves
    forceCloseConnections: 'idle',
    trustProxy: false,
    exposeHeadRoutes: false,
    frameworkErrors: sendProblem,
    routerOptions: { maxParamLength: 500 },
  }).withTypeProvider<SchemaTypes>();
  app.setValidatorCompiler(compileSchema);
  // Not a function compiled for each schema: compiling them took 0.57 s of the 1.8 s of CPU that the start of a node took.
  app.setSerializerCompiler(() => JSON.stringify);
  app.setErrorHandler(sendProblem);
  answerUnknownRoutes(app);
  acceptJsonAlone(app);
  closeInTime(app);
  app.decorateRequest('principal', 'anonymous');
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  app.addHook('onRequest', authenticator(deps.config.apiKeys));
  for (const [name, schema] of Object.entries(COMPONENTS)) app.addSchema({ ...schema, $id: name });
  const routeDeps = { ...deps, reader: new ItemReader(deps.sql, deps.wakeups) };
  if (deps.config.role !== 'worker') {
    await app.register(swagger, openapiOptions(deps.config.apiKeys.length > 0));
    await app.register(swaggerUi, { routePrefix: '/docs' });
    for (const routes of [
      crawlRoutes,
      itemRoutes,
      ledgerRoutes,
      statsRoutes,
      eventRoutes,
      logRoutes,
      spiderRoutes,
      previewRoutes,
      scheduleRoutes,
      cacheRoutes,
      exportRoutes,
      deliveryRoutes,
      contractRoutes,
    ])
      routes(app, routeDeps);
  }
  serviceRoutes(app, routeDeps);
  engineRoutes(app, routeDeps);
  return app as unknown as FastifyInstance;
}

/** Without what Fastify says at `info`, as «Server listening»: server.ts says that better. `debug` shows it. */
function quieter(log: FastifyBaseLogger): FastifyBaseLogger {
  return log.level === 'info' ? log.child({}, { level: 'warn' }) : log;
}

function answerUnknownRoutes(app: App): void {
  const routes: KnownRoute[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    routes.push({ methods: [method].flat(), path: pathExpression(url) });
  });
  app.setNotFoundHandler((request, reply) => notFound(routes, request, reply));
}

/** `close()` waits for the answers under way, but for no client that holds a connection without asking anything. */
function closeInTime(app: App): void {
  app.addHook('preClose', async () => {
    setTimeout(() => app.server.closeAllConnections(), CLOSE_GRACE_MS).unref();
  });
}

/** No body but JSON. `POST …/pause` needs none, and many clients send `Content-Type: application/json` with an empty one. */
function acceptJsonAlone(app: App): void {
  app.removeContentTypeParser('text/plain');
  const parse = app.getDefaultJsonParser('error', 'error');
  const turns = new Turns();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const text = body as string;
    const read = () => {
      if (text === '') done(null, undefined);
      else if (isTooDeep(text)) done(invalid([tooDeep()]));
      else
        parse(request, text, (error, value) => {
          if (error === null) done(null, value);
          else done(new ApiError('invalid_json', whyNotJson(text)));
        });
    };
    if (text.length > SMALL_BODY) turns.run(read);
    else read();
  });
}

/** Names that could change what every object is are refused as well, though they are JSON. */
function whyNotJson(body: string): string {
  try {
    JSON.parse(body);
    return 'A name in it is `__proto__`, or `constructor` with a `prototype`; no body may hold these';
  } catch (error) {
    return (error as Error).message;
  }
}

function openapiOptions(locked: boolean) {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Orbweaver',
        version: VERSION,
        description:
          'Post a spider and start URLs; read the items back while the crawl runs. Errors are RFC 9457 documents.',
      },
      webhooks: WEBHOOK_MESSAGES,
      components: { securitySchemes: { apiKey: { type: 'http' as const, scheme: 'bearer' } } },
      ...(locked ? { security: [{ apiKey: [] }] } : {}),
    },
    convertConstToEnum: false,
    transformObject: (document: { openapiObject?: object; swaggerObject?: object }) =>
      foldComponents(document.openapiObject ?? {}),
    refResolver: { buildLocalReference: (json: { $id?: unknown }) => String(json.$id) },
  };
}
