import type { CookieChange } from '../model/outcome.ts';
import type { Db, Tx } from './client.ts';

/** Versions for which a cookie that is gone is kept, for nodes that have the crawl's jar. */
const KEPT_VERSIONS = 500;

/** A change of one crawl's cookies. */
export interface StoredCookie extends CookieChange {
  crawlId: string;
}

/**
 * Stores changes of cookies, at most one of each, sorted by crawl and key. The crawls' rows are locked. A change is left out
 * where this node has stored a later one of the same cookie.
 *
 * @param node null: the client gave them with the crawl
 * @returns the version of each crawl's cookies: one more than before
 */
export async function storeCookies(
  tx: Tx,
  node: string | null,
  cookies: readonly StoredCookie[],
): Promise<Map<string, number>> {
  if (cookies.length === 0) return new Map();
  const ids = [...new Set(cookies.map(({ crawlId }) => crawlId))];
  const rows = await tx<{ id: string; version: number }[]>`
    update crawls set cookies_version = cookies_version + 1 where id = any (${ids}::uuid[])
    returning id, cookies_version as version`;
  const versions = new Map(rows.map(({ id, version }) => [id, version]));
  const column = <K extends keyof StoredCookie>(key: K) => cookies.map((cookie) => cookie[key]);
  await tx`
    insert into crawl_cookies as c (crawl_id, version, n, key, node, gone, cookie)
    select crawl_id, version, n, key, ${node}::uuid, gone = 1, cookie::json
    from unnest(${column('crawlId')}::uuid[], ${cookies.map(({ crawlId }) => versions.get(crawlId) ?? 0)}::bigint[],
      ${column('n')}::bigint[], ${column('key')}::uuid[], ${cookies.map(({ gone }) => Number(gone))}::int[],
      ${column('cookie')}::text[]) as u (crawl_id, version, n, key, gone, cookie)
    on conflict (crawl_id, key) do update
    set version = excluded.version, n = excluded.n, node = excluded.node, gone = excluded.gone, cookie = excluded.cookie
    where c.node is distinct from excluded.node or c.n < excluded.n`;
  if (cookies.some(({ gone }) => gone))
    await tx`
      delete from crawl_cookies c
      using unnest(${[...versions.keys()]}::uuid[], ${[...versions.values()]}::bigint[]) as u (crawl_id, version)
      where c.crawl_id = u.crawl_id and c.gone and c.version <= u.version - ${KEPT_VERSIONS}::bigint`;
  return versions;
}

/** Whether a jar of this version must be filled anew, since what is gone may be forgotten. */
export function isTooOld(version: number, stored: number): boolean {
  return version < stored - KEPT_VERSIONS;
}

/** The cookies of a crawl that were stored after a version, but for those that this node stored; after 0, all of them. */
export async function readCookies(
  db: Db,
  node: string,
  crawlId: string,
  after: number,
): Promise<(Pick<CookieChange, 'gone' | 'cookie'> & { version: number })[]> {
  return db<(Pick<CookieChange, 'gone' | 'cookie'> & { version: number })[]>`
    select version, gone, cookie::text as cookie from crawl_cookies
    where crawl_id = ${crawlId} and version > ${after} ${after === 0 ? db`` : db`and node is distinct from ${node}::uuid`}`;
}
