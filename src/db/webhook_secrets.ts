import type { Webhook } from '../model/export.ts';
import { inTransaction, type Sql } from './client.ts';

/**
 * Gives a webhook another secret; twice is once. Whoever sends for it loses its hold, and takes it anew with the secret: at most the message under way
 * is still signed with the old one.
 *
 * @param name of the webhook. @returns the webhook as it is now; null: there is none of this name
 */
export async function changeSecret(sql: Sql, crawlId: string, name: string, secret: string): Promise<Webhook | null> {
  return inTransaction(sql, async (tx) => {
    const [row] = await tx<{ n: number; definition: Webhook }[]>`
      select n, definition from exports where crawl_id = ${crawlId} and name = ${name} and kind = 'webhook' for update`;
    if (row === undefined) return null;
    const definition = { ...row.definition, secret };
    await tx`
      update exports set definition = ${JSON.stringify(definition)}::text::json, node_id = null, fence = fence + 1
      where crawl_id = ${crawlId} and n = ${row.n}`;
    return definition;
  });
}
