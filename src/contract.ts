import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import fastify, { type FastifyInstance } from 'fastify';
import { VERSION } from './model/settings.ts';
import { apiRoutes } from './routes/api.ts';
import { COMPONENTS } from './routes/components.ts';
import type { App, RouteDeps } from './routes/deps.ts';
import { engineRoutes } from './routes/engine.ts';
import { foldComponents } from './routes/fold.ts';
import { serviceRoutes } from './routes/service.ts';
import { WEBHOOK_MESSAGES } from './routes/webhook_messages.ts';

/**
 * An application with the routes of the API, for the sake of its `swagger()`: the OpenAPI document. It serves no request.
 *
 * @param locked keys are asked for
 */
export async function describeApi(locked: boolean): Promise<FastifyInstance> {
  const app = fastify({ exposeHeadRoutes: false })
    .setValidatorCompiler(() => () => true)
    .setSerializerCompiler(() => JSON.stringify) as unknown as App;
  for (const [name, schema] of Object.entries(COMPONENTS)) app.addSchema({ ...schema, $id: name });
  await app.register(swagger, openapiOptions(locked));
  for (const routes of [apiRoutes, serviceRoutes, engineRoutes]) routes(app, {} as RouteDeps);
  await app.ready();
  return app as unknown as FastifyInstance;
}

/** An application that serves `/openapi.json`, and below `/docs` pages to read it; it has no route of the API. */
export async function documentPages(described: FastifyInstance): Promise<FastifyInstance> {
  const document = described.swagger();
  await described.close();
  const app = fastify({ exposeHeadRoutes: false });
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, { routePrefix: '/docs' });
  app.get('/openapi.json', async () => document);
  await app.ready();
  return app;
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
