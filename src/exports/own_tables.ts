import { ExportError } from './target.ts';

/** What lies in a database of Orbweaver's own: migrations/*.sql. */
const OWN_TABLES: ReadonlySet<string> = new Set([
  ...['nodes', 'hosts', 'crawls', 'requests', 'host_queues', 'page_links', 'items', 'crawl_counts', 'idempotency_keys'],
  ...['spiders', 'spider_versions', 'item_keys', 'crawl_state', 'crawl_logs', 'crawl_cookies', 'url_patterns'],
  ...['spider_pages', 'spider_items', 'cached_responses', 'exports', 'deletions', 'deliveries', 'delivery_attempts'],
  ...['schedules', 'schedule_runs', 'crawl_changes', 'schema_migrations'],
]);

/** Schemas of PostgreSQL itself, and of MySQL; the first are also found without being named. */
const SYSTEM_SCHEMA = /^(?:pg_.*|information_schema|mysql|performance_schema|sys)$/i;
const CURSORS = 'orbweaver_cursors';

/**
 * Keeps items out of what the database or Orbweaver lives by: whoever starts crawls has no more right to that than any other.
 *
 * @param isOurs whether Orbweaver's own tables are in the schema. @throws ExportError
 */
export function refuseOwn(schema: string, table: string, isOurs: boolean): void {
  const told = (what: string) => new ExportError('refused', `${what}; name another table`, { permanent: true });
  if (SYSTEM_SCHEMA.test(schema)) throw told('this is a table of the database system');
  if (table.toLowerCase() === CURSORS) throw told('exports keep their cursors in this table');
  if (isOurs && OWN_TABLES.has(table)) throw told('this is a table of Orbweaver itself');
}
