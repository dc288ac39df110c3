import type { Export, ExportState, Webhook } from '../model/export.ts';
import type { Db, Tx } from './client.ts';

/** A row of `exports`, as the driver gives it. */
export interface ExportRow {
  crawl_id: string;
  n: number;
  name: string;
  kind: string;
  definition: Export | Webhook;
  state: ExportState;
  next_offset: number;
  written: number;
  position: unknown;
  failures: number;
  failing_since: Date | null;
  last_error: string | null;
  last_error_at: Date | null;
  written_at: Date | null;
  due_at: Date;
  node_id: string | null;
  fence: number;
}

/** A consumer as a crawl begins with it. */
export interface NewExport {
  name: string;
  kind: string;
  definition: Export | Webhook;
}

/** The consumers of a new crawl, in their order; twice is once. */
export async function insertExports(tx: Tx, crawlId: string, exports: readonly NewExport[]): Promise<void> {
  if (exports.length === 0) return;
  await tx`
    insert into exports (crawl_id, n, name, kind, definition)
    select ${crawlId}, n - 1, name, kind, definition::json
    from unnest(${exports.map(({ name }) => name)}::text[], ${exports.map(({ kind }) => kind)}::text[],
      ${exports.map(({ definition }) => JSON.stringify(definition))}::text[]) with ordinality as u (name, kind, definition, n)
    on conflict (crawl_id, n) do nothing`;
}

/** The consumers of a crawl, in their order. */
export async function listExports(db: Db, crawlId: string): Promise<ExportRow[]> {
  return db<ExportRow[]>`select * from exports where crawl_id = ${crawlId} order by n`;
}
