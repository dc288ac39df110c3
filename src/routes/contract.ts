import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { App } from './deps.ts';

/**
 * The contract itself.
 *
 * @param makePages makes an application that serves it; called at the first question, and again after a failure: most nodes
 *   are never asked, and loading and describing take a tenth of the CPU of a node's start
 */
export function contractRoutes(app: App, makePages: () => Promise<FastifyInstance>): void {
  let pages: Promise<FastifyInstance> | null = null;
  const answer = async (request: FastifyRequest, reply: FastifyReply) => {
    pages ??= makePages().catch((error: unknown) => {
      pages = null;
      throw error;
    });
    const { statusCode, headers, rawPayload } = await (await pages).inject({
      url: request.url,
      headers: request.headers,
    });
    if (statusCode === 404) return reply.callNotFound();
    return reply.code(statusCode).headers(headers).send(rawPayload);
  };
  for (const url of ['/openapi.json', '/docs', '/docs/*']) app.get(url, { schema: { hide: true } }, answer);
  app.get('/', { schema: { hide: true } }, async (_request, reply) => reply.redirect('/docs'));
}
