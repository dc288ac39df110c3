import { randomUUID } from 'node:crypto';
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyServerOptions,
  LogController,
} from 'fastify';
import type { Config } from './config.ts';
import { ApiError } from './errors.ts';
import { apiRoutes } from './routes/api.ts';
import { authenticator } from './routes/auth.ts';
import { COMPONENTS } from './routes/components.ts';
import { contractRoutes } from './routes/contract.ts';
import type { App, RouteDeps, SchemaTypes } from './routes/deps.ts';
import { engineRoutes } from './routes/engine.ts';
import { type KnownRoute, notFound, pathExpression, sendProblem } from './routes/problems.ts';
import { compileSchema, invalid } from './routes/schemas.ts';
import { serviceRoutes } from './routes/service.ts';
import { Turns } from './routes/turns.ts';
import { isTooDeep, tooDeep } from './routes/validate.ts';
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
 * With none given Fastify would load Ajv. Answers are not written by functions compiled from their schemas: compiling these
 * took 0.57 s of the 1.8 s of CPU that the start of a node took.
 */
const COMPILERS = {
  buildValidator: () => compileSchema,
  buildSerializer: () => () => JSON.stringify,
} as unknown as NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>;

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
    schemaController: { compilersFactory: COMPILERS },
  }).withTypeProvider<SchemaTypes>();
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
    apiRoutes(app, routeDeps);
    contractRoutes(app, async () => {
      const { describeApi, documentPages } = await import('./contract.ts');
      return documentPages(await describeApi(deps.config.apiKeys.length > 0));
    });
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
