import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../dist/db/client.js';
import { countDeletions, deleteBatch } from '../../dist/db/deletions.js';
import { rankOf } from '../../dist/model/rank.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dist/model/settings.js';
import { fingerprint } from '../../dist/model/url.js';

export interface SeededCrawl {
  id: string;
  hostId: number;
}

/** A crawl with `queued` requests (and `done` finished ones before them) on one host, written as the service writes them. */
export async function seedCrawl(
  sql: Sql,
  {
    queued,
    done = 0,
    settings = {},
    origin = `http://${randomUUID()}.example`,
  }: {
    queued: number;
    done?: number;
    settings?: Partial<Settings>;
    origin?: string;
  },
): Promise<SeededCrawl> {
  const id = randomUUID();
  const effective = { ...DEFAULT_SETTINGS, ...settings };
  await sql`insert into hosts (origin) values (${origin}) on conflict do nothing`;
  const [host] = await sql<{ id: number }[]>`select id from hosts where origin = ${origin}`;
  const hostId = host!.id;
  await sql`
    insert into crawls (id, definition, settings, start_urls, scope_hosts, max_pages, max_items,
      max_pages_per_host, max_queue_per_host, max_urls_per_pattern, discovered, queued, done, next_seq)
    values (${id}, ${sql.json({})}, ${sql.json(effective as never)}, '[]', '[]', ${effective.maxPages}, ${effective.maxItems},
            ${effective.maxPagesPerHost}, ${effective.maxQueuePerHost}, ${effective.maxUrlsPerPattern},
            ${queued + done}, ${queued}, ${done}, ${queued + done})`;
  const base = rankOf('breadth', 0, 0, 0).toString();
  await sql`
    insert into requests (crawl_id, fp, seq, rank, host_id, depth, state, attempts, url)
    select ${id}, md5(${id} || n)::uuid, n, ${base}::bigint + n, ${hostId}, 0, case when n < ${done}::int then 3 else 0 end,
           case when n < ${done}::int then 1 else 0 end, ${origin} || '/' || n
    from generate_series(0, ${queued + done - 1}::int) as n`;
  await sql`
    insert into host_queues (crawl_id, host_id, queued, done, head)
    values (${id}, ${hostId}, ${queued}, ${done}, ${base}::bigint + ${done}::int)`;
  return { id, hostId };
}

/** A live node that holds the host under the next fence. @returns the fence */
export async function holdHost(sql: Sql, nodeId: string, hostId: number): Promise<number> {
  await sql`
    insert into nodes (id, role, alive_until) values (${nodeId}, 'all', now() + interval '1 hour') on conflict (id) do nothing`;
  const [row] = await sql<{ fence: number }[]>`
    update hosts set node_id = ${nodeId}, fence = fence + 1 where id = ${hostId} returning fence`;
  return row!.fence;
}

/** The fingerprint of a GET of this URL. */
export const fpOf = (url: string): string => fingerprint('GET', url, '');

/** The counters of a crawl beside the sums over its ledger, of one moment: equal at any committed one (invariant 8). */
export async function booksOf(sql: Sql, id: string): Promise<{ counters: object; sums: object }> {
  const [row] = await sql<{ counters: object; sums: object }[]>`
    select json_build_object('discovered', c.discovered, 'queued', c.queued, 'in_progress', c.in_progress, 'done', c.done,
             'failed', c.failed, 'skipped', c.skipped, 'items', c.items) as counters,
           (select json_build_object('discovered', count(*), 'queued', count(*) filter (where state in (0, 1)),
              'in_progress', count(*) filter (where state = 2), 'done', count(*) filter (where state = 3),
              'failed', count(*) filter (where state = 4), 'skipped', count(*) filter (where state = 5),
              'items', (select count(*) from items where crawl_id = c.id))
            from requests where crawl_id = c.id) as sums
    from crawls c where c.id = ${id}`;
  return row!;
}

/** Deletes what waits for it, beside a service that may be at it as well. */
export async function finishDeletions(sql: Sql): Promise<void> {
  while ((await countDeletions(sql)).crawls > 0) if ((await deleteBatch(sql, 1000)) === null) await sleep(5);
}
