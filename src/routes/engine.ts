import { type EngineStatus, errorResponses, ref } from './components.ts';
import type { App, RouteDeps } from './deps.ts';

/** `GET /engine`: what this node is and does, and which wall its scripts run behind. */
export function engineRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/engine',
    {
      schema: {
        tags: ['service'],
        summary: 'What this node is and does',
        response: { 200: { description: 'The node', ...ref<EngineStatus>('Engine') }, ...errorResponses },
      },
    },
    async (): Promise<EngineStatus> => deps.engineStatus(),
  );
}
