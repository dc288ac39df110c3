import type { Db, Sql, Tx } from './client.ts';

// What the crawls of a spider remember of pages. `space` stands for the spider.

const FORGOTTEN_AT_ONCE = 10_000;

/** A page to be remembered. */
export interface ScrapedPage {
  space: string;
  /** 32 hex digits. */
  fp: string;
  /** Hash of what extracted, as 32 hex digits. */
  definition: string;
  crawlId: string;
  /** Items kept. */
  items: number;
  etag: string | null;
  lastModified: string | null;
  /** JSON text of `ParsedPage.remembered`; null: too many. */
  links: string | null;
}

/** @param pages in the order of the primary key, each once, so that two transactions meet in the same order */
export async function keepPages(tx: Tx, pages: readonly ScrapedPage[]): Promise<void> {
  if (pages.length === 0) return;
  const column = <K extends keyof ScrapedPage>(key: K) => pages.map((page) => page[key]);
  await tx`
    insert into spider_pages (space, fp, definition, crawl_id, scraped_at, items, etag, last_modified, links)
    select space, fp, definition, crawl_id, now(), items, etag, last_modified, links::json
    from unnest(${column('space')}::uuid[], ${column('fp')}::uuid[], ${column('definition')}::uuid[],
      ${column('crawlId')}::uuid[], ${column('items')}::int[], ${column('etag')}::text[],
      ${column('lastModified')}::text[], ${column('links')}::text[])
      as u (space, fp, definition, crawl_id, items, etag, last_modified, links)
    on conflict (space, fp) do update set definition = excluded.definition, crawl_id = excluded.crawl_id,
      scraped_at = excluded.scraped_at, items = excluded.items, etag = excluded.etag,
      last_modified = excluded.last_modified, links = excluded.links`;
}

/** The site said that these pages are as they were. */
export async function renewPages(
  tx: Tx,
  pages: readonly Pick<ScrapedPage, 'space' | 'fp' | 'crawlId'>[],
): Promise<void> {
  if (pages.length === 0) return;
  await tx`
    update spider_pages p set scraped_at = now(), crawl_id = u.crawl_id
    from unnest(${pages.map((p) => p.space)}::uuid[], ${pages.map((p) => p.fp)}::uuid[],
                ${pages.map((p) => p.crawlId)}::uuid[]) as u (space, fp, crawl_id)
    where p.space = u.space and p.fp = u.fp`;
}

/** What is known of a page. */
export interface KnownPage {
  fp: string;
  /** Whether it was scraped under the definition that was asked for, and its links are known; else the rest does not count. */
  usable: boolean;
  etag: string | null;
  lastModified: string | null;
  /** When and by which crawl it was scraped, where it gave items, within the time that was asked for; else null. */
  freshSince: Date | null;
  crawlId: string;
}

/**
 * Pages of a spider that were scraped by an earlier crawl.
 *
 * @param ttl seconds; null: no page is fresh
 */
export async function findPages(
  db: Db,
  space: string,
  pages: readonly { fp: string; definition: string }[],
  crawlId: string,
  ttl: number | null,
): Promise<KnownPage[]> {
  if (pages.length === 0) return [];
  return db<KnownPage[]>`
    select replace(p.fp::text, '-', '') as fp, p.etag, p.last_modified as "lastModified", p.crawl_id as "crawlId",
           p.definition = u.definition and p.links is not null as usable,
           case when p.items > 0 and p.scraped_at > now() - ${ttl}::float8 * interval '1 s' then p.scraped_at end as "freshSince"
    from unnest(${pages.map((p) => p.fp)}::uuid[], ${pages.map((p) => p.definition)}::uuid[]) as u (fp, definition)
    join spider_pages p on p.space = ${space} and p.fp = u.fp
    where p.crawl_id <> ${crawlId}`;
}

/** The links of remembered pages, as JSON text by space and fingerprint. Pages that were forgotten are not there. */
export async function readLinks(
  db: Db,
  pages: readonly { space: string; fp: string }[],
): Promise<{ space: string; fp: string; links: string }[]> {
  return db<{ space: string; fp: string; links: string }[]>`
    select p.space, replace(p.fp::text, '-', '') as fp, p.links::text as links
    from unnest(${pages.map((p) => p.space)}::uuid[], ${pages.map((p) => p.fp)}::uuid[]) as u (space, fp)
    join spider_pages p on p.space = u.space and p.fp = u.fp
    where p.links is not null`;
}

/** Forgets pages: they are scraped anew. */
export async function forgetPages(tx: Tx, space: string, fps: readonly string[]): Promise<void> {
  await tx`delete from spider_pages where space = ${space} and fp = any (${[...fps]}::uuid[])`;
}

const MEMORY = { spider_pages: 'fp', spider_items: 'key', item_keys: 'key' } as const;

/**
 * Forgets all that the crawls of a spider remember: pages, items, and keys of `dedupe` steps. In parts, so that no crawl that
 * runs waits long for it, and in the order in which it takes them; what that crawl remembers meanwhile may stay.
 */
export async function forgetAll(sql: Sql, space: string): Promise<void> {
  for (const [table, column] of Object.entries(MEMORY))
    for (let left = true; left; ) {
      const rows = await sql`
        with next as materialized (
          select ${sql(column)} as id from ${sql(table)} where space = ${space}
          order by ${sql(column)} limit ${FORGOTTEN_AT_ONCE} for update
        )
        delete from ${sql(table)} where space = ${space} and ${sql(column)} in (select id from next)
        returning 1`;
      left = rows.length === FORGOTTEN_AT_ONCE;
    }
}
