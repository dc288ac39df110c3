import { recordOf } from '../model/record.ts';
import { Type } from '../model/type.ts';
import type { App, RouteDeps } from './deps.ts';

const Checks = Type.Object({
  status: Type.Enum(['ready', 'not_ready']),
  checks: recordOf(Type.String()),
});

/** Liveness, readiness and what is measured: all that a node with `ROLE=worker` serves. */
export function serviceRoutes(app: App, deps: RouteDeps): void {
  const tags = ['service'];
  const alive = Type.Object({ status: Type.Enum(['ok']) });
  app.get(
    '/healthz',
    { schema: { tags, summary: 'The process is alive', response: { 200: { description: 'It is', ...alive } } } },
    async () => ({ status: 'ok' }),
  );
  app.get(
    '/readyz',
    {
      schema: {
        tags,
        summary: 'It can do its work',
        response: { 200: { description: 'It can', ...Checks }, 503: { description: 'It cannot, and why', ...Checks } },
      },
    },
    async (_request, reply) => {
      const { ok, checks } = await deps.ready();
      return reply.code(ok ? 200 : 503).send({ status: ok ? 'ready' : 'not_ready', checks });
    },
  );
  app.get(
    '/metrics',
    {
      schema: {
        tags,
        summary: 'Prometheus text',
        response: { 200: { description: 'The metrics', content: { 'text/plain': { schema: { type: 'string' } } } } },
      },
    },
    async (_request, reply) => reply.type('text/plain; version=0.0.4; charset=utf-8').send(await deps.metrics()),
  );
}
