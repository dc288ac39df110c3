import { findCrawl } from '../db/crawls.ts';
import { type ExportRow, listExports, retryExport } from '../db/exports.ts';
import { ApiError } from '../errors.ts';
import { readRejected } from '../exports/rejected.ts';
import { EXPORT_KINDS, EXPORT_STATES, type Export, ExportSchema, WebhookSchema } from '../model/export.ts';
import { shownWebhook } from '../model/secrets.ts';
import { type Static, Type } from '../model/type.ts';
import { errorResponses } from './components.ts';
import { CrawlParams, crawlId } from './crawls.ts';
import type { App, RouteDeps } from './deps.ts';
import { integer, orNull, text, time } from './schema_parts.ts';

const Status = Type.Object(
  {
    name: text,
    kind: Type.Enum([...EXPORT_KINDS, 'webhook']),
    definition: Type.Unsafe<unknown>({
      description: 'As posted; secrets are hidden',
      anyOf: [ExportSchema, WebhookSchema],
    }),
    state: Type.Enum([...EXPORT_STATES], {
      description:
        'active: it writes, or waits for items or for its next try; done: the crawl has ended and all was written; ' +
        'failed: trying again cannot help, until `resume`',
    }),
    nextOffset: Type.Integer({ description: 'Every item before it is in the target, durably' }),
    written: Type.Integer({ description: 'Items that were written' }),
    lag: Type.Integer({ description: 'Offsets of the crawl that it has still to look at' }),
    writtenAt: orNull(time, 'When it last went forward'),
    failures: Type.Integer({ description: 'Tries in a row that failed; 0: none' }),
    failingSince: orNull(time),
    lastError: orNull(text, 'Of the last try that failed, even where it works again'),
    lastErrorAt: orNull(time),
    retryAt: orNull(time, 'Not tried again before; null: it did not fail'),
    files: orNull(integer, 'Files or objects that are finished; null: an export that makes none'),
    rejected: Type.Object(
      {
        count: integer,
        first: Type.Array(Type.Object({ offset: integer, reason: text })),
      },
      { description: 'Items that the target cannot take, as a table whose column is a number; they were passed over' },
    ),
  },
  { description: 'A consumer of the crawl’s items' },
);
type ExportStatus = Static<typeof Status>;

const List = Type.Object({ exports: Type.Array(Status) });
const ExportParams = Type.Object({
  ...CrawlParams.properties,
  name: Type.String({ description: 'Name of the export or webhook' }),
});

/** Where the exports and webhooks of a crawl are, and how one that failed goes on. */
export function exportRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/crawls/:id/exports',
    {
      schema: {
        summary: 'How far the exports and webhooks of a crawl are',
        tags: ['exports'],
        params: CrawlParams,
        response: { 200: { description: 'In the order in which they were posted', ...List }, ...errorResponses },
      },
    },
    async (request): Promise<Static<typeof List>> => {
      const id = crawlId(request.params);
      const [rows, crawl] = await Promise.all([listExports(deps.sql, id), findCrawl(deps.sql, id)]);
      if (crawl === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      return { exports: rows.map((row) => toStatus(row, crawl.items)) };
    },
  );
  app.post(
    '/crawls/:id/exports/:name/resume',
    {
      schema: {
        summary: 'Go on with an export that failed',
        description:
          'From its cursor, at once. One that waits for its next try does not wait any more; any other is left.',
        tags: ['exports'],
        params: ExportParams,
        response: { 200: { description: 'The export', ...Status }, ...errorResponses },
      },
    },
    async (request): Promise<ExportStatus> => {
      const id = crawlId(request.params);
      const { name } = request.params;
      const [row, crawl] = [await retryExport(deps.sql, id, name), await findCrawl(deps.sql, id)];
      if (crawl === null) throw new ApiError('crawl_not_found', `There is no crawl ${id}`);
      if (row === null)
        throw new ApiError('export_not_found', `The crawl ${id} has no export or webhook ${name.slice(0, 100)}`);
      deps.onCrawlChanged(id, 'changed', true);
      return toStatus(row, crawl.items);
    },
  );
}

function toStatus(row: ExportRow, items: number): ExportStatus {
  const { name, kind, state, failures, position } = row;
  return {
    name,
    kind: kind as ExportStatus['kind'],
    definition: kind === 'webhook' ? shownWebhook(row.definition) : (row.definition as Export),
    state,
    nextOffset: row.next_offset,
    written: row.written,
    lag: Math.max(0, items - row.next_offset),
    writtenAt: row.written_at?.toISOString() ?? null,
    failures,
    failingSince: row.failing_since?.toISOString() ?? null,
    lastError: row.last_error,
    lastErrorAt: row.last_error_at?.toISOString() ?? null,
    retryAt: state === 'active' && failures > 0 ? row.due_at.toISOString() : null,
    files: kind === 'file' || kind === 's3' ? finishedFiles(position) : null,
    rejected: readRejected(position),
  };
}

/** Of the positions of files.ts and s3.ts: they count what is being written from 1. */
function finishedFiles(position: unknown): number {
  const { file, object } = (position ?? {}) as { file?: number; object?: number };
  return (file ?? object ?? 1) - 1;
}
