import { deleteResponses } from '../db/cached_responses.ts';
import { type Static, Type } from '../model/type.ts';
import { errorResponses } from './components.ts';
import type { App, RouteDeps } from './deps.ts';

const CacheQuery = Type.Object(
  {
    host: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 8000,
        description: 'Only what is stored of this host name, with its port where that is not the default',
      }),
    ),
  },
  { additionalProperties: false },
);

const Emptied = Type.Object({ deleted: Type.Integer({ description: 'Responses that were deleted' }) });

/** `DELETE /cache`: forgets the responses that crawls with the setting `cache` keep. */
export function cacheRoutes(app: App, deps: RouteDeps): void {
  app.delete(
    '/cache',
    {
      schema: {
        summary: 'Empty the cache of responses',
        description: 'Crawls with the setting `cache` fetch anew what was deleted. Nothing else is touched.',
        tags: ['service'],
        querystring: CacheQuery,
        response: { 200: { description: 'It is empty', ...Emptied }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof Emptied>> => {
      const { host } = request.query;
      return { deleted: await deleteResponses(deps.sql, host?.toLowerCase() ?? null) };
    },
  );
}
